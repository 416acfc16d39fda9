"""What an event belongs to, so that one thing can be asked for with everything that belongs to it."""

from collections.abc import Callable, Iterator
from typing import get_args
from uuid import UUID

from msgspec.structs import asdict

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


class Belonging(Value, frozen=True):
    """The routine, the trigger, the run and the issue that an event belongs to, as far as there are any."""

    routine_id: UUID | None = None
    trigger_id: UUID | None = None
    run_id: UUID | None = None
    issue_id: UUID | None = None


Find = Callable[[UUID], Belonging | None]  # what the first event of a stream belongs to; None if that is not known
NOTHING = Belonging()
AGGREGATES = {  # by kind of event: the aggregate of its stream, for streams that belong to something
    kind: name
    for name, union in {
        "routine": RoutineEvent,
        "trigger": TriggerEvent,
        "backfill": BackfillEvent,
        "run": RunEvent,
        "alert": AlertEvent,
        "issue": IssueEvent,
        "trajectory": TrajectoryEvent,
        "probe": ProbeEvent,
    }.items()
    for kind in get_args(union)
}
# The field of Belonging in which a stream of this aggregate stands itself.
SELF = {name: f"{name}_id" for name in ("routine", "trigger", "run", "issue")}


def streams_of(recorded: Recorded) -> Iterator[UUID]:
    """Yield the streams on which it depends what the event belongs to."""
    event = recorded.event
    match event:
        case IssueOpened(run_id=UUID() as run_id) | TrajectoryOpened(run_id=UUID() as run_id):
            yield run_id
        case SlotTaken(live=live):
            yield live.run_id
        case CommentAdded(issue_id=issue_id) | SlotFreed(issue_id=issue_id):
            yield issue_id
        case _ if recorded.version > 1 and AGGREGATES.get(type(event), "routine") != "routine":
            yield recorded.stream_id


def is_first_word(event: AnyEvent | Unreadable) -> bool:
    """Return whether later events of the stream, or of streams that it causes, belong where this one does."""
    match event:
        case TriggerCreated() | TriggerRestored() | BackfillRequested() | ProbeRequested() | RunFired():
            return True
        case IssueOpened(run_id=run_id) | TrajectoryOpened(run_id=run_id):
            return run_id is not None
        case _:
            return AGGREGATES.get(type(event)) == "alert"


def belonging_of(recorded: Recorded, find: Find) -> Belonging:
    """Return what an event belongs to. `find` tells it of the streams of `streams_of`."""
    event = recorded.event
    places: dict[str, UUID | None] = _said_by(event)
    for stream_id in streams_of(recorded):
        if (known := find(stream_id)) is not None:
            places = asdict(known) | places
    if (own := SELF.get(AGGREGATES.get(type(event), ""))) is not None:
        places[own] = recorded.stream_id
    return Belonging(**places) if places else NOTHING


def _said_by(event: AnyEvent | Unreadable) -> dict[str, UUID | None]:
    """Return what the event itself says that it belongs to."""
    match event:
        case RunFired(routine_id=routine_id, trigger_id=trigger_id, outcome=outcome):
            issue_id = outcome.issue_id if isinstance(outcome, Opened | Coalesced) else None
            return {"routine_id": routine_id, "trigger_id": trigger_id, "issue_id": issue_id}
        case (
            BackfillRequested(routine_id=routine_id, trigger_id=trigger_id)
            | ProbeRequested(routine_id=routine_id, trigger_id=trigger_id)
        ):
            return {"routine_id": routine_id, "trigger_id": trigger_id}
        case IssueOpened(routine_id=UUID() as routine_id, run_id=run_id):
            return {"routine_id": routine_id, "run_id": run_id}
        case TrajectoryOpened(routine_id=UUID() as routine_id, run_id=run_id):
            return {"routine_id": routine_id, "run_id": run_id, "issue_id": None}
        case SlotTaken(routine_id=routine_id, live=live):
            return {"routine_id": routine_id, "run_id": live.run_id}
        case CommentAdded(issue_id=issue_id):
            return {"issue_id": issue_id}
        case (
            SlotFreed(routine_id=routine_id)
            | SlotCounted(routine_id=routine_id)
            | TaskRoutineAdded(routine_id=routine_id)
            | TaskRoutineRemoved(routine_id=routine_id)
            | TriggerCreated(routine_id=routine_id)
            | TriggerRestored(routine_id=routine_id)
        ):
            return {"routine_id": routine_id}
        case _ if (aggregate := AGGREGATES.get(type(event))) in ("alert", "routine"):
            names = ("routine_id", "trigger_id", "run_id") if aggregate == "alert" else ("trigger_id",)
            return {name: getattr(event, name) for name in names if hasattr(event, name)}
        case _:
            return {}
