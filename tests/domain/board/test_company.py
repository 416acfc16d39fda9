"""A company and its issue prefix: contract 7.2."""

from itertools import islice

import pytest
from msgspec.structs import replace

from domain.board import company
from domain.errors import ImpossibleHistory
from domain.events import CompanyArchived, CompanyCreated, CompanyUpdated
from domain.values import CompanyDetails
from tests.given import given

DETAILS = CompanyDetails(name="Contoso")
CREATED = CompanyCreated(details=DETAILS, issue_prefix="CON")


def test_an_update_that_changes_nothing_is_no_event():
    current = given(company.evolve, CREATED)
    renamed = replace(DETAILS, name="Contoso 2")

    assert [] == company.update(current, DETAILS)
    assert [CompanyUpdated(details=renamed)] == company.update(current, renamed)
    assert given(company.evolve, CREATED, CompanyUpdated(details=renamed)).details == renamed


def test_a_company_is_archived_once():
    assert [CompanyArchived()] == company.archive(given(company.evolve, CREATED))
    assert [] == company.archive(given(company.evolve, CREATED, CompanyArchived()))


@pytest.mark.parametrize(
    ("name", "prefixes"),
    [
        ("Contoso", ["CON", "CONA", "CONB"]),
        ("acme 7", ["ACM", "ACMA", "ACMB"]),
        ("1 2 x", ["XXX", "XXXA", "XXXB"]),
        ("日本", ["CXX", "CXXA", "CXXB"]),
    ],
)
def test_a_prefix_is_three_letters_and_then_more(name, prefixes):
    assert list(islice(company.issue_prefixes(name), 3)) == prefixes


def test_there_are_prefixes_for_thousands_of_companies_of_one_name():
    prefixes = list(islice(company.issue_prefixes("Contoso"), 1000))

    assert len(set(prefixes)) == 1000
    assert prefixes[26:29] == ["CONZ", "CONAA", "CONAB"]
    assert max(map(len, prefixes)) == 6


@pytest.mark.parametrize("facts", [[CompanyArchived()], [CREATED, CREATED]])
def test_a_contradiction_in_the_log_stops_loudly(facts):
    with pytest.raises(ImpossibleHistory):
        given(company.evolve, *facts)
