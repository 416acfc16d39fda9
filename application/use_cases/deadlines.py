"""What the scheduler does when a run has lasted too long or is to be tried again, or a pause or a lease is over."""

from collections.abc import Callable, Sequence
from uuid import UUID

from application.event_store.stream_kinds import AGENT, COMPANY, ISSUE, PROJECT, ROUTINE, RUN
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import routines
from application.use_cases.board import issues
from application.use_cases.jetty import trajectories
from domain.board import agent as agents
from domain.board import company as companies
from domain.board import project as projects
from domain.board.issue import OPEN, Issue
from domain.identity import issue_of_run
from domain.routines.deadline import Overdue
from domain.values import Started


def settle(work: UnitOfWork, rows: Sequence[Overdue]) -> int:
    """
    End or begin the attempts of runs, resume the routines and free the issues in one unit of work; return how many.

    A run that has ended, a pause that was changed and a lease that was renewed meanwhile are left alone.
    """
    work.load(row.id for row in rows)
    work.load(issue_of_run(row.id) for row in rows if row.kind in OF_RUNS)
    return sum(SETTLE[row.kind](work, row) for row in rows)


def _time_out(work: UnitOfWork, row: Overdue) -> bool:
    issue_id = issue_of_run(row.id)
    current_run, current_issue = work.get(RUN, row.id), work.get(ISSUE, issue_id)
    if current_run is not None and isinstance(current_run.outcome, Started):
        return trajectories.time_out(work, current_run.outcome.trajectory_id)
    if (
        current_run is None
        or current_issue is None
        or current_run.deadline != row.ends_at
        or current_issue.status not in OPEN
    ):
        return False
    issues.end_overdue(work, issue_id, current_issue, current_run)
    return True


def _begin_attempt(work: UnitOfWork, row: Overdue) -> bool:
    """Begin the next attempt of a run, or give it up where its routine could not fire either."""
    issue_id = issue_of_run(row.id)
    current_run, current_issue = work.get(RUN, row.id), work.get(ISSUE, issue_id)
    if (
        current_run is None
        or current_issue is None
        or current_run.waiting is None
        or current_run.waiting.next_at != row.ends_at
    ):
        return False
    if (obstacle := _find_obstacle(work, current_run.routine_id, current_issue)) is not None:
        issues.give_up(work, issue_id, current_issue, current_run, obstacle)
    else:
        issues.begin_attempt(work, issue_id, current_issue)
    return True


def _find_obstacle(work: UnitOfWork, routine_id: UUID, current_issue: Issue) -> str | None:
    """Return why nothing of the routine may begin now, or None."""
    routine, assignee = work.get(ROUTINE, routine_id), work.get(AGENT, current_issue.details.assignee_agent_id)
    if companies.is_archived(work.get(COMPANY, work.company_of(routine_id))):
        return "the company is archived"
    if routine is None or routine.settings.status != "active":
        return "the routine is not active"
    if projects.is_paused(work.get(PROJECT, current_issue.details.project_id)):
        return "the project is paused"
    if assignee is None:
        return "nobody is assigned to the issue"
    return None if agents.is_invokable(assignee) else "the agent cannot work in its current state"


def _resume(work: UnitOfWork, row: Overdue) -> bool:
    routine = work.get(ROUTINE, row.id)
    if routine is None or routine.settings.status != "paused" or routine.settings.resume_at != row.ends_at:
        return False
    routines.resume_overdue(work, row.id, routine)
    return True


def _free_issue(work: UnitOfWork, row: Overdue) -> bool:
    return issues.free_unrenewed(work, row.id, row.ends_at)


OF_RUNS = ("run", "attempt")
SETTLE: dict[str, Callable[[UnitOfWork, Overdue], bool]] = {
    "run": _time_out,
    "attempt": _begin_attempt,
    "pause": _resume,
    "lease": _free_issue,
}
