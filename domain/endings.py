"""
The one definition of the changes that only stop or end something; quotas and full histories never refuse those.

Whoever has lost control of something must be able to stop it. This is no way around the limits: each such step leads
further down, from active by way of paused to archived, and every step up again is an ordinary change. So each thing can
be stopped once, and no more.
"""

from typing import get_args

from msgspec.structs import replace

from domain.board.access import Membership
from domain.board.company import Company
from domain.board.issue import OPEN, Issue
from domain.delivery.endpoint import Endpoint
from domain.events import (
    AgentHeartbeatStopped,
    AgentPaused,
    AgentTerminated,
    AlertEvent,
    AnyEvent,
    BackfillCancelled,
    CommentAdded,
    CompanyArchived,
    CompanyEnvironmentChanged,
    EndpointDeleted,
    EndpointDisabled,
    EndpointUpdated,
    FolderDeleted,
    GoalDeleted,
    IssueFreed,
    IssueLeaseRenewed,
    IssueMoved,
    IssueReleased,
    KeyRevoked,
    MemberChanged,
    MemberRemoved,
    NameReleased,
    ProbeAnswered,
    ProjectDeleted,
    ProjectPaused,
    RoutineTriggerChanged,
    RoutineTriggerRemoved,
    RoutineUpdated,
    RunAttemptFailed,
    RunCompleted,
    RunFailed,
    RunReported,
    SlotCounted,
    SlotFreed,
    TaskDeleted,
    TaskRoutineRemoved,
    TrajectoryLabelled,
    TrajectoryLeaseExtended,
    TrajectoryMoved,
    TrajectoryStepReported,
    TrajectoryUsageReported,
    TriggerDeleted,
    TriggerMissed,
    TriggerUpdated,
    UserSignedOut,
)
from domain.jetty.trajectory import LIVE, Trajectory
from domain.routines.routine import Routine
from domain.routines.trigger import Trigger
from domain.values import EndpointSettings, MemberRole, RoutineSettings, RoutineStatus, TriggerSettings

# In any state; the events that follow TriggerDeleted are only recorded together with one that ends something.
ALWAYS = (
    AgentHeartbeatStopped,
    AgentPaused,
    AgentTerminated,
    BackfillCancelled,
    CompanyArchived,
    EndpointDeleted,
    EndpointDisabled,
    FolderDeleted,
    GoalDeleted,
    KeyRevoked,
    MemberRemoved,
    ProjectDeleted,
    ProjectPaused,
    RoutineTriggerRemoved,
    TaskDeleted,
    TaskRoutineRemoved,
    TriggerDeleted,
    NameReleased,
    ProbeAnswered,
    RunAttemptFailed,
    RunCompleted,
    RunFailed,
    SlotCounted,
    SlotFreed,
    TriggerMissed,
    UserSignedOut,
)
# They end nothing, but a company that is over its quotas must still be told what is wrong.
ALERTS = get_args(AlertEvent)
AT_WORK = (
    CommentAdded,
    IssueFreed,
    IssueLeaseRenewed,
    IssueReleased,
    RunReported,
    TrajectoryLabelled,
    TrajectoryLeaseExtended,
    TrajectoryStepReported,
    TrajectoryUsageReported,
)
OUTRIGHT = frozenset((*ALWAYS, *ALERTS))
DOWNWARD: tuple[RoutineStatus, ...] = ("active", "paused", "archived")
POWERS: dict[MemberRole, frozenset[str]] = {  # what each role may do besides reading the company
    "owner": frozenset({"own", "manage", "audit", "write"}),
    "admin": frozenset({"manage", "audit", "write"}),
    "member": frozenset({"write"}),
    "auditor": frozenset({"audit"}),
    "viewer": frozenset(),
}


def ends(event: AnyEvent, before: object) -> bool:
    """Return whether the event only stops or ends something. `before` is the state of its stream; None if it is not known."""
    match event, before:
        case RoutineUpdated(settings=new), Routine(settings=old):
            return DOWNWARD.index(new.status) > DOWNWARD.index(old.status) and _as_before(new, old) == old
        case RoutineTriggerChanged(trigger_id=id_, state=new), Routine(triggers=triggers):
            old_state = triggers.get(id_)
            return new is not None and old_state is not None and old_state.settings.enabled and not new.settings.enabled
        case TriggerUpdated(settings=new, webhook=None), Trigger(settings=old):
            return _only_disables(old, new)
        case EndpointUpdated(settings=new), Endpoint(settings=old):
            return _only_disables(old, new)
        case IssueMoved(status=status), Issue(status=old_status):
            return old_status in OPEN and (status not in OPEN or (status == "backlog" and old_status != "backlog"))
        case TrajectoryMoved(status=status), Trajectory(status=old_status):
            return status not in LIVE and (old_status in LIVE or (status == "archived" and old_status != "archived"))
        case MemberChanged(), Membership():
            return _only_takes_away(before, event)
        case CompanyEnvironmentChanged(environment=new), Company(environment=old):
            return old is not None and (new is None or set(new.names) < set(old.names))
        case _:
            return type(event) in OUTRIGHT


def finishes(event: AnyEvent) -> bool:
    """
    Return whether the event belongs to work that is under way: a report of it, a comment on it, or handing it back.

    Besides what ends something, that is all that may be recorded once the company is archived.
    """
    match event:
        case IssueMoved(status=status):
            return status != "in_progress"
        case TrajectoryMoved(status=status):
            return status == "pending"
        case _:
            return isinstance(event, AT_WORK)


def _as_before(new: RoutineSettings, old: RoutineSettings) -> RoutineSettings:
    """
    Return the new settings with everything that an ending changes set back to the old value.

    A pause with a time at which it ends is no ending, since the routine would go on by itself.
    """
    call = new.call
    if call is not None and old.call is not None and new.status == "archived":
        call = replace(call, secrets=call.secrets or old.call.secrets, callback=call.callback or old.call.callback)
    resume_at = old.resume_at if new.resume_at is None else new.resume_at
    reverted = replace(new, status=old.status, pause_note=old.pause_note, resume_at=resume_at, call=call)
    return replace(reverted, bulk_pause_id=old.bulk_pause_id)


def _only_disables(old: TriggerSettings | EndpointSettings, new: TriggerSettings | EndpointSettings) -> bool:
    return old.enabled and replace(old, enabled=False) == new


def _only_takes_away(member: Membership, changed: MemberChanged) -> bool:
    """Return whether the member can do less after the change, and nothing more."""
    new, old = POWERS[changed.role].union(changed.permissions), POWERS[member.role].union(member.permissions)
    return new < old
