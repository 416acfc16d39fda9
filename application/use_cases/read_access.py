"""Checks of who may read what. They are made before a read model is asked."""

from collections.abc import Callable
from typing import Protocol, TypeVar
from uuid import UUID

from application.access import BoardUser, Principal, Resource, authorize, find_membership, may, require_board
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases.board import companies
from domain import disclosure
from domain.board import access
from domain.errors import NotFound
from domain.values import Value


class CompanyOwned(Protocol):
    """Something that belongs to a company."""

    @property
    def company_id(self) -> UUID:
        """The company that it belongs to."""


T = TypeVar("T", bound=CompanyOwned)


def anyone(_work: UnitOfWork, principal: Principal) -> Principal:
    """Return the caller: everybody with a good key may read this."""
    return principal


def board(_work: UnitOfWork, principal: Principal) -> Principal:
    """Return the caller; raise Forbidden for all but board users."""
    return require_board(principal)


def company(work: UnitOfWork, principal: Principal, company_id: UUID) -> Principal:
    """Return the caller; raise unless they are a member or an agent of the company in a `/companies/{id}/...` path."""
    authorize(work, principal, "read", companies.enter(work, company_id))
    return principal


class Rights(Value, frozen=True):
    """What a caller may do in a company, for those who show only what may be done."""

    audit: bool = False
    administer: bool = False
    assign: bool = False
    entrust: bool = False
    manage: bool = False  # members and keys
    manage_owners: bool = False
    read_refusals: bool = False  # what was refused in the whole installation


def rights(work: UnitOfWork, principal: Principal, company_id: UUID) -> Rights:
    """Return what the caller may do in the company; raise for those who may not even read it."""
    company(work, principal, company_id)
    resource = companies.enter(work, company_id)
    membership = find_membership(work, principal, company_id) if isinstance(principal, BoardUser) else None
    return Rights(
        audit=may(work, principal, "audit", resource),
        administer=may(work, principal, "administer", resource),
        assign=may(work, principal, "assign", resource),
        entrust=may(work, principal, "entrust", resource),
        manage=membership is not None and access.may_manage(membership),
        manage_owners=membership is not None and membership.role == "owner",
        read_refusals=isinstance(principal, BoardUser) and (principal.instance_admin or principal.instance_auditor),
    )


def find(work: UnitOfWork, principal: Principal, find: Callable[[], T | None], kind: str) -> T:
    """
    Return what `find` gives to members and agents of its company; raise NotFound to everybody else.

    Its addresses are masked unless the caller is a member who may write.
    """
    answer = find()
    resource = Resource(company_id=answer.company_id if answer else None, kind=kind)
    authorize(work, principal, "read", resource)
    if answer is None:
        raise NotFound(f"{kind} not found")
    return disclosure.mask_unless(answer, addresses=may(work, principal, "administer", resource))


def agents(work: UnitOfWork, principal: Principal, company_id: UUID) -> bool:
    """
    Raise for all but members and agents of the company; return whether the caller may change its agents.

    Those who may change them see the addresses of the agents' heartbeats.
    """
    company(work, principal, company_id)
    return may(work, principal, "administer", companies.enter(work, company_id))


def routines(work: UnitOfWork, principal: Principal, company_id: UUID) -> bool:
    """
    Raise for all but members and agents of the company; return whether the caller may change all of its routines.

    Those who may change them see the addresses of their probes. An agent sees those of its own routines one by one.
    """
    company(work, principal, company_id)
    return may(work, principal, "assign", companies.enter(work, company_id))


def members(work: UnitOfWork, principal: Principal, company_id: UUID) -> bool:
    """
    Raise for all but members and agents of the company; return whether the caller may manage its members.

    Those who may manage them see their email addresses.
    """
    company(work, principal, company_id)
    if not isinstance(principal, BoardUser):
        return False
    membership = find_membership(work, principal, company_id)
    return membership is not None and access.may_manage(membership)
