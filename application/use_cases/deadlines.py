"""What the scheduler does when a run has lasted too long, or the pause of a routine or the lease on an issue is over."""

from collections.abc import Sequence

from application.event_store.stream_kinds import ISSUE, ROUTINE, RUN
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import routines
from application.use_cases.board import issues
from application.use_cases.jetty import trajectories
from domain.board.issue import OPEN
from domain.identity import issue_of_run
from domain.routines import run
from domain.routines.deadline import Overdue
from domain.values import Started


def settle(work: UnitOfWork, rows: Sequence[Overdue]) -> int:
    """
    Time out the runs, resume the routines and free the issues in one unit of work; return how many.

    A run that has ended, a pause that was changed and a lease that was renewed meanwhile are left alone.
    """
    work.load(row.id for row in rows)
    work.load(issue_of_run(row.id) for row in rows if row.kind == "run")
    return sum(_settle(work, row) for row in rows)


def _settle(work: UnitOfWork, row: Overdue) -> bool:
    match row.kind:
        case "run":
            return _time_out(work, row)
        case "pause":
            return _resume(work, row)
        case "lease":
            return issues.free_unrenewed(work, row.id, row.ends_at)


def _time_out(work: UnitOfWork, row: Overdue) -> bool:
    issue_id = issue_of_run(row.id)
    fired, opened = work.get(RUN, row.id), work.get(ISSUE, issue_id)
    if fired is not None and isinstance(fired.outcome, Started):
        return trajectories.time_out(work, fired.outcome.trajectory_id)
    if fired is None or opened is None or fired.ended is not None or opened.status not in OPEN:
        return False
    issues.cancel_overdue(work, issue_id, opened, run.time_out(fired))
    return True


def _resume(work: UnitOfWork, row: Overdue) -> bool:
    routine = work.get(ROUTINE, row.id)
    if routine is None or routine.settings.status != "paused" or routine.settings.resume_at != row.ends_at:
        return False
    routines.resume_overdue(work, row.id, routine)
    return True
