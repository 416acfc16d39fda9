"""What a credential gives, how long, and what becomes of it when whoever issued it goes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from eventsourcing.persistence import IntegrityError

from application import tokens
from application.access import Caller, Principal, identify
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import AgentKeyDraft
from application.request_bodies.jetty import CollectionCreate
from application.use_cases.board import keys, members
from application.use_cases.board.members import MembershipRef
from application.use_cases.jetty import collections
from domain.errors import Unauthenticated
from domain.events import KeyIssued
from domain.identity import key_of
from tests.api import Api
from tests.web import people

MISSING = (403, "Missing permission: tasks:assign")
OUTLIVES = "A key gives no key that outlives it"


class Firm(msgspec.Struct):
    """A company that is a collection, too, with an agent."""

    api: Api
    company: str
    collection: str
    agent: str

    def member(self, role: str = "member", **fields: Any) -> tuple[str, str]:
        """Id and token."""
        member = self.api.post(
            f"/companies/{self.company}/members", {"name": "Robin", "membershipRole": role, **fields}
        )
        return member["userId"], member["token"]

    def answer(self, method: str, path: str, body: Any = ..., token: str = "") -> tuple[int, str]:
        answer = self.api.request(method, path, body, token=token)
        return answer.status_code, answer.json()["error"] if answer.is_error else ""

    def agent_key(self, token: str = "") -> str:
        return str(self.api.post(f"/agents/{self.agent}/keys", {}, token=token)["token"])

    def jetty(self, method: str, path: str, token: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(method, f"{self.api.url}/api/v1{path}", json=body, headers=headers, timeout=20)

    def collection_key(self, token: str = "") -> str:
        return str(self.jetty("POST", "/api-keys", token or self.api.token, self.bound()).json()["api_key"])

    def bound(self, **fields: Any) -> dict[str, Any]:
        """What asks for a key that is bound to the collection."""
        return {"name": "worker", "collection_name": self.collection, **fields}

    def listed(self, query: str = "", token: str = "") -> list[Any]:
        listing = self.api.get(f"/companies/{self.company}/keys{query}", token=token)
        assert isinstance(listing, list)
        return listing

    def works(self, token: str) -> bool:
        """Whether a key of an agent or of the collection is known."""
        if token.startswith("mlc_"):
            return self.jetty("GET", f"/collections/{self.collection}", token).status_code == 200
        return self.api.request("GET", "/agents/me", token=token).status_code == 200


@pytest.fixture
def firm(api: Api) -> Firm:
    name = f"firm-{tokens.mint('agent')[-12:]}"
    company = str(api.ask(collections.create, CollectionCreate(name=name)))
    return Firm(api=api, company=company, collection=name, agent=api.agent(company)[0])


# What a credential gives


def test_nobody_gets_by_a_credential_what_they_may_not_do_themselves(firm: Firm):
    _, token = firm.member(permissions=[])
    api, company, hook = firm.api, f"/companies/{firm.company}", "https://example.com/x"
    routine = api.routine(firm.company, firm.agent)
    webhook = api.post(f"/routines/{routine}/triggers", {"kind": "webhook"})["trigger"]["id"]
    first = api.get(f"/routines/{routine}/revisions")[-1]["id"]
    beating = api.post(f"{company}/agents", {"name": "Beats", "heartbeatUrl": hook})["id"]
    ways: list[tuple[str, str, Any]] = [
        ("POST", f"/agents/{firm.agent}/keys", {}),
        ("POST", f"/routine-triggers/{webhook}/rotate-secret", {}),
        ("PATCH", f"/routine-triggers/{webhook}", {"signingMode": "none"}),
        ("POST", f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "none"}),
        ("POST", f"/routines/{routine}/revisions/{first}/restore", ...),
        ("POST", f"/agents/{beating}/rotate-heartbeat-secret", {}),
        ("PATCH", f"/agents/{firm.agent}", {"heartbeatUrl": hook}),
        ("POST", f"{company}/agents", {"name": "Beats", "heartbeatUrl": hook}),
    ]

    assert dict.fromkeys((path for _, path, _ in ways), MISSING) == {
        path: firm.answer(method, path, body, token) for method, path, body in ways
    }
    assert (200, "") == firm.answer("PATCH", f"/agents/{beating}", {"title": "x"}, token)
    assert MISSING == _status_and_detail(firm.jetty("POST", "/api-keys", token, firm.bound()))
    assert len(firm.listed()) == 1


def test_through_the_jetty_api_a_member_without_the_permission_fires_nothing_either(firm: Firm):
    _, token = firm.member(permissions=[])
    firm.jetty("POST", f"/tasks/{firm.collection}", token, {"name": "task", "workflow": {"steps": []}})
    routine, path = {"name": "often", "cadence": {"type": "hourly"}}, f"/routines/{firm.collection}/task"
    firm.jetty("POST", path, firm.api.token, routine)
    ways = [
        ("POST", path, routine | {"name": "mine"}),
        ("PATCH", f"{path}/often", {"cadence": {"type": "manual"}}),
        ("POST", f"{path}/often/run-now", None),
        ("POST", f"/run/{firm.collection}/task", {}),
        ("POST", f"/workers/{firm.collection}/claim", {}),
    ]

    assert [MISSING] * len(ways) == [
        _status_and_detail(firm.jetty(method, at, token, body)) for method, at, body in ways
    ]
    assert 200 == firm.jetty("POST", f"{path}/often/pause", token).status_code
    assert MISSING == _status_and_detail(firm.jetty("POST", f"{path}/often/resume", token))


def _status_and_detail(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["detail"]


# How long it lasts


@pytest.mark.parametrize("role", ["viewer", "member", "owner"])
def test_no_key_outlives_the_one_that_asked_for_it(firm: Firm, role: str):
    _, token = firm.member(role)
    (own,) = firm.api.get("/board-api-keys", token=token)
    later = (datetime.fromisoformat(own["expiresAt"]) + timedelta(seconds=1)).isoformat()

    for expires_at in (None, later, "2099-01-01T00:00:00Z"):
        answer = firm.api.request("POST", "/board-api-keys", {"expiresAt": expires_at}, token=token)
        assert (422, [["expiresAt"]]) == (answer.status_code, [one["path"] for one in answer.json()["details"]])
        assert answer.json()["error"].startswith(OUTLIVES)
    assert 1 == len(firm.api.get("/board-api-keys", token=token))
    assert own["expiresAt"] == firm.api.post("/board-api-keys", {}, token=token)["expiresAt"]
    same = firm.api.post("/board-api-keys", {"expiresAt": own["expiresAt"]}, token=token)
    assert own["expiresAt"] == same["expiresAt"]


def test_a_key_that_lasts_longer_than_thirty_days_still_gives_one_of_thirty_unless_told_otherwise(firm: Firm):
    user_id, _ = people.user(firm.api)
    token = people.key(firm.api, user_id, expires_at=datetime(2099, 1, 1, tzinfo=UTC))

    key = firm.api.post("/board-api-keys", {}, token=token)

    assert timedelta(days=30) == _parse_moment(key["expiresAt"]) - _parse_moment(key["createdAt"])


def test_the_first_key_of_a_new_member_does_not_outlive_that_of_whoever_adds_them(firm: Firm):
    _, owner = firm.member("owner")
    (own,) = firm.api.get("/board-api-keys", token=owner)
    path, body = f"/companies/{firm.company}/members", {"name": "Ann", "keyExpiresAt": None}

    answer = firm.api.request("POST", path, body, token=owner)
    usual = firm.api.post(path, {"name": "Ben"}, token=owner)["token"]
    for_ever = firm.api.post(path, body)["token"]

    assert (422, [["keyExpiresAt"]]) == (answer.status_code, [one["path"] for one in answer.json()["details"]])
    assert own["expiresAt"] == firm.api.get("/board-api-keys", token=usual)[0]["expiresAt"]
    assert None is firm.api.get("/board-api-keys", token=for_ever)[0]["expiresAt"]


def test_an_instance_admin_gives_a_member_whose_keys_have_expired_another_one(firm: Firm):
    user, _ = firm.member()
    path = f"/companies/{firm.company}/members/{user}/keys"
    stranger = firm.api.post(f"/companies/{firm.api.company()}/members", {"name": "Eve"})["userId"]

    new_key = firm.api.post(path, {"name": "new"})

    assert user == firm.api.get("/cli-auth/me", token=new_key["token"])["userId"]
    assert timedelta(days=30) == _parse_moment(new_key["expiresAt"]) - _parse_moment(new_key["createdAt"])
    assert (404, "Member not found") == firm.answer("POST", path.replace(user, stranger), {})
    assert (400, "expiresAt must be in the future") == firm.answer("POST", path, {"expiresAt": "2020-01-01T00:00:00Z"})


def _parse_moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_keys_of_agents_and_collections_last_as_long_as_the_key_that_asks_for_them(firm: Firm):
    _, token = firm.member()
    (own,) = firm.api.get("/board-api-keys", token=token)

    new_key = firm.api.post(f"/agents/{firm.agent}/keys", {}, token=token)
    bound = firm.jetty("POST", "/api-keys", token, firm.bound()).json()

    assert own["expiresAt"] == new_key["expiresAt"] == firm.api.get(f"/agents/{firm.agent}/keys")[0]["expiresAt"]
    assert f"{own['expiresAt'][:19]}Z" == bound["expires_at"]
    assert [own["expiresAt"]] * 2 == [key["expiresAt"] for key in firm.listed()[:2]]
    listed = firm.jetty("GET", f"/api-keys/collection/{firm.collection}", token).json()
    assert bound["expires_at"] == listed[0]["expires_at"]


def test_keys_of_agents_and_collections_last_for_ever_if_the_key_that_asks_for_them_does(firm: Firm):
    assert None is firm.api.post(f"/agents/{firm.agent}/keys", {})["expiresAt"]
    assert None is firm.jetty("POST", "/api-keys", firm.api.token, firm.bound()).json()["expires_at"]


def test_no_key_of_an_agent_or_a_collection_outlives_the_one_that_asks_for_it(firm: Firm):
    _, token = firm.member()
    (own,) = firm.api.get("/board-api-keys", token=token)
    later = (datetime.fromisoformat(own["expiresAt"]) + timedelta(seconds=1)).isoformat()
    before = len(firm.listed())

    for expires_at in (None, later):
        answer = firm.api.request("POST", f"/agents/{firm.agent}/keys", {"expiresAt": expires_at}, token=token)
        assert (422, [["expiresAt"]]) == (answer.status_code, [one["path"] for one in answer.json()["details"]])
        bound = firm.jetty("POST", "/api-keys", token, firm.bound(expires_at=expires_at))
        assert (422, ["body", "expires_at"]) == (bound.status_code, bound.json()["detail"][0]["loc"])
        assert OUTLIVES in bound.text
    past = "2020-01-01T00:00:00Z"
    assert 400 == firm.answer("POST", f"/agents/{firm.agent}/keys", {"expiresAt": past})[0]
    assert 422 == firm.jetty("POST", "/api-keys", firm.api.token, firm.bound(expires_at=past)).status_code
    assert before == len(firm.listed())


def test_keys_of_agents_and_collections_end_when_they_are_told_to(firm: Firm):
    end = datetime.now(UTC) + timedelta(hours=1)
    token = firm.api.post(f"/agents/{firm.agent}/keys", {"expiresAt": end.isoformat()})["token"]
    bound = firm.jetty("POST", "/api-keys", firm.api.token, firm.bound(expires_at=end.isoformat())).json()["api_key"]
    store, callers = firm.api.system.store, (Caller(token=token), Caller(token=bound, by_jetty=True))

    for caller in callers:
        identify(UnitOfWork(store, end - timedelta(seconds=1)), caller)
        with pytest.raises(Unauthenticated):
            identify(UnitOfWork(store, end), caller)


# All of them, in one list


def test_owners_and_admins_see_every_key_of_their_company_and_who_issued_it(firm: Firm):
    user, token = firm.member("admin")
    firm.agent_key(token)
    firm.collection_key(token)
    board = firm.api.get("/cli-auth/me")["userId"]

    listed = firm.listed(token=token)

    assert [("collection", "worker", None, user), ("agent", "default", firm.agent, user)] == [
        (key["kind"], key["name"], key["agentId"], key["issuedByUserId"]) for key in listed[:2]
    ]
    assert [board] == [key["issuedByUserId"] for key in listed[2:]]
    fields = {"id", "kind", "name", "agentId", "issuedByUserId", "createdAt", "lastUsedAt", "revokedAt", "expiresAt"}
    assert all(fields == key.keys() for key in listed)
    assert listed[:2] == firm.listed(f"?issuedByUserId={user}")


def test_the_list_of_keys_comes_in_pages(firm: Firm):
    for _ in range(4):
        firm.agent_key()
    path, seen, cursor = f"/companies/{firm.company}/keys?limit=2", [], ""

    while True:
        answer = firm.api.request("GET", f"{path}{cursor}")
        assert answer.is_success, answer.text
        seen += answer.json()
        if "X-Next-Cursor" not in answer.headers:
            break
        cursor = f"&cursor={answer.headers['X-Next-Cursor']}"

    assert seen == firm.listed()
    assert 5 == len(seen)
    for query in ("limit=0", "limit=201", "cursor=x", "issuedByUserId=me"):
        assert 400 == firm.api.request("GET", f"/companies/{firm.company}/keys?{query}").status_code


@pytest.mark.parametrize("issue", [Firm.agent_key, Firm.collection_key])
def test_owners_revoke_what_others_issued(firm: Firm, issue: Callable[[Firm, str], str]):
    _, member = firm.member()
    _, owner = firm.member("owner")
    key = issue(firm, member)
    path = f"/companies/{firm.company}/keys/{key_of(key)}"
    assert firm.works(key)

    assert [(200, "")] * 2 == [firm.answer("DELETE", path, token=owner) for _ in range(2)]

    assert not firm.works(key)
    assert firm.listed()[0]["revokedAt"]


def test_only_keys_of_the_company_are_revoked_there(firm: Firm):
    owner, token = firm.member("owner")
    (board,) = firm.api.get("/board-api-keys", token=token)
    foreign = firm.api.agent(firm.api.company())[1]
    path = f"/companies/{firm.company}/keys"

    for key in (board["id"], key_of(foreign), owner, "nonsense"):
        assert (404, "Key not found") == firm.answer("DELETE", f"{path}/{key}", token=token)
    assert firm.api.get("/cli-auth/me", token=token)["userId"] == owner
    assert firm.works(foreign)


# When whoever issued it goes


@pytest.mark.parametrize(
    "leave",
    [
        ("DELETE", ...),
        ("PATCH", {"membershipRole": "viewer"}),
        ("PATCH", {"permissions": []}),
    ],
)
def test_the_keys_that_somebody_issued_go_with_them_or_with_their_permission(firm: Firm, leave: tuple[str, Any]):
    user, token = firm.member()
    theirs = [firm.agent_key(token), firm.collection_key(token)]
    others = [firm.agent_key(), firm.collection_key()]

    assert firm.answer(leave[0], f"/companies/{firm.company}/members/{user}", leave[1])[0] in (200, 204)

    assert [False, False] == [firm.works(key) for key in theirs]
    assert [True, True] == [firm.works(key) for key in others]


@pytest.mark.parametrize("leave", [("DELETE", ...), ("PATCH", {"membershipRole": "viewer"})])
def test_they_stay_if_that_is_asked_for(firm: Firm, leave: tuple[str, Any]):
    user, token = firm.member()
    key = firm.agent_key(token)
    path = f"/companies/{firm.company}/members/{user}"

    assert 400 == firm.answer(leave[0], f"{path}?revokeKeys=perhaps", leave[1])[0]
    assert firm.answer(leave[0], f"{path}?revokeKeys=false", leave[1])[0] in (200, 204)

    assert firm.works(key)
    assert user == firm.listed()[0]["issuedByUserId"]


def test_whoever_may_still_assign_keeps_what_they_issued(firm: Firm):
    user, token = firm.member("admin")
    key = firm.agent_key(token)

    firm.api.patch(f"/companies/{firm.company}/members/{user}", {"membershipRole": "member"})

    assert firm.works(key)


def test_keys_that_somebody_issued_in_another_company_stay(firm: Firm):
    user, token = firm.member()
    other = firm.api.company()
    firm.api.post(f"/companies/{other}/members", {"userId": user})
    agent = firm.api.post(f"/companies/{other}/agents", {"name": "Scout"})["id"]
    key = firm.api.post(f"/agents/{agent}/keys", {}, token=token)["token"]

    firm.answer("DELETE", f"/companies/{firm.company}/members/{user}")

    assert firm.works(key)


def test_however_many_keys_somebody_issued_all_of_them_go_with_the_one_event(firm: Firm):
    user, token = firm.member()
    theirs = [firm.agent_key(token) for _ in range(5)]
    before = firm.api.system.store.head()

    firm.answer("DELETE", f"/companies/{firm.company}/members/{user}")

    assert 1 == firm.api.system.store.head() - before
    assert [False] * 5 == [firm.works(key) for key in theirs]
    assert all(key["revokedAt"] for key in firm.listed(f"?issuedByUserId={user}"))
    assert all(key["revokedAt"] for key in firm.api.get(f"/agents/{firm.agent}/keys")[:5])


def test_a_key_that_is_issued_at_the_very_moment_of_the_removal_is_refused_or_revoked(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
):
    """Just before the removal is decided there is time to issue one more; nothing needs to be done after it."""
    user, token = firm.member()
    late: list[str] = []
    remove = members.remove

    def removed(work: UnitOfWork, principal: Principal, seat: MembershipRef, **options: bool) -> UUID:
        late.append(firm.agent_key(token))
        return remove(work, principal, seat, **options)

    monkeypatch.setattr(members, "remove", removed)
    assert (204, "") == firm.answer("DELETE", f"/companies/{firm.company}/members/{user}")

    assert late
    assert not any(firm.works(key) for key in late)
    assert 404 == firm.api.request("POST", f"/agents/{firm.agent}/keys", {}, token=token).status_code


def test_who_was_removed_and_joins_again_issues_keys_that_are_good_and_the_old_ones_stay_revoked(firm: Firm):
    user, token = firm.member()
    old = [firm.agent_key(token), firm.collection_key(token)]
    firm.answer("DELETE", f"/companies/{firm.company}/members/{user}")
    firm.api.post(f"/companies/{firm.company}/members", {"userId": user})

    new = [firm.agent_key(token), firm.collection_key(token)]

    assert [False, False, True, True] == [firm.works(key) for key in old + new]
    assert [True, True] == [bool(key["revokedAt"]) for key in firm.listed(f"?issuedByUserId={user}")[2:]]
    rows = firm.jetty("GET", f"/api-keys/collection/{firm.collection}", firm.api.token).json()
    assert [True, False] == [row["is_active"] for row in rows if row["name"] == "worker"]


def test_whoever_was_demoted_and_kept_their_keys_can_still_lose_them(firm: Firm):
    user, token = firm.member()
    key, path = firm.agent_key(token), f"/companies/{firm.company}/members/{user}"
    firm.api.patch(f"{path}?revokeKeys=false", {"membershipRole": "viewer"})
    assert firm.works(key)

    firm.api.patch(path, {"membershipRole": "viewer"})

    assert not firm.works(key)
    before = firm.api.system.store.head()
    firm.api.patch(path, {"membershipRole": "viewer"})
    assert before == firm.api.system.store.head()


def test_an_issue_that_was_decided_before_the_removal_is_not_recorded_after_it(firm: Firm):
    user, token = firm.member()
    work = UnitOfWork(firm.api.system.store, firm.api.system.clock())
    keys.create_for_agent(work, identify(work, Caller(token=token)), UUID(firm.agent), AgentKeyDraft())

    firm.answer("DELETE", f"/companies/{firm.company}/members/{user}")

    with pytest.raises(IntegrityError):
        work.commit()


def test_keys_of_before_there_was_an_issuer_are_listed_without_one(firm: Firm):
    event = KeyIssued(name="old", agent_id=UUID(firm.agent))
    people.operate(firm.api, lambda work: work.record(key_of("x"), [event], UUID(firm.company)))

    assert ("old", None) == (firm.listed()[0]["name"], firm.listed()[0]["issuedByUserId"])
