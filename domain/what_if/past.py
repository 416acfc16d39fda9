"""The past of a routine as a replay needs it: the moments at which its schedules were settled, and how long its runs lasted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from msgspec.structs import replace

from domain.events import (
    ProbeRequested,
    RunFailed,
    RunFired,
    SlotCounted,
    SlotFreed,
    SlotTaken,
    TriggerEvent,
    TriggerMissed,
)
from domain.recorded import Recorded
from domain.routines import probe, settlement
from domain.routines import run as runs
from domain.routines import trigger as triggers
from domain.routines.trigger import Trigger
from domain.schedule import plan as plans
from domain.values import Failed, Value

LookKind = Literal["settled", "over_quota", "company_archived", "gave_up"]
# The failure reason begins so when the scheduler gave an occurrence up.
GAVE_UP = "The occurrence could not be carried out"
BY_POLICY = frozenset((*settlement.MISSED_BECAUSE.values(), settlement.OVER_QUOTA, settlement.COMPANY_ARCHIVED))


class Look(Value, frozen=True):
    """
    The events that the scheduler recorded when it settled what was due of a schedule.

    What a probe had been asked for was settled as of `asked_at`; None if no probe was.
    """

    trigger_id: UUID
    at: datetime
    kind: LookKind
    events: tuple[Recorded, ...]
    asked_at: datetime | None = None

    @property
    def first(self) -> datetime:
        """The first occurrence that it settled."""
        return min(_first_of(recorded.event) for recorded in self.events)

    @property
    def next_at(self) -> datetime | None:
        """The occurrence with which the schedule went on."""
        event = self.events[-1].event
        return event.next_at if isinstance(event, RunFired | TriggerMissed) else None


class RunDuration(Value, frozen=True):
    """
    How long a run was live: from its beginning to the first time at which its work was over.

    `is_cut` says that something else than the work ended it: its time limit, or its successor.
    """

    begin: datetime
    end: datetime | None
    is_cut: Literal["timed_out", "superseded"] | None = None

    @property
    def duration(self) -> timedelta | None:
        """The time that the work took; None if it is not known."""
        return None if self.end is None or self.is_cut else self.end - self.begin


class Past(Value, frozen=True):
    """
    The events of a routine, its triggers, its slot, its runs, its agents and its projects, in the order of the log.

    `looks` has each look by the position of its first event, None at those of its others. `typical` is the median of the
    known durations.
    """

    events: Sequence[Recorded]
    looks: dict[int, Look | None]
    lasted: dict[UUID, RunDuration]
    taken_at_positions: dict[UUID, int]  # the position at which a run's work began for the first time
    fired: dict[UUID, RunFired]
    typical: timedelta


def past_of(events: Iterable[Recorded]) -> Past:
    """Return the past that these events tell."""
    events = sorted(events, key=lambda recorded: recorded.position)
    looks: dict[int, Look | None] = {}
    for look in _looks_of(events):
        looks |= dict.fromkeys((recorded.position for recorded in look.events), None)
        looks[look.events[0].position] = look
    durations, taken_at_positions = _durations_and_beginnings(events)
    known_durations = [duration for one in durations.values() if (duration := one.duration) is not None]
    firings = {recorded.stream_id: recorded.event for recorded in events if isinstance(recorded.event, RunFired)}
    return Past(
        events=events,
        looks=looks,
        lasted=durations,
        taken_at_positions=taken_at_positions,
        fired=firings,
        typical=sorted(known_durations)[len(known_durations) // 2] if known_durations else timedelta(),
    )


def find_unwatched_times(past: Past) -> dict[UUID, tuple[Sequence[datetime], Sequence[datetime]]]:
    """
    Return for each schedule when nobody looked at it: from when something was due until it was settled.

    These are the beginnings and the ends of such times, in order.
    """
    states: dict[UUID, Trigger] = {}
    times = defaultdict[UUID, list[tuple[datetime, datetime]]](list)
    for recorded in past.events:
        event = recorded.event
        if isinstance(event, TriggerEvent):
            states[recorded.stream_id] = triggers.evolve(states.get(recorded.stream_id), event)
        look = past.looks.get(recorded.position)
        if look is not None and (plan := triggers.plan_of(states[look.trigger_id])) is not None:
            times[look.trigger_id].append((plans.due_at(plan, look.first), look.at))
    return {
        trigger_id: tuple(zip(*sorted(pairs), strict=True))  # type: ignore[misc]
        for trigger_id, pairs in times.items()
    }


def _first_of(event: object) -> datetime:
    match event:
        case RunFired(occurrence=datetime() as occurrence):
            return occurrence
        case TriggerMissed(first=first):
            return first
        case _:
            raise LookupError(event)


def _looks_of(events: Sequence[Recorded]) -> Iterable[Look]:
    """Yield the looks: what was recorded of one trigger at one time, without what changes of the schedule brought about."""
    by_trigger = defaultdict[UUID, list[Recorded]](list)
    requests = defaultdict[tuple[UUID, datetime], list[datetime]](list)
    for recorded in events:
        match recorded.event:
            case ProbeRequested() as request:
                requests[request.trigger_id, request.occurrence].append(request.as_of)
            case RunFired(trigger_id=UUID() as trigger_id, is_scheduled=True):
                by_trigger[trigger_id].append(recorded)
            case event if isinstance(event, TriggerEvent):
                by_trigger[recorded.stream_id].append(recorded)
    for trigger_id, history in by_trigger.items():
        group: list[Recorded] = []
        for recorded, following in zip(history, [*history[1:], None], strict=True):
            is_settled = _is_settled(recorded, following)
            if group and (not is_settled or recorded.at != group[0].at):
                yield _look_of(trigger_id, group, requests)
                group = []
            if is_settled:
                group.append(recorded)
        if group:
            yield _look_of(trigger_id, group, requests)


def _look_of(
    trigger_id: UUID, group: Sequence[Recorded], requests: Mapping[tuple[UUID, datetime], Sequence[datetime]]
) -> Look:
    look = Look(trigger_id=trigger_id, at=group[0].at, kind=_kind_of_look(group), events=tuple(group))
    moments = [
        moment
        for moment in requests.get((trigger_id, look.first), ())
        if moment <= look.at <= moment + probe.COUNTS_FOR
    ]
    return replace(look, asked_at=max(moments, default=None))


def _is_settled(recorded: Recorded, following: Recorded | None) -> bool:
    """Return whether a look has recorded this; a change of the schedule misses what waits as well, and is recorded after it."""
    match recorded.event:
        case RunFired():
            return True
        case TriggerMissed(reason=settlement.OVER_QUOTA, rests_until=None):
            is_of_change = following is not None and following.at == recorded.at and not _is_settled(following, None)
            return not is_of_change
        case TriggerMissed(reason=reason):
            return reason in BY_POLICY
        case _:
            return False


def _kind_of_look(group: Sequence[Recorded]) -> LookKind:
    for recorded in group:
        match recorded.event:
            case TriggerMissed(rests_until=datetime()):
                return "over_quota"
            case TriggerMissed(reason=settlement.COMPANY_ARCHIVED):
                return "company_archived"
            case RunFired(outcome=Failed(reason=reason)) if reason.startswith(GAVE_UP):
                return "gave_up"
    return "settled"


def _durations_and_beginnings(events: Sequence[Recorded]) -> tuple[dict[UUID, RunDuration], dict[UUID, int]]:
    firings = {recorded.stream_id: recorded for recorded in events if isinstance(recorded.event, RunFired)}
    beginnings: dict[UUID, Recorded] = {}
    taken_at_positions: dict[UUID, int] = {}
    run_of: dict[UUID, UUID] = {}
    endings: dict[UUID, datetime] = {}
    cut: dict[UUID, Literal["timed_out", "superseded"]] = {}
    for recorded in events:
        match recorded.event:
            case SlotTaken(live=live):
                beginnings.setdefault(live.run_id, recorded)
                taken_at_positions.setdefault(live.run_id, recorded.position)
                run_of[live.issue_id] = live.run_id
            case SlotCounted(live=live_now):  # what came before it may not be known
                for live in live_now:
                    beginnings.setdefault(live.run_id, firings.get(live.run_id, recorded))
                    run_of[live.issue_id] = live.run_id
            case SlotFreed(issue_id=issue_id) if issue_id in run_of:
                endings.setdefault(run_of[issue_id], recorded.at)
            case RunFailed(successor_run_id=UUID()):
                cut.setdefault(recorded.stream_id, "superseded")
            case RunFailed(reason=runs.TIMED_OUT):
                cut.setdefault(recorded.stream_id, "timed_out")
    durations = {
        run_id: RunDuration(begin=recorded.at, end=endings.get(run_id), is_cut=cut.get(run_id))
        for run_id, recorded in beginnings.items()
    }
    return durations, taken_at_positions
