"""An issue: what an agent works on. Its status, its checkout and who may change it follow contract 7.5."""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from domain.errors import Conflict, Forbidden, ImpossibleHistory, Unauthenticated
from domain.events import (
    IssueCheckedOut,
    IssueEdited,
    IssueEvent,
    IssueFreed,
    IssueLeaseRenewed,
    IssueMoved,
    IssueOpened,
    IssueReleased,
)
from domain.values import FreedReason, IssueDetails, IssueStatus, Value

OPEN: frozenset[IssueStatus] = frozenset({"backlog", "todo", "in_progress", "in_review", "blocked"})
SETTLED = 10  # a renewal is recorded only once a tenth of the lease has passed
MOST_LOST_SESSIONS = 50  # how many lost work sessions an issue remembers; the oldest are forgotten first
LOST = "The issue was taken from this work session: its lease ran out, or the board released the issue by force"


class Issue(Value, frozen=True):
    """The state of an issue, with the run that opened it and the work session that holds it."""

    details: IssueDetails
    status: IssueStatus
    routine_id: UUID | None = None
    run_id: UUID | None = None  # the run that opened it
    checkout_run_id: UUID | None = None  # the agent's work session that holds it
    lease_until: datetime | None = None  # when it is taken from that session unless it is renewed
    lost_sessions: tuple[UUID, ...] = ()  # work sessions from which the issue was taken


def evolve(issue: Issue | None, event: IssueEvent) -> Issue:
    """
    Fold an event into the state of an issue. Raise ImpossibleHistory if the event cannot follow.

    An issue that changes its assignee, or leaves the status in_progress, is not checked out any more.
    """
    after = _issue_after(issue, event)
    return after if after.checkout_run_id is not None or after.lease_until is None else replace(after, lease_until=None)


def _issue_after(issue: Issue | None, event: IssueEvent) -> Issue:
    match issue, event:
        case None, IssueOpened(details=details, status=status, routine_id=routine_id, run_id=run_id):
            return Issue(details=details, status=status, routine_id=routine_id, run_id=run_id)
        case Issue(), IssueEdited(details=details):
            stays = details.assignee_agent_id == issue.details.assignee_agent_id
            return replace(issue, details=details, checkout_run_id=issue.checkout_run_id if stays else None)
        case Issue(), IssueMoved(status=status):
            session = issue.checkout_run_id if status == "in_progress" else None
            return replace(issue, status=status, checkout_run_id=session)
        case Issue(), IssueCheckedOut(agent_id=agent_id, run_id=run_id, lease_until=until):
            details = replace(issue.details, assignee_agent_id=agent_id)
            lost_sessions = tuple(session for session in issue.lost_sessions if session != run_id)
            checked_out = replace(issue, status="in_progress", details=details, checkout_run_id=run_id)
            return replace(checked_out, lease_until=until, lost_sessions=lost_sessions)
        case Issue(), IssueLeaseRenewed(until=until):
            return replace(issue, lease_until=until)
        case Issue(), IssueFreed(run_id=run_id):
            lost_sessions = (
                issue.lost_sessions if run_id is None else (*issue.lost_sessions, run_id)[-MOST_LOST_SESSIONS:]
            )
            return replace(
                issue, status=status_when_freed(issue.status), checkout_run_id=None, lost_sessions=lost_sessions
            )
        case Issue(), IssueReleased():
            details = replace(issue.details, assignee_agent_id=None)
            return replace(issue, status=status_when_freed(issue.status), details=details, checkout_run_id=None)
        case _:
            raise ImpossibleHistory(issue, event)


def status_when_freed(status: IssueStatus) -> IssueStatus:
    """Return the status of an issue on which nobody works any more."""
    return "todo" if status == "in_progress" else status


def edit(issue: Issue, details: IssueDetails) -> list[IssueEvent]:
    """Change the details; nothing is recorded when they are the same."""
    return [] if details == issue.details else [IssueEdited(details=details)]


def move(issue: Issue, status: IssueStatus) -> list[IssueEvent]:
    """Change the status; nothing is recorded when it is the same."""
    return [] if status == issue.status else [IssueMoved(status=status)]


def check_out(  # noqa: PLR0913, PLR0917 the request
    issue: Issue,
    issue_id: UUID,
    agent_id: UUID,
    run_id: UUID | None,
    expected: tuple[IssueStatus, ...],
    now: datetime,
    lease: timedelta | None = None,
) -> list[IssueEvent]:
    """
    Let the agent take the issue for its work session `run_id`; if that session has it already, renew the lease at most.

    Raise Conflict, with details for the client, if it is somebody else's or its status is none of `expected`.
    """
    assignee = issue.details.assignee_agent_id
    if (
        issue.status == "in_progress"
        and assignee == agent_id
        and run_id is not None
        and issue.checkout_run_id == run_id
    ):
        return [] if lease is None else _renew_lease(issue.lease_until, agent_id, now, lease)
    is_occupied = issue.checkout_run_id is not None or assignee not in (None, agent_id)
    if is_occupied or issue.status not in expected:
        raise Conflict(
            LOST if run_id in issue.lost_sessions else "Issue checkout conflict",
            {
                "issueId": str(issue_id),
                "status": issue.status,
                "assigneeAgentId": _text_or_none(assignee),
                "checkoutRunId": _text_or_none(issue.checkout_run_id),
                "executionRunId": _text_or_none(issue.checkout_run_id),
            },
        )
    until = None if lease is None or run_id is None else now + lease
    return [IssueCheckedOut(agent_id=agent_id, run_id=run_id, lease_until=until)]


def _renew_lease(until: datetime | None, agent_id: UUID, now: datetime, lease: timedelta) -> list[IssueEvent]:
    is_fresh = until is not None and timedelta(0) <= now + lease - until < lease / SETTLED
    return [] if is_fresh else [IssueLeaseRenewed(agent_id=agent_id, until=now + lease)]


def take_from_session(issue: Issue, reason: FreedReason) -> list[IssueEvent]:
    """Take the issue from the session that has it; nothing if nobody has it. It stays with its assignee."""
    if issue.checkout_run_id is None and issue.status != "in_progress":
        return []
    return [IssueFreed(reason=reason, run_id=issue.checkout_run_id)]


def release(issue: Issue) -> list[IssueEvent]:
    """Release the issue from its assignee and session; nothing if it has neither and is not in progress."""
    if issue.status != "in_progress" and issue.checkout_run_id is None and issue.details.assignee_agent_id is None:
        return []
    return [IssueReleased()]


def must_be_worked_on_by(issue: Issue, agent_id: UUID, run_id: UUID | None) -> None:
    """
    Raise unless the issue is assigned to the agent and not checked out by another session.

    Raise Forbidden for another agent, Unauthenticated for a missing session, Conflict for another session, and for one
    from which the issue was taken.
    """
    if issue.details.assignee_agent_id != agent_id:
        raise Forbidden("Agents can only update issues assigned to themselves")
    if issue.checkout_run_id is not None and run_id is None:
        raise Unauthenticated("Agent run id required")
    if issue.checkout_run_id not in (None, run_id):
        raise Conflict("Issue run ownership conflict")
    if run_id in issue.lost_sessions:
        raise Conflict(LOST)


def _text_or_none(id_: UUID | None) -> str | None:
    return None if id_ is None else str(id_)
