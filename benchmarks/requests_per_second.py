"""HTTP through one real `routines web` process, beside a handler of the framework that does nothing, and beside Postgres."""

import hashlib
import hmac
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import empty_handler
import httpx
import wrk
from append import RAW, raw_four
from ledger import arm, fresh_system
from table import Latencies, in_turns, rows, title

from projections import catalogue
from projections.engine import positions
from routines import bootstrap
from routines.bootstrap import System
from routines.local.listening import free_port
from routines.postgres.cluster import LocalPostgres

LIMIT_S = 120.0  # a busy machine starts a process slowly
CONNECTIONS = (1, 16, 64)
THINGS = 100  # routines that are fired in turn, by hand and by webhook
RUNS = 50  # of each routine before anything is measured: else each line would read more than those before it
MANUAL = f"POST manual run, over {THINGS} routines"
DETAIL, AFTER_RUN = "GET routine detail", "a manual run and the detail of its routine, in turns"
WEBHOOK_CALLS = 50_000  # signed beforehand; a signature counts for five minutes, and a call only once
EMPTY, RAW_FOUR = "empty handler, JSON in and out", "raw transaction, 4 rows, one connection"
Requests = Callable[[], Sequence[bytes]]


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    rounds, seconds = (2, 1) if quick else (5, 2)
    with fresh_system(postgres) as system, tempfile.TemporaryDirectory() as directory:
        token = bootstrap.first_board_token(system.settings) or ""
        bootstrap.make_keys(str(Path(directory) / "secret.keys"))
        company = arm(system, THINGS)
        with bootstrap.connect(system.settings) as conn:
            conn.execute(RAW)
        env = {
            "ROUTINES_KEY_FILE": str(Path(directory) / "secret.keys"),
            "ROUTINES_WEBHOOK_RATE": "0",
            **UNLIMITED,
        }
        with process(system, env, "projector"), web(system, env) as url, _serve_framework_alone() as empty_url:
            catch_up(system)
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=LIMIT_S) as client:
                work = requests_of(client, url, token, str(company))
                work[AFTER_RUN] = partial(_alternate, work[MANUAL], work[DETAIL])
            empty = [wrk.request("POST", empty_url, {}, b'{"number": %d}' % number) for number in range(THINGS)]
            _fire_before(url, work[MANUAL]())
            catch_up(system)
            for connections in CONNECTIONS:
                _measure(system, {EMPTY: lambda: empty, **work}, connections, rounds, seconds)


# What a benchmark does in a minute is more than any company should.
UNLIMITED = {
    f"ROUTINES_MAX_{who}_{what}_PER_MINUTE": "1000000000" for who in ("COMPANY", "KEY") for what in ("EVENTS", "BYTES")
}


def requests_of(client: httpx.Client, url: str, token: str, company: str) -> dict[str, Requests]:
    """Return the requests of each line, as they are sent."""
    headers = {"Authorization": f"Bearer {token}"}
    ids = [routine["id"] for routine in _json(client.get(f"/companies/{company}/routines"))]
    secrets = [_webhook(client, id_) for id_ in ids]

    def get(path: str) -> Requests:
        requests = [wrk.request("GET", f"{url}/{path}", headers)]
        return lambda: requests

    def each(method: str, path: str, body: bytes = b"") -> Requests:
        requests = [wrk.request(method, f"{url}/{path.format(id_)}", headers, body) for id_ in ids]
        return lambda: requests

    return {
        "GET /api/health": get("health"),
        DETAIL: each("GET", "routines/{}"),
        "GET 50 runs of a routine": each("GET", "routines/{}/runs?limit=50"),
        f"GET list of {THINGS} routines": get(f"companies/{company}/routines"),
        MANUAL: each("POST", "routines/{}/run", b"{}"),
        f"POST signed webhook, over {THINGS} triggers": partial(_sign_calls, secrets),
    }


def _alternate(first: Requests, second: Requests) -> list[bytes]:
    """Return the requests of two lines in turns."""
    return [request for pair in zip(first(), second(), strict=True) for request in pair]


def _webhook(client: httpx.Client, routine_id: str) -> dict[str, str]:
    """Make a webhook of the routine; return its URL and its secret."""
    body = {"kind": "webhook", "signingMode": "hmac_sha256"}
    material: dict[str, str] = _json(client.post(f"/routines/{routine_id}/triggers", json=body))["secretMaterial"]
    return material


def _sign_calls(secrets: Sequence[dict[str, str]]) -> list[bytes]:
    """Return calls of the webhooks in turn, none twice."""
    stamp = str(int(time.time()))
    signers = [hmac.new(one["webhookSecret"].encode(), f"{stamp}.".encode(), hashlib.sha256) for one in secrets]
    calls = []
    for number in range(WEBHOOK_CALLS):
        body, place = b'{"number": %d, "at": %d}' % (number, time.time_ns()), number % len(secrets)
        signer = signers[place].copy()
        signer.update(body)
        headers = {"X-Paperclip-Signature": signer.hexdigest(), "X-Paperclip-Timestamp": stamp}
        calls.append(wrk.request("POST", secrets[place]["webhookUrl"], headers, body))
    return calls


def _fire_before(url: str, requests: Sequence[bytes]) -> None:
    """Fire the routines in turn until each has RUNS runs."""
    fired = 0
    while fired < THINGS * RUNS:
        fired += wrk.load(url, requests, 16, 1).requests


def _measure(system: System, requests: dict[str, Requests], connections: int, rounds: int, seconds: int) -> None:
    title(
        f"HTTP, connections: {connections}; one web process, one projector, the client (wrk) and Postgres share the cores"
    )
    latencies = Latencies()
    work: dict[str, Callable[[], float]] = {
        name: partial(_rate, latencies.of(name), make, connections, seconds) for name, make in requests.items()
    }
    if connections == 1:
        work[RAW_FOUR] = partial(_raw_rate, system, latencies.of(RAW_FOUR), seconds)
    rows(in_turns(rounds, work), "per s", dict.fromkeys([name for name in requests if name != EMPTY], EMPTY))
    latencies.show()


def _rate(latencies: list[tuple[float, float]], make: Requests, connections: int, seconds: int) -> float:
    return rate(latencies, make(), connections, seconds)


def rate(latencies: list[tuple[float, float]], requests: Sequence[bytes], connections: int, seconds: int) -> float:
    """Return how many of the requests are answered in a second, and note the latencies of the round."""
    place = requests[0].split(b"Host: ", 1)[1].split(b"\r\n", 1)[0].decode()
    answers = wrk.load(f"http://{place}", requests, connections, seconds)
    latencies.append((answers.p50_s, answers.p99_s))
    return answers.rate


def _raw_rate(system: System, latencies: list[tuple[float, float]], seconds: int) -> float:
    """Return the rate of what a decision records, four rows in one transaction, without us."""
    took: list[float] = []
    with bootstrap.connect(system.settings) as conn:
        conn.execute("SET synchronous_commit = on")
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            raw_four(conn)
            took.append(time.perf_counter() - began)
    took.sort()
    latencies.append((took[len(took) // 2], took[len(took) * 99 // 100]))
    return len(took) / seconds


def catch_up(system: System) -> None:
    """Wait until the read models show what is recorded."""
    with system.pool.connection() as conn:
        positions.wait(conn, [model.name for model in catalogue.ALL], timeout_s=10 * LIMIT_S)


def _json(response: httpx.Response) -> Any:
    return response.raise_for_status().json()


@contextmanager
def process(system: System, env: dict[str, str], *argv: str) -> Iterator[None]:
    """Run a process of the service until the end of the block."""
    settings = {"ROUTINES_DATABASE_URL": system.settings.database_url, "ROUTINES_LOG_LEVEL": "error"}
    with _run_command([sys.executable, "-m", "routines", *argv], {**settings, **env}):
        yield


@contextmanager
def web(system: System, env: dict[str, str]) -> Iterator[str]:
    """Run a web process, and yield the URL of its API once it answers."""
    port = free_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}/api"
    with process(system, env, "web", "--port", str(port)):
        _wait_for(f"{url}/health")
        yield url


@contextmanager
def _serve_framework_alone() -> Iterator[str]:
    """Serve the framework alone, and yield the URL of its one route."""
    port = free_port("127.0.0.1", 0)
    with _run_command([sys.executable, empty_handler.__file__, str(port)], {}):
        _wait_for(f"http://127.0.0.1:{port}/run", status=405)
        yield f"http://127.0.0.1:{port}/run"


@contextmanager
def _run_command(command: list[str], env: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen(command, env={**os.environ, **env}) as running:
        try:
            yield
        finally:
            running.terminate()
            running.wait(LIMIT_S)


def _wait_for(url: str, status: int = 200) -> None:
    end = time.monotonic() + LIMIT_S
    while not _answers(url, status):
        if time.monotonic() > end:
            raise SystemExit(f"{url} has not answered within {LIMIT_S:g} s.")
        time.sleep(0.05)


def _answers(url: str, status: int) -> bool:
    try:
        return httpx.get(url).status_code == status
    except httpx.HTTPError:
        return False
