"""The JSON objects that clients read (contract 2 to 7). Times are ISO 8601 in UTC, with milliseconds and Z."""

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from domain.disclosure import MASK
from domain.values import (
    ActivityGatePolicy,
    ActivityGateScope,
    AgentRole,
    AgentStatus,
    AlertBounds,
    Budget,
    CatchUpPolicy,
    ChainOutcome,
    ConcurrencyPolicy,
    GoalLevel,
    GoalStatus,
    IssueStatus,
    Json,
    MemberRole,
    Priority,
    Probe,
    ProbeFinding,
    ProjectStatus,
    RetryPolicy,
    RoutineEnvironment,
    RoutineSettings,
    RoutineStatus,
    RunSource,
    SigningMode,
    TriggerKind,
    TriggerSettings,
    Variable,
)

RunStatus = Literal["received", "coalesced", "skipped", "issue_created", "completed", "failed"]


class ResponseBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A JSON object in which every field is always there; "or null" means JSON null."""


@lru_cache(maxsize=1_000)  # what is recorded together has the same moment
def time(moment: datetime) -> str:
    """Return a moment as clients read it: `2026-11-22T01:05:39.330Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_or_none(moment: datetime | None) -> str | None:
    """Return a moment as `time` does, and None for None."""
    return None if moment is None else time(moment)


def routine_settings(settings: RoutineSettings) -> dict[str, Any]:
    """
    Return the settings of a routine by their names, with moments as clients read them.

    How the routine calls a task is left out: only Jetty's clients read that. So is which bulk pause has paused it.
    """
    fields = msgspec.structs.asdict(settings)
    fields |= {"resume_at": time_or_none(settings.resume_at), "env": _bindings(settings.env)}
    del fields["call"], fields["bulk_pause_id"]
    return fields


def _bindings(env: RoutineEnvironment | None) -> "dict[str, EnvBinding] | None":
    if env is None:
        return None
    names = env.sealed.names if env.sealed else ()
    own = {name: EnvBinding(type="plain", value=MASK) for name in names}
    return own | {name: EnvBinding(type="secret_ref", name=wanted) for name, wanted in env.references.items()}


def trigger_settings(settings: TriggerSettings) -> dict[str, Any]:
    """Return the settings of a trigger by their names, with moments as clients read them."""
    moments = {name: time_or_none(getattr(settings, name)) for name in ("run_at", "starts_at", "ends_at")}
    return msgspec.structs.asdict(settings) | moments


def text_or_none(id_: UUID | None) -> str | None:
    """Return an id as text, and None for None."""
    return None if id_ is None else str(id_)


def user_of(actor: str) -> str | None:
    """Return the id of the user that an actor is, as text; None if it is another kind of actor."""
    return actor.removeprefix("user:") if actor.startswith("user:") else None


def agent_of(actor: str) -> UUID | None:
    """Return the id of the agent that an actor is; None if it is another kind of actor."""
    return UUID(actor.removeprefix("agent:")) if actor.startswith("agent:") else None


class Company(ResponseBody, frozen=True, kw_only=True):
    """A company. `issuePrefix` and a number make the identifiers of its issues."""

    id: UUID
    name: str
    description: str | None
    status: Literal["active", "archived"] = "active"
    issue_prefix: str
    issue_counter: int = 0
    default_responsible_user_id: str | None = None
    budget_monthly_cents: int = 0
    spent_monthly_cents: int = 0
    require_board_approval_for_new_agents: bool = False
    budget: Budget | None = None
    created_at: str
    updated_at: str


class Membership(ResponseBody, frozen=True, kw_only=True):
    """A membership of a user in a company."""

    company_id: UUID
    membership_role: MemberRole
    status: str = "active"


class MemberFields(Membership, frozen=True, kw_only=True):
    """A membership with its user and the user's permissions."""

    user_id: UUID
    permissions: tuple[str, ...]
    created_at: str
    updated_at: str


class Member(MemberFields, frozen=True, kw_only=True):
    """A member of a company, with the user's name and email address."""

    name: str
    email: str | None


class AssigneeSummary(ResponseBody, frozen=True, kw_only=True):
    """An agent as a routine that is assigned to it shows it."""

    id: UUID
    name: str
    role: AgentRole
    title: str | None
    url_key: str


class Agent(AssigneeSummary, frozen=True, kw_only=True):
    """An agent of a company. A heartbeat is sent to `heartbeatUrl`, if there is one, when work waits for the agent."""

    company_id: UUID
    status: AgentStatus
    reports_to: UUID | None
    adapter_type: str
    adapter_config: dict[str, Any]
    paused_at: str | None = None
    pause_reason: str | None = None
    permissions: dict[str, Any] = {}
    budget_monthly_cents: int = 0
    spent_monthly_cents: int = 0
    metadata: dict[str, Any] | None = None
    heartbeat_url: str | None = None
    budget: Budget | None = None
    created_at: str
    updated_at: str


class Project(ResponseBody, frozen=True, kw_only=True):
    """A project of a company. While `pausedAt` is set, it is paused."""

    id: UUID
    company_id: UUID
    goal_id: UUID | None
    name: str
    description: str | None
    status: ProjectStatus
    lead_agent_id: UUID | None
    target_date: str | None
    color: str | None
    paused_at: str | None = None
    pause_reason: str | None = None
    archived_at: str | None = None
    url_key: str
    goal_ids: tuple[UUID, ...] = ()
    created_at: str
    updated_at: str


class Goal(ResponseBody, frozen=True, kw_only=True):
    """A goal of a company."""

    id: UUID
    company_id: UUID
    title: str
    description: str | None
    level: GoalLevel
    status: GoalStatus
    parent_id: UUID | None
    owner_agent_id: UUID | None
    created_at: str
    updated_at: str


class Folder(ResponseBody, frozen=True, kw_only=True):
    """A folder of routines; it lies in the folder `parentId`, if that is not null."""

    id: UUID
    company_id: UUID
    name: str
    parent_id: UUID | None
    created_at: str
    updated_at: str


class BoardKey(ResponseBody, frozen=True, kw_only=True):
    """A key of a user. The key itself is never shown here."""

    id: UUID
    name: str
    created_at: str
    last_used_at: str | None = None
    revoked_at: str | None = None
    expires_at: str | None = None


class KeyScope(ResponseBody, frozen=True, kw_only=True):
    """The scope of an agent's key, which is always `standard`."""

    kind: str = "standard"


class AgentKey(ResponseBody, frozen=True, kw_only=True):
    """A key of an agent. The key itself is never shown here."""

    id: UUID
    name: str
    scope: KeyScope = KeyScope()
    responsible_user_id: str | None = None
    issued_by_user_id: str | None = None  # not in Paperclip
    created_at: str
    revoked_at: str | None = None
    expires_at: str | None = None  # not in Paperclip


class CompanyKey(ResponseBody, frozen=True, kw_only=True):
    """
    A key of one of the company's agents, or one that is bound to it as a collection.

    This object is ours: Paperclip does not have it.
    """

    id: UUID
    kind: Literal["agent", "collection"]
    name: str
    agent_id: UUID | None  # the agent whose key it is; null if it is the collection's
    issued_by_user_id: str | None
    created_at: str
    last_used_at: str | None = None
    revoked_at: str | None = None
    expires_at: str | None


class IssueSummary(ResponseBody, frozen=True, kw_only=True):
    """An issue as other objects show it."""

    id: UUID
    identifier: str
    title: str
    status: IssueStatus
    priority: Priority
    updated_at: str


class Issue(IssueSummary, frozen=True, kw_only=True):
    """
    An issue.

    `checkoutLeaseUntil` is when it is taken from the work session that has it, unless the session renews its lease before.
    `checkoutCount` is how often it was checked out. Its `originKind` is `routine_execution` if a run has opened it: then `originId` is the routine, `originRunId` the run
    and `originPlannedAt` the planned moment of the occurrence that it is for, if a schedule or a backfill fired it.
    """

    company_id: UUID
    project_id: UUID | None
    goal_id: UUID | None
    parent_id: UUID | None
    description: str | None
    assignee_agent_id: UUID | None
    assignee_user_id: str | None = None
    checkout_run_id: UUID | None = None
    execution_run_id: UUID | None = None
    checkout_lease_until: str | UnsetType = UNSET  # not in Paperclip; only a checkout with a lease has it
    checkout_count: int | UnsetType = UNSET  # not in Paperclip; only an issue that was checked out has it
    created_by_agent_id: UUID | None
    created_by_user_id: str | None
    responsible_user_id: str | None = None
    issue_number: int
    origin_kind: Literal["manual", "routine_execution"]
    origin_id: UUID | None
    origin_run_id: UUID | None
    origin_planned_at: str | UnsetType = UNSET  # not in Paperclip; only an issue of an occurrence has it
    origin_fingerprint: str = "default"
    started_at: str | None = None
    completed_at: str | None = None
    cancelled_at: str | None = None
    hidden_at: str | None = None
    created_at: str
    labels: tuple[str, ...] = ()
    blocked_by: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    execution_workspace_id: UUID | None = None
    execution_workspace_preference: str | None = None
    execution_workspace_settings: Json | None = None
    project_workspace_id: UUID | None = None

    def summary(self) -> IssueSummary:
        """Return the fields by which other objects show the issue."""
        return IssueSummary(
            id=self.id,
            identifier=self.identifier,
            title=self.title,
            status=self.status,
            priority=self.priority,
            updated_at=self.updated_at,
        )


class Comment(ResponseBody, frozen=True, kw_only=True):
    """A comment on an issue, by an agent, a user or the system."""

    id: UUID
    company_id: UUID
    issue_id: UUID
    author_agent_id: UUID | None
    author_user_id: str | None
    author_type: Literal["agent", "user", "system"]
    created_by_run_id: UUID | None
    body: str
    created_at: str
    updated_at: str


class LastRefusal(ResponseBody, frozen=True, kw_only=True):
    """The last call of a webhook that was refused: the status of the answer, why, and from which network."""

    at: str
    status: int
    reason: str
    sender: str


class TriggerName(ResponseBody, frozen=True, kw_only=True):
    """A trigger as a run shows it."""

    id: UUID
    kind: TriggerKind
    label: str | None


class TriggerSummary(TriggerName, frozen=True, kw_only=True):
    """A trigger as the list of routines shows it."""

    enabled: bool
    cron_expression: str | None
    timezone: str | None
    next_run_at: str | None
    due_at: str | None = None  # not in Paperclip
    last_fired_at: str | None = None
    last_result: str | None = None


class Trigger(TriggerSummary, frozen=True, kw_only=True):
    """
    A trigger of a routine. Only a schedule has a `nextRunAt`, the planned moment of its next occurrence, and a `dueAt`,
    when that comes due: later by its jitter. Only a webhook has a `publicId` and a `secretId`; the secret before the present
    one is accepted until `oldSecretUntil`, null if not at all. Only a chain has an
    `afterRoutineId` and an `afterOutcome`: it fires when a run of that routine has ended so.
    """

    company_id: UUID
    routine_id: UUID
    run_at: str | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    excluded_dates: tuple[date, ...] = ()
    jitter_sec: int = 0
    public_id: str | None = None
    secret_id: UUID | None = None
    signing_mode: SigningMode | None = None
    replay_window_sec: int | None = None
    last_rotated_at: str | None = None
    old_secret_until: str | None = None  # not in Paperclip
    after_routine_id: UUID | None = None  # not in Paperclip
    after_outcome: ChainOutcome | None = None  # not in Paperclip
    created_by_agent_id: UUID | None
    created_by_user_id: str | None
    updated_by_agent_id: UUID | None
    updated_by_user_id: str | None
    created_at: str
    updated_at: str


class TriggerDetail(Trigger, frozen=True, kw_only=True):
    """A trigger as its routine shows it. `lastRefusal` (our addition) is there if a call of a webhook was refused."""

    last_refusal: LastRefusal | UnsetType = UNSET


class OverBudget(ResponseBody, frozen=True, kw_only=True):
    """
    Why a firing was beyond a budget: whose it was, how much was spent of it in the window before, and when enough of that
    is over if nothing is added (null: never). Amounts are millionths of a currency unit.
    """

    owner: Literal["routine", "agent", "company"]
    spent_micros: int
    max_cost_micros: int
    window_sec: int
    frees_at: str | None


class RunFields(ResponseBody, frozen=True, kw_only=True):
    """
    The fields of a run that every answer has. `plannedAt` is the planned moment of the occurrence that the run is for; it
    is there only when a schedule planned it. `backfillId` is there only when the run made up for an occurrence,
    `causeRunId` only when a chain fired it, at the end of that run, `costMicros` (in millionths), `inputTokens` and
    `outputTokens` only when they were reported, `budget` only when a used-up budget kept it from beginning,
    `probe` (what the probe of its routine had found) only when that was asked, in lists `attempt` and `maxAttempts`
    only when there may be several attempts, and `triggerPayloadBytes` only when the payload is so large that its largest fields are left out; `getRun` has it whole.
    """

    id: UUID
    company_id: UUID
    routine_id: UUID
    trigger_id: UUID | None
    source: RunSource
    status: RunStatus
    triggered_at: str
    routine_revision_id: UUID | None
    idempotency_key: str | None
    trigger_payload: Json | None
    trigger_payload_bytes: int | UnsetType = UNSET  # not in Paperclip; only where the payload is not shown whole
    dispatch_fingerprint: str | None
    linked_issue_id: UUID | None
    coalesced_into_run_id: UUID | None
    failure_reason: str | None
    completed_at: str | None
    created_at: str
    updated_at: str
    planned_at: str | UnsetType = UNSET  # not in Paperclip; only a run of an occurrence has it
    backfill_id: UUID | UnsetType = UNSET  # not in Paperclip; only a run of a backfill has it
    cause_run_id: UUID | UnsetType = UNSET  # not in Paperclip; only a run that a chain fired has it
    cost_micros: int | UnsetType = UNSET  # these three are not in Paperclip
    input_tokens: int | UnsetType = UNSET
    output_tokens: int | UnsetType = UNSET
    budget: OverBudget | UnsetType = UNSET  # not in Paperclip; only a run that was skipped for a budget has it
    probe: ProbeFinding | UnsetType = UNSET  # not in Paperclip; only a run for which a probe was asked has it
    attempt: int | UnsetType = UNSET  # not in Paperclip; in lists only a run that may have several attempts has these
    max_attempts: int | UnsetType = UNSET


class Run(RunFields, frozen=True, kw_only=True):
    """A run: one firing of a routine and its outcome."""

    responsible_user_id: str | None = None


class RunAttempt(ResponseBody, frozen=True, kw_only=True):
    """An attempt of a run: when it began and ended, its outcome, and why it failed. `live` is one that has not ended."""

    attempt: int
    outcome: Literal["live", "completed", "failed"] = "live"
    reason: str | None = None
    begun_at: str
    ended_at: str | None = None


class RunDetail(Run, frozen=True, kw_only=True):
    """
    A run as it is read by its id, with what Paperclip does not have.

    `deadline` is when its attempt fails unless its work is done, if its routine bounds that. `attempt` is the number of its
    newest attempt, of at most `maxAttempts`; `nextAttemptAt` is when the next one begins, if it waits for one.
    `successorRunId` is the run that took its place under the policy cancel_previous. `outputs` are what was reported of
    it; those of a trajectory are in its steps.
    """

    deadline: str | None = None
    attempt: int = 1
    max_attempts: int = 1
    next_attempt_at: str | None = None
    attempts: list[RunAttempt] = []
    successor_run_id: UUID | None = None
    outputs: Json | None = None


class RunSummary(RunFields, frozen=True, kw_only=True):
    """A run as lists show it, with its issue and its trigger."""

    linked_issue: IssueSummary | None
    trigger: TriggerName | None


class EnvBinding(ResponseBody, frozen=True, kw_only=True):
    """
    A variable of a routine's environment. Of a `plain` one the `value` is masked (`***`); a `secret_ref` is bound to the
    variable `name` of the company's environment.
    """

    type: Literal["plain", "secret_ref"]
    value: str | UnsetType = UNSET
    name: str | UnsetType = UNSET


class RoutineFields(ResponseBody, frozen=True, kw_only=True):
    """The fields of a routine that every answer has."""

    id: UUID
    company_id: UUID
    title: str
    description: str | None
    project_id: UUID | None
    goal_id: UUID | None
    parent_issue_id: UUID | None
    assignee_agent_id: UUID | None
    priority: Priority
    status: RoutineStatus
    concurrency_policy: ConcurrencyPolicy
    catch_up_policy: CatchUpPolicy
    variables: tuple[Variable, ...]
    max_run_duration_sec: int | None = None
    retry_policy: RetryPolicy | None = None
    alert_bounds: AlertBounds = AlertBounds()
    budget: Budget | None = None
    probe: Probe | None = None
    pause_note: str | None = None
    resume_at: str | None = None
    latest_revision_id: UUID
    latest_revision_number: int
    created_by_agent_id: UUID | None
    created_by_user_id: str | None
    updated_by_agent_id: UUID | None
    updated_by_user_id: str | None
    responsible_user_id: str | None
    last_triggered_at: str | None = None
    last_enqueued_at: str | None = None
    created_at: str
    updated_at: str
    folder_id: UUID | None = None
    env: dict[str, EnvBinding] | None = None
    origin_id: None = None
    origin_kind: Literal["manual"] = "manual"
    activity_gate_policy: ActivityGatePolicy = "always"
    activity_gate_scope: ActivityGateScope = "company"


class Routine(RoutineFields, frozen=True, kw_only=True):
    """A routine: work that recurs."""

    pass  # noqa: PIE790 the digest of the read model `routines` counts it


class RoutineListItem(RoutineFields, frozen=True, kw_only=True):
    """A routine as the list shows it, with its triggers, its last run and its active issue."""

    managed_by_plugin: None = None
    triggers: list[TriggerSummary]
    last_run: RunSummary | None
    active_issue: IssueSummary | None


class RoutineSnapshot(ResponseBody, frozen=True, kw_only=True):
    """The state of a routine at a revision."""

    id: UUID
    company_id: UUID
    project_id: UUID | None
    goal_id: UUID | None
    parent_issue_id: UUID | None
    title: str
    description: str | None
    assignee_agent_id: UUID | None
    priority: Priority
    status: RoutineStatus
    concurrency_policy: ConcurrencyPolicy
    catch_up_policy: CatchUpPolicy
    activity_gate_policy: ActivityGatePolicy = "always"
    activity_gate_scope: ActivityGateScope = "company"
    folder_id: UUID | None = None
    variables: tuple[Variable, ...]
    max_run_duration_sec: int | None = None
    retry_policy: RetryPolicy | None = None
    alert_bounds: AlertBounds = AlertBounds()
    budget: Budget | None = None
    probe: Probe | None = None
    pause_note: str | None = None
    resume_at: str | None = None
    env: dict[str, EnvBinding] | None = None
    responsible_user_id: str | None


class TriggerSnapshot(ResponseBody, frozen=True, kw_only=True):
    """The state of a trigger at a revision."""

    id: UUID
    kind: TriggerKind
    label: str | None
    enabled: bool
    cron_expression: str | None
    timezone: str | None
    run_at: str | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    excluded_dates: tuple[date, ...] = ()
    jitter_sec: int = 0
    public_id: str | None
    signing_mode: SigningMode | None
    replay_window_sec: int | None
    after_routine_id: UUID | None = None
    after_outcome: ChainOutcome | None = None


class Snapshot(ResponseBody, frozen=True, kw_only=True):
    """A routine and its triggers at a revision; it never holds a secret."""

    version: Literal[1] = 1
    routine: RoutineSnapshot
    triggers: list[TriggerSnapshot]


class Revision(ResponseBody, frozen=True, kw_only=True):
    """A revision of a routine: its state after one of its changes."""

    id: UUID
    company_id: UUID
    routine_id: UUID
    revision_number: int
    title: str
    description: str | None
    snapshot: Snapshot
    change_summary: str
    restored_from_revision_id: UUID | None
    created_by_agent_id: UUID | None
    created_by_user_id: str | None
    created_by_run_id: str | None
    responsible_user_id: str | None
    created_at: str


class RoutineDetail(RoutineFields, frozen=True, kw_only=True):
    """
    A routine with its triggers, its newest runs, and what it refers to.

    `activeIssue` is its open execution issue that changed last.
    """

    managed_by_plugin: None = None
    project: Project | None
    assignee: AssigneeSummary | None
    parent_issue: Issue | None
    triggers: list[TriggerDetail]
    recent_runs: list[RunSummary]
    active_issue: Issue | None
