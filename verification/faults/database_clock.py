"""
The clock of the database is set forward by up to six hours, and back again: nothing twice, nothing left out, nothing unsaid.

Postgres itself runs under libfaketime. While its clock is behind events that it has recorded before, health must not be `ok`;
once it has caught up, by being set forward, health must be.
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import psycopg

from routines import bootstrap
from routines.local import accounts
from verification.faults import clock, oracle
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.environment import Environment, open_environment, reserved_port, settle, wait_for
from verification.faults.load import CompanyFixture

HOUR_S = 3_600
JUMPS = (60, 0, HOUR_S, HOUR_S - 30, 0, 6 * HOUR_S, 10, 6 * HOUR_S)  # seconds from the right time, one after the other
LIMIT_S = 60.0
SURE_S = 20.0  # by which the clock is behind the log long enough for health to say so


def run(_environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    """Run the campaign; return None where libfaketime is not installed."""
    if (library := clock.find_library()) is None:
        print("dbclock: left out, libfaketime is not there (apt-get install faketime)", file=sys.stderr)
        return []
    jumps, progress, broken = int(size(full=40, short=len(JUMPS))), Progress("dbclock"), list[str]()
    with (
        faked_environment(library) as (environment, offset),
        environment.database() as database,
        reserved_port() as port,
    ):
        processes = database.processes()
        try:
            with bootstrap.system(database.settings()) as system, database.auditor() as log:
                began = oracle.clock(log)
                fixture = CompanyFixture(system)
                fixture.late(12, 3, concurrency_policy="always_enqueue")
                fixture.once([began + timedelta(seconds=chance.uniform(1, 7 * HOUR_S)) for _ in range(jumps * 10)])
                database.trust_clocks("DEFAULT")
                for role in ("scheduler", "scheduler", "projector"):
                    processes.start(role)
                processes.start("web", "--port", str(port))
                with noting_standstill(broken), httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
                    wait_for(lambda: _read_reasons(http) == [], LIMIT_S)
                    for number in range(jumps):
                        _set_offset(offset, JUMPS[number % len(JUMPS)])
                        _check_health(http, log, broken)
                        settle(database, LIMIT_S)
                        progress(f"{number + 1} jumps, {oracle.runs(log):,} runs")
                verdict = oracle.judge(log, until=settle(database, LIMIT_S))
            broken += ["a process ended"] * any(process.poll() is not None for process in processes.running)
            return [Outcome("dbclock", verdict, f"{jumps} jumps of the database's clock", broken, worst="-")]
        finally:
            processes.end()


def _check_health(http: httpx.Client, log: psycopg.Connection[Any], broken: list[str]) -> None:
    """Wait until health says that the clock is behind the log, if it is, or no longer says so."""
    row = log.execute(
        "SELECT extract(epoch FROM max(recorded_at) - clock_timestamp())::float8 FROM log.events"
    ).fetchone()
    behind_s = row[0] if row else 0.0
    if 0 < behind_s < SURE_S:
        return  # it will have caught up in a moment
    try:
        wait_for(lambda: ("clock_behind_log" in _read_reasons(http)) == (behind_s > 0), SURE_S / 2)
    except TimeoutError:
        broken.append(f"with a clock that is {behind_s:.0f} s behind health says {_read_reasons(http)}")


def _read_reasons(http: httpx.Client) -> list[str]:
    try:
        answer = http.get("/api/health")
        return list(answer.json().get("reasons", ["unreachable"]))
    except httpx.TransportError:
        time.sleep(0.1)
        return ["unreachable"]


@contextmanager
def faked_environment(library: Path) -> Iterator[tuple[Environment, Path]]:
    """Yield a Postgres under libfaketime, and the file that says how far its clock is from the right time."""
    with tempfile.TemporaryDirectory(prefix="routines-clock-") as directory:
        Path(directory).chmod(0o755)
        offset = Path(directory, "offset")
        _set_offset(offset, 0)
        fake_clock_env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with (
            mock.patch.object(accounts, "environment", return_value={**accounts.environment(), **fake_clock_env}),
            open_environment() as environment,
        ):
            yield environment, offset


def _set_offset(offset: Path, seconds: int) -> None:
    """Write the offset in one step, so that readers never find half a number."""
    fresh = offset.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}")
    fresh.chmod(0o644)  # Postgres reads it as another account
    fresh.rename(offset)
