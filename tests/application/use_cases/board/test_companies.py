import pytest

from application.event_store.stream_kinds import COMPANY, MEMBERSHIP
from application.request_bodies.board import CompanyDraft, CompanyPatch
from application.use_cases.board import companies
from domain.errors import Forbidden, NotFound
from domain.events import CompanyArchived, CompanyCreated
from domain.identity import FIRST_USER, membership_of


def test_whoever_makes_a_company_owns_it(here):
    assert "owner" == here.state(MEMBERSHIP, membership_of(FIRST_USER, here.company)).role


def test_companies_of_one_name_give_their_issues_different_prefixes(here):
    here.ask(companies.create, CompanyDraft(name="Acme"))

    prefixes = [event.issue_prefix for event in here.events(CompanyCreated)]
    assert 2 == len(set(prefixes))


def test_only_an_instance_admin_makes_companies(here):
    with pytest.raises(Forbidden, match="Instance admin required"):
        here.ask(companies.create, CompanyDraft(name="Mine"), caller=here.member("owner"))
    with pytest.raises(Forbidden, match="Board access required"):
        here.ask(companies.create, CompanyDraft(name="Mine"), caller=here.as_agent())


def test_what_a_patch_does_not_name_stays(here):
    here.ask(companies.update, here.company, CompanyPatch(description="Anvils"))
    here.ask(companies.update, here.company, CompanyPatch(name="Ajax"))

    details = here.state(COMPANY, here.company).details
    assert ("Ajax", "Anvils") == (details.name, details.description)


def test_a_viewer_changes_nothing_and_a_stranger_is_told_that_it_is_not_theirs(here):
    with pytest.raises(Forbidden, match="read-only"):
        here.ask(companies.update, here.company, CompanyPatch(name="Ours"), caller=here.member("viewer"))
    with pytest.raises(Forbidden, match="does not have access"):
        here.ask(companies.archive, here.company, caller=here.member("owner", here.other_company()))
    with pytest.raises(NotFound, match="Company not found"):
        here.ask(companies.archive, here.agent)


def test_a_company_is_archived_once(here):
    for _ in range(2):
        here.ask(companies.archive, here.company)

    assert here.state(COMPANY, here.company).archived
    assert 1 == len(here.events(CompanyArchived))
