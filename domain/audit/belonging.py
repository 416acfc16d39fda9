"""What an event belongs to, so that one thing can be asked for with everything that belongs to it."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, get_args
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


class Belonging(Value, frozen=True):
    """The routine, the trigger, the run and the issue that an event belongs to, as far as there are any."""

    routine_id: UUID | None = None
    trigger_id: UUID | None = None
    run_id: UUID | None = None
    issue_id: UUID | None = None


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
SAID: Mapping[type, Sequence[str]] = {  # the fields in which an event says what it belongs to, where these say it all
    **{
        kind: tuple(name for name in ("routine_id", "trigger_id", "run_id") if name in kind.__struct_fields__)
        for kind in get_args(AlertEvent)
    },
    **{kind: ("trigger_id",) if "trigger_id" in kind.__struct_fields__ else () for kind in get_args(RoutineEvent)},
    **dict.fromkeys((BackfillRequested, ProbeRequested), ("routine_id", "trigger_id")),
    **dict.fromkeys((SlotFreed, SlotCounted, TaskRoutineAdded, TaskRoutineRemoved), ("routine_id",)),
    **dict.fromkeys((TriggerCreated, TriggerRestored), ("routine_id",)),
    CommentAdded: ("issue_id",),
}
CAUSES: Mapping[type, Callable[[Any], UUID | None]] = {  # the stream that led to an event, if it names one
    IssueOpened: attrgetter("run_id"),
    TrajectoryOpened: attrgetter("run_id"),
    SlotTaken: attrgetter("live.run_id"),
    CommentAdded: attrgetter("issue_id"),
    SlotFreed: attrgetter("issue_id"),
}
FIRST_WORDS = {TriggerCreated, TriggerRestored, BackfillRequested, ProbeRequested, RunFired, *get_args(AlertEvent)}
SELF = {name: f"{name}_id" for name in ("routine", "trigger", "run", "issue")}  # what a stream of these is itself


def stream_of(recorded: Recorded) -> UUID | None:
    """Return the stream on which it depends what the event belongs to; None if it depends on none."""
    event = recorded.event
    if (cause_of := CAUSES.get(type(event))) is not None and (stream_id := cause_of(event)) is not None:
        return stream_id
    is_later = recorded.version > 1 and AGGREGATES.get(type(event), "routine") != "routine"
    return recorded.stream_id if is_later else None


def is_first_word(event: AnyEvent | Unreadable) -> bool:
    """Return whether later events of the stream, or of streams that it causes, belong where this one does."""
    if isinstance(event, (IssueOpened, TrajectoryOpened)):
        return event.run_id is not None
    return type(event) in FIRST_WORDS


def belonging_of(recorded: Recorded, known_belonging: Belonging | None = None) -> Belonging:
    """Return what an event belongs to; `known_belonging` is what the first event of `stream_of` belongs to, if that is known."""
    event = recorded.event
    places = _said_by(event)
    if (own := SELF.get(AGGREGATES.get(type(event), ""))) is not None:
        places[own] = recorded.stream_id
    return replace(known_belonging or NOTHING, **places)


def _said_by(event: AnyEvent | Unreadable) -> dict[str, UUID | None]:
    """Return what the event itself says that it belongs to."""
    if (names := SAID.get(type(event))) is not None:
        return {name: getattr(event, name) for name in names}
    match event:
        case RunFired(routine_id=routine_id, trigger_id=trigger_id, outcome=outcome):
            issue_id = outcome.issue_id if isinstance(outcome, Opened | Coalesced) else None
            return {"routine_id": routine_id, "trigger_id": trigger_id, "issue_id": issue_id}
        case SlotTaken(routine_id=routine_id, live=live):
            return {"routine_id": routine_id, "run_id": live.run_id}
        case IssueOpened(routine_id=UUID() as routine_id, run_id=run_id):
            return {"routine_id": routine_id, "run_id": run_id}
        case TrajectoryOpened(routine_id=UUID() as routine_id, run_id=run_id):
            return {"routine_id": routine_id, "run_id": run_id, "issue_id": None}
        case _:
            return {}
