"""Whose turn a request takes: a company's, however many members it makes; of who is not known yet, its address's."""

from uuid import UUID

from application.access import Caller
from tests.api import Api

ADDRESS = None


def member(api: Api, company: str, name: str) -> str:
    """The board key of a new member of a company."""
    body = {"name": name, "membershipRole": "member"}
    return str(api.post(f"/companies/{company}/members", body)["token"])


def tenant(api: Api, token: str) -> UUID | None:
    return api.system.executor.tenant_of(Caller(token=token))


def test_all_members_of_a_company_are_one_tenant(api: Api, company: str):
    tokens = [member(api, company, f"m{number}") for number in range(3)]
    for token in tokens:
        assert 200 == api.request("GET", f"/companies/{company}/issues", token=token).status_code

    assert {UUID(company)} == {tenant(api, token) for token in tokens}


def test_so_are_its_agents(api: Api, company: str):
    _, token = api.agent(company)
    assert 200 == api.request("GET", f"/companies/{company}/issues", token=token).status_code

    assert UUID(company) == tenant(api, token)


def test_a_member_who_goes_to_another_companys_address_takes_none_of_its_turns(api: Api, company: str):
    other, token = api.company(), member(api, company, "m")

    assert 403 == api.request("GET", f"/companies/{other}/issues", token=token).status_code
    assert tenant(api, token) is None

    api.request("GET", f"/companies/{company}/issues", token=token)
    api.request("GET", f"/companies/{other}/issues", token=token)
    assert UUID(company) == tenant(api, token)


def test_a_member_who_reaches_no_company_takes_turns_with_its_address(api: Api, company: str):
    token = member(api, company, "m")
    assert 200 == api.request("GET", "/companies", token=token).status_code

    assert tenant(api, token) is ADDRESS


def test_an_instance_admin_is_a_tenant_apart(api: Api, company: str):
    own = tenant(api, api.token)

    assert own is not None
    assert UUID(company) != own
