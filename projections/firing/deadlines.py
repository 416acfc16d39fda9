"""Deadlines: what ends at a set time, which are runs, pauses and leases, and when runs are tried again."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.events import (
    IssueCheckedOut,
    IssueEdited,
    IssueFreed,
    IssueLeaseRenewed,
    IssueMoved,
    IssueReleased,
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
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table


class DeadlineRow(Row, frozen=True):
    """
    The deadline of a run or of its waiting for the next attempt, of a routine's pause, or of the lease on an issue.

    Its id is that of the run, the routine or the issue.
    """

    company_id: UUID
    kind: str  # run, attempt, pause or lease
    ends_at: datetime
    holder_id: UUID | None = None  # the agent that has the lease: it ends with another assignee of the issue


DEADLINE = Table("deadline", DeadlineRow)

SCHEMA = """
CREATE TABLE deadline (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, kind text NOT NULL, ends_at timestamptz NOT NULL, holder_id uuid);
CREATE INDEX ON deadline (ends_at, id);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """
    Fold one event into the deadlines: what has ended before has none any more.

    A run has the deadline of its attempt, or waits for the next attempt, never both.
    """
    match recorded.event:
        case RunFired(deadline=datetime() as ends_at) | RunAttemptBegun(deadline=datetime() as ends_at):
            rows.put(DEADLINE, _row_of(recorded, "run", ends_at))
        case RunAttemptFailed(next_at=next_at):
            rows.put(DEADLINE, _row_of(recorded, "attempt", next_at))
        case RunCompleted() | RunFailed() | RunAttemptBegun():
            rows.delete(DEADLINE, recorded.stream_id)
        case RoutineCreated(settings=settings) | RoutineUpdated(settings=settings) | RoutineRestored(settings=settings):
            _pause(recorded, rows, settings)
        case (
            IssueCheckedOut(agent_id=holder_id, lease_until=datetime() as ends_at)
            | IssueLeaseRenewed(agent_id=holder_id, until=ends_at)
        ):
            rows.put(DEADLINE, _row_of(recorded, "lease", ends_at, holder_id))
        case IssueEdited(details=details):
            row = rows.get(DEADLINE, recorded.stream_id)
            if row is not None and row.holder_id != details.assignee_agent_id:
                rows.delete(DEADLINE, recorded.stream_id)
        case IssueCheckedOut() | IssueMoved() | IssueReleased() | IssueFreed():
            rows.delete(DEADLINE, recorded.stream_id)
        case _:
            pass


def _pause(recorded: Recorded, rows: Rows, settings: RoutineSettings) -> None:
    if settings.status == "paused" and settings.resume_at is not None:
        rows.put(DEADLINE, _row_of(recorded, "pause", settings.resume_at))
    else:
        rows.delete(DEADLINE, recorded.stream_id)


def _row_of(recorded: Recorded, kind: str, ends_at: datetime, holder_id: UUID | None = None) -> DeadlineRow:
    return DeadlineRow(
        id=recorded.stream_id, company_id=recorded.known_company_id, kind=kind, ends_at=ends_at, holder_id=holder_id
    )


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the key of the only kind of row that `fold` reads: the lease on an issue that was edited."""
    if isinstance(recorded.event, IssueEdited):
        yield DEADLINE, recorded.stream_id


deadlines = ReadModel(
    name="deadlines",
    version=3,
    tables=(DEADLINE,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(
        {
            IssueCheckedOut,
            IssueEdited,
            IssueFreed,
            IssueLeaseRenewed,
            IssueMoved,
            IssueReleased,
            RoutineCreated,
            RoutineRestored,
            RoutineUpdated,
            RunAttemptBegun,
            RunAttemptFailed,
            RunCompleted,
            RunFailed,
            RunFired,
        }
    ),
    polled_by="scheduler",
)

_DUE = "SELECT id, company_id, kind, ends_at FROM deadline WHERE ends_at <= %s ORDER BY ends_at, id LIMIT %s"
_NEXT = "SELECT min(ends_at) FROM deadline WHERE ends_at > %s"


def due(conn: Connection, now: datetime, *, limit: int) -> list[Overdue]:
    """Return the runs, attempts, pauses and leases that have reached their deadline, longest waiting first."""
    rows = conn.execute(_DUE, (now, limit), prepare=True)
    return [
        Overdue(id=id_, company_id=company_id, kind=kind, ends_at=ends_at) for id_, company_id, kind, ends_at in rows
    ]


def next_due(conn: Connection, after: datetime) -> datetime | None:
    """Return the next deadline after a moment, or None."""
    row = conn.execute(_NEXT, (after,), prepare=True).fetchone()
    return row[0] if row else None
