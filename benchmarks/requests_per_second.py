"""HTTP through one real `routines web` process; the client runs on the same cores."""

import hashlib
import hmac
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from append import RAW, raw_one
from httpx import Request
from ledger import arm, fresh_system
from table import in_turns, latencies, rows, title

from projections import catalogue
from projections.engine import positions
from routines import bootstrap
from routines.bootstrap import System
from routines.local.listening import free_port
from routines.postgres.cluster import LocalPostgres

LIMIT_S = 30.0
CONNECTIONS = (1, 16, 64)
Make = Callable[[], Request]


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    rounds, seconds, routines = (2, 0.8, 6_000) if quick else (5, 2.0, 40_000)
    with fresh_system(postgres) as system, tempfile.TemporaryDirectory() as directory:
        token = bootstrap.first_board_token(system.settings) or ""
        bootstrap.make_keys(str(Path(directory) / "secret.keys"))
        headers = {"Authorization": f"Bearer {token}"}
        arm(system, routines)
        with bootstrap.connect(system.settings) as conn:
            conn.execute(RAW)
            routine_ids = conn.execute("SELECT stream_id FROM log.events WHERE name = 'routine.created'")
            fresh = itertools.cycle([str(id_) for (id_,) in routine_ids])
        env = {"ROUTINES_KEY_FILE": str(Path(directory) / "secret.keys"), "ROUTINES_WEBHOOK_RATE": "0"}
        with _process(system, env, "projector"), _web(system, env) as url:
            _caught_up(system)
            with httpx.Client(base_url=url, headers=headers, timeout=LIMIT_S) as client:
                routine, webhook = _routine(client)
            requests: dict[str, Make] = {
                "GET /api/health": lambda: Request("GET", f"{url}/health"),
                "GET routine detail": lambda: Request("GET", f"{url}/routines/{routine}", headers=headers),
                "POST manual run, new issue": lambda: Request(
                    "POST", f"{url}/routines/{next(fresh)}/run", headers=headers, json={}
                ),
                "POST manual run, coalesced": lambda: Request(
                    "POST", f"{url}/routines/{routine}/run", headers=headers, json={}
                ),
                "POST hmac webhook, coalesced": Webhook(webhook).call,
            }
            for connections in CONNECTIONS:
                _measure(system, requests, connections, rounds, seconds)


def _caught_up(system: System) -> None:
    with system.pool.connection() as conn:
        positions.wait(conn, [model.name for model in catalogue.ALL], timeout_s=10 * LIMIT_S)


class Webhook:
    """A sender that signs each call, and none twice."""

    def __init__(self, material: dict[str, str]) -> None:
        self._url, self._secret = material["webhookUrl"], material["webhookSecret"].encode()
        self._numbers = itertools.count()

    def call(self) -> Request:
        body, stamp = b'{"number":%d}' % next(self._numbers), str(int(time.time()))
        signature = hmac.new(self._secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"X-Paperclip-Signature": signature, "X-Paperclip-Timestamp": stamp}
        return Request("POST", self._url, content=body, headers=headers | {"Content-Type": "application/json"})


def _measure(system: System, requests: dict[str, Make], connections: int, rounds: int, seconds: float) -> None:
    title(f"HTTP, connections: {connections}; one web process, one projector (the client shares the cores)")
    took: dict[str, list[float]] = {name: [] for name in requests}
    work: dict[str, Callable[[], float]] = {
        "raw insert, 1 row, durable": lambda: _insert_rate(system, connections, seconds)
    }
    for name, make in requests.items():
        work[name] = partial(_request_rate, make, connections, seconds, took[name])
    rows(in_turns(rounds, work), "per s", dict.fromkeys(requests, "GET /api/health"))
    latencies(took)


def _routine(client: httpx.Client) -> tuple[str, dict[str, str]]:
    """A routine, and where its webhook is called."""

    def post(path: str, body: object) -> Any:
        return client.post(path, json=body).raise_for_status().json()

    company = post("/companies", {"name": "Acme"})["id"]
    agent = post(f"/companies/{company}/agents", {"name": "Scout"})["id"]
    body = {"title": "Check the inbox", "assigneeAgentId": agent}
    routine = post(f"/companies/{company}/routines", body)["id"]
    trigger = post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "hmac_sha256"})
    return routine, trigger["secretMaterial"]


def _request_rate(make: Make, connections: int, seconds: float, took: list[float]) -> float:
    """Requests a second, by threads with a connection each; `took` gets the seconds of each."""

    @contextmanager
    def requester() -> Iterator[Callable[[], None]]:
        with httpx.Client(timeout=LIMIT_S) as client:

            def once() -> None:
                request, began = make(), time.perf_counter()
                client.send(request).raise_for_status()
                took.append(time.perf_counter() - began)

            client.send(make()).raise_for_status()
            yield once

    return _rate(requester, connections, seconds)


def _insert_rate(system: System, connections: int, seconds: float) -> float:
    @contextmanager
    def inserter() -> Iterator[Callable[[], None]]:
        with bootstrap.connect(system.settings) as conn:
            raw_one(conn)
            yield lambda: raw_one(conn)

    return _rate(inserter, min(connections, 16), seconds)


def _rate(worker: Callable[[], Any], threads: int, seconds: float) -> float:
    """How often a second the workers do their piece, all of them together."""
    begin, done = threading.Barrier(threads + 1), itertools.count()

    def work() -> None:
        with worker() as once:
            begin.wait()
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                once()
                next(done)

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    for thread in running:
        thread.join()
    return next(done) / (time.perf_counter() - began)


@contextmanager
def _process(system: System, env: dict[str, str], *argv: str) -> Iterator[None]:
    settings = {"ROUTINES_DATABASE_URL": system.settings.database_url, "ROUTINES_LOG_LEVEL": "error"}
    command = [sys.executable, "-m", "routines", *argv]
    with subprocess.Popen(command, env={**os.environ, **settings, **env}) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(LIMIT_S)


@contextmanager
def _web(system: System, env: dict[str, str]) -> Iterator[str]:
    port = free_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}/api"
    with _process(system, env, "web", "--port", str(port)):
        end = time.monotonic() + LIMIT_S
        while not _healthy(url):
            assert time.monotonic() < end
            time.sleep(0.05)
        yield url


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.HTTPError:
        return False
