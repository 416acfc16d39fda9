"""A company: the boundary between tenants."""

import re
from collections.abc import Iterator
from itertools import count, product
from string import ascii_uppercase

from msgspec.structs import replace

from domain.errors import Conflict, ImpossibleHistory
from domain.events import (
    CompanyArchived,
    CompanyCreated,
    CompanyEnvironmentChanged,
    CompanyErased,
    CompanyEvent,
    CompanyNamed,
    CompanyUpdated,
)
from domain.values import CompanyDetails, Sealed, Value

ARCHIVED = "Company is archived"
STILL_AT_WORK = (
    "The company is at work: archive it first (POST /api/companies/{id}/archive), since nobody could do anything with its "
    "routines any more"
)


class Company(Value, frozen=True):
    """The state of a company, with its name and environment as a collection of Jetty."""

    details: CompanyDetails
    archived: bool = False
    erased: bool = False
    collection_name: str | None = None  # None: its id serves as its name
    environment: Sealed | None = None


def evolve(company: Company | None, event: CompanyEvent) -> Company:
    """Fold an event into the state of a company. Raise ImpossibleHistory if the event cannot follow."""
    match company, event:
        case None, CompanyCreated(details=details):
            return Company(details=details)
        case Company(), CompanyUpdated(details=details):
            return replace(company, details=details)
        case Company(), CompanyArchived():
            return replace(company, archived=True)
        case Company(), CompanyErased():
            return replace(company, erased=True)
        case Company(), CompanyNamed(name=name):
            return replace(company, collection_name=name)
        case Company(), CompanyEnvironmentChanged(environment=environment):
            return replace(company, environment=environment)
        case _:
            raise ImpossibleHistory(company, event)


def update(company: Company, details: CompanyDetails) -> list[CompanyEvent]:
    """Change the details; nothing is recorded when they are the same. Raise Conflict if the company is archived."""
    must_not_be_archived(company)
    return [] if details == company.details else [CompanyUpdated(details=details)]


def archive(company: Company) -> list[CompanyEvent]:
    """Mark the company as retired; nothing if it is already."""
    return [] if company.archived else [CompanyArchived()]


def erase(company: Company, reason: str) -> list[CompanyEvent]:
    """Record that what was written in the company is erased; nothing if it is. Raise Conflict unless it is archived."""
    if not company.archived:
        raise Conflict(STILL_AT_WORK)
    return [] if company.erased else [CompanyErased(reason=reason)]


def is_archived(company: Company | None) -> bool:
    """Return whether the company is archived, which it stays for good; None is not."""
    return company is not None and company.archived


def must_not_be_archived(company: Company | None) -> None:
    """Raise Conflict if the company is archived: nothing begins in it any more."""
    if is_archived(company):
        raise Conflict(ARCHIVED)


def must_keep_texts(company: Company | None) -> None:
    """Raise Conflict if what is written in the company is erased: a log would stand beside what was erased."""
    if company is not None and company.erased:
        raise Conflict("Company is erased")


def issue_prefixes(name: str) -> Iterator[str]:
    """
    Yield issue prefixes to try: the first three letters in capitals, then with letters appended (contract 7.2).

    For example CON, CONA, CONB, ... CONAA ...
    """
    prefix = (re.sub("[^A-Z]", "", name.upper())[:3] or "C").ljust(3, "X")
    for length in count():
        yield from (prefix + "".join(letters) for letters in product(ascii_uppercase, repeat=length))
