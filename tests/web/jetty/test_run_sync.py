"""Calls of run-sync: how many a process holds open, and that it holds none for a client that has left."""

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import psycopg
import pytest
from msgspec.structs import replace
from psycopg_pool import PoolTimeout

from domain.bounds.limits import DEFAULT
from projections.engine.positions import Lagging
from projections.jetty import trajectories as read_model
from tests.waiting import wait_for
from tests.web.jetty.conftest import ECHO, WORKFLOW, Jetty
from tests.web.served import serve_further

LIMITS = ("max_sync_waits", "max_company_sync_waits")


@pytest.fixture(scope="module")
def one_wait_apis(api):
    """Processes that hold open one call, in all or of each company, by the name of the limit."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(serve_further(api, limits=replace(DEFAULT, **{name: 1}))) for name in LIMITS}


@pytest.fixture
def one_wait(one_wait_apis, jetty):
    """The same client at each of these processes."""
    clients = {name: Jetty(api, jetty.collection, jetty.key) for name, api in one_wait_apis.items()}
    yield clients
    for client in clients.values():
        client.close()


class SyncCall:
    """A call of run-sync whose answer is awaited, until the connection is closed."""

    def __init__(self, jetty, task):
        address = urlsplit(jetty.api.url)
        self._socket = socket.create_connection((address.hostname, address.port))
        head = (
            f"POST /api/v1/run-sync/{jetty.collection}/{task} HTTP/1.1",
            f"Host: {address.netloc}",
            f"Authorization: Bearer {jetty.key}",
            "Content-Type: application/json",
            "Content-Length: 2",
        )
        self._socket.sendall("\r\n".join([*head, "", "{}"]).encode())

    def leave(self):
        self._socket.close()


def trajectories(jetty, task):
    return jetty.get(f"/db/trajectories/{jetty.collection}/{task}")["total"]


def test_a_database_that_cannot_be_read_for_a_moment_is_waited_for(jetty, monkeypatch):
    task, read = jetty.task(workflow=ECHO), read_model.one
    troubles = [psycopg.errors.DiskFull(), PoolTimeout(), Lagging(["trajectories"], 1)]

    def one(*arguments):
        if troubles:
            raise troubles.pop()
        return read(*arguments)

    monkeypatch.setattr(read_model, "one", one)
    answer = jetty.request("POST", f"/run-sync/{jetty.collection}/{task}", {})

    assert (200, "completed") == (answer.status_code, answer.json()["trajectory"]["status"])
    assert [] == troubles
    assert 1 == trajectories(jetty, task)


@pytest.mark.parametrize("limit", LIMITS)
def test_one_call_more_than_may_wait_is_refused_and_starts_nothing_until_a_client_leaves(jetty, one_wait, limit):
    endless, short = jetty.task(workflow=WORKFLOW), jetty.task(workflow=ECHO)
    here = one_wait[limit]
    waiting = SyncCall(here, endless)
    wait_for(lambda: trajectories(here, endless) == 1)

    refusal = here.request("POST", f"/run-sync/{jetty.collection}/{short}", {})

    assert (refusal.status_code, refusal.headers["Retry-After"]) == (503, "1")
    assert "nothing was started" in refusal.json()["detail"]
    assert trajectories(here, short) == 0
    assert here.request("POST", f"/run/{jetty.collection}/{short}", {}).status_code == 200
    waiting.leave()
    wait_for(lambda: here.request("POST", f"/run-sync/{jetty.collection}/{short}", {}).status_code == 200)


def test_calls_of_another_company_find_room_beside_those_that_wait(jetty, one_wait, other_collection):
    endless, short = jetty.task(workflow=WORKFLOW), other_collection.task(workflow=ECHO)
    here = one_wait["max_company_sync_waits"]
    waiting = SyncCall(here, endless)
    wait_for(lambda: trajectories(here, endless) == 1)

    beside = Jetty(here.api, other_collection.collection, other_collection.key)

    assert beside.request("POST", f"/run-sync/{other_collection.collection}/{short}", {}).status_code == 200
    beside.close()
    waiting.leave()
    own = jetty.task(workflow=ECHO)
    wait_for(lambda: here.request("POST", f"/run-sync/{jetty.collection}/{own}", {}).status_code == 200)


def test_nobody_looks_after_a_call_whose_client_has_left(jetty, one_wait, monkeypatch):
    from web.jetty import runs  # noqa: PLC0415 what is counted

    looks = []
    shown = runs._show_trajectory
    monkeypatch.setattr(runs, "_show_trajectory", lambda *args: (looks.append(1), shown(*args))[1])
    monkeypatch.setattr(runs, "PAUSES_S", (0.05,))
    endless, short = jetty.task(workflow=WORKFLOW), jetty.task(workflow=ECHO)
    here = one_wait["max_sync_waits"]
    waiting = SyncCall(here, endless)
    wait_for(lambda: len(looks) > 3)
    waiting.leave()
    wait_for(lambda: here.request("POST", f"/run-sync/{jetty.collection}/{short}", {}).status_code == 200)
    earlier_looks = len(looks)

    for _ in range(20):
        here.get(f"/db/trajectories/{jetty.collection}/{endless}")

    assert len(looks) == earlier_looks
