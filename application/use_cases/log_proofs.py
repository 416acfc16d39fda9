"""Who may have the proofs of the log. They tell of every event that there is, when, and of which kind, but not its content."""

from uuid import UUID

from application.access import Principal, Resource, authorize, require_board, require_instance_reader
from application.event_store.unit_of_work import UnitOfWork


def may_prove_whole_log(_work: UnitOfWork, principal: Principal) -> None:
    """Raise Forbidden unless the caller may have the proofs of the whole log: admins and auditors of the instance."""
    require_instance_reader(principal)


def may_prove_log_of(work: UnitOfWork, principal: Principal, company_id: UUID) -> None:
    """Raise Forbidden unless the caller may have the proofs of a company's log: any of its members."""
    require_board(principal)
    authorize(work, principal, "read", Resource(company_id=company_id, kind="Company", by_company=True))
