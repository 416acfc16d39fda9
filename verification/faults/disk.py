"""
The disk becomes full, and has room again: a whole `routines up` on a small file system, logs and up.json included.

While it is full, a client goes on, health must say so, no answer may be a 500, and no process may end, except for
Postgres: it ends where it cannot write its log (half of the times that is provoked), and must come back by itself.
"""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg

from routines import bootstrap
from routines.settings import Settings
from verification.faults import oracle
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.environment import Environment, wait_for
from verification.faults.load import Client, CompanyFixture

MEGABYTES = 400
BLOCK = bytes(2**16)
LARGE = "x" * 60_000  # in the body of a request, so that tables have to grow
SAID_WITHIN_S = 30.0  # until health says that the disk is full: it keeps what it has found for 10 s
BACK_WITHIN_S = 60.0
START_S = 120.0
# Fills what Postgres has in store for its log, so that it needs another file.
LOG_MUCH = "SELECT pg_logical_emit_message(true, 'disk', repeat('x', 8000000))"


@dataclass
class Installation:
    """A running `routines up`, and what up.json says of it."""

    directory: Path
    supervisor: subprocess.Popen[bytes]

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.directory / "data" / "up.json").read_text())
        return state

    def url(self, user: str) -> str:
        url: str = self.state["database_url"]
        return url.replace("routines_service@", f"{user}@")


def run(_environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    """Run the campaign; return None where no file system can be mounted."""
    times, hold_s = int(size(full=20, short=4, brief=2)), size(full=8.0, short=4.0, brief=2.0)
    progress, broken = Progress("disk"), list[str]()
    try:
        with small_disk() as directory, installation(directory) as system:
            return [_measure_outcome(system, times, hold_s, chance, broken, progress)]
    except CannotMount as error:
        print(f"disk: left out, {error}", file=sys.stderr)
        return []


def _measure_outcome(
    system: Installation, times: int, hold_s: float, chance: random.Random, broken: list[str], progress: Progress
) -> Outcome:
    url, key_file = system.state["url"], system.state["key_file"]
    token = (system.directory / "data" / "board.token").read_text().strip()
    service, log_url = system.url("routines_service"), system.url("routines_auditor")
    superuser, pids = system.url("postgres"), system.state["processes"]
    with psycopg.connect(superuser, autocommit=True) as conn:
        conn.execute("UPDATE log.rules SET max_clock_difference = NULL")
    with bootstrap.system(Settings(database_url=service, key_file=key_file)) as built:
        fixture = CompanyFixture(built)
        now = built.clock()
        fixture.once([now + timedelta(seconds=1 + chance.uniform(0, times * (hold_s + 6))) for _ in range(times * 20)])
    client = Client(url, token, fixture.company_id, fixture.agent_id, random.Random(chance.random()))
    client.start()
    longest_s, starts = 0.0, set[str]()
    with noting_standstill(broken), httpx.Client(base_url=url, timeout=15) as http:
        for number in range(times):
            with psycopg.connect(superuser, autocommit=True) as conn:  # there may be no room for one later
                starts.add(_started_at(conn))
                with full_disk(system.directory):
                    if number % 2:
                        _exhaust_log(conn)
                    _watch_full(http, token, fixture, hold_s, broken)
            began = time.monotonic()
            wait_for(lambda: _is_well(http), BACK_WITHIN_S)
            longest_s = max(longest_s, time.monotonic() - began)
            progress(f"{number + 1} times full, {len(client.answered):,} answers")
            time.sleep(chance.uniform(0, 1))
        wait_for(lambda: _is_settled(superuser), BACK_WITHIN_S)
    client.end()
    broken += [f"{name} ended" for name, pid in system.state["processes"].items() if pids[name] != pid]
    broken += ["the supervisor ended"] * (system.supervisor.poll() is not None)
    with psycopg.connect(log_url, autocommit=True) as log:
        verdict = oracle.judge(log, until=oracle.clock(log) - timedelta(seconds=1), answered=client.answered)
        starts.add(_started_at(log))
    ends = f"Postgres ended {len(starts) - 1} times"
    broken += [ends] * (len(starts) - 1 < times // 2)  # at least every second time Postgres was to end by itself
    notes = [f"{ends}; all was well again at most {longest_s:.1f} s after there was room"]
    return Outcome("disk", verdict, f"{times} times full", [*broken, *client.refused[:3]], notes=notes)


def _watch_full(http: httpx.Client, token: str, fixture: CompanyFixture, hold_s: float, broken: list[str]) -> None:
    """Ask for large changes until health has said that the disk is full, and for `hold_s`."""
    began, is_said = time.monotonic(), False
    while not is_said or time.monotonic() < began + hold_s:
        answer = http.post(
            f"/api/companies/{fixture.company_id}/routines",
            json={"title": "Large", "description": LARGE},
            headers={"Authorization": f"Bearer {token}", "X-Routines-Consistency": "eventual"},
        )
        if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
            broken.append(f"answered with 500: {answer.text[:100]}")
        health = http.get("/api/health")
        is_said |= health.status_code == httpx.codes.SERVICE_UNAVAILABLE or "disk_full" in health.json()["reasons"]
        if not is_said and time.monotonic() > began + SAID_WITHIN_S:
            broken.append("health does not say that the disk is full")
            return
        time.sleep(0.2)


def _is_well(http: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        answer = http.get("/api/health")
        return answer.is_success and answer.json()["status"] == "ok"
    return False


def _is_settled(url: str) -> bool:
    """Return whether no schedule is due, nor will be: each was for one moment."""
    with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(
            """SELECT (SELECT count(*) FROM read_models.schedule WHERE enabled AND routine_active AND due_at IS NOT NULL),
            (SELECT position FROM log.head) - (SELECT min(position) FROM read_models.positions)"""
        ).fetchone()
        return row == (0, 0)
    return False


def _exhaust_log(conn: psycopg.Connection[Any]) -> None:
    """Write so much that Postgres needs a further file for its log, and ends as there is no room for one."""
    with suppress(psycopg.Error):
        for _ in range(MEGABYTES // 8):
            conn.execute(LOG_MUCH)


def _started_at(conn: psycopg.Connection[Any]) -> str:
    return str(conn.execute("SELECT pg_postmaster_start_time()").fetchone())


@contextmanager
def full_disk(directory: Path) -> Iterator[None]:
    """Leave no byte free until the end of the block."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(BLOCK)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    try:
        yield
    finally:
        filler.unlink()


class CannotMount(Exception):
    """No file system can be mounted here."""


@contextmanager
def small_disk() -> Iterator[Path]:
    """Mount a file system of MEGABYTES, in memory."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None or os.geteuid():
        raise CannotMount("only root can mount a file system")
    directory = Path(tempfile.mkdtemp(prefix="routines-disk-"))
    try:
        argv = [mount, "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=755", "tmpfs", str(directory)]
        result = subprocess.run(argv, capture_output=True, text=True, check=False)
        if result.returncode:
            raise CannotMount(result.stderr.strip())
        try:
            yield directory
        finally:
            subprocess.run([umount, "--lazy", str(directory)], check=True)
    finally:
        directory.rmdir()


@contextmanager
def installation(directory: Path) -> Iterator[Installation]:
    argv = [sys.executable, "-m", "routines", "up", "--data-dir", str(directory / "data"), "--port", "0"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ROUTINES_", "PG"))}
    supervisor = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL)
    try:
        wait_for((directory / "data" / "up.json").exists, START_S)
        yield Installation(directory, supervisor)
    finally:
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(START_S)
