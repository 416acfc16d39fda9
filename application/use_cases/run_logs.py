"""Who may write the log of a run: the work session that has its issue."""

from uuid import UUID

from application.access import AgentCaller, Principal, authorize
from application.event_store.stream_kinds import COMPANY, ISSUE, RUN
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases.board import issues
from domain.board import company as companies
from domain.board import issue
from domain.errors import Conflict, Forbidden, NotFound, Unauthenticated
from domain.identity import issue_of_run


def open_to(work: UnitOfWork, principal: Principal, run_id: UUID, session: UUID | None) -> tuple[UUID, UUID]:
    """
    Return the company of a run and the session that may write its log.

    Raise Forbidden for all but the agent that the run's issue is assigned to, Unauthenticated without a session, Conflict
    for a session that does not have the issue and in a company that is erased, NotFound for what the caller may not see.
    """
    issue_id = issue_of_run(run_id)
    company_id = work.owner_of(RUN, run_id)
    try:
        authorize(work, principal, "work", issues.resource(work, issue_id))
    except NotFound:
        raise NotFound("Run not found") from None
    current = work.get(ISSUE, issue_id)
    if company_id is None or current is None:
        raise NotFound("Run not found")
    if not isinstance(principal, AgentCaller):
        raise Forbidden("Agent access required")
    if session is None:
        raise Unauthenticated("Agent run id required")
    issue.must_be_worked_on_by(current, principal.agent_id, session)
    if current.checkout_run_id != session:
        raise Conflict("The issue of the run is not checked out by this work session")
    companies.must_keep_texts(work.get(COMPANY, company_id))
    return company_id, session
