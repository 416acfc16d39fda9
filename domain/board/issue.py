"""An issue: what an agent works on. Its status, its checkout and who may change it follow contract 7.5."""

from uuid import UUID

from msgspec.structs import replace

from domain.errors import Conflict, Forbidden, ImpossibleHistory, Unauthenticated
from domain.events import IssueCheckedOut, IssueEdited, IssueEvent, IssueMoved, IssueOpened, IssueReleased
from domain.values import IssueDetails, IssueStatus, Value

OPEN: frozenset[IssueStatus] = frozenset({"backlog", "todo", "in_progress", "in_review", "blocked"})


class Issue(Value, frozen=True):
    """The state of an issue, with the run that opened it and the work session that holds it."""

    details: IssueDetails
    status: IssueStatus
    routine_id: UUID | None = None
    run_id: UUID | None = None  # the run that opened it
    checkout_run_id: UUID | None = None  # the agent's work session that holds it


def evolve(issue: Issue | None, event: IssueEvent) -> Issue:
    """
    Fold an event into the state of an issue. Raise ImpossibleHistory if the event cannot follow.

    An issue that changes its assignee, or leaves the status in_progress, is not checked out any more.
    """
    match issue, event:
        case None, IssueOpened(details=details, status=status, routine_id=routine_id, run_id=run_id):
            return Issue(details=details, status=status, routine_id=routine_id, run_id=run_id)
        case Issue(), IssueEdited(details=details):
            stays = details.assignee_agent_id == issue.details.assignee_agent_id
            return replace(issue, details=details, checkout_run_id=issue.checkout_run_id if stays else None)
        case Issue(), IssueMoved(status=status):
            session = issue.checkout_run_id if status == "in_progress" else None
            return replace(issue, status=status, checkout_run_id=session)
        case Issue(), IssueCheckedOut(agent_id=agent_id, run_id=run_id):
            details = replace(issue.details, assignee_agent_id=agent_id)
            return replace(issue, status="in_progress", details=details, checkout_run_id=run_id)
        case Issue(), IssueReleased():
            status = "todo" if issue.status == "in_progress" else issue.status
            details = replace(issue.details, assignee_agent_id=None)
            return replace(issue, status=status, details=details, checkout_run_id=None)
        case _:
            raise ImpossibleHistory(issue, event)


def edit(issue: Issue, details: IssueDetails) -> list[IssueEvent]:
    """Change the details; nothing is recorded when they are the same."""
    return [] if details == issue.details else [IssueEdited(details=details)]


def move(issue: Issue, status: IssueStatus) -> list[IssueEvent]:
    """Change the status; nothing is recorded when it is the same."""
    return [] if status == issue.status else [IssueMoved(status=status)]


def check_out(
    issue: Issue, issue_id: UUID, agent_id: UUID, run_id: UUID | None, expected: tuple[IssueStatus, ...]
) -> list[IssueEvent]:
    """
    Let the agent take the issue for its work session `run_id`; nothing if that session has it already.

    Raise Conflict, with details for the client, if it is somebody else's or its status is none of `expected`.
    """
    assignee = issue.details.assignee_agent_id
    if (
        issue.status == "in_progress"
        and assignee == agent_id
        and run_id is not None
        and issue.checkout_run_id == run_id
    ):
        return []
    is_occupied = issue.checkout_run_id is not None or assignee not in (None, agent_id)
    if is_occupied or issue.status not in expected:
        raise Conflict(
            "Issue checkout conflict",
            {
                "issueId": str(issue_id),
                "status": issue.status,
                "assigneeAgentId": _text(assignee),
                "checkoutRunId": _text(issue.checkout_run_id),
                "executionRunId": _text(issue.checkout_run_id),
            },
        )
    return [IssueCheckedOut(agent_id=agent_id, run_id=run_id)]


def release(issue: Issue) -> list[IssueEvent]:
    """Release the issue from its assignee and session; nothing if it has neither and is not in progress."""
    if issue.status != "in_progress" and issue.checkout_run_id is None and issue.details.assignee_agent_id is None:
        return []
    return [IssueReleased()]


def must_be_worked_on_by(issue: Issue, agent_id: UUID, run_id: UUID | None) -> None:
    """
    Raise unless the issue is assigned to the agent and not checked out by another session.

    Raise Forbidden for another agent, Unauthenticated for a missing session, Conflict for another session.
    """
    if issue.details.assignee_agent_id != agent_id:
        raise Forbidden("Agents can only update issues assigned to themselves")
    if issue.checkout_run_id is not None and run_id is None:
        raise Unauthenticated("Agent run id required")
    if issue.checkout_run_id not in (None, run_id):
        raise Conflict("Issue run ownership conflict")


def _text(id_: UUID | None) -> str | None:
    return None if id_ is None else str(id_)
