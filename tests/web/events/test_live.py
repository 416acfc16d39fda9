"""The live feed: it goes on for as long as it is read, resumes without gap or repeat, and ends when it must."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import httpx
import pytest
from msgspec.structs import replace

from domain.errors import RuleViolation
from processes.threads import run_beside
from projections.audit import feed as feeds
from projections.audit.feed import Filters, LogEntry
from tests.api import Api
from tests.web import people
from tests.web.served import serve_further
from web.events import live
from web.events.feeds import Feeds
from web.events.live import Frame, LiveFeed, Tail
from web.http import streamed_answer
from web.http.backend import Backend

STREAM = {"Accept": "text/event-stream"}
MANY = 200


class Feed:
    """A live feed that is being read."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.blocks = self._read()
        assert "retry" in next(self.blocks)  # from here on the feed misses nothing

    def _read(self) -> Iterator[dict[str, str]]:
        block: dict[str, str] = {}
        for line in self.response.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                block[name] = value
            else:
                yield block
                block = {}

    def events(self, count: int) -> list[Any]:
        """The next events, without the signs of life between them."""
        events: list[Any] = []
        while len(events) < count:
            block = next(self.blocks)
            if "data" in block:
                events.append(json.loads(block["data"]))
                assert (str(events[-1]["position"]), events[-1]["kind"]) == (block["id"], block["event"])
        return events

    def end(self) -> list[dict[str, str]]:
        """What comes until the feed ends by itself."""
        return list(self.blocks)


@contextmanager
def read_feed(api: Api, path: str, token: str | None = None, **headers: str) -> Iterator[Feed]:
    authorization = {"Authorization": f"Bearer {token or api.token}"}
    with httpx.stream(
        "GET", f"{api.url}/api{path}", headers={**STREAM, **authorization, **headers}, timeout=20
    ) as response:
        assert response.status_code == 200, response.read()
        yield Feed(response)


def count_other_threads() -> int:
    """The threads of the process but for those that handle requests, of which there is a fixed number."""
    return len([thread for thread in threading.enumerate() if not thread.name.startswith("request")])


def goals(api: Api, company: str, *titles: str) -> None:
    for title in titles:
        api.post(f"/companies/{company}/goals", {"title": title})


@contextmanager
def making_goals(api: Api, company: str) -> Iterator[None]:
    """Goals are made all the time, one after the other."""
    stop = threading.Event()

    def make_goals() -> None:
        while not stop.is_set():
            goals(api, company, "left out")

    with run_beside("goals", make_goals, stop):
        yield


def titles(events: list[Any]) -> list[str]:
    return [event["data"]["details"]["title"] for event in events]


def test_events_are_sent_as_they_happen(api: Api):
    company = api.company()
    with read_feed(api, f"/companies/{company}/events") as feed:
        assert feed.response.headers["content-type"].startswith("text/event-stream")
        goals(api, company, "one", "two")

        sent = feed.events(2)

    assert titles(sent) == ["one", "two"]
    assert sent[::-1] == api.get(f"/companies/{company}/events?limit=2")


def test_only_events_that_meet_the_filters_are_sent(api: Api):
    company, other = api.company(), api.company()
    with read_feed(api, f"/companies/{company}/events?kind=goal.updated,goal.deleted") as feed:
        goals(api, company, "left out")
        goals(api, other, "not ours")
        goal = api.post(f"/companies/{company}/goals", {"title": "ours"})["id"]
        api.patch(f"/goals/{goal}", {"title": "ours, changed"})

        assert titles(feed.events(1)) == ["ours, changed"]


def test_a_reader_of_rare_events_gets_signs_of_life_beside_many_that_are_not_for_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.2)
    company = api.company()
    with read_feed(api, f"/companies/{company}/events?kind=goal.deleted") as feed, making_goals(api, company):
        first, second = next(feed.blocks), next(feed.blocks)

    assert [{"id"}, {"id"}] == [set(first), set(second)]
    assert int(first["id"]) < int(second["id"])


def test_whoever_comes_back_gets_what_happened_meanwhile_without_gap_or_repeat(api: Api):
    company, seen = api.company(), list[Any]()
    path = f"/companies/{company}/events?kind=goal.created"
    goals(api, company, "one", "two", "three")
    with read_feed(api, f"{path}&after=0") as feed:
        seen += feed.events(2)
    goals(api, company, "four")
    with read_feed(api, path, **{"Last-Event-ID": str(seen[-1]["position"])}) as feed:
        seen += feed.events(2)
        goals(api, company, "five")
        seen += feed.events(1)

    assert titles(seen) == ["one", "two", "three", "four", "five"]
    assert seen == api.get(f"{path}&order=oldest")


def test_a_reader_who_has_fallen_behind_what_is_in_memory_reads_on_from_the_log(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "KEPT_EVENTS", 2)
    monkeypatch.setattr(live, "BATCH", 3)
    company = api.company()
    with read_feed(api, f"/companies/{company}/events?kind=goal.created") as feed:
        goals(api, company, *map(str, range(12)))

        assert titles(feed.events(12)) == [str(number) for number in range(12)]


def test_where_a_search_takes_long_the_log_is_gone_through_part_by_part(api: Api, monkeypatch: pytest.MonkeyPatch):
    page, bounds = feeds.page, list[int]()

    def slow(conn: Any, filters: Filters, *, limit_s: float | None = None, **how: Any) -> Any:
        if limit_s is not None:
            raise RuleViolation("not found in time")
        if filters.kinds and filters.before is not None and filters.after is not None:
            bounds.append(filters.before - filters.after - 1)
        return page(conn, filters, **how)

    company = api.company()
    path = f"/companies/{company}/events?kind=goal.created"
    goals(api, company, "one", "two", "three", "four", "five")
    begin = api.get(f"{path}&order=oldest")[0]["position"] - 5
    with monkeypatch.context() as patch:
        patch.setattr(feeds, "page", slow)
        patch.setattr(live, "PART", 2)
        patch.setattr(Tail, "has", lambda self, position: position >= self.position)  # nothing is in memory
        with read_feed(api, f"{path}&after={begin}") as feed:
            assert titles(feed.events(5)) == ["one", "two", "three", "four", "five"]

    assert len(bounds) > 3
    assert max(bounds) == 2


def test_an_event_that_the_index_has_passed_over_hides_no_other():
    columns = dict.fromkeys(LogEntry.__struct_fields__)
    tail = Tail(cast("Backend", None))
    frames = [Frame(LogEntry(**{**columns, "position": position}), b"") for position in (1, 2, 4, 5)]

    tail._add(frames, threading.Event())

    assert [[frame.entry.position for frame in tail.after(position)] for position in (1, 2, 3, 5)] == [
        [2, 4, 5],
        [4, 5],
        [4, 5],
        [],
    ]


def test_a_right_that_ends_while_the_feed_begins_opens_none(api: Api, monkeypatch: pytest.MonkeyPatch):
    company = api.company()
    member = api.post(f"/companies/{company}/members", {"name": "Ada", "membershipRole": "auditor"})
    end = Feeds._end

    def end_after_the_removal(feeds: Feeds) -> int:
        api.request("DELETE", f"/companies/{company}/members/{member['userId']}")
        return end(feeds)

    monkeypatch.setattr(Feeds, "_end", end_after_the_removal)

    answer = api.request("GET", f"/companies/{company}/events", token=member["token"], headers=STREAM)

    assert answer.status_code in (401, 403)


@pytest.mark.parametrize("end", ["the key is revoked", "the member is removed", "the member becomes a viewer"])
def test_a_feed_ends_with_the_right_to_read_it(api: Api, end: str):
    company = api.company()
    member = api.post(f"/companies/{company}/members", {"name": "Ada", "membershipRole": "auditor"})
    user, token = member["userId"], member["token"]
    with read_feed(api, f"/companies/{company}/events", token) as feed:
        match end:
            case "the key is revoked":
                key = api.get("/board-api-keys", token=token)[0]["id"]
                api.request("DELETE", f"/board-api-keys/{key}", token=token)
            case "the member is removed":
                api.request("DELETE", f"/companies/{company}/members/{user}")
            case _:
                api.patch(f"/companies/{company}/members/{user}", {"membershipRole": "viewer"})
        goals(api, company, "after the end")

        assert [] == [block for block in feed.end() if "data" in block]


def test_a_feed_ends_when_its_key_expires(api: Api):
    now = api.system.clock()
    with serve_further(api, clock=lambda: now) as here:
        user, _ = people.user(here, admin=True)
        token = people.key(here, user, expires_at=now + timedelta(seconds=0.2))

        with read_feed(here, "/events", token) as feed:
            feed.end()
        now += timedelta(seconds=0.2)

        assert 401 == here.request("GET", "/events", token=token).status_code


def test_a_change_that_leaves_the_right_to_read_does_not_end_the_feed(api: Api):
    company = api.company()
    member = api.post(f"/companies/{company}/members", {"name": "Ada", "membershipRole": "auditor"})
    with read_feed(api, f"/companies/{company}/events", member["token"]) as feed:
        api.patch(f"/companies/{company}/members/{member['userId']}", {"membershipRole": "admin"})
        goals(api, company, "one")

        assert ["member.changed", "goal.created"] == [event["kind"] for event in feed.events(2)]


def test_a_feed_ends_when_the_process_does(api: Api):
    began = threading.Event()

    def read(here: Api) -> None:
        with read_feed(here, "/events") as feed:
            began.set()
            feed.end()

    with serve_further(api) as here:
        reader = threading.Thread(target=read, args=(here,))
        reader.start()
        began.wait()
    reader.join()  # the server has ended while its reader was reading


@pytest.mark.parametrize(
    ("query", "headers", "name"),
    [
        ("limit=5", {}, "limit"),
        ("cursor=abc", {}, "cursor"),
        ("order=newest", {}, "order"),
        ("before=5", {}, "before"),
        ("to=2026-01-01T00:00:00Z", {}, "to"),
        ("after=99999999999", {}, "after"),
        ("", {"Last-Event-ID": "abc"}, "Last-Event-ID"),
        ("", {"Last-Event-ID": "9999999999"}, "Last-Event-ID"),
    ],
)
def test_what_a_live_feed_cannot_do_is_refused(api: Api, query: str, headers: dict[str, str], name: str):
    answer = api.request("GET", f"/events?{query}", headers={**STREAM, **headers})

    assert answer.status_code == 400
    assert answer.json()["details"][0]["path"] == [name]


def test_head_is_answered_at_once(api: Api):
    assert 200 == api.request("HEAD", "/events", headers=STREAM).status_code


def test_many_readers_share_one_thread_and_hold_no_connection(api: Api):
    company = api.company()

    async def read_all(here: Api, threads: int) -> None:
        limits = httpx.Limits(max_connections=MANY)
        async with httpx.AsyncClient(base_url=here.url, timeout=60, limits=limits) as client:
            headers = {**STREAM, "Authorization": f"Bearer {api.token}"}
            began, over = asyncio.Barrier(MANY + 1), asyncio.Barrier(MANY + 1)

            async def read_one_event() -> None:
                path = f"/api/companies/{company}/events?kind=goal.created"
                async with client.stream("GET", path, headers=headers) as response:
                    lines = response.aiter_lines()
                    assert "retry: 2000" == await anext(lines)
                    await began.wait()
                    while await anext(lines) != "event: goal.created":
                        pass
                    await over.wait()

            async with asyncio.TaskGroup() as tasks:
                for _ in range(MANY):
                    tasks.create_task(read_one_event())
                await began.wait()
                await asyncio.to_thread(goals, api, company, "for all")
                assert count_other_threads() <= threads + 2  # the tail's, and that of to_thread
                assert here.system.pool.get_stats()["requests_waiting"] == 0
                await over.wait()

    with serve_further(
        api
    ) as here:  # whose end closes all connections, which would be too many of one peer beside others
        asyncio.run(read_all(here, count_other_threads()))


def test_a_reader_who_takes_nothing_is_cut_off(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streamed_answer, "TAKE_S", 0.01)
    left: list[bool] = []

    class Tail:
        def admit(self) -> None:
            left.append(False)

        def leave(self) -> None:
            left.append(True)

    class Reader:
        async def begin(self) -> bytes:
            return b"x"

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> Any:
        await asyncio.Event().wait()

    feed: Any = LiveFeed(Tail(), Reader())  # type: ignore[arg-type]
    asyncio.run(feed.to_asgi_response()({"type": "http", "state": {}}, receive, send))

    assert left == [False, True]


def test_there_is_a_bound_on_readers(other_process: Api, monkeypatch: pytest.MonkeyPatch):
    store = other_process.system.store
    monkeypatch.setattr(store, "limits", replace(store.limits, max_event_readers=1))
    with read_feed(other_process, "/events"):
        refusal = other_process.request("GET", "/events", headers=STREAM)

    assert (503, "1") == (refusal.status_code, refusal.headers["Retry-After"])
