"""What a client asked for that has left is given up: it takes no turn of those who wait for their answer."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from threading import Event
from typing import Any

import httpx
import msgspec
import pytest

from application.use_cases.board import issues
from tests.api import Api
from tests.waiting import wait_for
from tests.web.served import serve_further
from web.http import departures
from web.http.backend import Backend
from web.http.departures import Gone, Watched

MANY = 20
BUSY, LEFT, STAYS = "busy", "left", "stays"


@pytest.fixture(scope="module")
def two_thread_api(api: Api) -> Iterator[Api]:
    """A web process of two threads: of which a tenant has one."""
    with serve_further(api, threads=2) as served:
        yield served


@pytest.fixture
def issue_gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """What an issue with the title BUSY waits for before it is recorded; `begun` says that it has come so far."""
    opened: Any = Event()
    opened.begun = Event()
    create = issues.create

    def slow(work: Any, principal: Any, company_id: Any, draft: Any) -> Any:
        if draft.title == BUSY:
            opened.begun.set()
            opened.wait(20)
        return create(work, principal, company_id, draft)

    monkeypatch.setattr(issues, "create", slow)
    yield opened
    opened.set()


def ask_for_issue(api: Api, company: str, title: str) -> socket.socket:
    """A connection on which an issue has been asked for."""
    url, body = httpx.URL(api.url), msgspec.json.encode({"title": title})
    client = socket.create_connection((url.host, url.port))
    lines = [
        f"POST /api/companies/{company}/issues HTTP/1.1",
        "Host: routines.example",
        f"Authorization: Bearer {api.token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return client


def count_unanswered(api: Api) -> int:
    """As many requests for an issue as had no answer."""
    lines = httpx.get(f"{api.url}/metrics").text.splitlines()
    samples = [line for line in lines if 'operation="createIssue",status="none"' in line and "_total" in line]
    return int(float(samples[0].split()[-1])) if samples else 0


def titles(api: Api, company: str) -> list[str]:
    return sorted(issue["title"] for issue in api.get(f"/companies/{company}/issues"))


def test_requests_that_wait_for_a_thread_are_not_carried_out_when_their_clients_leave(
    two_thread_api: Api, issue_gate: Any
):
    company, before = two_thread_api.company(), count_unanswered(two_thread_api)
    with closing(ask_for_issue(two_thread_api, company, BUSY)) as busy:
        assert issue_gate.begun.wait(10)
        with ExitStack() as leaving:
            for _ in range(MANY):
                leaving.enter_context(closing(ask_for_issue(two_thread_api, company, LEFT)))
        wait_for(lambda: MANY == count_unanswered(two_thread_api) - before)
        issue_gate.set()
        assert busy.recv(1_000).startswith(b"HTTP/1.1 201")

    two_thread_api.post(f"/companies/{company}/issues", {"title": STAYS})
    assert [BUSY, STAYS] == titles(two_thread_api, company)


def test_what_has_begun_is_recorded_though_its_client_leaves(two_thread_api: Api, issue_gate: Any):
    company, before = two_thread_api.company(), count_unanswered(two_thread_api)
    client = ask_for_issue(two_thread_api, company, BUSY)
    assert issue_gate.begun.wait(10)
    client.close()
    wait_for(lambda: 1 == count_unanswered(two_thread_api) - before)
    issue_gate.set()

    wait_for(lambda: [BUSY] == titles(two_thread_api, company))


def test_who_waits_for_a_read_model_stops_when_its_client_leaves(two_thread_api: Api, monkeypatch: pytest.MonkeyPatch):
    company, before = two_thread_api.company(), count_unanswered(two_thread_api)
    looks, over = [], Event()
    wait = Backend._await_models

    def endless(backend: Backend, *_: Any, **__: Any) -> int:
        try:
            return wait(backend, ("issues",), 10**9, 20.0, in_other_tables=True)
        finally:
            over.set()

    monkeypatch.setattr(Backend, "_await_models", endless)
    monkeypatch.setattr(Backend, "_read_gap", lambda *_, **__: (looks.append(None), (10**9, 1))[1])
    client = ask_for_issue(two_thread_api, company, LEFT)
    wait_for(lambda: looks)
    client.close()

    assert over.wait(10)
    wait_for(lambda: 1 == count_unanswered(two_thread_api) - before)


class Visit:
    """A client as the server tells of it: its one message comes when it leaves."""

    def __init__(self) -> None:
        self.has_left, self.looks, self.sent = asyncio.Event(), 0, list[str]()

    async def receive(self) -> Any:
        self.looks += 1
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message["type"])


def test_a_client_that_is_answered_at_once_is_not_watched():
    async def story() -> tuple[int, list[str]]:
        visit = Visit()
        with Watched(visit.receive, visit.send) as client:
            await client.send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0)
        return visit.looks, visit.sent

    assert (0, ["http.response.start"]) == asyncio.run(story())


def test_a_request_that_takes_longer_is_given_up_when_its_client_leaves(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(departures, "AFTER_S", 0)

    async def story() -> int:
        visit = Visit()
        visit.has_left.set()
        with pytest.raises(Gone), Watched(visit.receive, visit.send):
            await asyncio.Event().wait()
        return visit.looks

    assert 1 == asyncio.run(story())


def test_who_asks_is_told_of_the_departure_at_once():
    async def story() -> str:
        visit = Visit()
        with Watched(visit.receive, visit.send) as client:
            await client.send({"type": "http.response.start", "status": 200, "headers": []})
            visit.has_left.set()
            return (await client.receive())["type"]

    assert "http.disconnect" == asyncio.run(story())
