"""HTTP through one real `routines web` process; the client runs on the same cores."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from httpx import Request
from ledger import fresh_system
from table import in_turns, latencies, rows, title

from routines import bootstrap
from routines.bootstrap import System
from routines.local_postgres import LocalPostgres
from routines.up import free_port

LIMIT_S = 30.0


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    rounds, seconds = (2, 0.8) if quick else (5, 2.0)
    with fresh_system(postgres) as system:
        token = bootstrap.first_board_token(system.settings) or ""
        headers = {"Authorization": f"Bearer {token}"}
        with _process(system, "projector"), _web(system) as url, httpx.Client(base_url=url, headers=headers) as client:
            routine = _routine(client)
            requests = {
                "GET /api/health": Request("GET", f"{url}/health", headers=headers),
                "GET routine detail": Request("GET", f"{url}/routines/{routine}", headers=headers),
                "POST manual run": Request("POST", f"{url}/routines/{routine}/run", headers=headers, json={}),
            }
            for connections in (1, 16):
                _measure(requests, connections, rounds, seconds)


def _measure(requests: dict[str, Request], connections: int, rounds: int, seconds: float) -> None:
    title(f"HTTP, connections: {connections}; one web process, one projector (the client shares the cores)")
    took: dict[str, list[float]] = {name: [] for name in requests}
    work = {
        name: lambda name=name, request=request: _rate(request, connections, seconds, took[name])
        for name, request in requests.items()
    }
    rows(in_turns(rounds, work), "req/s", dict.fromkeys(requests, "GET /api/health"))
    latencies(took)


def _routine(client: httpx.Client) -> str:
    def post(path: str, body: object) -> str:
        return str(client.post(path, json=body).raise_for_status().json()["id"])

    company = post("/companies", {"name": "Acme"})
    agent = post(f"/companies/{company}/agents", {"name": "Scout"})
    return post(f"/companies/{company}/routines", {"title": "Check the inbox", "assigneeAgentId": agent})


def _rate(request: Request, connections: int, seconds: float, took: list[float]) -> float:
    """Requests a second, by threads with a connection each; `took` gets the seconds of each."""
    before = len(took)
    begin = threading.Barrier(connections + 1)

    def work() -> None:
        with httpx.Client(timeout=LIMIT_S) as client:
            client.send(request).raise_for_status()
            begin.wait()
            end = time.perf_counter() + seconds
            while (began := time.perf_counter()) < end:
                client.send(request).raise_for_status()
                took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return (len(took) - before) / (time.perf_counter() - began)


@contextmanager
def _process(system: System, *argv: str) -> Iterator[None]:
    env = {**os.environ, "ROUTINES_DATABASE_URL": system.settings.database_url, "ROUTINES_LOG_LEVEL": "error"}
    with subprocess.Popen([sys.executable, "-m", "routines", *argv], env=env) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(LIMIT_S)


@contextmanager
def _web(system: System) -> Iterator[str]:
    port = free_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}/api"
    with _process(system, "web", "--port", str(port)):
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
