"""What most requests ask for is carried out in the event loop: it is answered while no thread is free."""

import asyncio
import gzip
import hashlib
import hmac
import json
from contextlib import contextmanager, nullcontext

import httpx
import pytest

from application.execute_on_loop import LoopExecutor
from tests.api import Api
from web.app import create_app
from web.http import backend as backends
from web.http.backend import Backend
from web.http.json_body import SMALL
from web.paperclip import routines as routes
from web.paperclip import webhooks

LIMIT_S = 60.0


@contextmanager
def no_thread():
    """Requests of this process get no thread meanwhile."""

    async def refuse(fn, *_args, **_kwargs):
        raise AssertionError(fn)

    with pytest.MonkeyPatch.context() as patch:
        for module in (backends, routes, webhooks):
            patch.setattr(module, "sync_to_thread", refuse)
        yield


@pytest.fixture(scope="module")
def ask_together(api: Api):
    """Sends requests, several at once, to an application of its own on the same database, which begins anew each time."""
    app = create_app(Backend(api.system.executor, api.system.pool, 5.0), api.url)

    def ask(*rounds, last=nullcontext):
        async def story():
            transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url=f"{api.url}/api", timeout=LIMIT_S) as client:
                for number, requests in enumerate(rounds, 1):
                    with last() if number == len(rounds) else nullcontext():
                        answers = await asyncio.gather(*(client.request(*one[:2], **one[2]) for one in requests))
                return answers

        return asyncio.run(story())

    return ask


def test_runs_webhooks_and_reads_of_routines_hold_no_thread(api, ask_together):
    company = api.company()
    routine = api.routine(company, api.agent(company)[0])
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "github_hmac"})
    secret = trigger["secretMaterial"]["webhookSecret"].encode()
    board = {"headers": {"Authorization": f"Bearer {api.token}"}}

    def call(number):
        body = json.dumps({"number": number}).encode()
        signature = f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
        headers = {"X-Hub-Signature-256": signature, "Content-Type": "application/json"}
        path = f"/routine-triggers/public/{trigger['trigger']['publicId']}/fire"
        return "POST", path, {"content": body, "headers": headers}

    def everything(number):
        return [
            ("POST", f"/routines/{routine}/run", {"json": {}, **board}),
            call(number),
            ("GET", f"/routines/{routine}", board),
            ("GET", f"/routines/{routine}/runs", board),
            ("GET", f"/companies/{company}/routines", board),
        ]

    answers = ask_together(everything(1), everything(2), last=no_thread)

    assert [202, 202, 200, 200, 200] == [answer.status_code for answer in answers]
    fired = [answer.json()["id"] for answer in answers[:2]]
    runs = [run["id"] for run in api.get(f"/routines/{routine}/runs")]
    assert set(fired) <= set(runs)
    assert 4 == len(runs)


def test_what_is_read_without_a_thread_is_what_a_thread_reads(api, ask_together, monkeypatch):
    company = api.company()
    agent, token = api.agent(company)
    routine = api.routine(company, agent)
    api.post(f"/routines/{routine}/triggers", {"kind": "webhook"})
    api.post(f"/routines/{routine}/run", {"payload": {"text": "ä", "responsibleUserId": "none"}})
    other = api.agent(company, "Other")[1]
    paths = [f"/routines/{routine}", f"/routines/{routine}/runs?limit=1", f"/companies/{company}/routines"]
    headers = [{"headers": {"Authorization": f"Bearer {one}"}} for one in (api.token, token, other)]
    requests = [("GET", path, one) for path in paths for one in headers]

    short = ask_together(requests, requests)

    async def nothing(*_args, **_kwargs):
        return None

    monkeypatch.setattr(backends.OnLoop, "read", nothing)
    long = ask_together(requests)
    assert [200] * len(requests) == [answer.status_code for answer in short]
    assert [answer.content for answer in long] == [answer.content for answer in short]
    assert [answer.headers["etag"] for answer in long] == [answer.headers["etag"] for answer in short]


def test_a_key_that_was_revoked_elsewhere_reads_nothing_more(api, ask_together):
    company = api.company()
    agent, token = api.agent(company)
    routine = api.routine(company, agent)
    (key,) = api.get(f"/agents/{agent}/keys")
    read = [("GET", f"/routines/{routine}", {"headers": {"Authorization": f"Bearer {token}"}})]

    @contextmanager
    def revoked():
        api.request("DELETE", f"/agents/{agent}/keys/{key['id']}").raise_for_status()
        yield

    before = ask_together(read)
    after = ask_together(read, read, last=revoked)

    assert [200, 401] == [before[0].status_code, after[0].status_code]


def test_a_whole_list_that_waits_beside_a_page_of_it_is_not_cut_off(api, ask_together, monkeypatch):
    monkeypatch.setattr(routes, "SHORT", 2)
    company = api.company()
    agent = api.agent(company)[0]
    routine_ids = {api.routine(company, agent, title=f"Routine {number}") for number in range(3)}
    board = {"headers": {"Authorization": f"Bearer {api.token}"}}
    limits = ["", "?limit=2"] * 6
    requests = [("GET", f"/companies/{company}/routines{limit}", board) for limit in limits]

    lists = [[one["id"] for one in answer.json()] for answer in ask_together(requests, requests)]

    assert [routine_ids] * 6 == [set(ids) for ids in lists[::2]]
    assert [2] * 6 == [len(ids) for ids in lists[1::2]]


def test_a_search_is_left_to_a_thread_since_it_may_take_long(api, ask_together, monkeypatch):
    company = api.company()
    routine = api.routine(company, api.agent(company)[0], title="Needle")
    board = {"headers": {"Authorization": f"Bearer {api.token}"}}

    async def refuse(*_args, **_kwargs):
        raise AssertionError

    monkeypatch.setattr(backends.OnLoop, "read", refuse)
    (answer,) = ask_together([("GET", f"/companies/{company}/routines?q=needle", board)])

    assert [routine] == [one["id"] for one in answer.json()]


def test_a_call_that_is_large_when_unpacked_is_left_to_a_thread(api, ask_together, monkeypatch):
    company = api.company()
    routine = api.routine(company, api.agent(company)[0])
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "none"})
    path = f"/routine-triggers/public/{trigger['trigger']['publicId']}/fire"

    def call(size):
        body = gzip.compress(json.dumps({"text": "x" * size}).encode())
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return "POST", path, {"content": body, "headers": headers}

    decided = []
    attempt = LoopExecutor.attempt
    monkeypatch.setattr(LoopExecutor, "attempt", lambda self, decide: decided.append(decide) or attempt(self, decide))
    answers = ask_together([call(SMALL)], [call(10)])

    assert [202] == [answer.status_code for answer in answers]
    assert 1 == len(decided)
