"""The erasure of what a company or a person has left in the log (docs/erasure.md), as an operator of the database asks for it."""

from collections.abc import Sequence
from uuid import UUID

from application.event_store.stream_kinds import COMPANY, KEY, MEMBERSHIP, USER
from application.event_store.unit_of_work import UnitOfWork
from domain.board import access
from domain.board import company as companies
from domain.errors import Conflict, NotFound
from domain.events import CompanyEvent
from domain.identity import membership_of


def must_be_erasable(work: UnitOfWork, company_id: UUID) -> None:
    """Raise NotFound for an unknown company, Conflict for one that is at work."""
    _erasure_of_company(work, company_id, "")


def erase_company(work: UnitOfWork, company_id: UUID, reason: str) -> None:
    """Record that a company is erased. Raises as `must_be_erasable` does."""
    work.record(company_id, _erasure_of_company(work, company_id, reason))


def must_be_free(work: UnitOfWork, user_id: UUID, company_ids: Sequence[UUID]) -> None:
    """
    Raise NotFound for an unknown user, Conflict for the administrator and for a member of a company that is at work.

    `company_ids` are the companies of the user by the read model.
    """
    if (user := work.get(USER, user_id)) is None:
        raise NotFound("There is no such user")
    if user.instance_admin:
        raise Conflict("The user administers the installation, and nobody else can: revoke keys of theirs instead")
    active = [
        str(id_)
        for id_ in company_ids
        if work.get(MEMBERSHIP, membership_of(user_id, id_)) and not companies.is_archived(work.get(COMPANY, id_))
    ]
    if active:
        raise Conflict(f"The user is a member of {', '.join(active)}: remove them there first")


def erase_user(
    work: UnitOfWork, user_id: UUID, reason: str, company_ids: Sequence[UUID], key_ids: Sequence[UUID]
) -> None:
    """Revoke the keys of a user, and record that the user is erased. Raises as `must_be_free` does."""
    must_be_free(work, user_id, company_ids)
    for key_id in key_ids:
        if (key := work.get(KEY, key_id)) is not None and key.user_id == user_id:
            work.record(key_id, access.revoke(key))
    if (user := work.get(USER, user_id)) is not None:
        work.record(user_id, access.erase(user, reason))


def _erasure_of_company(work: UnitOfWork, company_id: UUID, reason: str) -> Sequence[CompanyEvent]:
    if (company := work.get(COMPANY, company_id)) is None:
        raise NotFound("There is no such company")
    return companies.erase(company, reason)
