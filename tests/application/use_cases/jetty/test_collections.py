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


def test_a_collection_is_a_company_with_a_name_that_no_other_has(here):
    name, _ = here.collection()

    assert [name] == [event.name for event in here.events(CompanyNamed)]
    with pytest.raises(Conflict, match="already exists"):
        here.ask(collections.create, CollectionCreate(name=name))


def test_keys_make_no_collections_and_issue_and_list_no_keys(here):
    name, key = here.collection()

    for use_case, *arguments in (
        (collections.create, CollectionCreate(name="mine")),
        (collections.create_key, ApiKeyCreate(name="more", collection_name=name)),
        (collections.may_list_keys, name),
    ):
        with pytest.raises(Forbidden, match="Board access required"):
            here.ask(use_case, *arguments, caller=key)


def test_a_key_knows_its_own_collection_only(here):
    name, key = here.collection()
    other, _ = here.collection()

    assert here.ids(CompanyNamed)[0] == here.ask(collections.enter, name, caller=key)
    with pytest.raises(NotFound):
        here.ask(collections.enter, other, caller=key)


def test_a_revoked_key_is_unknown(here):
    name, _ = here.collection()
    minted = here.ask(collections.create_key, ApiKeyCreate(name="old", collection_name=name))

    here.ask(collections.revoke_key, name, minted.key_id)

    with pytest.raises(Unauthenticated):
        here.ask(collections.enter, name, caller=Caller(token=minted.token, by_jetty=True))
    with pytest.raises(NotFound):
        here.ask(collections.revoke_key, here.collection()[0], minted.key_id)


def test_a_key_goes_with_the_right_to_assign_of_whoever_issued_it(here):
    name, _ = here.collection()
    company = here.ids(CompanyNamed)[0]
    issuer = here.member("admin", company)
    user = here.events(MemberJoined)[-1].user_id
    minted = here.ask(collections.create_key, ApiKeyCreate(name="ci", collection_name=name), caller=issuer)
    key = Caller(token=minted.token, by_jetty=True)
    here.ask(collections.enter, name, caller=key)

    here.ask(
        members.change,
        MembershipRef(company_id=company, user_id=user, owners=()),
        MemberPatch(membership_role="viewer"),
    )

    with pytest.raises(Unauthenticated):
        here.ask(collections.enter, name, caller=key)


def test_the_environment_merges_keeps_what_is_masked_and_forgets_what_is_null(here):
    name, key = here.collection()

    for variables in ({"TOKEN": "t", "HOST": "h"}, {"TOKEN": MASK, "HOST": None, "PORT": "1"}):
        here.ask(CHANGE, name, EnvironmentChange(environment_variables=variables), caller=key)

    assert [b'{"TOKEN":"t","PORT":"1"}'] == [secret.value for secret in here.vault.secrets.values()]
    assert ("TOKEN", "PORT") == here.state(COMPANY, here.ids(CompanyNamed)[0]).environment.names
    here.ask(CHANGE, name, EnvironmentChange(environment_variables=None), caller=key)
    assert {} == here.vault.secrets


def test_what_cannot_be_a_variable_is_refused(here):
    name, key = here.collection()

    with pytest.raises(InvalidField):
        here.ask(CHANGE, name, EnvironmentChange(environment_variables={"A=B": "x"}), caller=key)
