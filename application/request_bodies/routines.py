"""The bodies about routines: their settings, and what is asked of one or of many."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application.request_bodies.budgets import BudgetDraft
from application.request_bodies.fields import (
    AlertBound,
    Attempts,
    Backoff,
    BackoffFactor,
    Body,
    Description,
    FailureCauses,
    IdempotencyKey,
    JsonPath,
    Label,
    MissedOccurrences,
    Name,
    Note,
    Object,
    Option,
    Payload,
    ProbedText,
    RunDuration,
    RunVariables,
    Title,
    Url,
    VariableName,
)
from application.request_bodies.triggers import TriggerDraft
from domain.routines import variables
from domain.values import (
    ActivityGatePolicy,
    ActivityGateScope,
    AlertBounds,
    CatchUpPolicy,
    ConcurrencyPolicy,
    IfUnanswered,
    JsonCondition,
    Overlap,
    Priority,
    Probe,
    RetryPolicy,
    RoutineStatus,
    Variable,
    VariableType,
)


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
