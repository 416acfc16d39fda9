import pytest

from application.event_store.stream_kinds import COMPANY, MEMBERSHIP
from application.request_bodies.board import CompanyDraft, CompanyPatch
from application.use_cases.board import companies
from domain.errors import Forbidden, NotFound
from domain.events import CompanyArchived, CompanyCreated
from domain.identity import FIRST_USER, membership_of


def test_whoever_makes_a_company_owns_it(app):
    assert "owner" == app.state(MEMBERSHIP, membership_of(FIRST_USER, app.company)).role


def test_companies_of_one_name_give_their_issues_different_prefixes(app):
    app.ask(companies.create, CompanyDraft(name="Acme"))

    prefixes = [event.issue_prefix for event in app.events(CompanyCreated)]
    assert 2 == len(set(prefixes))


def test_only_an_instance_admin_makes_companies(app):
    with pytest.raises(Forbidden, match="Instance admin required"):
        app.ask(companies.create, CompanyDraft(name="Mine"), caller=app.member("owner"))
    with pytest.raises(Forbidden, match="Board access required"):
        app.ask(companies.create, CompanyDraft(name="Mine"), caller=app.as_agent())


def test_what_a_patch_does_not_name_stays(app):
    app.ask(companies.update, app.company, CompanyPatch(description="Anvils"))
    app.ask(companies.update, app.company, CompanyPatch(name="Ajax"))

    details = app.state(COMPANY, app.company).details
    assert ("Ajax", "Anvils") == (details.name, details.description)


def test_a_viewer_changes_nothing_and_a_stranger_is_told_that_it_is_not_theirs(app):
    with pytest.raises(Forbidden, match="read-only"):
        app.ask(companies.update, app.company, CompanyPatch(name="Ours"), caller=app.member("viewer"))
    with pytest.raises(Forbidden, match="does not have access"):
        app.ask(companies.archive, app.company, caller=app.member("owner", app.other_company()))
    with pytest.raises(NotFound, match="Company not found"):
        app.ask(companies.archive, app.agent)


def test_a_company_is_archived_once(app):
    for _ in range(2):
        app.ask(companies.archive, app.company)

    assert app.state(COMPANY, app.company).archived
    assert 1 == len(app.events(CompanyArchived))
