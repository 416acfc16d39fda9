"""Who may look at what: asked before a read model is."""

from collections.abc import Callable
from typing import Protocol, TypeVar
from uuid import UUID

from application.access import BoardUser, Principal, Resource, authorize, find_membership, may, require_board
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases.board import companies
from domain import disclosure
from domain.board import access
from domain.errors import NotFound


class Owned(Protocol):
    """Something that belongs to a company."""

    @property
    def company_id(self) -> UUID: ...


T = TypeVar("T", bound=Owned)


def anyone(_work: UnitOfWork, principal: Principal) -> Principal:
    """Any known caller."""
    return principal


def board(_work: UnitOfWork, principal: Principal) -> Principal:
    """Board users only."""
    return require_board(principal)


def company(work: UnitOfWork, principal: Principal, company_id: UUID) -> Principal:
    """Members and agents of the company in a `/companies/{id}/...` path."""
    authorize(work, principal, "read", companies.enter(work, company_id))
    return principal


def find(work: UnitOfWork, principal: Principal, find: Callable[[], T | None], kind: str) -> T:
    """
    What `find` finds, for members and agents of its company; to others it does not exist.

    Its addresses are shown to members who may write.
    """
    thing = find()
    resource = Resource(company_id=thing.company_id if thing else None, kind=kind)
    authorize(work, principal, "read", resource)
    if thing is None:
        raise NotFound(f"{kind} not found")
    return disclosure.shown(thing, addresses=may(work, principal, "administer", resource))


def agents(work: UnitOfWork, principal: Principal, company_id: UUID) -> bool:
    """For members and agents of the company; whether the caller may change its agents, and sees their addresses."""
    company(work, principal, company_id)
    return may(work, principal, "administer", companies.enter(work, company_id))


def members(work: UnitOfWork, principal: Principal, company_id: UUID) -> bool:
    """For members and agents of the company; whether the caller may manage its members, and sees their emails."""
    company(work, principal, company_id)
    if not isinstance(principal, BoardUser):
        return False
    membership = find_membership(work, principal, company_id)
    return membership is not None and access.may_manage(membership)
