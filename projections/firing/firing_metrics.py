"""
Firing metrics: outcomes of firings and how often, how late scheduled firings were, and outcomes of deliveries.

They are folded from the log, so a restart loses nothing, and all processes show the same totals.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import accumulate
from typing import Any, get_args
from uuid import UUID, uuid5

import msgspec
from msgspec.structs import replace

from domain.events import (
    DeliveryDead,
    DeliveryDelivered,
    DeliveryFailed,
    RunCompleted,
    RunFailed,
    RunFired,
    TriggerCreated,
    TriggerMissed,
    TriggerReplanned,
    TriggerRescheduled,
    TriggerRestored,
    TriggerUpdated,
)
from domain.recorded import Recorded
from domain.routines import activity_gate, budget, firing, probe
from domain.routines.settlement import GRACE
from domain.values import Coalesced, Failed, Opened, Outcome, RunSource, Skipped, Started
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table

NAMESPACE = UUID("b0a2f7c6-3f0e-5d57-8c1b-6a4f3f6f2d10")
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
BOUNDS = (*map(str, BOUNDS_S), "+Inf")  # the values of the label
MICROSECOND = timedelta(microseconds=1)

RUNS, MISSED, ENDED, ATTEMPTS = WHATS = "runs", "missed", "ended", "attempts"
OPENED, STARTED = ("issue_created", ""), ("trajectory_started", "")
COALESCED, FAILED = ("coalesced", ""), ("failed", "")
MET_LIVE_ISSUE, PAUSED = ("skipped", "live_issue"), ("skipped", "paused")
SKIPPED_FOR = (activity_gate.QUIET, firing.SUPERSEDED, budget.OVER_BUDGET, probe.FAILED, probe.UNANSWERED)
# Each is a status (contract 5.3) and the reason for skipping. All are shown before they occur.
OUTCOMES = (
    OPENED,
    STARTED,
    COALESCED,
    MET_LIVE_ISSUE,
    PAUSED,
    FAILED,
    *(("skipped", reason) for reason in SKIPPED_FOR),
)
REASONS = ("skip_missed", "catch_up_cap", "over_quota")
ENDS = ("completed", "failed")
ATTEMPTED = ("delivered", "failed", "dead")
TIMINGS = ("on_time", "caught_up")
UNTIMED = ("", "")

Labels = tuple[str, ...]


class TallyRow(Row, frozen=True):
    """How often something has happened, counted by labels; scheduled runs also by how late they were."""

    what: str
    labels: Labels
    timing: str  # one of TIMINGS; empty where nothing can be late
    bound: str  # the first of BOUNDS that is no less than the lateness
    total: int
    late_us: int  # the sum of their lateness


class JitterRow(Row, frozen=True):
    """The next occurrence of a schedule with jitter, and when it comes due; its id is the trigger's."""

    occurrence: datetime
    due_at: datetime


TALLY = Table("tally", TallyRow)
JITTER = Table("firing_jitter", JitterRow)

SCHEMA = f"""
CREATE TABLE tally (
    id uuid PRIMARY KEY, what text NOT NULL, labels text[] NOT NULL, timing text NOT NULL, bound text NOT NULL,
    total bigint NOT NULL, late_us bigint NOT NULL
) WITH (fillfactor = 50);  -- with others it is another table: {BOUNDS_S}, {WHATS}
CREATE TABLE firing_jitter (id uuid PRIMARY KEY, occurrence timestamptz NOT NULL, due_at timestamptz NOT NULL);
"""

Moving = (
    TriggerCreated | TriggerRestored | TriggerUpdated | TriggerRescheduled | TriggerReplanned | TriggerMissed | RunFired
)


def fold(recorded: Recorded, rows: Rows) -> None:
    """
    Add an event to the tally of its kind and labels, if it is counted.

    How late a firing is counts from when it came due: its jitter is no delay.
    """
    trigger_id = _scheduled_trigger(recorded)
    if (tally := _tally_event(recorded, rows.get(JITTER, trigger_id) if trigger_id else None)) is not None:
        rows.put(TALLY, _add_tallies(rows.get(TALLY, tally.id), tally))
    if trigger_id is not None and isinstance(recorded.event, Moving):
        _move(rows, trigger_id, recorded.event)


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows that `fold` needs: of the tally, that of a firing without jitter."""
    if (trigger_id := _scheduled_trigger(recorded)) is not None:
        yield JITTER, trigger_id
    if (tally := _tally_event(recorded, None)) is not None:
        yield TALLY, tally.id


def _scheduled_trigger(recorded: Recorded) -> UUID | None:
    """Return the schedule that an event moves on; None if it moves none."""
    event = recorded.event
    if isinstance(event, RunFired):
        return event.trigger_id if event.is_scheduled else None
    return recorded.stream_id if isinstance(event, Moving) else None


def _move(rows: Rows, trigger_id: UUID, event: Moving) -> None:
    """Note when the next occurrence comes due; most schedules have no jitter, and so no row."""
    if event.next_at is not None and event.due_at is not None:
        rows.put(JITTER, JitterRow(id=trigger_id, occurrence=event.next_at, due_at=event.due_at))
    elif rows.get(JITTER, trigger_id) is not None:
        rows.delete(JITTER, trigger_id)


def _add_tallies(row: TallyRow | None, increment: TallyRow) -> TallyRow:
    return (
        replace(row, total=row.total + increment.total, late_us=row.late_us + increment.late_us) if row else increment
    )


def _tally_event(recorded: Recorded, jitter: JitterRow | None) -> TallyRow | None:
    """Return the tally of this one event alone; None for events that are not counted."""
    match recorded.event:
        case RunFired(source=source, outcome=outcome, occurrence=occurrence) as firing:
            due_at = jitter.due_at if jitter is not None and jitter.occurrence == occurrence else occurrence
            lateness = recorded.at - due_at if due_at and firing.is_scheduled else None
            return _tally_row(RUNS, (source, *_outcome_labels(outcome)), late=lateness)
        case RunCompleted():
            return _tally_row(ENDED, ("completed",))
        case RunFailed():
            return _tally_row(ENDED, ("failed",))
        case TriggerMissed(reason=reason, count=count):
            return _tally_row(MISSED, (reason,), total=count)
        case DeliveryDelivered():
            return _tally_row(ATTEMPTS, ("delivered",))
        case DeliveryFailed():
            return _tally_row(ATTEMPTS, ("failed",))
        case DeliveryDead():
            return _tally_row(ATTEMPTS, ("dead",))
        case _:
            return None


def _tally_row(tally: str, labels: Labels, *, total: int = 1, late: timedelta | None = None) -> TallyRow:
    timing, upper_bound = UNTIMED if late is None else _timing_of(late)
    late_us = 0 if late is None else late // MICROSECOND
    id_ = _id_of(tally, *labels, timing, upper_bound)
    return TallyRow(id=id_, what=tally, labels=labels, timing=timing, bound=upper_bound, total=total, late_us=late_us)


@cache
def _id_of(*names: str) -> UUID:
    return uuid5(NAMESPACE, "|".join(names))


def _outcome_labels(outcome: Outcome) -> tuple[str, str]:
    """Return the labels of an outcome. The text of a failure is no label, because it may quote names."""
    match outcome:
        case Opened():
            return OPENED
        case Started():
            return STARTED
        case Coalesced():
            return COALESCED
        case Skipped(reason=None):
            return MET_LIVE_ISSUE
        case Skipped(reason="paused"):
            return PAUSED
        case Skipped():
            return ("skipped", outcome.reason or "")
        case Failed():
            return FAILED


def _timing_of(lateness: timedelta) -> tuple[str, str]:
    """
    Return the timing of a firing and the bound of its lateness.

    A firing past its grace caught up with a missed occurrence (domain/routines/trigger.py): it is late on purpose, so
    it is counted apart.
    """
    upper_bound = BOUNDS[bisect_left(BOUNDS_S, lateness.total_seconds())]
    return "caught_up" if lateness > GRACE else "on_time", upper_bound


firing_metrics = ReadModel(
    name="firing_metrics",
    version=2,  # 2: lateness counts from when a firing came due, not from its planned moment
    tables=(TALLY, JITTER),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset({*get_args(Moving), RunCompleted, RunFailed, DeliveryDelivered, DeliveryFailed, DeliveryDead}),
)


class Lateness(msgspec.Struct, frozen=True):
    """How late firings were: the sum in seconds, and how many were no later than each bound."""

    sum_s: float
    up_to: Sequence[int]  # how many were no later than each of BOUNDS; the last bound counts all


class Firings(msgspec.Struct, frozen=True):
    """How often things have happened, by their labels; what can happen but has not is there as 0."""

    runs: Mapping[Labels, int]  # by source, status and reason
    missed: Mapping[Labels, int]  # occurrences, by reason
    ended: Mapping[Labels, int]  # by status; a run whose issue is reopened may end again
    attempts: Mapping[Labels, int]  # to send a delivery, by outcome
    lateness: Mapping[str, Lateness]  # of scheduled runs, by timing


_ALL = "SELECT what, labels, timing, bound, total, late_us FROM tally"
_POSSIBLE: Mapping[str, Sequence[Labels]] = {
    RUNS: [(source, *outcome) for source in get_args(RunSource) for outcome in OUTCOMES],
    MISSED: [(reason,) for reason in REASONS],
    ENDED: [(end,) for end in ENDS],
    ATTEMPTS: [(came,) for came in ATTEMPTED],
}


def firings(conn: Connection) -> Firings:
    """Return the totals over the whole log, up to the position of the read model."""
    totals: dict[str, dict[Labels, int]] = {what: dict.fromkeys(labels, 0) for what, labels in _POSSIBLE.items()}
    counts, late_us = Counter[tuple[str, str]](), Counter[str]()
    for tally, labels, timing, upper_bound, total, us in conn.execute(_ALL, prepare=True):
        totals[tally][tuple(labels)] = totals[tally].get(tuple(labels), 0) + total
        counts[timing, upper_bound] += total
        late_us[timing] += us
    lateness = {timing: Lateness(late_us[timing] / 1_000_000, _up_to(timing, counts)) for timing in TIMINGS}
    return Firings(
        runs=totals[RUNS],
        missed=totals[MISSED],
        ended=totals[ENDED],
        attempts=totals[ATTEMPTS],
        lateness=lateness,
    )


def _up_to(timing: str, counts: Mapping[tuple[str, str], int]) -> Sequence[int]:
    return tuple(accumulate(counts.get((timing, bound), 0) for bound in BOUNDS))
