"""
Every kind of event, by aggregate. The tag of an event is its stored name: a promise that never changes its meaning.

A field may be added with a default; any other change needs a new event with a new tag.
"""

from datetime import datetime
from typing import Annotated, get_args
from uuid import UUID

import msgspec
import msgspec.inspect

from domain.values import (
    ERASABLE,
    AgentProfile,
    AgentStatus,
    AlertKind,
    Callback,
    CompanyDetails,
    DeliveryKind,
    EndpointSettings,
    FolderDetails,
    FreedReason,
    GoalDetails,
    IssueDetails,
    IssueStatus,
    LiveWork,
    MemberRole,
    Outcome,
    Overlap,
    Payload,
    ProbeFinding,
    ProjectDetails,
    RetryPolicy,
    RoutineSettings,
    RunSource,
    Sealed,
    Session,
    TaskDetails,
    Text,
    TrajectoryStatus,
    TriggerKind,
    TriggerSettings,
    TriggerState,
    Webhook,
    Workspace,
)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that was recorded. Its stream, moment, actor and company are on its envelope (`Recorded`)."""


# Access: users, their memberships, keys, and names that only one holder may have


class UserRegistered(Event, frozen=True, tag="user.registered"):
    """A person may act on the board."""

    name: Text
    email: Text | None = None
    instance_admin: bool = False
    instance_auditor: bool = False  # reads everything of the installation, and changes nothing


class UserErased(Event, frozen=True, tag="user.erased"):
    """What the log holds of the person themselves, their name and address, was made unreadable for ever, for this reason."""

    reason: str


class UserSignedOut(Event, frozen=True, tag="user.signed_out"):
    """All sessions of the user on the board have ended; keys stay as they are."""


class MemberJoined(Event, frozen=True, tag="member.joined"):
    """A user may act in a company."""

    user_id: UUID
    role: MemberRole
    permissions: tuple[str, ...] = ("tasks:assign",)


class MemberChanged(Event, frozen=True, tag="member.changed"):
    """The role or the permissions of a member changed."""

    role: MemberRole
    permissions: tuple[str, ...]
    revokes_keys: bool = False  # as in `member.removed`


class MemberRemoved(Event, frozen=True, tag="member.removed"):
    """The user may not act in the company any more; they may join again."""

    revokes_keys: bool = False  # whether the keys that they issued for agents and for the collection are revoked


class KeyIssued(Event, frozen=True, tag="key.issued"):
    """A bearer token was handed out to a user, an agent or a collection. The id of its stream follows from its SHA-256."""

    name: Text
    user_id: UUID | None = None
    agent_id: UUID | None = None
    expires_at: datetime | None = None  # None: never
    collection_id: UUID | None = None  # the company that a collection's key is bound to
    prefix: str | None = None  # the part of the token that may be shown
    issuer_version: int = 0  # version of the issuer's membership, which a key of an agent or a collection depends on
    session: Session | None = None  # what makes a user's key a session of the board


class KeyRevoked(Event, frozen=True, tag="key.revoked"):
    """The token is not accepted any more."""


class NameClaimed(Event, frozen=True, tag="name.claimed"):
    """
    A name is taken within a scope: an issue prefix, an email in a company, an agent's short name, a webhook's address.

    Older events with the scope `email` applied to all companies. They are ignored, since nobody had proved that the
    address was theirs.
    """

    scope: str
    name: Text
    holder_id: UUID


class NameReleased(Event, frozen=True, tag="name.released"):
    """The name is free again, because the task or the routine that had it was renamed or deleted."""


# Company, agent, project, goal


class CompanyCreated(Event, frozen=True, tag="company.created"):
    """A company was created."""

    details: CompanyDetails
    issue_prefix: str


class CompanyUpdated(Event, frozen=True, tag="company.updated"):
    """The name or the description of the company changed."""

    details: CompanyDetails


class CompanyArchived(Event, frozen=True, tag="company.archived"):
    """The company is retired for good: nothing fires or begins in it any more."""


class CompanyErased(Event, frozen=True, tag="company.erased"):
    """What people have written, sent or are called in the company was made unreadable for ever, for this reason."""

    reason: str


class CompanyNamed(Event, frozen=True, tag="company.named"):
    """The company got the name by which Jetty's clients know it as a collection; no other company has it."""

    name: Text


class CompanyEnvironmentChanged(Event, frozen=True, tag="company.environment_changed"):
    """
    The environment variables of the company's workers changed: their names, and where their values are kept. None means
    that there are no variables.
    """

    environment: Sealed | None = None


class AgentCreated(Event, frozen=True, tag="agent.created"):
    """An agent joined a company."""

    profile: AgentProfile
    url_key: Text
    status: AgentStatus = "idle"


class AgentUpdated(Event, frozen=True, tag="agent.updated"):
    """The profile of the agent changed."""

    profile: AgentProfile


class AgentPaused(Event, frozen=True, tag="agent.paused"):
    """The agent takes no new work."""

    reason: Text = "manual"


class AgentResumed(Event, frozen=True, tag="agent.resumed"):
    """The agent takes work again."""


class AgentApproved(Event, frozen=True, tag="agent.approved"):
    """An agent that waited for approval may work."""


class AgentTerminated(Event, frozen=True, tag="agent.terminated"):
    """The agent is gone for good; its keys are not accepted any more."""


class AgentHeartbeatSecretSet(Event, frozen=True, tag="agent.heartbeat_secret_set"):
    """
    The agent's heartbeats are signed with this secret of the vault, and until `old_until` with the previous one as
    well.
    """

    secret_id: UUID
    old_until: datetime | None = None


class AgentHeartbeatStopped(Event, frozen=True, tag="agent.heartbeat_stopped"):
    """The agent gets no more heartbeats: its address answered that it is gone (reason `gone`)."""

    reason: str


class ProjectCreated(Event, frozen=True, tag="project.created"):
    """A project was created."""

    details: ProjectDetails
    url_key: Text


class ProjectUpdated(Event, frozen=True, tag="project.updated"):
    """The details of the project changed."""

    details: ProjectDetails


class ProjectPaused(Event, frozen=True, tag="project.paused"):
    """The schedules of the project's routines are suppressed."""

    reason: Text = "manual"


class ProjectResumed(Event, frozen=True, tag="project.resumed"):
    """The schedules of the project's routines run again. What they skipped is not made up for."""


class ProjectDeleted(Event, frozen=True, tag="project.deleted"):
    """The project is gone; issues that were in it keep its id."""


class GoalCreated(Event, frozen=True, tag="goal.created"):
    """A goal was created."""

    details: GoalDetails


class GoalUpdated(Event, frozen=True, tag="goal.updated"):
    """The details of the goal changed."""

    details: GoalDetails


class GoalDeleted(Event, frozen=True, tag="goal.deleted"):
    """The goal is gone."""


class FolderCreated(Event, frozen=True, tag="folder.created"):
    """A folder for routines was created."""

    details: FolderDetails


class FolderUpdated(Event, frozen=True, tag="folder.updated"):
    """The folder got another name, or lies in another folder."""

    details: FolderDetails


class FolderDeleted(Event, frozen=True, tag="folder.deleted"):
    """The folder, in which nothing was left, is gone."""


# Zone data: the rules by which clocks change


class ZoneDataAdopted(Event, frozen=True, tag="zones.adopted"):
    """Every schedule of the installation is planned by this version of the zone data, such as `2026f`, or a newer one."""

    version: str


# Routine and trigger: every event of a routine is one revision, numbered by its version. `next_at` is the next
# occurrence of a schedule, None when there is none; `due_at` is when it comes due, None when that is `next_at` itself.


class RoutineCreated(Event, frozen=True, tag="routine.created"):
    """A routine was created: revision 1. The responsible user is the person who answers for what it does."""

    settings: RoutineSettings
    responsible_user_id: UUID | None = None


class RoutineUpdated(Event, frozen=True, tag="routine.updated"):
    """The settings of the routine changed."""

    settings: RoutineSettings


class RoutineRestored(Event, frozen=True, tag="routine.restored"):
    """The settings and the triggers of the routine are again what they were at an earlier revision."""

    from_revision: int
    settings: RoutineSettings
    triggers: Annotated[dict[UUID, TriggerState], ERASABLE]


class RoutineTriggerAdded(Event, frozen=True, tag="routine.trigger_added"):
    """
    The routine got a trigger. `state` is what a revision shows of the trigger; it is None in events that are older than
    revisions.
    """

    trigger_id: UUID
    kind: TriggerKind
    state: TriggerState | None = None


class RoutineTriggerChanged(Event, frozen=True, tag="routine.trigger_changed"):
    """One of the routine's triggers was edited. `state` means the same as in `routine.trigger_added`."""

    trigger_id: UUID
    kind: TriggerKind
    state: TriggerState | None = None


class RoutineSecretRotated(Event, frozen=True, tag="routine.secret_rotated"):
    """One of the routine's webhook triggers got a new secret."""

    trigger_id: UUID


class RoutineTriggerRemoved(Event, frozen=True, tag="routine.trigger_removed"):
    """The routine lost a trigger."""

    trigger_id: UUID
    kind: TriggerKind


class TriggerCreated(Event, frozen=True, tag="trigger.created"):
    """
    A trigger of the routine was created. `next_at` is the next occurrence of a schedule; `webhook` is where a webhook
    is called.
    """

    routine_id: UUID
    kind: TriggerKind
    settings: TriggerSettings
    next_at: datetime | None = None
    due_at: datetime | None = None
    webhook: Webhook | None = None


class TriggerUpdated(Event, frozen=True, tag="trigger.updated"):
    """
    The settings of the trigger changed, and a schedule goes on at `next_at`, which lies in the past where something still
    waits. `webhook` is set when the new signing mode keeps the secret in another record of the vault.
    """

    settings: TriggerSettings
    next_at: datetime | None = None
    due_at: datetime | None = None
    webhook: Webhook | None = None


class TriggerSecretRotated(Event, frozen=True, tag="trigger.secret_rotated"):
    """The webhook accepts another secret, and the old one until `old_until` (None: not any more)."""

    webhook: Webhook
    old_secret_id: UUID
    old_until: datetime | None = None


class TriggerRestored(Event, frozen=True, tag="trigger.restored"):
    """A deleted trigger is there again, because a revision was restored; a webhook has another address and secret."""

    routine_id: UUID
    kind: TriggerKind
    settings: TriggerSettings
    next_at: datetime | None = None
    due_at: datetime | None = None
    webhook: Webhook | None = None


class TriggerRescheduled(Event, frozen=True, tag="trigger.rescheduled"):
    """The routine was resumed; the schedule goes on at `next_at`. The times that came due meanwhile are no occurrences."""

    next_at: datetime | None
    due_at: datetime | None = None


class TriggerReplanned(Event, frozen=True, tag="trigger.replanned"):
    """
    By the zone data of version `zone_data` the clocks of the schedule's zone go by other rules than when its next
    occurrence was planned. It goes on by these; what had been planned after this moment is no occurrence.
    """

    zone_data: str
    next_at: datetime | None
    due_at: datetime | None = None


class TriggerMissed(Event, frozen=True, tag="trigger.missed"):
    """
    The occurrences from first to last, `count` of them, did not run: they were too late and the policy said to drop
    them, the schedule was changed before they were settled, their company is archived (reason `company_archived`), or
    it had recorded too much (`over_quota`). In that last case the schedule rests: what comes due before `rests_until` is
    settled at its end, unless the company is within its quotas sooner.
    """

    first: datetime
    last: datetime
    count: int
    reason: str
    next_at: datetime | None
    due_at: datetime | None = None
    rests_until: datetime | None = None


class TriggerDeleted(Event, frozen=True, tag="trigger.deleted"):
    """The trigger does not fire any more."""


# Backfill: past occurrences that are run after all


class BackfillRequested(Event, frozen=True, tag="backfill.requested"):
    """The `count` occurrences of a schedule from `since` to `until`, both included, are to run unless they have run."""

    trigger_id: UUID
    routine_id: UUID
    since: datetime
    until: datetime
    count: int
    overlap: Overlap
    request_digest: Text | None = None  # of what was asked under an idempotency key, to recognise another request


class BackfillAdvanced(Event, frozen=True, tag="backfill.advanced"):
    """
    The backfill has come to `reached`: `fired` more occurrences ran, and `left_out` more had run before, or wait for their
    schedule. If it `waits`, it waits for live work to end, or (`over_quota`) until its company has recorded less in a
    minute.
    """

    reached: datetime
    fired: int
    left_out: int
    waits: bool = False
    over_quota: bool = False


class BackfillCompleted(Event, frozen=True, tag="backfill.completed"):
    """Every occurrence in the range of the backfill has been handled."""


class BackfillCancelled(Event, frozen=True, tag="backfill.cancelled"):
    """
    The backfill runs no more occurrences: somebody cancelled it (reason `cancelled`), or its routine cannot work any
    more.
    """

    reason: str


# Run, slot, issue


class RunFired(Event, frozen=True, tag="run.fired"):
    """
    A routine fired, and this is the outcome, decided together. `occurrence`, `next_at` and `due_at` are set for
    schedules only.
    """

    routine_id: UUID
    revision: int  # the routine's when it fired
    source: RunSource
    outcome: Outcome
    trigger_id: UUID | None = None
    occurrence: datetime | None = None  # the planned moment, not the actual one
    next_at: datetime | None = None
    due_at: datetime | None = None
    idempotency_key: str | None = None
    payload: Payload | None = None
    responsible_user_id: UUID | None = None
    deadline: datetime | None = None  # the run fails unless its issue is done by then
    backfill_id: UUID | None = None  # the backfill that ran the occurrence; the schedule itself does not move then
    request_digest: Text | None = None  # of what was asked under the idempotency key, to recognise another request
    retry: RetryPolicy | None = (
        None  # the routine's when it fired; it holds for this run, whatever becomes of the routine
    )
    cause_run_id: UUID | None = None  # the run whose end fired this one, by a chain
    chain_depth: int = 0  # how many runs have fired each other up to this one
    probe: ProbeFinding | None = None  # what the routine's probe had found; None if it was not asked

    @property
    def is_scheduled(self) -> bool:
        """Whether the schedule itself fired it when it was due, and goes on to `next_at`."""
        return self.occurrence is not None and self.backfill_id is None


class ProbeRequested(Event, frozen=True, tag="probe.requested"):
    """
    An occurrence has come due, and fires, with what is due beside it at `as_of`, only as the routine's probe says. Unless
    that has an answer at `until`, it counts as unanswered.
    """

    trigger_id: UUID
    routine_id: UUID
    occurrence: datetime
    as_of: datetime
    until: datetime


class ProbeAnswered(Event, frozen=True, tag="probe.answered"):
    """What the probe of an occurrence has found, or that nobody has answered it."""

    trigger_id: UUID
    occurrence: datetime
    finding: ProbeFinding


class RunReported(Event, frozen=True, tag="run.reported"):
    """
    What the run has brought forth and used so far was reported. Each field that is not None replaces what was reported
    of it before, so a report that is repeated changes nothing.
    """

    outputs: Payload | None = None
    cost_micros: int | None = None  # in millionths of the currency in which the installation counts
    input_tokens: int | None = None
    output_tokens: int | None = None
    routine_id: UUID | None = None  # of the run; None where no usage is reported
    agent_id: UUID | None = None  # whose the issue of the run was then


class RunCompleted(Event, frozen=True, tag="run.completed"):
    """The issue of the run was done, or its trajectory was completed."""


class RunFailed(Event, frozen=True, tag="run.failed"):
    """
    The run failed: its issue was cancelled, its trajectory did not succeed, or it lasted too long (reason `timed_out`).
    Where the routine's next run took its place (`cancel_previous`), `successor_run_id` is that run.
    """

    reason: Text
    successor_run_id: UUID | None = None


class RunAttemptFailed(Event, frozen=True, tag="run.attempt_failed"):
    """An attempt failed, and the run goes on: the next attempt begins at `next_at`. Attempts are numbered from 1."""

    attempt: int
    reason: Text
    next_at: datetime


class RunAttemptBegun(Event, frozen=True, tag="run.attempt_begun"):
    """A further attempt of the run began: its issue is to do again. `agent_id` is the agent to whom it is assigned."""

    attempt: int
    issue_id: UUID
    agent_id: UUID | None = None
    deadline: datetime | None = None  # the attempt fails unless the issue is done by then


class SlotTaken(Event, frozen=True, tag="slot.taken"):
    """A routine has one more piece of live work: an execution issue or a trajectory."""

    routine_id: UUID
    live: LiveWork


class SlotFreed(Event, frozen=True, tag="slot.freed"):
    """One piece of the routine's live work is not open any more; `issue_id` is the id of the issue or the trajectory."""

    routine_id: UUID
    issue_id: UUID


class SlotCounted(Event, frozen=True, tag="slot.counted"):
    """A snapshot of all live work of the routine, so that a reader need not read earlier events."""

    routine_id: UUID
    live: tuple[LiveWork, ...]


# Alerts: a routine, whose title is given, is in trouble, and out of it again. Each trouble has a stream of its own, so it
# is told once. `subject_id` is what is in trouble: the issue or trajectory of a run, a schedule trigger, or the routine


class AlertFailing(Event, frozen=True, tag="alert.failing"):
    """A run failed for good, and the routine had not failed before, or had recovered since."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    run_id: UUID
    reason: Text


class AlertMissed(Event, frozen=True, tag="alert.missed"):
    """So many occurrences of a schedule in a row did not run; `since` is when that was recorded."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    trigger_id: UUID
    count: int
    since: datetime


class AlertOverdue(Event, frozen=True, tag="alert.overdue"):
    """A run has not ended within `bound_sec` of `since`: its planned moment, or its firing."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    run_id: UUID
    since: datetime
    bound_sec: int


class AlertUntaken(Event, frozen=True, tag="alert.untaken"):
    """Nobody has taken the work of a run within `bound_sec` of `since`, when it was to do."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    run_id: UUID
    since: datetime
    bound_sec: int


class AlertStuck(Event, frozen=True, tag="alert.stuck"):
    """The work of a run, begun at `since`, has gone on for longer than `bound_sec`."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    run_id: UUID
    since: datetime
    bound_sec: int


class AlertRecovered(Event, frozen=True, tag="alert.recovered"):
    """A run of a routine that was failing succeeded, after so many failures."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    run_id: UUID
    failures: int


class AlertClosed(Event, frozen=True, tag="alert.closed"):
    """A trouble other than failing is over: an occurrence ran again, the work was taken, or its run ended."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    kind: AlertKind


class IssueOpened(Event, frozen=True, tag="issue.opened"):
    """
    An issue was opened for an agent. An execution issue names the routine and the run that opened it, and `occurrence`
    is the planned moment that the run is for, if a schedule planned it.
    """

    details: IssueDetails
    status: IssueStatus
    routine_id: UUID | None = None
    run_id: UUID | None = None
    occurrence: datetime | None = None
    created_by_agent_id: UUID | None = None
    created_by_user_id: UUID | None = None
    workspace: Workspace | None = None


class IssueEdited(Event, frozen=True, tag="issue.edited"):
    """The details of the issue changed."""

    details: IssueDetails


class IssueMoved(Event, frozen=True, tag="issue.moved"):
    """The status of the issue changed."""

    status: IssueStatus


class IssueCheckedOut(Event, frozen=True, tag="issue.checked_out"):
    """An agent works on the issue, in the work session `run_id`; with a lease, until `lease_until` unless it is renewed."""

    agent_id: UUID
    run_id: UUID | None
    lease_until: datetime | None = None


class IssueLeaseRenewed(Event, frozen=True, tag="issue.lease_renewed"):
    """The work session of the agent that has the issue renewed its lease."""

    agent_id: UUID
    until: datetime


class IssueReleased(Event, frozen=True, tag="issue.released"):
    """Nobody works on the issue, and nobody is assigned to it."""


class IssueFreed(Event, frozen=True, tag="issue.freed"):
    """
    The issue was taken from the work session `run_id` and stays with its assignee: the session's lease ran out, or
    somebody of the board released it by force. That session may not change the issue any more.
    """

    reason: FreedReason
    run_id: UUID | None


class CommentAdded(Event, frozen=True, tag="comment.added"):
    """Somebody commented on an issue. A comment without agent and user is from the system."""

    issue_id: UUID
    body: Text
    agent_id: UUID | None = None
    user_id: UUID | None = None
    run_id: UUID | None = None


# Task, trajectory: what Jetty's clients call and get (Jetty contract 7)


class TaskCreated(Event, frozen=True, tag="task.created"):
    """A task that can be called was created."""

    details: TaskDetails


class TaskUpdated(Event, frozen=True, tag="task.updated"):
    """The details of the task changed."""

    details: TaskDetails


class TaskRoutineAdded(Event, frozen=True, tag="task.routine_added"):
    """One more routine calls the task."""

    routine_id: UUID


class TaskRoutineRemoved(Event, frozen=True, tag="task.routine_removed"):
    """A routine does not call the task any more."""

    routine_id: UUID


class TaskDeleted(Event, frozen=True, tag="task.deleted"):
    """The task is gone, and its routines with it; its trajectories stay."""


class TrajectoryOpened(Event, frozen=True, tag="trajectory.opened"):
    """
    A task was called: by a routine, which names its run, by hand, or by a push of a call that was over already
    (`source`).
    """

    task_id: UUID
    name: Text  # <collection>/<task>, by their names at that time
    workflow: Payload  # the task's at that time
    init_params: Payload = {}
    routine_id: UUID | None = None
    run_id: UUID | None = None
    secrets: Sealed | None = None  # of a call by hand; those of a routine are read when the work begins
    callback: Callback | None = None
    source: Text = "run"
    author: Text | None = None
    origin: Text | None = None  # the caller's own id of a call that was pushed
    metadata: Payload = {}


class TrajectoryClaimed(Event, frozen=True, tag="trajectory.claimed"):
    """A worker has the trajectory `until` then; other claims are refused meanwhile."""

    claim_id: UUID
    worker: Text
    until: datetime


class TrajectoryLeaseExtended(Event, frozen=True, tag="trajectory.lease_extended"):
    """The worker goes on working on the trajectory."""

    claim_id: UUID
    until: datetime


class TrajectoryStepReported(Event, frozen=True, tag="trajectory.step_reported"):
    """A step was reported, with its inputs and outputs."""

    step: Text
    status: TrajectoryStatus
    inputs: Payload = {}
    outputs: Payload = {}


class TrajectoryUsageReported(Event, frozen=True, tag="trajectory.usage_reported"):
    """
    What the work on the trajectory has used so far was reported. Each field that is not None replaces what was reported
    of it before, so a report that is repeated changes nothing.
    """

    cost_micros: int | None = None  # in millionths of the currency in which the installation counts
    input_tokens: int | None = None
    output_tokens: int | None = None
    run_id: UUID | None = None  # the run that reports the same; None for a call by hand


class TrajectoryMoved(Event, frozen=True, tag="trajectory.moved"):
    """The status of the trajectory changed. If it failed, `error` says why."""

    status: TrajectoryStatus
    error: Text | None = None


class TrajectoryLabelled(Event, frozen=True, tag="trajectory.labelled"):
    """Somebody set a label; the same key again replaces its value."""

    key: Text
    value: Text
    author: Text


# Outbound: endpoints that subscribe to events, and deliveries to them, to agents and to callbacks


class EndpointCreated(Event, frozen=True, tag="endpoint.created"):
    """An endpoint was created. The company's events of some kinds are sent to it, signed with this secret of the vault."""

    settings: EndpointSettings
    secret_id: UUID


class EndpointUpdated(Event, frozen=True, tag="endpoint.updated"):
    """The settings of the endpoint changed."""

    settings: EndpointSettings


class EndpointSecretRotated(Event, frozen=True, tag="endpoint.secret_rotated"):
    """
    Deliveries to the endpoint are signed with another secret, and until `old_until` with the previous one as well
    (None: not any more).
    """

    secret_id: UUID
    old_until: datetime | None = None


class EndpointDisabled(Event, frozen=True, tag="endpoint.disabled"):
    """Nothing more is sent to the endpoint until somebody enables it: it answered 410, or that it is gone (reason `gone`)."""

    reason: str


class EndpointTested(Event, frozen=True, tag="endpoint.tested"):
    """Somebody asked for a test message to the endpoint, to see whether it arrives."""


class EndpointDeleted(Event, frozen=True, tag="endpoint.deleted"):
    """Nothing more is sent to the endpoint."""


class DeliveryFailed(Event, frozen=True, tag="delivery.failed"):
    """An attempt was made and did not succeed; the next is made at `next_at`."""

    attempt: int
    reason: str
    next_at: datetime
    status: int | None = None  # HTTP status of the answer, if there was one
    took_ms: int = 0


class DeliveryDelivered(Event, frozen=True, tag="delivery.delivered"):
    """The receiver answered 2xx."""

    attempt: int
    status: int
    took_ms: int = 0


class DeliveryDead(Event, frozen=True, tag="delivery.dead"):
    """The delivery is given up; somebody may ask for it again."""

    attempt: int
    reason: str
    status: int | None = None
    took_ms: int = 0


class DeliveryRequested(Event, frozen=True, tag="delivery.requested"):
    """Somebody asked for a delivery to be sent once more: as `kind`, of the event at `position`, to the target."""

    kind: DeliveryKind
    target_id: UUID
    position: int


AccessEvent = (
    UserRegistered
    | UserErased
    | UserSignedOut
    | MemberJoined
    | MemberChanged
    | MemberRemoved
    | KeyIssued
    | KeyRevoked
    | NameClaimed
    | NameReleased
)
CompanyEvent = (
    CompanyCreated | CompanyUpdated | CompanyArchived | CompanyErased | CompanyNamed | CompanyEnvironmentChanged
)
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
FolderEvent = FolderCreated | FolderUpdated | FolderDeleted
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
    | TriggerReplanned
    | TriggerMissed
    | TriggerDeleted
)
BackfillEvent = BackfillRequested | BackfillAdvanced | BackfillCompleted | BackfillCancelled
ProbeEvent = ProbeRequested | ProbeAnswered
AlertEvent = AlertFailing | AlertMissed | AlertOverdue | AlertUntaken | AlertStuck | AlertRecovered | AlertClosed
RunEvent = RunFired | RunReported | RunAttemptFailed | RunAttemptBegun | RunCompleted | RunFailed
SlotEvent = SlotTaken | SlotFreed | SlotCounted
IssueEvent = IssueOpened | IssueEdited | IssueMoved | IssueCheckedOut | IssueLeaseRenewed | IssueReleased | IssueFreed
TaskEvent = TaskCreated | TaskUpdated | TaskRoutineAdded | TaskRoutineRemoved | TaskDeleted
TrajectoryEvent = (
    TrajectoryOpened
    | TrajectoryClaimed
    | TrajectoryLeaseExtended
    | TrajectoryStepReported
    | TrajectoryUsageReported
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
    | FolderEvent
    | ZoneDataAdopted
    | RoutineEvent
    | TriggerEvent
    | BackfillEvent
    | ProbeEvent
    | RunEvent
    | AlertEvent
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
    """Return the name under which the log keeps this kind of event, such as `run.fired`."""
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
    """Return whether the type holds no array, mapping or free JSON, in its fields or theirs."""
    match kind:
        case msgspec.inspect.StructType(fields=fields):
            return all(_is_flat(field.type) for field in fields)
        case msgspec.inspect.UnionType(types=types):
            return all(_is_flat(member) for member in types)
        case _:
            return isinstance(kind, SINGLE)


# Events without arrays, mappings and free JSON: their fields alone say how deep they are and how many parts they have.
FLAT_EVENTS = frozenset(
    kind
    for kind, info in zip(STORED_NAMES.values(), msgspec.inspect.multi_type_info(STORED_NAMES.values()), strict=True)
    if _is_flat(info)
)
