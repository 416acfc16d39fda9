"""Addresses, which may be secrets: shown to whoever may change them, to nobody else, and in no event that is told."""

import re
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from domain import disclosure
from domain.delivery import endpoint
from domain.delivery.delivery import PendingDelivery
from domain.events import STORED_NAMES, AgentCreated, TriggerCreated
from domain.identity import revision_of
from domain.values import AgentProfile, TriggerSettings, Webhook
from processes.delivery import payloads
from projections.exports import VIEWS
from tests.api import Api
from tests.web import people

HOOK = "https://example.com/hook"
PERIOD = {"from": "2025-01-01T00:00:00Z", "to": "2025-02-01T00:00:00Z"}


class Place(msgspec.Struct):
    """A company with an address in everything that can have one."""

    api: Api
    company: str
    collection: str
    ids: dict[str, str]  # what the parameters of a path are called, and what they name here
    canaries: dict[str, str]
    tokens: dict[str, str]
    paths: list[str]  # of every GET of both APIs, with these ids

    def read(self, token: str) -> str:
        """The bodies of every GET of both APIs."""
        return "\n".join(self.answers(token).values())

    def answers(self, token: str) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=self.api.url, headers=headers, timeout=20) as client:
            return {path: client.get(path).text for path in self.paths}

    def seen(self, who: str) -> set[str]:
        """Which addresses a caller reads."""
        text = self.read(self.tokens[who])
        return {name for name, canary in self.canaries.items() if canary in text}


def fill_paths(api: Api, ids: dict[str, str], jetty_ids: dict[str, str]) -> list[str]:
    paperclip = api.get("/openapi.json")["paths"]
    jetty = httpx.get(f"{api.url}/openapi.json").json()["paths"]
    paths = [f"/api{path.removeprefix('/api')}" for path in _get_paths(paperclip)]
    paths = [path.replace("{view}", view) for path in paths for view in (VIEWS if "{view}" in path else ("",))]
    filled_paths = [fill_path(path, ids) for path in paths] + [fill_path(path, jetty_ids) for path in _get_paths(jetty)]
    needed = {"explain": "?at=2026-11-22T09:00:00Z", "diff": f"?from={ids['position']}"}
    return [path + needed.get(path.rpartition("/")[2], "") for path in filled_paths]


def _get_paths(paths: dict[str, Any]) -> list[str]:
    return [path for path, methods in paths.items() if "get" in methods]


def fill_path(path: str, ids: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], path)


@pytest.fixture(scope="module")
def disclosure_fixture(api: Api) -> Place:
    headers = {"Authorization": f"Bearer {api.token}"}

    def jetty(path: str, body: Any, method: str = "POST") -> Any:
        answer = httpx.request(method, f"{api.url}/api/v1{path}", json=body, headers=headers, timeout=20)
        assert answer.is_success, answer.text
        return answer.json()

    collection = f"canaries-{uuid4().hex[:8]}"
    company = jetty("/collections", {"name": collection})["company_id"]
    key = jetty("/api-keys", {"name": "key", "collection_name": collection})["api_key"]
    canaries = {name: f"{HOOK}/canary-{name}" for name in ("heartbeat", "endpoint", "callback", "run", "probe")}
    canaries |= {"adapter": "canary-adapter", "email": "canary-mail@example.org"}

    def made(path: str, body: Any) -> str:
        return str(api.post(f"/companies/{company}/{path}", body)["id"])

    profile = {"heartbeatUrl": canaries["heartbeat"], "adapterConfig": {"deep": {"token": canaries["adapter"]}}}
    agent = made("agents", {"name": "Scout", **profile})
    api.patch(f"/agents/{agent}", {"title": "Deputy"})
    own = str(api.post(f"/agents/{agent}/keys", {})["token"])
    _, other = api.agent(company, "Other")
    api.post(f"/companies/{company}/members", {"name": "Ann", "email": canaries["email"], "membershipRole": "viewer"})
    endpoint_id = made("webhook-endpoints", {"url": canaries["endpoint"], "events": ["*"]})
    api.patch(f"/companies/{company}/webhook-endpoints/{endpoint_id}", {"description": "x"})
    routine = api.routine(company, agent, probe={"url": canaries["probe"]})

    def hook(mode: str) -> Any:
        return api.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": mode})["trigger"]

    for mode in ("none", "bearer"):
        trigger = hook(mode)
        canaries[f"webhook {mode}"] = trigger["publicId"]
        api.patch(f"/routine-triggers/{trigger['id']}", {"label": "Door"})
        api.post(f"/routine-triggers/{trigger['id']}/rotate-secret", {})
    gone = hook("none")
    revision = api.get(f"/routines/{routine}")["latestRevisionNumber"]
    api.request("DELETE", f"/routine-triggers/{gone['id']}")
    api.post(f"/routines/{routine}/revisions/{revision_of(UUID(routine), revision)}/restore")
    schedule = api.post(f"/routines/{routine}/triggers", {"kind": "schedule", "cronExpression": "0 9 1 * *"})["trigger"]
    backfill = str(api.post(f"/routine-triggers/{schedule['id']}/backfills", PERIOD)["id"])
    fired = str(api.post(f"/routines/{routine}/run", {})["id"])
    issue = made("issues", {"title": "Look", "assigneeAgentId": agent})
    comment = str(api.post(f"/issues/{issue}/comments", {"body": "Hm"})["id"])
    jetty(
        f"/tasks/{collection}",
        {"name": "task", "workflow": {"steps": ["a"], "step_configs": {"a": {"activity": "sql"}}}},
    )
    draft = {"name": "often", "cadence": {"type": "manual"}, "webhook_url": canaries["callback"]}
    jetty(f"/routines/{collection}/task", draft)
    jetty(f"/routines/{collection}/task/often", {"paused": True}, "PATCH")
    jetty(f"/routines/{collection}/task/often/run-now", None)
    run = jetty(f"/run/{collection}/task", {"webhook_url": canaries["run"]})
    position = str(jetty(f"/collections/{collection}/events?limit=1", None, "GET")[0]["position"])
    ids = {
        "company_id": company,
        "agent_id": agent,
        "project_id": made("projects", {"name": "Moon"}),
        "goal_id": made("goals", {"title": "Land"}),
        "routine_id": routine,
        "run_id": fired,
        "trigger_id": schedule["id"],
        "backfill_id": backfill,
        "issue_id": issue,
        "comment_id": comment,
        "endpoint_id": endpoint_id,
        "position": position,
    }
    jetty_ids = {
        "collection": collection,
        "task": "task",
        "name": "often",
        "trajectory": str(run["trajectory_id"]),
        "workflow_id": run["workflow_id"],
        "activity": "text_echo",
        "position": position,
    }
    return Place(
        api=api,
        company=company,
        collection=collection,
        ids=ids,
        paths=fill_paths(api, ids, jetty_ids),
        canaries=canaries,
        tokens={
            "owner": people.member(api, company, "owner"),
            "viewer": people.member(api, company, "viewer"),
            "auditor": people.member(api, company, "auditor"),
            "instance auditor": people.auditor(api),
            "member": people.member(api, company, "member"),
            "member without tasks:assign": people.member(api, company, "member", ()),
            "other agent": other,
            "the agent itself": own,
            "collection key": key,
        },
    )


def test_owners_read_everything_and_see_every_address(disclosure_fixture: Place):
    headers = {"Authorization": f"Bearer {disclosure_fixture.tokens['owner']}"}
    with httpx.Client(base_url=disclosure_fixture.api.url, headers=headers, timeout=20) as client:
        refused = {path for path in disclosure_fixture.paths if not client.get(path).is_success}
    environment = next(
        path for path in disclosure_fixture.paths if path.endswith("/environment") and "/issues/" in path
    )

    of_agents = {"/api/agents/me", "/api/agents/me/inbox-lite", environment}
    of_the_instance = {"/api/events", f"/api/events/{disclosure_fixture.ids['position']}", "/api/refusals"}
    assert of_agents | of_the_instance == refused
    assert disclosure_fixture.canaries.keys() == disclosure_fixture.seen("owner")


@pytest.mark.parametrize("who", ["viewer", "auditor", "instance auditor", "other agent"])
def test_who_may_change_nothing_sees_no_address(disclosure_fixture: Place, who: str):
    assert set() == disclosure_fixture.seen(who)


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        ("collection key", {"callback", "run"}),
        ("the agent itself", {"webhook none", "webhook bearer", "probe"}),
        ("member", {"heartbeat", "adapter", "endpoint", "callback", "run", "webhook none", "webhook bearer", "probe"}),
        ("member without tasks:assign", {"heartbeat", "adapter", "endpoint"}),
    ],
)
def test_whoever_may_change_some_things_sees_the_addresses_of_those(
    disclosure_fixture: Place, who: str, sees: set[str]
):
    assert sees == disclosure_fixture.seen(who)


def test_a_mask_says_that_there_is_an_address_and_nothing_else_changes(disclosure_fixture: Place):
    path = f"/agents/{disclosure_fixture.ids['agent_id']}"
    shown, masked = (
        disclosure_fixture.api.get(path),
        disclosure_fixture.api.get(path, token=disclosure_fixture.tokens["viewer"]),
    )
    other = next(
        one
        for one in disclosure_fixture.api.get(f"/companies/{disclosure_fixture.company}/agents")
        if one["name"] == "Other"
    )

    assert shown | {"heartbeatUrl": "***", "adapterConfig": {"deep": "***"}} == masked
    assert (None, {}) == (other["heartbeatUrl"], other["adapterConfig"])


def test_a_public_id_is_hidden_whatever_the_mode_since_the_mode_may_change(disclosure_fixture: Place):
    path = f"/routines/{disclosure_fixture.ids['routine_id']}"

    hidden = disclosure_fixture.api.get(path, token=disclosure_fixture.tokens["viewer"])["triggers"]
    revisions = disclosure_fixture.api.get(f"{path}/revisions", token=disclosure_fixture.tokens["viewer"])

    assert ["***", "***", "***", None] == [trigger["publicId"] for trigger in hidden]
    snapshots = {trigger["publicId"] for one in revisions for trigger in one["snapshot"]["triggers"]}
    assert {"***", None} == snapshots


def test_who_pauses_a_routine_without_tasks_assign_is_not_told_its_callback(disclosure_fixture: Place):
    path = f"{disclosure_fixture.api.url}/api/v1/routines/{disclosure_fixture.collection}/task/often/pause"
    headers = {"Authorization": f"Bearer {disclosure_fixture.tokens['member without tasks:assign']}"}

    assert "***" == httpx.post(path, headers=headers).json()["webhook_url"]


def test_no_event_that_an_endpoint_is_told_holds_an_address(disclosure_fixture: Place):
    events = [
        one
        for one in disclosure_fixture.api.system.store.history()
        if str(one.company_id) == disclosure_fixture.company and one.name in endpoint.TOLD
    ]
    kept = msgspec.json.encode([one.event for one in events]).decode()
    bodies = "\n".join(body_of_delivery(disclosure_fixture, one).decode() for one in events)

    there = disclosure_fixture.canaries.keys() - {
        "email"
    }  # which only events of users hold, and those are told to nobody
    assert there == {name for name, canary in disclosure_fixture.canaries.items() if canary in kept}
    assert set() == {name for name, canary in disclosure_fixture.canaries.items() if canary in bodies}
    assert "email" not in bodies
    assert bodies.count("***") >= len(there)


def body_of_delivery(disclosure_fixture: Place, recorded: Any) -> bytes:
    pending = PendingDelivery(
        id=uuid4(),
        version=0,
        kind="webhook",
        target_id=uuid4(),
        partition_key=uuid4(),
        ordered=False,
        company_id=UUID(disclosure_fixture.company),
        position=recorded.position,
        attempts=0,
    )
    return disclosure_fixture.api.system.executor.query(lambda work: payloads.compose(work, pending, recorded)).body


def test_what_clients_sent_as_json_is_never_taken_for_an_address():
    event = AgentCreated(profile=AgentProfile(name="A", metadata={"url": "x", "email": {"url": "y"}}), url_key="a")

    assert event == disclosure.mask_addresses(event)


def test_a_masked_event_is_of_the_same_kind_and_what_is_empty_stays_empty():
    event = TriggerCreated(
        routine_id=uuid4(),
        kind="webhook",
        settings=TriggerSettings(),
        webhook=Webhook(public_id="ab" * 12, secret_id=uuid4()),
    )
    masked = disclosure.mask_addresses(event)

    assert event.webhook is not None
    assert masked == msgspec.structs.replace(event, webhook=msgspec.structs.replace(event.webhook, public_id="***"))
    assert None is disclosure.mask_addresses(AgentProfile(name="A")).heartbeat_url


@pytest.mark.parametrize("kind", STORED_NAMES.values(), ids=STORED_NAMES)
def test_whatever_looks_like_an_address_in_an_event_is_one(kind: type):
    """A new field that is called after an address must be named in `disclosure.ADDRESSES`, or here."""
    suspicious = {name for name in _fields_of_type(kind) if re.search(r"url|e?mail|address|adapter|public", name)}

    assert suspicious <= disclosure.ADDRESSES | {"url_key", "adapter_type"}


def _fields_of_type(kind: Any) -> set[str]:
    fields: set[str] = set()
    waiting = [msgspec.inspect.type_info(kind)]
    while waiting:
        info = waiting.pop()
        for name in ("types", "item_types"):
            waiting += getattr(info, name, ())
        waiting += [getattr(info, name) for name in ("item_type", "value_type") if hasattr(info, name)]
        if isinstance(info, msgspec.inspect.StructType):
            fields |= {field.name for field in info.fields}
            waiting += [field.type for field in info.fields]
    return fields
