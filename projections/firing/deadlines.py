"""Deadlines: runs of limited duration and pauses that have an end, and the moments at which runs are tried again."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.events import (
    RoutineCreated,
    RoutineRestored,
    RoutineUpdated,
    RunAttemptBegun,
    RunAttemptFailed,
    RunCompleted,
    RunFailed,
    RunFired,
)
from domain.recorded import Recorded
from domain.routines.deadline import Overdue
from domain.values import RoutineSettings
from projections.engine.read_model import Connection, ReadModel, Row, Rows, Table


class DeadlineRow(Row, frozen=True):
    """The deadline of a run, of its waiting for the next attempt, or of a pause; its id is the run's or the routine's."""

    kind: str  # run, attempt or pause
    ends_at: datetime


DEADLINE = Table("deadline", DeadlineRow)

SCHEMA = """
CREATE TABLE deadline (id uuid PRIMARY KEY, kind text NOT NULL, ends_at timestamptz NOT NULL);
CREATE INDEX ON deadline (ends_at, id);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """
    Fold one event into the deadlines: a run that ends and a pause that is over have none any more.

    A run has the deadline of its attempt, or waits for the next attempt, never both.
    """
    match recorded.event:
        case RunFired(deadline=datetime() as ends_at) | RunAttemptBegun(deadline=datetime() as ends_at):
            rows.put(DEADLINE, DeadlineRow(id=recorded.stream_id, kind="run", ends_at=ends_at))
        case RunAttemptFailed(next_at=next_at):
            rows.put(DEADLINE, DeadlineRow(id=recorded.stream_id, kind="attempt", ends_at=next_at))
        case RunCompleted() | RunFailed() | RunAttemptBegun():
            rows.delete(DEADLINE, recorded.stream_id)
        case RoutineCreated(settings=settings) | RoutineUpdated(settings=settings) | RoutineRestored(settings=settings):
            _pause(rows, recorded.stream_id, settings)
        case _:
            pass


def _pause(rows: Rows, routine_id: UUID, settings: RoutineSettings) -> None:
    if settings.status == "paused" and settings.resume_at is not None:
        rows.put(DEADLINE, DeadlineRow(id=routine_id, kind="pause", ends_at=settings.resume_at))
    else:
        rows.delete(DEADLINE, routine_id)


def keys_to_prefetch(_recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Return no keys: rows are put and deleted whole, so `fold` never reads one."""
    return ()


deadlines = ReadModel(
    name="deadlines",
    version=1,
    tables=(DEADLINE,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(
        {
            RunFired,
            RunAttemptFailed,
            RunAttemptBegun,
            RunCompleted,
            RunFailed,
            RoutineCreated,
            RoutineUpdated,
            RoutineRestored,
        }
    ),
    polled_by="scheduler",
)

_DUE = "SELECT id, kind, ends_at FROM deadline WHERE ends_at <= %s ORDER BY ends_at, id LIMIT %s"
_NEXT = "SELECT min(ends_at) FROM deadline WHERE ends_at > %s"


def due(conn: Connection, now: datetime, *, limit: int) -> list[Overdue]:
    """Return the runs, attempts and pauses that have reached their deadline, longest waiting first."""
    rows = conn.execute(_DUE, (now, limit), prepare=True)
    return [Overdue(id=id_, kind=kind, ends_at=ends_at) for id_, kind, ends_at in rows]


def next_due(conn: Connection, after: datetime) -> datetime | None:
    """Return the next deadline after a moment, or None."""
    row = conn.execute(_NEXT, (after,), prepare=True).fetchone()
    return row[0] if row else None
