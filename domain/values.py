"""
The values that events carry and that decisions compare. Their names and limits are those of the Paperclip contract,
sections 2, 4 and 7.
"""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

RoutineStatus = Literal["active", "paused", "archived"]
Priority = Literal["critical", "high", "medium", "low"]
# The last is our addition: a firing cancels what is live and opens its own.
ConcurrencyPolicy = Literal["coalesce_if_active", "skip_if_active", "always_enqueue", "cancel_previous"]
CatchUpPolicy = Literal["skip_missed", "enqueue_missed_with_cap"]
ActivityGatePolicy = Literal["always", "require_external_activity"]
ActivityGateScope = Literal["company", "project"]
VariableType = Literal["text", "textarea", "number", "boolean", "select", "date"]
TriggerKind = Literal["schedule", "webhook", "api", "chain"]  # the last is our addition
ChainOutcome = Literal["succeeded", "failed", "any"]  # after which ends of a run a chain goes on
SigningMode = Literal["bearer", "hmac_sha256", "github_hmac", "none", "standard_webhooks"]  # the last is our addition
Overlap = Literal["one_at_a_time", "policy"]  # how runs of a backfill overlap: not at all, or by the routine's policy
RunSource = Literal["schedule", "manual", "api", "webhook", "chain"]
IssueStatus = Literal["backlog", "todo", "in_progress", "in_review", "done", "blocked", "cancelled"]
FreedReason = Literal["lease_over", "forced"]  # why an issue was taken from the work session that had it
AgentStatus = Literal["idle", "active", "running", "paused", "error", "pending_approval", "terminated"]
AgentRole = Literal[
    "ceo", "cto", "cmo", "cfo", "security", "engineer", "designer", "pm", "qa", "devops", "researcher", "general"
]
ProjectStatus = Literal["backlog", "planned", "in_progress", "completed", "cancelled"]
GoalLevel = Literal["company", "team", "agent", "task"]
GoalStatus = Literal["planned", "active", "achieved", "cancelled"]
MemberRole = Literal["owner", "admin", "member", "auditor", "viewer"]
CadenceType = Literal["manual", "hourly", "daily", "weekdays", "weekly"]
DayOfWeek = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
TrajectoryStatus = Literal["pending", "running", "completed", "failed", "cancelled", "archived"]
DeliveryKind = Literal["webhook", "heartbeat", "callback"]
FailureCause = Literal["failure", "timed_out"]  # the agent reported a failure; the attempt lasted too long

AlertKind = Literal["failing", "missed", "overdue", "untaken", "stuck"]
IfUnanswered = Literal["skip", "fire"]  # what becomes of an occurrence whose probe nobody answers
ProbeVerdict = Literal["passed", "failed", "unanswered"]

Scalar = str | int | float | bool
Json = dict[str, object]  # a JSON object as the client sent it; the service does not interpret it

# What people have written, sent or are called, in the events that carry it: it can be erased (domain/erasure.py).
ERASABLE = "erasable"
Text = Annotated[str, ERASABLE]
Payload = Annotated[Json, ERASABLE]


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A value without identity: two are equal when their fields are equal."""


class Session(Value, frozen=True):
    """
    Makes a user's key a session of the board, or a link that opens one: it is good no longer than the key it rests on,
    and until the user signs out everywhere.
    """

    rests_on: UUID
    user_version: int  # of the user's stream when it was issued
    is_link: bool = False  # the key of a link to sign in, which only opens one session


class Variable(Value, frozen=True, rename="camel"):
    """One declared template variable of a routine (contract 2.1)."""

    name: str
    label: str | None = None
    type: VariableType = "text"
    default_value: str | int | float | bool | None = None
    required: bool = True
    options: tuple[str, ...] = ()


class Cadence(Value, frozen=True):
    """When a call of a task recurs, in UTC (Jetty contract 3)."""

    type: CadenceType
    hour_utc: int | None = None
    minute_utc: int = 0
    day_of_week: DayOfWeek | None = None


class Sealed(Value, frozen=True):
    """Secrets by name: the names, which may be shown, and the id of the one vault record that holds their values."""

    id: UUID
    names: Annotated[tuple[str, ...], ERASABLE]


class Callback(Value, frozen=True):
    """
    The URL that is called when a trajectory has ended, and the vault's id of the secret that signs the call (None:
    unsigned). A routine may have the secret before it has a URL; then nothing is called.
    """

    url: Text | None
    secret_id: UUID | None = None


class TaskCall(Value, frozen=True):
    """What a routine that calls a task has besides its settings (Jetty contract 2.1)."""

    task_id: UUID
    name: Text  # the routine's name within the task
    cadence: Cadence
    overrides: Payload = {}
    secrets: Sealed | None = None
    callback: Callback | None = None


class TaskDetails(Value, frozen=True):
    """What can be edited on a task. Its workflow is an object of `init_params`, `step_configs` and `steps`."""

    name: Text
    description: Text | None = None
    workflow: Payload = {}


class RetryPolicy(Value, frozen=True, rename="camel"):
    """Which failures of a run are followed by another attempt, how many attempts there are, and the pauses between them."""

    max_attempts: int  # the first one counts
    backoff_seconds: int  # the pause after the first attempt
    backoff_factor: float = 2.0  # each further pause is so many times as long
    max_backoff_seconds: int = 3_600
    retry_on: tuple[FailureCause, ...] = ("failure", "timed_out")


class AlertBounds(Value, frozen=True, rename="camel"):
    """Beyond which bounds a routine is in trouble, so that it is an alert; None: never."""

    untaken_after_sec: int | None = 3_600  # since its work is to do
    stuck_after_sec: int | None = 21_600  # since somebody has begun to work on it
    overdue_after_sec: int | None = None  # since the planned moment, or the firing, until the run has ended
    missed_in_a_row: int | None = 3  # occurrences of a schedule


class RoutineEnvironment(Value, frozen=True):
    """
    The environment variables that a routine's work gets: some have values of their own, which the vault holds, others
    are bound to variables of the company's environment, whose names they refer to.
    """

    sealed: Sealed | None = None
    references: Annotated[dict[str, str], ERASABLE] = {}


class Budget(Value, frozen=True, rename="camel"):
    """What runs may cost, in millionths, within so many seconds before a firing."""

    max_cost_micros: int
    window_sec: int


class OverBudget(Value, frozen=True):
    """
    What a skipped firing rests on: whose budget was used up, how much was spent of how much in which window, and when
    enough of it is over if nothing is added (None: never).
    """

    owner: Literal["routine", "agent", "company"]
    spent_micros: int
    max_cost_micros: int
    window_sec: int
    frees_at: datetime | None = None


class JsonCondition(Value, frozen=True, rename="camel"):
    """What the JSON of an answer must hold: this value at this path, whose steps are joined by dots."""

    path: Text
    equals: Annotated[Scalar, ERASABLE] | None


class Probe(Value, frozen=True, rename="camel"):
    """A condition that must hold before an occurrence of a schedule fires: what a GET of a URL answers."""

    url: Text
    status: int | None = None  # None: any from 200 to 299
    json: JsonCondition | None = None
    if_unanswered: IfUnanswered = "skip"


class ProbeFinding(Value, frozen=True, rename="camel"):
    """What a probe has found. It has nothing of the answer but the status and, cut, the one value that it looks at."""

    verdict: ProbeVerdict
    status: int | None = None
    found: Text | None = None  # JSON of the value at the path
    reason: str | None = None  # why it did not pass, in words of our own
    took_ms: int | None = None  # None: nobody has asked


class RoutineSettings(Value, frozen=True):
    """Everything that a revision of a routine holds, except its triggers."""

    title: Text
    description: Text | None = None
    assignee_agent_id: UUID | None = None
    project_id: UUID | None = None
    goal_id: UUID | None = None
    parent_issue_id: UUID | None = None
    priority: Priority = "medium"
    status: RoutineStatus = "active"
    concurrency_policy: ConcurrencyPolicy = "coalesce_if_active"
    catch_up_policy: CatchUpPolicy = "skip_missed"
    variables: Annotated[tuple[Variable, ...], ERASABLE] = ()
    max_run_duration_sec: int | None = None  # of each attempt; None: no limit
    retry_policy: RetryPolicy | None = None  # None: a failure is final
    alert_bounds: AlertBounds = AlertBounds()
    activity_gate_policy: ActivityGatePolicy = "always"  # whether occurrences fire only if something has happened
    activity_gate_scope: ActivityGateScope = "company"  # whether activity counts in the whole company, or its project
    env: RoutineEnvironment | None = None
    folder_id: UUID | None = None  # the folder in which lists show the routine; nothing else depends on it
    pause_note: Text | None = None  # what people say about a paused routine
    resume_at: datetime | None = None  # when a paused routine resumes by itself
    bulk_pause_id: UUID | None = None  # the bulk pause that has paused it; None if it was paused in any other way
    call: TaskCall | None = None  # set when the routine calls a task and so opens no issues
    budget: Budget | None = None  # what its runs may cost; None: the routine has no bound of its own
    probe: Probe | None = None  # the condition that must hold before an occurrence of its schedules fires


class TriggerSettings(Value, frozen=True):
    """What can be edited on a trigger; fields that belong to another kind of trigger are None."""

    label: Text | None = None
    enabled: bool = True
    cron_expression: str | None = None
    timezone: str | None = None
    run_at: datetime | None = None  # runs once, instead of by a cron expression
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    excluded_dates: tuple[date, ...] = ()  # dates in `timezone`
    jitter_sec: int = 0
    signing_mode: SigningMode | None = None
    replay_window_sec: int | None = None
    after_routine_id: UUID | None = None  # a chain fires when a run of this routine has ended
    after_outcome: ChainOutcome | None = None  # how a run of that routine must have ended


class Webhook(Value, frozen=True):
    """The address at which a webhook trigger is called, and the vault's id of the secret that its callers must know."""

    public_id: str
    secret_id: UUID


class TriggerState(Value, frozen=True):
    """What a revision of a routine holds of a trigger; it never holds a secret."""

    kind: TriggerKind
    settings: TriggerSettings = TriggerSettings()
    public_id: str | None = None


class Workspace(Value, frozen=True):
    """Where the agent is to work on an execution issue. It is passed on as the client sent it (contract 5.1)."""

    id: UUID | None = None
    preference: Text | None = None
    settings: Payload | None = None
    project_workspace_id: UUID | None = None


class AgentProfile(Value, frozen=True):
    """What can be edited on an agent."""

    name: Text
    role: AgentRole = "general"
    title: Text | None = None
    reports_to: UUID | None = None
    adapter_type: str = "process"
    adapter_config: Payload = {}
    metadata: Payload | None = None
    budget_monthly_cents: int = 0
    heartbeat_url: Text | None = None  # called when an issue is opened for the agent
    budget: Budget | None = None  # of the runs that it works on


class EndpointSettings(Value, frozen=True):
    """What can be edited on a webhook endpoint of a company."""

    url: Text
    events: tuple[str, ...]  # stored names; `run.*` means all that begin with `run.`, `*` means all
    description: Text | None = None
    ordered: bool = False  # whether each delivery waits for the previous one
    enabled: bool = True


class ProjectDetails(Value, frozen=True):
    """What can be edited on a project."""

    name: Text
    description: Text | None = None
    status: ProjectStatus = "backlog"
    goal_id: UUID | None = None
    lead_agent_id: UUID | None = None
    target_date: str | None = None
    color: str | None = None


class GoalDetails(Value, frozen=True):
    """What can be edited on a goal."""

    title: Text
    description: Text | None = None
    level: GoalLevel = "task"
    status: GoalStatus = "planned"
    parent_id: UUID | None = None
    owner_agent_id: UUID | None = None


class FolderDetails(Value, frozen=True):
    """What can be edited on a folder of routines."""

    name: Text
    parent_id: UUID | None = None


class CompanyDetails(Value, frozen=True):
    """What can be edited on a company."""

    name: Text
    description: Text | None = None
    budget: Budget | None = None  # of all its runs


class IssueDetails(Value, frozen=True):
    """What can be edited on an issue, except its status."""

    title: Text
    description: Text | None = None
    priority: Priority = "medium"
    assignee_agent_id: UUID | None = None
    project_id: UUID | None = None
    goal_id: UUID | None = None
    parent_id: UUID | None = None


class Opened(Value, frozen=True, tag="issue_created"):
    """The firing opened an execution issue."""

    issue_id: UUID


class Started(Value, frozen=True, tag="trajectory_started"):
    """The firing called a task."""

    trajectory_id: UUID


class Coalesced(Value, frozen=True, tag="coalesced"):
    """The firing met a live execution issue and was joined to it."""

    issue_id: UUID
    into_run_id: UUID | None


class Skipped(Value, frozen=True, tag="skipped"):
    """
    The firing met a live execution issue, which is named, or there is a `reason`: its project was paused (`paused`),
    nothing had happened since the last run (`no_external_activity`), a later occurrence that was due as well, with the
    run `into_run_id`, took its place (`superseded`), a budget was used up (`over_budget`, with `budget`), a probe did not
    pass or was not answered (`probe_failed`, `probe_unanswered`), or a chain could not go on.
    """

    issue_id: UUID | None = None
    into_run_id: UUID | None = None
    reason: str | None = None
    budget: OverBudget | None = None


class Failed(Value, frozen=True, tag="failed"):
    """No issue could be opened."""

    reason: Text


Outcome = Opened | Started | Coalesced | Skipped | Failed


class LiveWork(Value, frozen=True):
    """An open execution issue of a routine, or an open trajectory of one that calls a task, and the run that opened it."""

    issue_id: UUID
    run_id: UUID
