"""What an event belongs to, so that one thing can be asked for with everything that belongs to it."""

from collections.abc import Callable, Iterator
from uuid import UUID

from msgspec.structs import replace

from domain.events import (
    AlertEvent,
    AnyEvent,
    BackfillEvent,
    BackfillRequested,
    CommentAdded,
    IssueEvent,
    IssueOpened,
    ProbeEvent,
    ProbeRequested,
    RoutineEvent,
    RunEvent,
    RunFired,
    SlotCounted,
    SlotFreed,
    SlotTaken,
    TaskRoutineAdded,
    TaskRoutineRemoved,
    TrajectoryEvent,
    TrajectoryOpened,
    TriggerCreated,
    TriggerEvent,
    TriggerRestored,
)
from domain.recorded import Recorded, Unreadable
from domain.values import Coalesced, Opened, Value

FOLLOWED = TriggerEvent | BackfillEvent | RunEvent | AlertEvent | IssueEvent | TrajectoryEvent | ProbeEvent


class Belonging(Value, frozen=True):
    """The routine, the trigger, the run and the issue that an event belongs to, as far as there are any."""

    routine_id: UUID | None = None
    trigger_id: UUID | None = None
    run_id: UUID | None = None
    issue_id: UUID | None = None


Find = Callable[[UUID], Belonging | None]  # what the first event of a stream belongs to; None if that is not known
NOTHING = Belonging()


def streams_of(recorded: Recorded) -> Iterator[UUID]:
    """Yield the streams on which it depends what the event belongs to."""
    match recorded.event:
        case IssueOpened(run_id=UUID() as run_id) | TrajectoryOpened(run_id=UUID() as run_id):
            yield run_id
        case SlotTaken(live=live):
            yield live.run_id
        case CommentAdded(issue_id=issue_id) | SlotFreed(issue_id=issue_id):
            yield issue_id
        case _ if isinstance(recorded.event, FOLLOWED) and recorded.version > 1:
            yield recorded.stream_id


def is_first_word(event: AnyEvent | Unreadable) -> bool:
    """Return whether later events of the stream, or of streams that it causes, belong where this one does."""
    match event:
        case TriggerCreated() | TriggerRestored() | BackfillRequested() | ProbeRequested() | RunFired():
            return True
        case IssueOpened(run_id=run_id) | TrajectoryOpened(run_id=run_id):
            return run_id is not None
        case _:
            return isinstance(event, AlertEvent)


def belonging_of(recorded: Recorded, find: Find) -> Belonging:
    """Return what an event belongs to. `find` tells it of the streams of `streams_of`."""
    id_, event = recorded.stream_id, recorded.event
    known = next((found for stream in streams_of(recorded) if (found := find(stream)) is not None), NOTHING)
    match event:
        case RunFired(routine_id=routine_id, trigger_id=trigger_id, outcome=outcome):
            issue_id = outcome.issue_id if isinstance(outcome, Opened | Coalesced) else None
            return Belonging(routine_id=routine_id, trigger_id=trigger_id, run_id=id_, issue_id=issue_id)
        case (
            BackfillRequested(routine_id=routine_id, trigger_id=trigger_id)
            | ProbeRequested(routine_id=routine_id, trigger_id=trigger_id)
        ):
            return Belonging(routine_id=routine_id, trigger_id=trigger_id)
        case TriggerCreated(routine_id=routine_id) | TriggerRestored(routine_id=routine_id):
            return Belonging(routine_id=routine_id, trigger_id=id_)
        case SlotTaken(routine_id=routine_id, live=live):
            return replace(known, routine_id=routine_id, run_id=live.run_id)
        case (
            SlotFreed(routine_id=routine_id)
            | SlotCounted(routine_id=routine_id)
            | TaskRoutineAdded(routine_id=routine_id)
            | TaskRoutineRemoved(routine_id=routine_id)
        ):
            return replace(known, routine_id=routine_id)
        case CommentAdded(issue_id=issue_id):
            return replace(known, issue_id=issue_id)
        case IssueOpened(routine_id=routine_id, run_id=run_id) if run_id is not None:
            return replace(known, routine_id=routine_id, run_id=run_id, issue_id=id_)
        case TrajectoryOpened(routine_id=routine_id, run_id=run_id) if run_id is not None:
            return replace(known, routine_id=routine_id, run_id=run_id, issue_id=None)
        case _ if isinstance(event, RoutineEvent):
            return Belonging(routine_id=id_, trigger_id=getattr(event, "trigger_id", None))
        case _ if isinstance(event, TriggerEvent):
            return replace(known, trigger_id=id_)
        case _ if isinstance(event, RunEvent):
            return replace(known, run_id=id_)
        case _ if isinstance(event, IssueEvent):
            return replace(known, issue_id=id_)
        case _ if isinstance(event, AlertEvent):
            return replace(
                known,
                routine_id=event.routine_id,
                trigger_id=getattr(event, "trigger_id", known.trigger_id),
                run_id=getattr(event, "run_id", known.run_id),
            )
        case _:
            return known
