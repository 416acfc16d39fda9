"""Companies and who belongs to them (contract 7.2)."""

from collections.abc import Iterator
from itertools import islice
from uuid import UUID

from application.access import Principal, Resource, authorize, find_membership, require_board
from application.event_store.stream_kinds import CLAIM, COMPANY
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import CompanyDraft, CompanyPatch
from application.use_cases.references import merge_patch
from domain.board import company
from domain.board.access import Membership
from domain.errors import Forbidden, NotFound
from domain.events import CompanyCreated, MemberJoined, NameClaimed
from domain.identity import claim_of, membership_of
from domain.values import CompanyDetails

PREFIX_SCOPE = "issue prefix"
NAMES_AT_ONCE = 20


def create(work: UnitOfWork, principal: Principal, draft: CompanyDraft) -> UUID:
    """Create a company whose owner is the caller; raise Forbidden for all but instance admins."""
    user = require_board(principal)
    if not user.instance_admin:
        raise Forbidden("Instance admin required")
    company_id = work.new_id()
    prefix = claim(work, PREFIX_SCOPE, company.issue_prefixes(draft.name), company_id, company_id)
    details = merge_patch(CompanyDetails(name=draft.name), draft)
    work.record(company_id, [CompanyCreated(details=details, issue_prefix=prefix)], company_id)
    event = MemberJoined(user_id=user.user_id, role="owner")
    work.record(membership_of(user.user_id, company_id), [event], company_id)
    return company_id


def update(work: UnitOfWork, principal: Principal, company_id: UUID, patch: CompanyPatch) -> UUID:
    """Change the fields that the patch sets."""
    current = _find_writable(work, principal, company_id)
    work.record(company_id, company.update(current, merge_patch(current.details, patch)))
    return company_id


def archive(work: UnitOfWork, principal: Principal, company_id: UUID) -> UUID:
    """Archive a company, for good: nothing fires or begins in it any more, and what is under way can be finished."""
    work.record(company_id, company.archive(_find_writable(work, principal, company_id)))
    return company_id


def enter_to_manage(work: UnitOfWork, principal: Principal, company_id: UUID) -> Membership:
    """Return the membership of a board user who may write; whom they may manage is decided by the domain."""
    authorize(work, principal, "administer", enter(work, company_id))
    if (membership := find_membership(work, require_board(principal), company_id)) is None:
        raise NotFound("Company not found")
    return membership


def enter(work: UnitOfWork, company_id: UUID) -> Resource:
    """Return the company of a `/companies/{id}/...` path as a resource; an unknown one belongs to nobody."""
    exists = work.get(COMPANY, company_id) is not None
    return Resource(company_id=company_id if exists else None, kind="Company", by_company=True)


def claim(work: UnitOfWork, scope: str, names: Iterator[str], holder_id: UUID, company_id: UUID) -> str:
    """Claim the first free name of a scope and return it; when two race for it, the store refuses the second."""
    while batch := list(islice(names, NAMES_AT_ONCE)):
        work.load(claim_of(scope, name) for name in batch)
        for name in batch:
            if work.get(CLAIM, claim_of(scope, name)) is None:
                event = NameClaimed(scope=scope, name=name, holder_id=holder_id)
                work.record(claim_of(scope, name), [event], company_id)
                return name
    raise AssertionError


def _find_writable(work: UnitOfWork, principal: Principal, company_id: UUID) -> company.Company:
    authorize(work, principal, "administer", enter(work, company_id))
    if (current := work.get(COMPANY, company_id)) is None:
        raise NotFound("Company not found")
    return current
