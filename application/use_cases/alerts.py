"""What the scheduler does when a routine gets into trouble, or out of it: it raises an alert, or closes it."""

from collections.abc import Sequence
from uuid import UUID

from application.event_store.stream_kinds import ALERT, ISSUE, ROUTINE, RUN, TRAJECTORY
from application.event_store.unit_of_work import UnitOfWork
from domain.events import RunFailed
from domain.identity import alert_of
from domain.routines import alert
from domain.routines.alert import DueAlert
from domain.values import Failed

# The statuses of an issue and of a trajectory.
AT_WORK = {"untaken": ("todo", "pending"), "stuck": ("in_progress", "running")}


def settle(work: UnitOfWork, rows: Sequence[DueAlert]) -> int:
    """
    Raise and close these alerts in one unit of work; return how many.

    Nothing is recorded twice, or of a trouble that is over meanwhile.
    """
    work.load(id_ for row in rows for id_ in (_alert_id(row), row.routine_id, row.id, row.run_id) if id_ is not None)
    return sum(_settle(work, row) for row in rows)


def _settle(work: UnitOfWork, row: DueAlert) -> bool:
    alert_id, routine = _alert_id(row), work.get(ROUTINE, row.routine_id)
    current = work.get(ALERT, alert_id)
    if routine is None:
        return False
    title = routine.settings.title
    if row.step == "close" and current is not None and current.is_open:
        work.record(alert_id, [alert.end_alert(row, title)])
        return True
    if row.step == "raise" and current is None and _goes_on(work, row):
        work.record(
            alert_id,
            [alert.raise_alert(row, title, _failure_reason(work, row.run_id))],
            row.company_id,
        )
        return True
    return False


def _alert_id(row: DueAlert) -> UUID:
    return alert_of(row.id, row.kind, row.since)


def _goes_on(work: UnitOfWork, row: DueAlert) -> bool:
    """Return whether the trouble that passes with time is still there: the row that tells of it may be stale."""
    match row.kind:
        case "untaken" | "stuck":
            item = work.get(ISSUE, row.id) or work.get(TRAJECTORY, row.id)
            return item is not None and item.status in AT_WORK[row.kind]
        case "overdue":
            late = work.get(RUN, row.run_id)
            return late is not None and late.ended is None
        case _:
            return True


def _failure_reason(work: UnitOfWork, run_id: UUID | None) -> str:
    """Return why a run failed; empty if it did not."""
    run = work.get(RUN, run_id)
    if run is None:
        return ""
    failure = run.ended if isinstance(run.ended, RunFailed) else run.outcome
    return failure.reason if isinstance(failure, RunFailed | Failed) else ""
