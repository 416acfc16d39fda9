"""A company: the wall between tenants."""

import re
from collections.abc import Iterator

from msgspec.structs import replace

from domain.errors import ImpossibleHistory
from domain.events import CompanyArchived, CompanyCreated, CompanyEvent, CompanyUpdated
from domain.values import CompanyDetails, Value


class Company(Value, frozen=True):
    details: CompanyDetails
    archived: bool = False


def evolve(company: Company | None, event: CompanyEvent) -> Company:
    match company, event:
        case None, CompanyCreated(details=details):
            return Company(details=details)
        case Company(), CompanyUpdated(details=details):
            return replace(company, details=details)
        case Company(), CompanyArchived():
            return replace(company, archived=True)
        case _:
            raise ImpossibleHistory(company, event)


def update(company: Company, details: CompanyDetails) -> list[CompanyEvent]:
    return [] if details == company.details else [CompanyUpdated(details=details)]


def archive(company: Company) -> list[CompanyEvent]:
    return [] if company.archived else [CompanyArchived()]


def issue_prefixes(name: str) -> Iterator[str]:
    """First three letters in capitals, then a letter more each time (contract 7.2): CON, CONA, CONAA ..."""
    prefix = (re.sub("[^A-Z]", "", name.upper())[:3] or "C").ljust(3, "X")
    while True:
        yield prefix
        prefix += "A"
