"""Issues and the agent's loop over them (contract 7.5). An execution issue moves its run and frees its slot."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import UNSET, UnsetType

from application.access import Action, AgentCaller, BoardUser, Principal, Resource, authorize
from application.event_store.stream_kinds import ISSUE, PROJECT, ROUTINE, RUN
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.budgets import UsageReport
from application.request_bodies.issues import Checkout, CommentDraft, IssueDraft, IssuePatch
from application.use_cases import references, slots
from application.use_cases.board import companies
from domain.board import issue
from domain.board import project as projects
from domain.board.issue import OPEN, Issue
from domain.errors import Conflict, Forbidden, InvalidField, NotFound, RuleViolation, Unauthenticated
from domain.events import CommentAdded, IssueCheckedOut, IssueOpened, RunEvent, RunReported
from domain.routines import firing, run
from domain.routines.run import Run
from domain.values import FailureCause, IssueDetails, IssueStatus, LiveWork

OVERDUE = "Cancelled: the run lasted longer than the routine's maxRunDurationSec allows."
OVERDUE_ATTEMPT = "The attempt lasted longer than the routine's maxRunDurationSec allows; the run is tried again."
LEASE_OVER = (
    "The lease of work session {} ran out at {:%Y-%m-%dT%H:%M:%SZ}: its worker was not heard of in time. "
    "The issue is to do again, for the same assignee."
)
FORCED = "Released by force from {}."
SUPERSEDED = "Cancelled: the routine fired again, and its run {} takes the place of this one (cancel_previous)."


def create(work: UnitOfWork, principal: Principal, company_id: UUID, draft: IssueDraft) -> UUID:
    """Create an issue; without a status it is `todo` when somebody is assigned to it, else `backlog`."""
    authorize(work, principal, "work", companies.enter(work, company_id))
    details = references.merge_patch(IssueDetails(title=draft.title), draft)
    _check_references(work, company_id, None, details, None)
    event = IssueOpened(
        details=details,
        status=_initial_status(draft),
        created_by_agent_id=principal.agent_id if isinstance(principal, AgentCaller) else None,
        created_by_user_id=principal.user_id if isinstance(principal, BoardUser) else None,
    )
    issue_id = work.new_id()
    work.record(issue_id, [event], company_id)
    return issue_id


def update(
    work: UnitOfWork, principal: Principal, issue_id: UUID, patch: IssuePatch, session: UUID | None
) -> UUID | None:
    """
    Edit, move and comment; return the id of the comment, if the patch has one.

    An agent changes only what it is assigned to, in the session that checked it out. Where it reports a failure, and the
    run is tried again, the issue waits in the backlog instead of being cancelled.
    """
    current = _find_writable(work, principal, issue_id, session)
    details = references.merge_patch(current.details, patch)
    if details.parent_id == issue_id:
        raise RuleViolation("Issue cannot be its own parent")
    _check_references(work, work.company_of(issue_id), issue_id, details, current.details)
    if patch.failure_reason is not None and (patch.status != "cancelled" or current.run_id is None):
        raise InvalidField(
            "failureReason is only for the status cancelled of an issue that a run opened", "failureReason"
        )
    if patch.outputs is not None or patch.usage is not None:
        _report(work, current, patch)
    work.record(issue_id, issue.edit(current, details))
    if not isinstance(patch.status, UnsetType):
        reason = patch.failure_reason if isinstance(principal, AgentCaller) else None
        if reason is None or not _postpone_attempt(work, issue_id, current, "failure", reason):
            work.record(issue_id, issue.move(current, patch.status))
            _follow(work, issue_id, current, patch.status, patch.failure_reason)
    return None if patch.comment is None else _add_comment(work, principal, issue_id, patch.comment, session)


def check_out(work: UnitOfWork, principal: Principal, issue_id: UUID, request: Checkout, session: UUID | None) -> UUID:
    """
    Give the issue to an agent for its session; raise Conflict when another has it or its project is paused.

    An agent checks out for itself only, and must name its session. The same session again renews its lease at most.
    """
    current = _find_issue(work, principal, issue_id, "work")
    is_held = session is not None and session == current.checkout_run_id
    if not is_held and projects.is_paused(work.get(PROJECT, current.details.project_id)):
        raise Conflict("Project is paused")
    if isinstance(principal, AgentCaller):
        if request.agent_id != principal.agent_id:
            raise Forbidden("Agent can only checkout as itself")
        if session is None:
            raise Unauthenticated("Agent run id required")
    references.check_agent(work, work.company_of(issue_id), request.agent_id)
    if request.lease_seconds is not None and session is None:
        raise InvalidField("leaseSeconds is for a work session: name it by X-Paperclip-Run-Id", "leaseSeconds")
    lease = None if request.lease_seconds is None else timedelta(seconds=request.lease_seconds)
    expected = request.expected_statuses
    events = issue.check_out(current, issue_id, request.agent_id, session, expected, work.now, lease)
    work.record(issue_id, events)
    if any(isinstance(event, IssueCheckedOut) for event in events):
        _follow(work, issue_id, current, "in_progress")
    return issue_id


def release(work: UnitOfWork, principal: Principal, issue_id: UUID, session: UUID | None) -> UUID:
    """Give the issue back; an agent gives back only what it is assigned to, in the session that checked it out."""
    current = _find_issue(work, principal, issue_id, "work")
    if isinstance(principal, AgentCaller):
        if current.details.assignee_agent_id != principal.agent_id:
            raise Conflict("Only assignee can release issue")
        if session is None:
            raise Unauthenticated("Agent run id required")
        issue.must_be_worked_on_by(current, principal.agent_id, session)
    work.record(issue_id, issue.release(current))
    return issue_id


def force_release(work: UnitOfWork, principal: Principal, issue_id: UUID) -> UUID:
    """Take an issue from whoever holds it, and say so in a comment; it stays with its assignee."""
    current = _find_issue(work, principal, issue_id, "administer")
    if events := issue.take_from_session(current, "forced"):
        work.record(issue_id, events)
        session = current.checkout_run_id
        holder = "whoever worked on it" if session is None else f"work session {session}"
        _add_comment(work, principal, issue_id, FORCED.format(holder), None)
    return issue_id


def free_unrenewed(work: UnitOfWork, issue_id: UUID, lease_until: datetime) -> bool:
    """Take an issue whose lease ran out then from its work session, unless it was renewed; return whether it did."""
    current = work.get(ISSUE, issue_id)
    if current is None or current.lease_until != lease_until or lease_until > work.now:
        return False
    body = LEASE_OVER.format(current.checkout_run_id, lease_until)
    work.record(issue_id, issue.take_from_session(current, "lease_over"))
    work.record(work.new_id(), [CommentAdded(issue_id=issue_id, body=body)], work.company_of(issue_id))
    return True


def comment(work: UnitOfWork, principal: Principal, issue_id: UUID, draft: CommentDraft, session: UUID | None) -> UUID:
    """Add a comment and return its id; whoever may work in the company may comment."""
    _find_issue(work, principal, issue_id, "work")
    return _add_comment(work, principal, issue_id, draft.body, session)


def end_overdue(work: UnitOfWork, issue_id: UUID, current: Issue, current_run: Run) -> None:
    """End the attempt of an issue's run, which has lasted too long; if no other follows, the issue is cancelled."""
    if _postpone_attempt(work, issue_id, current, run.TIMED_OUT, run.TIMED_OUT):
        _comment_by_system(work, issue_id, OVERDUE_ATTEMPT)
    else:
        _cancel(work, issue_id, current, run.time_out(current_run), OVERDUE)


def begin_attempt(work: UnitOfWork, issue_id: UUID, current: Issue) -> None:
    """Give the issue to its agent again, for the next attempt of its run."""
    work.record(issue_id, issue.move(current, "todo"))
    _follow(work, issue_id, current, "todo")


def give_up(work: UnitOfWork, issue_id: UUID, current: Issue, current_run: Run, obstacle: str) -> None:
    """End the run of the issue and cancel the issue, because its next attempt cannot begin."""
    _cancel(
        work, issue_id, current, run.give_up(current_run, obstacle), f"Cancelled: not tried again, because {obstacle}."
    )


def cancel_superseded(work: UnitOfWork, live: Sequence[LiveWork], successor_run_id: UUID) -> None:
    """Cancel the execution issues of earlier runs, since the routine's next run takes their place (cancel_previous)."""
    work.load(id_ for one in live for id_ in (one.issue_id, one.run_id))
    for live_work in live:
        current, current_run = work.get(ISSUE, live_work.issue_id), work.get(RUN, live_work.run_id)
        if current is not None and current_run is not None:
            comment = SUPERSEDED.format(successor_run_id)
            _cancel(work, live_work.issue_id, current, run.supersede(current_run, successor_run_id), comment)


def _cancel(work: UnitOfWork, issue_id: UUID, current: Issue, run_events: Sequence[RunEvent], comment: str) -> None:
    """Cancel an issue on behalf of nobody; its run ends with these events and leaves the slot."""
    if current.routine_id is None or current.run_id is None:
        return
    work.record(issue_id, issue.move(current, "cancelled"))
    work.record(current.run_id, run_events)
    _comment_by_system(work, issue_id, comment)
    live = LiveWork(issue_id=issue_id, run_id=current.run_id)
    slots.follow(work, current.routine_id, live, work.company_of(issue_id), is_live=False)


def _postpone_attempt(work: UnitOfWork, issue_id: UUID, current: Issue, cause: FailureCause, reason: str) -> bool:
    """
    Let the issue wait in the backlog for the next attempt of its run, if that is tried again after such a failure.

    The issue stays open, so its routine's slot stays taken. Returns whether it waits.
    """
    current_run = None if current.run_id is None else work.get(RUN, current.run_id)
    events = None if current_run is None else run.postpone(current_run, cause, reason, work.now)
    if current.run_id is None or events is None:
        return False
    work.record(current.run_id, events)
    work.record(issue_id, issue.move(current, "backlog"))
    return True


def _comment_by_system(work: UnitOfWork, issue_id: UUID, body: str) -> None:
    work.record(work.new_id(), [CommentAdded(issue_id=issue_id, body=body)], work.company_of(issue_id))


def resource(work: UnitOfWork, issue_id: UUID) -> Resource:
    """Return the issue as a resource; an unknown one belongs to no company."""
    return Resource(company_id=work.owner_of(ISSUE, issue_id), kind="Issue")


def _follow(work: UnitOfWork, issue_id: UUID, old: Issue, status: IssueStatus, reason: str | None = None) -> None:
    """
    End the run that opened the issue when the issue ends; keep the slot taken while it is open.

    An issue that leaves the backlog in which it waits for the next attempt of its run begins that attempt.
    """
    if old.routine_id is None or old.run_id is None:
        return
    company_id = work.company_of(issue_id)
    current_run = work.get(RUN, old.run_id)
    if current_run is not None:
        work.record(old.run_id, run.end(current_run, status, reason))
        if current_run.waiting is not None and status in OPEN and status != "backlog":
            routine = work.get(ROUTINE, old.routine_id)
            deadline = None if routine is None else firing.deadline(routine.settings, work.now)
            work.record(old.run_id, run.begin_attempt(current_run, old.run_id, old.details.assignee_agent_id, deadline))
    live = LiveWork(issue_id=issue_id, run_id=old.run_id)
    slots.follow(work, old.routine_id, live, company_id, is_live=status in OPEN)


def _report(work: UnitOfWork, current: Issue, patch: IssuePatch) -> None:
    """Record what was reported of the run that opened the issue; raise InvalidField if no run did."""
    current_run = None if current.run_id is None else work.get(RUN, current.run_id)
    if current.run_id is None or current_run is None:
        field = "usage" if patch.outputs is None else "outputs"
        raise InvalidField(f"{field} is only for an issue that a run opened", field)
    usage = patch.usage or UsageReport()
    event = RunReported(
        outputs=patch.outputs,
        cost_micros=usage.cost_micros,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        routine_id=None if patch.usage is None else current_run.routine_id,
        agent_id=None if patch.usage is None else current.details.assignee_agent_id,
    )
    work.record(current.run_id, run.report(current_run, event))


def _add_comment(work: UnitOfWork, principal: Principal, issue_id: UUID, body: str, session: UUID | None) -> UUID:
    by_agent = isinstance(principal, AgentCaller)
    event = CommentAdded(
        issue_id=issue_id,
        body=body,
        agent_id=principal.agent_id if isinstance(principal, AgentCaller) else None,
        user_id=principal.user_id if isinstance(principal, BoardUser) else None,
        run_id=session if by_agent else None,
    )
    comment_id = work.new_id()
    work.record(comment_id, [event], work.company_of(issue_id))
    return comment_id


def _initial_status(draft: IssueDraft) -> IssueStatus:
    if draft.status is not UNSET:
        return draft.status
    return "backlog" if draft.assignee_agent_id is None else "todo"


def _check_references(
    work: UnitOfWork, company_id: UUID, issue_id: UUID | None, new: IssueDetails, old: IssueDetails | None
) -> None:
    if old is None or new.project_id != old.project_id:
        references.check_project(work, company_id, new.project_id)
    if old is None or new.assignee_agent_id != old.assignee_agent_id:
        references.check_agent(work, company_id, new.assignee_agent_id, "Assignee agent")
    if old is None or new.goal_id != old.goal_id:
        references.check_goal(work, company_id, new.goal_id)
    if old is None or new.parent_id != old.parent_id:
        references.check_parent_issue(work, company_id, new.parent_id)
        references.check_issues_above(work, new.parent_id, issue_id)


def _find_issue(work: UnitOfWork, principal: Principal, issue_id: UUID, action: Action) -> Issue:
    authorize(work, principal, action, resource(work, issue_id))
    if (current := work.get(ISSUE, issue_id)) is None:
        raise NotFound("Issue not found")
    return current


def _find_writable(work: UnitOfWork, principal: Principal, issue_id: UUID, session: UUID | None) -> Issue:
    current = _find_issue(work, principal, issue_id, "work")
    if isinstance(principal, AgentCaller):
        issue.must_be_worked_on_by(current, principal.agent_id, session)
    return current
