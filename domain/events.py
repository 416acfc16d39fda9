"""
Everything that can happen, by aggregate. The tag is the stored name: a promise that never changes its meaning.

A field may be added with a default; anything else is a new event with a new tag.
"""

from datetime import datetime
from typing import get_args
from uuid import UUID

import msgspec
import msgspec.inspect

from domain.values import (
    AgentProfile,
    AgentStatus,
    Callback,
    CompanyDetails,
    DeliveryKind,
    EndpointSettings,
    GoalDetails,
    IssueDetails,
    IssueStatus,
    Json,
    LiveWork,
    MemberRole,
    Outcome,
    Overlap,
    ProjectDetails,
    RoutineSettings,
    RunSource,
    Sealed,
    TaskDetails,
    TrajectoryStatus,
    TriggerKind,
    TriggerSettings,
    TriggerState,
    Webhook,
    Workspace,
)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact. Its stream, time, actor and company are on the envelope."""


# Access: users, their memberships, the keys they and the agents hold, names that may be given once


class UserRegistered(Event, frozen=True, tag="user.registered"):
    """A person may act on the board."""

    name: str
    email: str | None = None
    instance_admin: bool = False


class MemberJoined(Event, frozen=True, tag="member.joined"):
    """A user may act in a company."""

    user_id: UUID
    role: MemberRole
    permissions: tuple[str, ...] = ("tasks:assign",)


class MemberChanged(Event, frozen=True, tag="member.changed"):
    """Their role or permissions in the company changed."""

    role: MemberRole
    permissions: tuple[str, ...]
    revokes_keys: bool = False  # as in MemberRemoved


class MemberRemoved(Event, frozen=True, tag="member.removed"):
    """The user may not act in the company any more; they may join again."""

    revokes_keys: bool = False  # the keys of agents and of the collection that they issued until now are unknown


class KeyIssued(Event, frozen=True, tag="key.issued"):
    """A bearer token was handed out, to a user, an agent or a collection. Its stream follows from its SHA-256."""

    name: str
    user_id: UUID | None = None
    agent_id: UUID | None = None
    expires_at: datetime | None = None  # None: never
    collection_id: UUID | None = None  # the company that it is bound to
    prefix: str | None = None  # the part of the token that may be shown
    issuer_version: int = 0  # of the issuer's membership, on which a key of an agent or a collection rests


class KeyRevoked(Event, frozen=True, tag="key.revoked"):
    """The token is unknown from now on."""


class NameClaimed(Event, frozen=True, tag="name.claimed"):
    """
    A name is taken within a scope: an issue prefix, an email in a company, an agent's short name, a webhook's address.

    Older ones in the scope `email` are of all companies; they mean nothing any more, since nobody had proved them.
    """

    scope: str
    name: str
    holder_id: UUID


class NameReleased(Event, frozen=True, tag="name.released"):
    """The name is free again: a task's or a routine's that was renamed or deleted."""


# Company, agent, project, goal


class CompanyCreated(Event, frozen=True, tag="company.created"):
    """A company opens."""

    details: CompanyDetails
    issue_prefix: str


class CompanyUpdated(Event, frozen=True, tag="company.updated"):
    """Its name or description changed."""

    details: CompanyDetails


class CompanyArchived(Event, frozen=True, tag="company.archived"):
    """The company is marked as retired; its routines are archived one by one."""


class CompanyNamed(Event, frozen=True, tag="company.named"):
    """The name by which Jetty's clients know it as a collection; no other company has it."""

    name: str


class CompanyEnvironmentChanged(Event, frozen=True, tag="company.environment_changed"):
    """The environment variables of its workers: their names, and where their values are kept; None: there are none."""

    environment: Sealed | None = None


class AgentCreated(Event, frozen=True, tag="agent.created"):
    """An agent joins a company."""

    profile: AgentProfile
    url_key: str
    status: AgentStatus = "idle"


class AgentUpdated(Event, frozen=True, tag="agent.updated"):
    """Its profile changed."""

    profile: AgentProfile


class AgentPaused(Event, frozen=True, tag="agent.paused"):
    """The agent takes no new work."""

    reason: str = "manual"


class AgentResumed(Event, frozen=True, tag="agent.resumed"):
    """The agent takes work again."""


class AgentApproved(Event, frozen=True, tag="agent.approved"):
    """An agent that waited for approval may work."""


class AgentTerminated(Event, frozen=True, tag="agent.terminated"):
    """The agent is gone for good; its keys are unknown from now on."""


class AgentHeartbeatSecretSet(Event, frozen=True, tag="agent.heartbeat_secret_set"):
    """Its heartbeats are signed with this secret of the vault, and until `old_until` with the one before, too."""

    secret_id: UUID
    old_until: datetime | None = None


class AgentHeartbeatStopped(Event, frozen=True, tag="agent.heartbeat_stopped"):
    """It gets no more heartbeats: its address said that it is gone (reason `gone`)."""

    reason: str


class ProjectCreated(Event, frozen=True, tag="project.created"):
    """A project starts."""

    details: ProjectDetails
    url_key: str


class ProjectUpdated(Event, frozen=True, tag="project.updated"):
    """Its details changed."""

    details: ProjectDetails


class ProjectPaused(Event, frozen=True, tag="project.paused"):
    """Schedules of its routines are suppressed."""

    reason: str = "manual"


class ProjectResumed(Event, frozen=True, tag="project.resumed"):
    """Schedules of its routines count again; nothing is made up for."""


class ProjectDeleted(Event, frozen=True, tag="project.deleted"):
    """The project is gone; issues that were in it keep its id."""


class GoalCreated(Event, frozen=True, tag="goal.created"):
    """A goal is set."""

    details: GoalDetails


class GoalUpdated(Event, frozen=True, tag="goal.updated"):
    """Its details changed."""

    details: GoalDetails


class GoalDeleted(Event, frozen=True, tag="goal.deleted"):
    """The goal is gone."""


# Routine and trigger: every event of a routine is one revision, numbered by its version. `next_at` is the next
# occurrence of a schedule, None when there is none; `due_at` is when it comes due, None: at that moment


class RoutineCreated(Event, frozen=True, tag="routine.created"):
    """Revision 1; the responsible user is the person who answers for what it does."""

    settings: RoutineSettings
    responsible_user_id: UUID | None = None


class RoutineUpdated(Event, frozen=True, tag="routine.updated"):
    """Its settings changed."""

    settings: RoutineSettings


class RoutineRestored(Event, frozen=True, tag="routine.restored"):
    """Its settings and its triggers are again what they were at an earlier revision."""

    from_revision: int
    settings: RoutineSettings
    triggers: dict[UUID, TriggerState]


class RoutineTriggerAdded(Event, frozen=True, tag="routine.trigger_added"):
    """It got a trigger; `state` is what a revision shows of it, None in events of before there were revisions."""

    trigger_id: UUID
    kind: TriggerKind
    state: TriggerState | None = None


class RoutineTriggerChanged(Event, frozen=True, tag="routine.trigger_changed"):
    """One of its triggers was edited; `state` as in RoutineTriggerAdded."""

    trigger_id: UUID
    kind: TriggerKind
    state: TriggerState | None = None


class RoutineSecretRotated(Event, frozen=True, tag="routine.secret_rotated"):
    """One of its webhook triggers got a new secret."""

    trigger_id: UUID


class RoutineTriggerRemoved(Event, frozen=True, tag="routine.trigger_removed"):
    """It lost a trigger."""

    trigger_id: UUID
    kind: TriggerKind


class TriggerCreated(Event, frozen=True, tag="trigger.created"):
    """A way to fire the routine; `next_at` is the next occurrence of a schedule, `webhook` where a webhook is called."""

    routine_id: UUID
    kind: TriggerKind
    settings: TriggerSettings
    next_at: datetime | None = None
    due_at: datetime | None = None
    webhook: Webhook | None = None


class TriggerUpdated(Event, frozen=True, tag="trigger.updated"):
    """Its settings changed; a schedule starts anew from then. `webhook` is set when another signing mode moved its secret."""

    settings: TriggerSettings
    next_at: datetime | None = None
    due_at: datetime | None = None
    webhook: Webhook | None = None


class TriggerSecretRotated(Event, frozen=True, tag="trigger.secret_rotated"):
    """Its webhook takes another secret, and the old one until `old_until` (None: no more)."""

    webhook: Webhook
    old_secret_id: UUID
    old_until: datetime | None = None


class TriggerRestored(Event, frozen=True, tag="trigger.restored"):
    """A deleted trigger is there again, by the restoring of a revision; a webhook has another address and secret."""

    routine_id: UUID
    kind: TriggerKind
    settings: TriggerSettings
    next_at: datetime | None = None
    due_at: datetime | None = None
    webhook: Webhook | None = None


class TriggerRescheduled(Event, frozen=True, tag="trigger.rescheduled"):
    """The routine was resumed: what passed meanwhile is no occurrence."""

    next_at: datetime | None
    due_at: datetime | None = None


class TriggerMissed(Event, frozen=True, tag="trigger.missed"):
    """
    The occurrences from first to last, `count` of them, did not run: they were too late and the policy said to drop them,
    the schedule was changed before they were settled, or (reason `over_quota`) their company had recorded too much. Then
    the schedule rests: what comes due before `rests_until` is settled at its end, unless the company is within its quotas
    sooner.
    """

    first: datetime
    last: datetime
    count: int
    reason: str
    next_at: datetime | None
    due_at: datetime | None = None
    rests_until: datetime | None = None


class TriggerDeleted(Event, frozen=True, tag="trigger.deleted"):
    """The trigger fires no more."""


# Backfill: occurrences of the past that are made up for


class BackfillRequested(Event, frozen=True, tag="backfill.requested"):
    """The `count` occurrences of a schedule from `since` to `until`, both included, are to run unless they have."""

    trigger_id: UUID
    routine_id: UUID
    since: datetime
    until: datetime
    count: int
    overlap: Overlap


class BackfillAdvanced(Event, frozen=True, tag="backfill.advanced"):
    """
    It has come to `reached`: `fired` more ran, `left_out` more had run. If it waits, it is for live work to end, or
    (over_quota) until its company has recorded less in a minute.
    """

    reached: datetime
    fired: int
    left_out: int
    waits: bool = False
    over_quota: bool = False


class BackfillCompleted(Event, frozen=True, tag="backfill.completed"):
    """Every occurrence of its range has been seen to."""


class BackfillCancelled(Event, frozen=True, tag="backfill.cancelled"):
    """No more of it is run: somebody said so (reason `cancelled`), or its routine cannot work any more."""

    reason: str


# Run, slot, issue


class RunFired(Event, frozen=True, tag="run.fired"):
    """One firing and its outcome, decided together. `occurrence`, `next_at` and `due_at` are set for schedules only."""

    routine_id: UUID
    revision: int  # of the routine, when it fired
    source: RunSource
    outcome: Outcome
    trigger_id: UUID | None = None
    occurrence: datetime | None = None  # the planned moment, not the actual one
    next_at: datetime | None = None
    due_at: datetime | None = None
    idempotency_key: str | None = None
    payload: Json | None = None
    responsible_user_id: UUID | None = None
    deadline: datetime | None = None  # when it fails unless its issue is done by then
    backfill_id: UUID | None = None  # what made up for the occurrence; the schedule itself does not move then

    @property
    def is_scheduled(self) -> bool:
        """Whether its schedule fired it when it was due, and goes on to `next_at`."""
        return self.occurrence is not None and self.backfill_id is None


class RunCompleted(Event, frozen=True, tag="run.completed"):
    """Its issue was done."""


class RunFailed(Event, frozen=True, tag="run.failed"):
    """Its issue was cancelled, by somebody or because it lasted too long (reason `timed_out`)."""

    reason: str


class SlotTaken(Event, frozen=True, tag="slot.taken"):
    """A routine has one more live execution issue."""

    routine_id: UUID
    live: LiveWork


class SlotFreed(Event, frozen=True, tag="slot.freed"):
    """One of its execution issues is open no more."""

    routine_id: UUID
    issue_id: UUID


class SlotCounted(Event, frozen=True, tag="slot.counted"):
    """All live execution issues, so that a reader need not go further back."""

    routine_id: UUID
    live: tuple[LiveWork, ...]


class IssueOpened(Event, frozen=True, tag="issue.opened"):
    """Work for an agent; a routine's execution issue names its routine and run."""

    details: IssueDetails
    status: IssueStatus
    routine_id: UUID | None = None
    run_id: UUID | None = None
    created_by_agent_id: UUID | None = None
    created_by_user_id: UUID | None = None
    workspace: Workspace | None = None


class IssueEdited(Event, frozen=True, tag="issue.edited"):
    """Its details changed."""

    details: IssueDetails


class IssueMoved(Event, frozen=True, tag="issue.moved"):
    """Its status changed."""

    status: IssueStatus


class IssueCheckedOut(Event, frozen=True, tag="issue.checked_out"):
    """An agent works on it, in the session `run_id`."""

    agent_id: UUID
    run_id: UUID | None


class IssueReleased(Event, frozen=True, tag="issue.released"):
    """Nobody works on it, and nobody is assigned."""


class CommentAdded(Event, frozen=True, tag="comment.added"):
    """Somebody wrote on an issue; without agent and user it was the system."""

    issue_id: UUID
    body: str
    agent_id: UUID | None = None
    user_id: UUID | None = None
    run_id: UUID | None = None


# Task, trajectory: what Jetty's clients call and get (Jetty contract 7)


class TaskCreated(Event, frozen=True, tag="task.created"):
    """Something that can be called."""

    details: TaskDetails


class TaskUpdated(Event, frozen=True, tag="task.updated"):
    """Its details changed."""

    details: TaskDetails


class TaskRoutineAdded(Event, frozen=True, tag="task.routine_added"):
    """A routine calls it."""

    routine_id: UUID


class TaskRoutineRemoved(Event, frozen=True, tag="task.routine_removed"):
    """A routine calls it no more."""

    routine_id: UUID


class TaskDeleted(Event, frozen=True, tag="task.deleted"):
    """The task is gone, and its routines with it; its trajectories stay."""


class TrajectoryOpened(Event, frozen=True, tag="trajectory.opened"):
    """A call of a task: by a routine (which names its run), by hand, or pushed when it was over already (`source`)."""

    task_id: UUID
    name: str  # <collection>/<task>, as they were called then
    workflow: Json  # the task's then
    init_params: Json = {}
    routine_id: UUID | None = None
    run_id: UUID | None = None
    secrets: Sealed | None = None  # of a call by hand; a routine's own are taken when the work begins
    callback: Callback | None = None
    source: str = "run"
    author: str | None = None
    origin: str | None = None  # the caller's own id of a run that was pushed
    metadata: Json = {}


class TrajectoryClaimed(Event, frozen=True, tag="trajectory.claimed"):
    """A worker has it until then; who comes later with another claim is turned away."""

    claim_id: UUID
    worker: str
    until: datetime


class TrajectoryLeaseExtended(Event, frozen=True, tag="trajectory.lease_extended"):
    """The worker goes on working on it."""

    claim_id: UUID
    until: datetime


class TrajectoryStepReported(Event, frozen=True, tag="trajectory.step_reported"):
    """What a step was given and gave."""

    step: str
    status: TrajectoryStatus
    inputs: Json = {}
    outputs: Json = {}


class TrajectoryMoved(Event, frozen=True, tag="trajectory.moved"):
    """Its status changed; of one that failed, `error` says why."""

    status: TrajectoryStatus
    error: str | None = None


class TrajectoryLabelled(Event, frozen=True, tag="trajectory.labelled"):
    """Somebody set a label; the same key again replaces its value."""

    key: str
    value: str
    author: str


# What leaves the system: endpoints that subscribe to events, and deliveries to them, to agents and to callbacks


class EndpointCreated(Event, frozen=True, tag="endpoint.created"):
    """A company's events of some kinds are told there, signed with this secret of the vault."""

    settings: EndpointSettings
    secret_id: UUID


class EndpointUpdated(Event, frozen=True, tag="endpoint.updated"):
    """Its settings changed."""

    settings: EndpointSettings


class EndpointSecretRotated(Event, frozen=True, tag="endpoint.secret_rotated"):
    """It is signed with another secret, and until `old_until` with the one before, too (None: no more)."""

    secret_id: UUID
    old_until: datetime | None = None


class EndpointDisabled(Event, frozen=True, tag="endpoint.disabled"):
    """Nothing more is sent there until somebody enables it: it answered 410, or that it is gone (reason `gone`)."""

    reason: str


class EndpointTested(Event, frozen=True, tag="endpoint.tested"):
    """Somebody asked for a message to it, to see whether it arrives."""


class EndpointDeleted(Event, frozen=True, tag="endpoint.deleted"):
    """Nothing more is sent there."""


class DeliveryFailed(Event, frozen=True, tag="delivery.failed"):
    """An attempt was made and did not succeed; the next is made at `next_at`."""

    attempt: int
    reason: str
    next_at: datetime
    status: int | None = None  # of the answer, if there was one
    took_ms: int = 0


class DeliveryDelivered(Event, frozen=True, tag="delivery.delivered"):
    """The receiver answered 2xx."""

    attempt: int
    status: int
    took_ms: int = 0


class DeliveryDead(Event, frozen=True, tag="delivery.dead"):
    """It is given up; somebody may ask for it again."""

    attempt: int
    reason: str
    status: int | None = None
    took_ms: int = 0


class DeliveryRequested(Event, frozen=True, tag="delivery.requested"):
    """Somebody asked for it to be sent once more: as `kind`, of the event at `position`, to the target."""

    kind: DeliveryKind
    target_id: UUID
    position: int


AccessEvent = (
    UserRegistered | MemberJoined | MemberChanged | MemberRemoved | KeyIssued | KeyRevoked | NameClaimed | NameReleased
)
CompanyEvent = CompanyCreated | CompanyUpdated | CompanyArchived | CompanyNamed | CompanyEnvironmentChanged
AgentEvent = (
    AgentCreated
    | AgentUpdated
    | AgentPaused
    | AgentResumed
    | AgentApproved
    | AgentTerminated
    | AgentHeartbeatSecretSet
    | AgentHeartbeatStopped
)
ProjectEvent = ProjectCreated | ProjectUpdated | ProjectPaused | ProjectResumed | ProjectDeleted
GoalEvent = GoalCreated | GoalUpdated | GoalDeleted
RoutineEvent = (
    RoutineCreated
    | RoutineUpdated
    | RoutineRestored
    | RoutineTriggerAdded
    | RoutineTriggerChanged
    | RoutineTriggerRemoved
    | RoutineSecretRotated
)
TriggerEvent = (
    TriggerCreated
    | TriggerUpdated
    | TriggerSecretRotated
    | TriggerRestored
    | TriggerRescheduled
    | TriggerMissed
    | TriggerDeleted
)
BackfillEvent = BackfillRequested | BackfillAdvanced | BackfillCompleted | BackfillCancelled
RunEvent = RunFired | RunCompleted | RunFailed
SlotEvent = SlotTaken | SlotFreed | SlotCounted
IssueEvent = IssueOpened | IssueEdited | IssueMoved | IssueCheckedOut | IssueReleased
TaskEvent = TaskCreated | TaskUpdated | TaskRoutineAdded | TaskRoutineRemoved | TaskDeleted
TrajectoryEvent = (
    TrajectoryOpened
    | TrajectoryClaimed
    | TrajectoryLeaseExtended
    | TrajectoryStepReported
    | TrajectoryMoved
    | TrajectoryLabelled
)
EndpointEvent = (
    EndpointCreated | EndpointUpdated | EndpointSecretRotated | EndpointDisabled | EndpointTested | EndpointDeleted
)
DeliveryEvent = DeliveryFailed | DeliveryDelivered | DeliveryDead | DeliveryRequested
AnyEvent = (
    AccessEvent
    | CompanyEvent
    | AgentEvent
    | ProjectEvent
    | GoalEvent
    | RoutineEvent
    | TriggerEvent
    | BackfillEvent
    | RunEvent
    | SlotEvent
    | IssueEvent
    | CommentAdded
    | TaskEvent
    | TrajectoryEvent
    | EndpointEvent
    | DeliveryEvent
)


NAMES: dict[type, str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(AnyEvent)}
STORED_NAMES: dict[str, type[Event]] = {name: kind for kind, name in NAMES.items()}


def stored_name(kind: type[Event] | Event) -> str:
    """The name under which the log keeps this kind of event."""
    return NAMES[kind if isinstance(kind, type) else type(kind)]


SINGLE = (
    msgspec.inspect.NoneType,
    msgspec.inspect.BoolType,
    msgspec.inspect.IntType,
    msgspec.inspect.FloatType,
    msgspec.inspect.StrType,
    msgspec.inspect.LiteralType,
    msgspec.inspect.DateTimeType,
    msgspec.inspect.DateType,
    msgspec.inspect.UUIDType,
)


def _is_flat(kind: msgspec.inspect.Type) -> bool:
    """Whether values of this type have no more parts than their fields, and theirs."""
    match kind:
        case msgspec.inspect.StructType(fields=fields):
            return all(_is_flat(field.type) for field in fields)
        case msgspec.inspect.UnionType(types=types):
            return all(_is_flat(one) for one in types)
        case _:
            return isinstance(kind, SINGLE)


# Those without arrays, mappings and free JSON: how deep they are, and of how many parts, is given by their fields.
FLAT_EVENTS = frozenset(
    kind
    for kind, info in zip(STORED_NAMES.values(), msgspec.inspect.multi_type_info(STORED_NAMES.values()), strict=True)
    if _is_flat(info)
)
