"""Identity, board keys, agent keys (contract 1.2, 7.1)."""

from datetime import UTC, datetime, timedelta

import pytest

from application import tokens
from tests.api import Api
from tests.web import people

SOME_ID = "11111111-1111-4111-8111-111111111111"


def test_a_board_user_learns_who_they_are(api: Api):
    company = api.company()
    token = people.member(api, company, "viewer")

    me = api.get("/cli-auth/me", token=token)

    assert {
        "user": {"id": me["userId"], "name": "Robin", "email": "robin@example.org"},
        "userId": me["userId"],
        "isInstanceAdmin": False,
        "companyIds": [company],
        "memberships": [{"companyId": company, "membershipRole": "viewer", "status": "active"}],
        "source": "board_key",
        "keyId": me["keyId"],
    } == me


def test_who_makes_a_company_is_its_owner(api: Api):
    company = api.company()

    memberships = api.get("/cli-auth/me")["memberships"]

    assert {"companyId": company, "membershipRole": "owner", "status": "active"} in memberships


def test_an_agent_learns_who_it_is(api: Api):
    agent, token = api.agent(api.company())

    assert api.get(f"/agents/{agent}") | {"chainOfCommand": []} == api.get("/agents/me", token=token)


def test_a_board_key_is_named_and_lasts_thirty_days_unless_told_otherwise(api: Api):
    _, user = people.user(api)

    key = api.post("/board-api-keys", {}, token=user)

    assert {"id", "name", "token", "createdAt", "lastUsedAt", "revokedAt", "expiresAt"} == key.keys()
    assert ("paperclipai cli", None, None) == (key["name"], key["lastUsedAt"], key["revokedAt"])
    assert timedelta(days=30) == moment(key["expiresAt"]) - moment(key["createdAt"])
    assert key["token"].startswith("pcp_board_")
    assert tokens.is_well_formed(key["token"])
    assert 200 == api.request("GET", "/cli-auth/me", token=key["token"]).status_code


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (None, None),
        ("2099-01-01T00:00:00Z", "2099-01-01T00:00:00.000Z"),
        ("2099-01-01T01:30:00.1239+01:30", "2099-01-01T00:00:00.123Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
    ],
)
def test_a_board_key_lasts_as_long_as_is_asked_for(api: Api, given: str | None, stored: str | None):
    _, user = people.user(api)

    key = api.post("/board-api-keys", {"name": "laptop", "expiresAt": given, "requestedCompanyId": None}, token=user)

    assert ("laptop", stored) == (key["name"], key["expiresAt"])
    assert stored == api.get("/board-api-keys", token=user)[0]["expiresAt"]


@pytest.mark.parametrize(
    "given",
    [
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-W01-1T00:00:00Z",
        "20260101T000000Z",
        "2026-01-01T00:00:00+99:99",
        "tomorrow",
        "",
        1,
        True,
        [],
    ],
)
def test_an_expiry_that_is_no_moment_is_refused_and_names_the_field(api: Api, given: object):
    answer = api.request("POST", "/board-api-keys", {"expiresAt": given})

    assert 400 == answer.status_code
    assert [["expiresAt"]] == [issue["path"] for issue in answer.json()["details"]]


@pytest.mark.parametrize("given", ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2020-01-01T00:00:00+14:00"])
def test_an_expiry_in_the_past_is_refused_and_makes_no_key(api: Api, given: str):
    _, user = people.user(api)

    answer = api.request("POST", "/board-api-keys", {"expiresAt": given}, token=user)

    assert (400, "expiresAt must be in the future") == (answer.status_code, answer.json()["error"])
    assert [["expiresAt"]] == [issue["path"] for issue in answer.json()["details"]]
    assert ["a key"] == [key["name"] for key in api.get("/board-api-keys", token=user)]


def test_an_expiry_in_the_past_is_not_told_to_strangers_as_anything_but_a_wrong_field(api: Api):
    """What is wrong with a body is said before who may send it (contract 1.2)."""
    answer = api.request("POST", "/board-api-keys", {"expiresAt": "2020-01-01T00:00:00Z"}, token=None)

    assert 400 == answer.status_code


@pytest.mark.parametrize("path", ["/board-api-keys", "/board-api-keys/{id}"])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_board_keys_have_no_other_methods(api: Api, method: str, path: str):
    answer = api.request(method, path.format(id=SOME_ID))

    assert (404, "API route not found") == (answer.status_code, answer.json()["error"])


def test_one_board_key_is_not_shown_alone(api: Api):
    assert 404 == api.request("GET", f"/board-api-keys/{api.get('/board-api-keys')[0]['id']}").status_code


def test_board_keys_are_listed_newest_first_without_their_tokens(api: Api):
    _, user = people.user(api)
    new_keys = [api.post("/board-api-keys", {"name": name}, token=user) for name in ("one", "two")]

    listed = api.get("/board-api-keys", token=user)

    assert ["two", "one", "a key"] == [key["name"] for key in listed]
    assert all({"id", "name", "createdAt", "lastUsedAt", "revokedAt", "expiresAt"} == key.keys() for key in listed)
    assert new_keys[0]["id"] == listed[1]["id"]


def test_a_revoked_board_key_stays_listed_and_is_revoked_once(api: Api):
    _, user = people.user(api)
    key = api.post("/board-api-keys", {}, token=user)

    answers = [api.request("DELETE", f"/board-api-keys/{key['id']}", token=user) for _ in range(2)]

    assert [(200, {"ok": True})] * 2 == [(answer.status_code, answer.json()) for answer in answers]
    assert api.get("/board-api-keys", token=user)[0]["revokedAt"] >= key["createdAt"]


@pytest.mark.parametrize("id_", [SOME_ID, "nonsense"])
def test_no_other_board_key_can_be_revoked(api: Api, id_: str):
    answer = api.request("DELETE", f"/board-api-keys/{id_}")

    assert (404, "Board API key not found") == (answer.status_code, answer.json()["error"])


def test_an_agent_key_shows_its_token_once(api: Api):
    agent = api.post(f"/companies/{api.company()}/agents", {"name": "Scout"})["id"]

    key = api.post(f"/agents/{agent}/keys", {})

    token = key.pop("token")
    assert {
        "id": key["id"],
        "name": "default",
        "scope": {"kind": "standard"},
        "responsibleUserId": None,
        "createdAt": key["createdAt"],
        "expiresAt": None,
    } == key
    assert token.startswith("pcp_")
    assert not token.startswith("pcp_board_")
    assert agent == api.get("/agents/me", token=token)["id"]
    issuer = api.get("/cli-auth/me")["userId"]
    assert [key | {"issuedByUserId": issuer, "revokedAt": None}] == api.get(f"/agents/{agent}/keys")


def test_agent_keys_are_listed_newest_first_and_revoked_alone(api: Api):
    agent, token = api.agent(api.company())
    second = api.post(f"/agents/{agent}/keys", {"name": " second "})

    answer = api.request("DELETE", f"/agents/{agent}/keys/{second['id']}")

    assert {"ok": True} == answer.json()
    assert ["second", "default"] == [key["name"] for key in api.get(f"/agents/{agent}/keys")]
    assert [True, False] == [bool(key["revokedAt"]) for key in api.get(f"/agents/{agent}/keys")]
    assert 401 == api.request("GET", "/agents/me", token=second["token"]).status_code
    assert 200 == api.request("GET", "/agents/me", token=token).status_code


def test_the_key_of_one_agent_is_not_found_under_another(api: Api):
    company = api.company()
    one, token = api.agent(company, "One")
    two, _ = api.agent(company, "Two")
    key = api.get(f"/agents/{one}/keys")[0]["id"]

    answer = api.request("DELETE", f"/agents/{two}/keys/{key}")

    assert (404, "Key not found") == (answer.status_code, answer.json()["error"])
    assert 200 == api.request("GET", "/agents/me", token=token).status_code


def test_no_token_is_stored_anywhere(api: Api):
    _, token = api.agent(api.company())

    with api.system.pool.connection() as conn:
        row = conn.execute("SELECT count(*) FROM log.events WHERE strpos(body::text, %s) > 0", (token,)).fetchone()

    assert (0,) == row


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
