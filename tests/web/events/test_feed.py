"""The event feed over HTTP: pages in both directions, filters, forms, and what nobody is shown."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.identity import slot_of
from tests.api import Api
from tests.web import people


class Past:
    """A company in which something of everything has happened, and another one. Tests record nothing in the first."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.company, self.other = api.company("Acme"), api.company("Other")
        self.agent, self.agent_token = api.agent(self.company)
        self.owner_token, self.auditor_token = (people.member(api, self.company, role) for role in ("owner", "auditor"))
        self.routine = api.routine(self.company, self.agent, title="Nightly report")
        self.trigger = api.post(f"/routines/{self.routine}/triggers", {"kind": "webhook", "signingMode": "none"})[
            "trigger"
        ]
        self.run = api.post(f"/routines/{self.routine}/run", {"triggerId": None})
        self.issue = self.run["linkedIssueId"]
        self.comment = api.post(f"/issues/{self.issue}/comments", {"body": "On it"})["id"]
        api.post(f"/agents/{self.agent}/pause", {"reason": "holiday"})

    def events(self, query: str = "", company: str | None = None, **kwargs: Any) -> Any:
        return self.api.get(f"/companies/{company or self.company}/events?{query}", **kwargs)


@pytest.fixture(scope="module")
def past_api(api: Api) -> Past:
    return Past(api)


def kinds(events: Any) -> list[str]:
    return [event["kind"] for event in events]


def test_the_newest_event_comes_first_with_what_happened_in_plain_words(past_api: Past):
    newest = past_api.events("limit=1")[0]

    assert newest["kind"] == "agent.paused"
    assert newest["sentence"] == "The agent “Scout” was paused: holiday, by the user “Board”."
    assert newest["data"] == {"type": "agent.paused", "reason": "holiday"}
    assert newest["companyId"] == past_api.company
    assert newest == past_api.api.get(f"/companies/{past_api.company}/events/{newest['position']}")
    assert newest == past_api.api.get(f"/events/{newest['position']}")


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_walk_over_small_pages_shows_each_event_once_in_either_direction(past_api: Past, order: str):
    path, seen = f"/companies/{past_api.company}/events?order={order}&limit=3", []
    while path:
        answer = past_api.api.request("GET", path)
        seen += [event["position"] for event in answer.json()]
        cursor = answer.headers.get("X-Next-Cursor")
        path = cursor and f"/companies/{past_api.company}/events?order={order}&limit=3&cursor={cursor}"

    assert seen == sorted(seen, reverse=order == "newest")
    assert sorted(seen) == [event["position"] for event in past_api.events("order=oldest&limit=1000")]


def test_a_thing_is_shown_with_everything_that_belongs_to_it(past_api: Past):
    of_issue = past_api.events(f"issueId={past_api.issue}&order=oldest")
    of_run = past_api.events(f"runId={past_api.run['id']}")
    of_routine = past_api.events(f"routineId={past_api.routine}&limit=1000")
    of_trigger = past_api.events(f"triggerId={past_api.trigger['id']}")

    assert kinds(of_issue) == ["run.fired", "slot.taken", "issue.opened", "comment.added"]
    assert {"run.fired", "issue.opened", "slot.taken", "comment.added"} == set(kinds(of_run))
    assert {"routine.created", "routine.trigger_added", "trigger.created", *kinds(of_run)} == set(kinds(of_routine))
    assert {"routine.trigger_added", "trigger.created"} == set(kinds(of_trigger))
    assert kinds(past_api.events(f"streamId={slot_of(UUID(past_api.routine))}")) == ["slot.taken"]


def test_filters_narrow_the_feed_together(past_api: Past):
    first = past_api.events("order=oldest&limit=1000")
    middle = first[len(first) // 2]
    until = past_api.events(f"to={middle['recordedAt']}&limit=1000")

    assert kinds(past_api.events("kind=agent.paused,comment.*")) == ["agent.paused", "comment.added"]
    assert past_api.events(f"kind=issue.opened&routineId={past_api.routine}&runId={past_api.run['id']}")
    assert not past_api.events(f"kind=agent.paused&routineId={past_api.routine}")
    assert {event["position"] for event in until} >= {
        event["position"] for event in first if event["position"] <= middle["position"]
    }
    assert not past_api.events("from=2199-01-01T00:00:00Z")
    assert not past_api.events("to=1971-01-01T00:00:00Z")
    assert [middle["position"]] == [
        event["position"]
        for event in past_api.events(f"after={middle['position'] - 1}&before={middle['position'] + 1}")
    ]
    assert not past_api.events(f"actor=agent:{past_api.agent}")
    assert past_api.events(f"actor={first[0]['actor']}")
    assert past_api.events(f"routineId={uuid4()}") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=run.flown", "kind"),
        ("actor=me", "actor"),
        ("routineId=7", "routineId"),
        ("order=up", "order"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("after=x", "after"),
        ("before=-1", "before"),
        ("from=yesterday", "from"),
        ("cursor=abc", "cursor"),
        ("knid=run.fired", "knid"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(past_api: Past, query: str, field: str):
    answer = past_api.api.request("GET", f"/companies/{past_api.company}/events?{query}")

    assert answer.status_code == 400
    assert answer.json()["details"][0]["path"] == [field]


def test_a_cursor_of_another_feed_is_refused(past_api: Past):
    cursor = past_api.api.request("GET", f"/companies/{past_api.company}/events?limit=1").headers["X-Next-Cursor"]
    feeds = [
        f"/companies/{past_api.company}/events?kind=agent.paused",
        f"/companies/{past_api.company}/events?order=oldest",
        f"/companies/{past_api.other}/events?limit=1",
        "/events?limit=1",
    ]

    answers = [past_api.api.request("GET", f"{feed}&cursor={cursor}") for feed in feeds]

    assert [400] * 4 == [answer.status_code for answer in answers]


def test_accept_chooses_the_form(past_api: Past):
    path, plain = f"/companies/{past_api.company}/events?limit=2", past_api.events("limit=2")

    def form(accept: str, path: str = path) -> Any:
        answer = past_api.api.request("GET", path, headers={"Accept": accept})
        return answer.headers["content-type"], answer

    kind, lines = form("application/x-ndjson")
    assert (kind, plain) == ("application/x-ndjson", [json.loads(line) for line in lines.text.splitlines()])
    kind, batch = form("application/cloudevents-batch+json, application/json;q=0.5")
    assert kind == "application/cloudevents-batch+json"
    assert [(str(one["position"]), one["kind"], one["data"]) for one in plain] == [
        (one["id"], one["type"], one["data"]) for one in batch.json()
    ]
    kind, single = form("application/cloudevents+json", f"/companies/{past_api.company}/events/{plain[0]['position']}")
    assert (kind, batch.json()[0]) == ("application/cloudevents+json", single.json())
    assert all(form(accept)[0] == "application/json" for accept in ("*/*", "text/html", "", "application/*;q=0.1"))
    assert lines.headers["X-Next-Cursor"]


def test_no_event_of_another_company_is_shown(past_api: Past):
    foreign = past_api.api.get(f"/companies/{past_api.other}/events?limit=1")[0]["position"]
    owner = people.member(past_api.api, past_api.other, "owner")

    assert past_api.events(f"routineId={past_api.routine}", company=past_api.other) == []
    assert past_api.events(f"streamId={past_api.agent}", company=past_api.other) == []
    assert 404 == past_api.api.request("GET", f"/companies/{past_api.company}/events/{foreign}").status_code
    assert 403 == past_api.api.request("GET", f"/companies/{past_api.company}/events", token=owner).status_code
    assert {past_api.other} == {
        event["companyId"] for event in past_api.events("limit=1000", company=past_api.other, token=owner)
    }


def test_events_of_keys_and_names_are_for_the_auditor_of_the_instance(past_api: Past):
    auditor = people.auditor(past_api.api)
    shown = past_api.api.get("/events?kind=key.issued,name.claimed&limit=1000", token=auditor)
    claims = [event for event in shown if event["kind"] == "name.claimed"]

    assert {"key.issued", "name.claimed"} == set(kinds(shown))
    assert {"***"} == {event["data"]["name"] for event in claims}
    assert [] == past_api.api.get("/events?kind=key.issued,name.claimed")
    assert [] == past_api.events("kind=key.issued,name.claimed")
    assert [] == past_api.events("kind=key.issued,name.claimed,user.registered", token=past_api.owner_token)


def test_no_address_and_no_secret_is_shown(past_api: Past):
    auditor = people.auditor(past_api.api)
    address, token = past_api.trigger["publicId"], past_api.agent_token

    text = past_api.api.request("GET", "/events?limit=1000", token=auditor).text

    assert address not in text
    assert token not in text


def test_an_auditor_of_the_company_reads_its_events_and_changes_nothing(past_api: Past):
    auditor = past_api.auditor_token

    assert past_api.events("limit=1", token=auditor)
    answers = [
        past_api.api.request("PATCH", f"/routines/{past_api.routine}", {"title": "x"}, token=auditor),
        past_api.api.request("POST", f"/routines/{past_api.routine}/run", {}, token=auditor),
        past_api.api.request("GET", "/events", token=auditor),
    ]
    assert [403] * 3 == [answer.status_code for answer in answers]
    assert "Auditor access is read-only" == answers[0].json()["error"]
