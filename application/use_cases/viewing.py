"""Who may look at what: asked before a read model is."""

from uuid import UUID

from application.access import Principal, Resource, authorize, require_board
from application.use_cases import companies
from application.work import Work


def anyone(_work: Work, principal: Principal) -> Principal:
    """Any known caller."""
    return principal


def board(_work: Work, principal: Principal) -> Principal:
    """Board users only."""
    return require_board(principal)


def company(work: Work, principal: Principal, company_id: UUID) -> Principal:
    """Members and agents of the company in a `/companies/{id}/...` path."""
    authorize(work, principal, "read", companies.enter(work, company_id))
    return principal


def thing(work: Work, principal: Principal, company_id: UUID | None, kind: str) -> Principal:
    """Members and agents of the company that the thing belongs to; to others it does not exist."""
    authorize(work, principal, "read", Resource(company_id=company_id, kind=kind))
    return principal
