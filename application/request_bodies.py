"""
The JSON bodies of requests, as the contract has them. Their docstrings are part of the published API description.

Absent fields are UNSET, so that a patch can tell "leave it" from "clear it". `TRIM` marks text that is trimmed
before its length is tested; `max_bytes` limits the JSON of an object, whatever its fields.
"""

from base64 import b64decode
from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from domain.routines import variables
from domain.routines.budget import LONGEST_WINDOW_S
from domain.routines.firing import LONGEST_REASON
from domain.schedule import cron_fields
from domain.values import (
    ActivityGatePolicy,
    ActivityGateScope,
    AgentRole,
    AlertBounds,
    Budget,
    CatchUpPolicy,
    ChainOutcome,
    ConcurrencyPolicy,
    FailureCause,
    GoalLevel,
    GoalStatus,
    IfUnanswered,
    IssueStatus,
    JsonCondition,
    MemberRole,
    Overlap,
    Priority,
    Probe,
    ProjectStatus,
    RetryPolicy,
    RoutineStatus,
    SigningMode,
    Variable,
    VariableType,
)

TRIM = {"trim": True}
NOT_BLANK = {"pattern": r"\S"}  # what the description says of texts that must not be empty once they are trimmed
REQUIRED = "Required"

Title = Annotated[str, Meta(min_length=1, max_length=200, extra=TRIM, extra_json_schema=NOT_BLANK)]
Name = Annotated[str, Meta(min_length=1, max_length=200, extra=TRIM, extra_json_schema=NOT_BLANK)]
Label = Annotated[str, Meta(max_length=120, extra=TRIM)]
Text = Annotated[str, Meta(max_length=100_000)]
Description = Annotated[str, Meta(max_length=1_000_000)]
Email = Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254, extra=TRIM)]
Permissions = Annotated[tuple[Literal["tasks:assign"], ...], Meta(max_length=20)]
Comment = Annotated[str, Meta(min_length=1, max_length=100_000)]
FailureReason = Annotated[str, Meta(min_length=1, max_length=LONGEST_REASON)]
KeyName = Annotated[str, Meta(min_length=1, max_length=120, extra=TRIM, extra_json_schema=NOT_BLANK)]
CronText = Annotated[
    str, Meta(min_length=1, max_length=cron_fields.LONGEST_EXPRESSION, extra=TRIM, extra_json_schema=NOT_BLANK)
]
Zone = Annotated[str, Meta(min_length=1, max_length=100, extra=TRIM, extra_json_schema=NOT_BLANK)]
JsonPath = Annotated[str, Meta(pattern=r"^[^.]+(\.[^.]+)*$", max_length=200)]
ProbedText = Annotated[str, Meta(max_length=1_000)]
IdempotencyKey = Annotated[str, Meta(max_length=255, extra=TRIM)]
VariableName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=200, extra=TRIM)]
ExcludedDates = Annotated[tuple[date, ...], Meta(max_length=366)]
Jitter = Annotated[int, Meta(ge=0, le=3_600)]
RunDuration = Annotated[int, Meta(ge=1, le=31_536_000)]
Attempts = Annotated[int, Meta(ge=2, le=10)]
Backoff = Annotated[int, Meta(ge=1, le=86_400)]
BackoffFactor = Annotated[float, Meta(ge=1, le=10)]
AlertBound = Annotated[int, Meta(ge=60, le=31_536_000)]
MissedOccurrences = Annotated[int, Meta(ge=1, le=1_000)]
FailureCauses = Annotated[tuple[FailureCause, ...], Meta(min_length=1, max_length=2)]
Note = Annotated[str, Meta(max_length=1_000)]
ReplayWindow = Annotated[int, Meta(ge=30, le=86_400)]
Url = Annotated[str, Meta(min_length=1, max_length=2_048)]
EventPattern = Annotated[str, Meta(min_length=1, max_length=120, extra=TRIM, extra_json_schema=NOT_BLANK)]
EventPatterns = Annotated[tuple[EventPattern, ...], Meta(min_length=1, max_length=100)]
Option = Annotated[str, Meta(min_length=1, max_length=120)]
Cents = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Micros = Annotated[int, Meta(ge=0, le=10**15)]  # 1,000,000,000 of a currency unit
Tokens = Annotated[int, Meta(ge=0, le=10**15)]
RunVariables = Annotated[dict[str, str | int | float | bool], Meta(extra={"max_bytes": 256 * 1024})]
Object = Annotated[dict[str, object], Meta(extra={"max_bytes": 1024 * 1024})]
Payload = Annotated[dict[str, object], Meta(extra={"max_bytes": 10 * 1024 * 1024})]
Outputs = Annotated[dict[str, object], Meta(extra={"max_bytes": 256 * 1024})]
SampleHeaders = Annotated[dict[str, str], Meta(extra={"max_bytes": 32 * 1024})]


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A JSON body of the API. Other fields are refused, but for those that web/http/tolerated_fields.py lists."""


class BudgetDraft(Body, frozen=True):
    """
    Bounds what runs may cost: less than `maxCostMicros` (millionths of a currency unit) within `windowSec` seconds before
    a firing, as it was reported. A firing beyond it is skipped, with the evidence.
    """

    max_cost_micros: Micros
    window_sec: Annotated[int, Meta(ge=60, le=LONGEST_WINDOW_S)]

    def value(self) -> Budget:
        """Return the budget as the domain has it."""
        return Budget(max_cost_micros=self.max_cost_micros, window_sec=self.window_sec)


class UsageReport(Body, frozen=True):
    """
    Says what a run has used so far, in total: a later report replaces an earlier one, and what it does not mention stays.
    `costMicros` is in millionths of a currency unit.
    """

    cost_micros: Micros | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None


class CompanyDraft(Body, frozen=True):
    """Describes a company to create."""

    name: Name
    description: Text | None = None
    budget: BudgetDraft | None = None  # not in Paperclip


class CompanyPatch(Body, frozen=True):
    """Changes a company. Fields that are absent stay as they are."""

    name: Name | UnsetType = UNSET
    description: Text | None | UnsetType = UNSET
    budget: BudgetDraft | None | UnsetType = UNSET


class AgentDraft(Body, frozen=True):
    """Describes an agent to create."""

    name: Name
    role: AgentRole = "general"
    title: Label | None = None
    reports_to: UUID | None = None
    adapter_type: Name = "process"
    adapter_config: Object = {}
    metadata: Object | None = None
    budget_monthly_cents: Cents = 0
    heartbeat_url: Url | None = None
    budget: BudgetDraft | None = None  # not in Paperclip


class AgentPatch(Body, frozen=True):
    """Changes an agent. Fields that are absent stay as they are."""

    name: Name | UnsetType = UNSET
    role: AgentRole | UnsetType = UNSET
    title: Label | None | UnsetType = UNSET
    reports_to: UUID | None | UnsetType = UNSET
    adapter_type: Name | UnsetType = UNSET
    adapter_config: Object | UnsetType = UNSET
    metadata: Object | None | UnsetType = UNSET
    budget_monthly_cents: Cents | UnsetType = UNSET
    heartbeat_url: Url | None | UnsetType = UNSET
    budget: BudgetDraft | None | UnsetType = UNSET


class ProjectDraft(Body, frozen=True):
    """Describes a project to create."""

    name: Name
    description: Text | None = None
    status: ProjectStatus = "backlog"
    goal_id: UUID | None = None
    lead_agent_id: UUID | None = None
    target_date: Label | None = None
    color: Label | None = None


class ProjectPatch(Body, frozen=True):
    """Changes a project. Fields that are absent stay as they are."""

    name: Name | UnsetType = UNSET
    description: Text | None | UnsetType = UNSET
    status: ProjectStatus | UnsetType = UNSET
    goal_id: UUID | None | UnsetType = UNSET
    lead_agent_id: UUID | None | UnsetType = UNSET
    target_date: Label | None | UnsetType = UNSET
    color: Label | None | UnsetType = UNSET


class GoalDraft(Body, frozen=True):
    """Describes a goal to create."""

    title: Title
    description: Text | None = None
    level: GoalLevel = "task"
    status: GoalStatus = "planned"
    parent_id: UUID | None = None
    owner_agent_id: UUID | None = None


class GoalPatch(Body, frozen=True):
    """Changes a goal. Fields that are absent stay as they are."""

    title: Title | UnsetType = UNSET
    description: Text | None | UnsetType = UNSET
    level: GoalLevel | UnsetType = UNSET
    status: GoalStatus | UnsetType = UNSET
    parent_id: UUID | None | UnsetType = UNSET
    owner_agent_id: UUID | None | UnsetType = UNSET


class FolderDraft(Body, frozen=True):
    """Describes a folder to create, in another folder if `parentId` names one."""

    name: Name
    parent_id: UUID | None = None


class FolderPatch(Body, frozen=True):
    """Renames a folder."""

    name: Name


class FolderMove(Body, frozen=True):
    """Moves a folder into another one, or out of all if `parentId` is null."""

    parent_id: UUID | None


class FolderItems(Body, frozen=True):
    """Moves routines into a folder, or out of all if `folderId` is null."""

    routine_ids: Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=1_000)]
    folder_id: UUID | None


class VariableDraft(Body, frozen=True):
    """Declares a variable of a routine's template."""

    name: VariableName
    label: Label | None = None
    type: VariableType = "text"
    default_value: str | int | float | bool | None = None
    required: bool = True
    options: Annotated[tuple[Option, ...], Meta(max_length=50)] = ()

    def variable(self) -> Variable:
        """Return the variable as the domain has it."""
        return Variable(**msgspec.structs.asdict(self))

    def faults(self) -> list[tuple[str, str]]:
        """Return what is wrong with its fields in combination, as pairs of a JSON field and a message."""
        return variables.faults(self.variable())


class RetryPolicyDraft(Body, frozen=True):
    """Declares which failures of a run are followed by another attempt, how many there are, and the pauses between them."""

    max_attempts: Attempts
    backoff_seconds: Backoff = 60
    backoff_factor: BackoffFactor = 2.0
    max_backoff_seconds: Backoff = 3_600
    retry_on: FailureCauses = ("failure", "timed_out")

    def value(self) -> RetryPolicy:
        """Return the policy as the domain has it."""
        return RetryPolicy(**msgspec.structs.asdict(self))


class AlertBoundsDraft(Body, frozen=True):
    """Declares beyond which bounds a routine is in trouble, so that it is an alert; null: never."""

    untaken_after_sec: AlertBound | None = 3_600
    stuck_after_sec: AlertBound | None = 21_600
    overdue_after_sec: AlertBound | None = None
    missed_in_a_row: MissedOccurrences | None = 3

    def value(self) -> AlertBounds:
        """Return the bounds as the domain has them."""
        return AlertBounds(**msgspec.structs.asdict(self))


class JsonConditionDraft(Body, frozen=True):
    """
    Wants a value in the JSON of an answer: text, a number, true, false or null at `path`, whose steps are joined by dots.
    A number is the index in an array, from 0.
    """

    path: JsonPath
    equals: ProbedText | int | float | bool | None

    def value(self) -> JsonCondition:
        """Return the condition as the domain has it."""
        return JsonCondition(path=self.path, equals=self.equals)


class ProbeDraft(Body, frozen=True):
    """
    Asks a URL by GET when an occurrence of a schedule has come due; it fires only if the answer has the `status` (any 2xx
    unless given) and, with `json`, that value. If nobody answers within 10 seconds it is skipped, or fires all the same
    if `ifUnanswered` says so. Runs by hand, by the API, webhooks, chains and backfills are not probed.
    """

    url: Url
    status: Annotated[int, Meta(ge=200, le=599)] | None = None
    json: JsonConditionDraft | None = None
    if_unanswered: IfUnanswered = "skip"

    def value(self) -> Probe:
        """Return the probe as the domain has it."""
        condition = None if self.json is None else self.json.value()
        return Probe(url=self.url, status=self.status, json=condition, if_unanswered=self.if_unanswered)


class ScheduleDraft(Body, frozen=True, tag_field="kind", tag="schedule"):
    """
    Fires at the times of a cron expression, or once at `runAt`. Beyond the contract: `startsAt` and `endsAt` limit it,
    it does not fire on the `excludedDates` of its time zone, and `jitterSec` spreads its firings.
    """

    cron_expression: CronText | None = None
    timezone: Zone = "UTC"
    label: Label | None = None
    enabled: bool = True
    run_at: datetime | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    excluded_dates: ExcludedDates = ()
    jitter_sec: Jitter = 0

    def faults(self) -> list[tuple[str, str]]:
        """Report a schedule that has neither a cron expression nor `runAt`."""
        return [] if self.cron_expression is not None or self.run_at is not None else [("cronExpression", REQUIRED)]


class WebhookDraft(Body, frozen=True, tag_field="kind", tag="webhook"):
    """Fires when somebody who knows its secret calls its public address."""

    label: Label | None = None
    enabled: bool = True
    signing_mode: SigningMode = "bearer"
    replay_window_sec: ReplayWindow = 300


class ApiDraft(Body, frozen=True, tag_field="kind", tag="api"):
    """Fires when a request for a run names it."""

    label: Label | None = None
    enabled: bool = True


class ChainDraft(Body, frozen=True, tag_field="kind", tag="chain"):
    """
    Fires when a run of `afterRoutineId`, another routine of the company, has ended as `afterOutcome` says (beyond the
    contract). The payload is that run and its outputs; a variable that is named like an output gets its value.
    """

    after_routine_id: UUID
    after_outcome: ChainOutcome = "succeeded"
    label: Label | None = None
    enabled: bool = True


TriggerDraft = ScheduleDraft | WebhookDraft | ApiDraft | ChainDraft


class PlainBinding(Body, frozen=True, tag_field="type", tag="plain"):
    """A value of its own for an environment variable, which is never shown again. `***` keeps the value that there is."""

    value: Annotated[str, Meta(max_length=128 * 1024)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class SecretBinding(Body, frozen=True, tag_field="type", tag="secret_ref"):
    """Binds an environment variable to the variable `name` of the company's environment as a collection."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]


EnvBinding = PlainBinding | SecretBinding
Env = Annotated[dict[str, EnvBinding], Meta(extra={"max_bytes": 1024 * 1024})]


class RoutineDraft(Body, frozen=True):
    """
    Describes a routine to create, with its `triggers` if there are any: all of it is created, or nothing.

    `retryPolicy` says which failed runs are tried again; without it a failure is final. `probe` is a condition that must hold
    before an occurrence of its schedules fires. `alertBounds` says when the routine
    is in trouble, so that webhook endpoints that subscribe to `alert.*` are told. `concurrencyPolicy` says what a firing
    does while an execution issue of the routine is open: it is joined to it, is skipped, opens another, or
    (`cancel_previous`, beyond the contract) cancels it and opens its own.
    """

    title: Title
    description: Description | None = None
    assignee_agent_id: UUID | None = None
    project_id: UUID | None = None
    goal_id: UUID | None = None
    parent_issue_id: UUID | None = None
    priority: Priority = "medium"
    status: RoutineStatus = "active"
    concurrency_policy: ConcurrencyPolicy = "coalesce_if_active"
    catch_up_policy: CatchUpPolicy = "skip_missed"
    activity_gate_policy: ActivityGatePolicy = "always"
    activity_gate_scope: ActivityGateScope = "company"
    folder_id: UUID | None = None
    env: Env | None = None
    variables: Annotated[tuple[VariableDraft, ...], Meta(max_length=200)] = ()
    max_run_duration_sec: RunDuration | None = None
    retry_policy: RetryPolicyDraft | None = None
    alert_bounds: AlertBoundsDraft = AlertBoundsDraft()
    budget: BudgetDraft | None = None
    probe: ProbeDraft | None = None
    pause_note: Note | None = None
    resume_at: datetime | None = None
    triggers: Annotated[tuple[TriggerDraft, ...], Meta(max_length=100)] | None = None


class RoutinePatch(Body, frozen=True):
    """
    Changes a routine. Fields that are absent stay as they are. `pauseNote` and `resumeAt` belong to the status `paused`. With
    `baseRevisionId` the change is refused unless that is the newest revision.
    """

    title: Title | UnsetType = UNSET
    description: Description | None | UnsetType = UNSET
    assignee_agent_id: UUID | None | UnsetType = UNSET
    project_id: UUID | None | UnsetType = UNSET
    goal_id: UUID | None | UnsetType = UNSET
    parent_issue_id: UUID | None | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    status: RoutineStatus | UnsetType = UNSET
    concurrency_policy: ConcurrencyPolicy | UnsetType = UNSET
    catch_up_policy: CatchUpPolicy | UnsetType = UNSET
    activity_gate_policy: ActivityGatePolicy | UnsetType = UNSET
    activity_gate_scope: ActivityGateScope | UnsetType = UNSET
    folder_id: UUID | None | UnsetType = UNSET
    env: Env | None | UnsetType = UNSET
    variables: Annotated[tuple[VariableDraft, ...], Meta(max_length=200)] | UnsetType = UNSET
    max_run_duration_sec: RunDuration | None | UnsetType = UNSET
    retry_policy: RetryPolicyDraft | None | UnsetType = UNSET
    alert_bounds: AlertBoundsDraft | UnsetType = UNSET
    budget: BudgetDraft | None | UnsetType = UNSET
    probe: ProbeDraft | None | UnsetType = UNSET
    pause_note: Note | None | UnsetType = UNSET
    resume_at: datetime | None | UnsetType = UNSET
    base_revision_id: UUID | None = None


class TriggerPatch(Body, frozen=True):
    """
    Changes a trigger. Fields that are absent stay as they are, and fields of another kind are ignored, but for those of
    a chain: `afterRoutineId` and `afterOutcome` are refused for a trigger that is none.
    """

    label: Label | None | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    cron_expression: CronText | None | UnsetType = UNSET
    timezone: Zone | None | UnsetType = UNSET
    run_at: datetime | None | UnsetType = UNSET
    starts_at: datetime | None | UnsetType = UNSET
    ends_at: datetime | None | UnsetType = UNSET
    excluded_dates: ExcludedDates | UnsetType = UNSET
    jitter_sec: Jitter | UnsetType = UNSET
    signing_mode: SigningMode | UnsetType = UNSET
    replay_window_sec: ReplayWindow | UnsetType = UNSET
    after_routine_id: UUID | UnsetType = UNSET
    after_outcome: ChainOutcome | UnsetType = UNSET


class SecretRotation(Body, frozen=True):
    """Replaces a secret. The old one stays valid for `overlapSec` seconds (our addition)."""

    overlap_sec: Annotated[int, Meta(ge=0, le=86_400)] = 0


class WebhookSample(Body, frozen=True):
    """A call of a webhook as its sender would make it: its headers, and its body as text or in base64."""

    headers: SampleHeaders = {}
    body: Annotated[str, Meta(max_length=1_000_000)] = ""
    encoding: Literal["text", "base64"] = "text"

    def faults(self) -> list[tuple[str, str]]:
        """Report a body that is not in base64 though it says so."""
        try:
            if self.encoding == "base64":
                b64decode(self.body, validate=True)
        except ValueError:
            return [("body", "Invalid base64")]
        return []

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.body)} characters)"  # a header may be the secret itself

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("body", f"{len(self.body)} characters")]


class BackfillDraft(Body, frozen=True):
    """
    Asks for the occurrences of a schedule from `from` to `to` (now if it is absent), both included.

    `overlap` says how they run. With `one_at_a_time` each run begins when no work of the routine is live; with `policy`
    they all run at once, as the routine's concurrency policy says.
    """

    from_: datetime = msgspec.field(name="from")
    to: datetime | None = None
    overlap: Overlap = "one_at_a_time"


class BulkSelection(Body, frozen=True):
    """Selects routines of a company: those that meet every condition in the request, or `all` of them."""

    all: bool = False
    project_id: UUID | None = None
    assignee_agent_id: UUID | None = None
    routine_ids: Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=1_000)] | None = None
    q: Annotated[str, Meta(min_length=1, max_length=200)] | None = None

    def conditions(self) -> tuple[object, ...]:
        """Return what narrows the selection, None for each condition that is absent."""
        return self.project_id, self.assignee_agent_id, self.routine_ids, self.q

    def faults(self) -> list[tuple[str, str]]:
        """Report a selection that says neither `all` nor a condition, and one that says both."""
        is_narrowed = any(condition is not None for condition in self.conditions())
        if self.all and is_narrowed:
            return [("all", "all selects every routine, so no condition may stand beside it")]
        if not self.all and not is_narrowed:
            return [("all", "Say which routines are meant, or all: true for every one")]
        return []


class BulkPause(BulkSelection, frozen=True):
    """Pauses the active ones among the selected routines."""

    pause_note: Note | None = None
    resume_at: datetime | None = None


class BulkResume(BulkSelection, frozen=True):
    """Resumes those among the selected routines that a bulk pause has paused: any, or the one with this `pauseId`."""

    pause_id: UUID | None = None

    def conditions(self) -> tuple[object, ...]:
        """Return what narrows the selection; the id of a pause does, too."""
        return *super().conditions(), self.pause_id


class EndpointDraft(Body, frozen=True):
    """
    Describes a webhook endpoint to create. `events` holds stored names such as `run.fired`; `run.*` means all names
    that begin with `run.`, and `*` all events.
    """

    url: Url
    events: EventPatterns
    description: Note | None = None
    ordered: bool = False
    enabled: bool = True


class EndpointPatch(Body, frozen=True):
    """Changes a webhook endpoint. Fields that are absent stay as they are."""

    url: Url | UnsetType = UNSET
    events: EventPatterns | UnsetType = UNSET
    description: Note | None | UnsetType = UNSET
    ordered: bool | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class RunRequest(Body, frozen=True):
    """Asks for a run of the routine now."""

    source: Literal["manual", "api"] = "manual"
    trigger_id: UUID | None = None
    payload: Payload | None = None
    variables: RunVariables | None = None
    project_id: UUID | None = None
    assignee_agent_id: UUID | None = None
    idempotency_key: IdempotencyKey | None = None
    execution_workspace_id: UUID | None = None
    execution_workspace_preference: Name | None = None
    execution_workspace_settings: Object | None = None
    project_workspace_id: UUID | None = None


class IssueDraft(Body, frozen=True):
    """Describes an issue to create."""

    title: Title
    description: Description | None = None
    status: IssueStatus | UnsetType = UNSET
    priority: Priority = "medium"
    assignee_agent_id: UUID | None = None
    project_id: UUID | None = None
    goal_id: UUID | None = None
    parent_id: UUID | None = None


class IssuePatch(Body, frozen=True):
    """
    Changes an issue. Fields that are absent stay as they are. `comment` is added to its comments.

    `failureReason` says why the run that opened the issue failed, and comes with the status `cancelled`. Where an agent says
    so, and the routine has a `retryPolicy` that allows another attempt, the issue waits in the backlog for it instead.
    `outputs` are what that run has brought forth: its routine's chains pass them on. `usage` is what it has used so far.
    """

    title: Title | UnsetType = UNSET
    description: Description | None | UnsetType = UNSET
    status: IssueStatus | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    assignee_agent_id: UUID | None | UnsetType = UNSET
    project_id: UUID | None | UnsetType = UNSET
    goal_id: UUID | None | UnsetType = UNSET
    parent_id: UUID | None | UnsetType = UNSET
    comment: Comment | None = None
    failure_reason: FailureReason | None = None  # not in Paperclip
    outputs: Outputs | None = None  # not in Paperclip
    usage: UsageReport | None = None  # not in Paperclip


class Checkout(Body, frozen=True):
    """
    Takes an issue for an agent, if its status is one of `expectedStatuses`. With `leaseSeconds`, it is taken from the work
    session after that time, unless the session checks it out again before.
    """

    agent_id: UUID
    expected_statuses: Annotated[tuple[IssueStatus, ...], Meta(min_length=1, max_length=20)]
    lease_seconds: Annotated[int, Meta(ge=2, le=86_400)] | None = None  # not in Paperclip


class LogPiece(Body, frozen=True):
    """Holds some output of a command; `mark` tells where something is left out."""

    stream: Literal["stdout", "stderr", "mark"]
    text: Annotated[str, Meta(min_length=1, max_length=65_536)]


class LogDraft(Body, frozen=True):
    """Holds what the command of a run has printed since the part before. A part that is sent again changes nothing."""

    part: Annotated[int, Meta(ge=0, le=1_000_000)]
    output: Annotated[tuple[LogPiece, ...], Meta(min_length=1, max_length=200)]


class CommentDraft(Body, frozen=True):
    """Holds the text of a comment."""

    body: Comment


class BoardKeyDraft(Body, frozen=True):
    """Describes a key to create for a user."""

    name: KeyName = "paperclipai cli"
    expires_at: datetime | None | UnsetType = UNSET  # None: it never expires; UNSET: it expires in 30 days


class AgentKeyDraft(Body, frozen=True):
    """Describes a key to create for an agent."""

    name: KeyName = "default"
    expires_at: datetime | None | UnsetType = (
        UNSET  # None: it never expires; UNSET: it expires with the key of the request
    )


class PauseRequest(Body, frozen=True):
    """Says why an agent is paused."""

    reason: Label = "manual"


class MemberDraft(Body, frozen=True):
    """Adds an existing user, by `userId`, or a new one. `name` and `email` count only when `userId` is absent."""

    user_id: UUID | None = None
    name: Name | None = None
    email: Email | None = None
    membership_role: MemberRole = "member"
    permissions: Permissions | UnsetType = UNSET  # UNSET: the default ones of the role
    key_expires_at: datetime | None | UnsetType = UNSET  # for the first key of a new user; as in BoardKeyDraft

    def faults(self) -> list[tuple[str, str]]:
        """Report a user who has neither an id nor a name, and a key expiry for an existing user, who gets no key."""
        faults = [] if self.user_id or self.name else [("name", "Either userId or the name of a new user is required")]
        if self.user_id and self.key_expires_at is not UNSET:
            faults.append(("keyExpiresAt", "A user who is known gets no key"))
        return faults


class MemberPatch(Body, frozen=True):
    """Changes the role or the permissions of a member. Fields that are absent stay as they are."""

    membership_role: MemberRole | UnsetType = UNSET
    permissions: Permissions | UnsetType = UNSET


class SchedulePreview(Body, frozen=True):
    """
    Asks for the next `count` times of a schedule that is not saved, from `from` on (now if it is absent).

    Where jitter moves an occurrence depends on the routine, so it is known only with `routineId`.
    """

    cron_expression: CronText | None = None
    timezone: Zone = "UTC"
    run_at: datetime | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    excluded_dates: ExcludedDates = ()
    jitter_sec: Jitter = 0
    routine_id: UUID | None = None
    count: Annotated[int, Meta(ge=1, le=1_000)] = 10
    from_: datetime | None = msgspec.field(default=None, name="from")

    def faults(self) -> list[tuple[str, str]]:
        """Report a schedule that has neither a cron expression nor `runAt`."""
        return [] if self.cron_expression is not None or self.run_at is not None else [("cronExpression", REQUIRED)]


class WhatIf(Body, frozen=True):
    """
    Asks what would have become of a range of the past, after `from` and until `to` (now if it is absent), under other settings.

    Fields that are absent stay as they were. `cronExpression`, `timezone` and `jitterSec` change the schedule `triggerId`, or
    all of them; the other fields change the routine. `maxRunDurationSec: null` lifts the limit. Nothing is recorded.
    """

    from_: datetime = msgspec.field(name="from")
    to: datetime | None = None
    trigger_id: UUID | UnsetType = UNSET
    cron_expression: CronText | UnsetType = UNSET
    timezone: Zone | UnsetType = UNSET
    jitter_sec: Jitter | UnsetType = UNSET
    concurrency_policy: ConcurrencyPolicy | UnsetType = UNSET
    catch_up_policy: CatchUpPolicy | UnsetType = UNSET
    max_run_duration_sec: RunDuration | None | UnsetType = UNSET


class CompanyWhatIf(Body, frozen=True):
    """
    Asks the same of all routines of a company that are not archived: what if all their schedules, or all of them, had these
    settings. Nothing is recorded.
    """

    from_: datetime = msgspec.field(name="from")
    to: datetime | None = None
    timezone: Zone | UnsetType = UNSET
    jitter_sec: Jitter | UnsetType = UNSET
    concurrency_policy: ConcurrencyPolicy | UnsetType = UNSET
    catch_up_policy: CatchUpPolicy | UnsetType = UNSET
    max_run_duration_sec: RunDuration | None | UnsetType = UNSET
