import pytest

from application.access import Caller
from application.event_store.stream_kinds import COMPANY
from application.request_bodies.board import MemberPatch
from application.request_bodies.jetty import ApiKeyCreate, CollectionCreate, EnvironmentChange
from application.use_cases.board import members
from application.use_cases.board.members import MembershipRef
from application.use_cases.jetty import collections
from domain.disclosure import MASK
from domain.errors import Conflict, Forbidden, InvalidField, NotFound, Unauthenticated
from domain.events import CompanyNamed, MemberJoined

CHANGE = collections.change_environment


def test_a_collection_is_a_company_with_a_name_that_no_other_has(app):
    name, _ = app.collection()

    assert [name] == [event.name for event in app.events(CompanyNamed)]
    with pytest.raises(Conflict, match="already exists"):
        app.ask(collections.create, CollectionCreate(name=name))


def test_keys_make_no_collections_and_issue_and_list_no_keys(app):
    name, key = app.collection()

    for use_case, *arguments in (
        (collections.create, CollectionCreate(name="mine")),
        (collections.create_key, ApiKeyCreate(name="more", collection_name=name)),
        (collections.may_list_keys, name),
    ):
        with pytest.raises(Forbidden, match="Board access required"):
            app.ask(use_case, *arguments, caller=key)


def test_a_key_knows_its_own_collection_only(app):
    name, key = app.collection()
    other, _ = app.collection()

    assert app.ids(CompanyNamed)[0] == app.ask(collections.enter, name, caller=key)
    with pytest.raises(NotFound):
        app.ask(collections.enter, other, caller=key)


def test_a_revoked_key_is_unknown(app):
    name, _ = app.collection()
    minted = app.ask(collections.create_key, ApiKeyCreate(name="old", collection_name=name))

    app.ask(collections.revoke_key, name, minted.key_id)

    with pytest.raises(Unauthenticated):
        app.ask(collections.enter, name, caller=Caller(token=minted.token, by_jetty=True))
    with pytest.raises(NotFound):
        app.ask(collections.revoke_key, app.collection()[0], minted.key_id)


def test_a_key_goes_with_the_right_to_assign_of_whoever_issued_it(app):
    name, _ = app.collection()
    company = app.ids(CompanyNamed)[0]
    issuer = app.member("admin", company)
    user = app.events(MemberJoined)[-1].user_id
    minted = app.ask(collections.create_key, ApiKeyCreate(name="ci", collection_name=name), caller=issuer)
    key = Caller(token=minted.token, by_jetty=True)
    app.ask(collections.enter, name, caller=key)

    app.ask(
        members.change,
        MembershipRef(company_id=company, user_id=user, owners=()),
        MemberPatch(membership_role="viewer"),
    )

    with pytest.raises(Unauthenticated):
        app.ask(collections.enter, name, caller=key)


def test_the_environment_merges_keeps_what_is_masked_and_forgets_what_is_null(app):
    name, key = app.collection()

    for variables in ({"TOKEN": "t", "HOST": "h"}, {"TOKEN": MASK, "HOST": None, "PORT": "1"}):
        app.ask(CHANGE, name, EnvironmentChange(environment_variables=variables), caller=key)

    assert [b'{"TOKEN":"t","PORT":"1"}'] == [secret.value for secret in app.vault.secrets.values()]
    assert ("TOKEN", "PORT") == app.state(COMPANY, app.ids(CompanyNamed)[0]).environment.names
    app.ask(CHANGE, name, EnvironmentChange(environment_variables=None), caller=key)
    assert {} == app.vault.secrets


def test_what_cannot_be_a_variable_is_refused(app):
    name, key = app.collection()

    with pytest.raises(InvalidField):
        app.ask(CHANGE, name, EnvironmentChange(environment_variables={"A=B": "x"}), caller=key)
