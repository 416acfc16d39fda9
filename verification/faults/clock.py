"""The clocks of the processes jump from two days ago to forty days ahead; the database's stays."""

import os
import random
import sys
import time
from datetime import timedelta
from pathlib import Path

from routines import bootstrap
from verification.faults import oracle
from verification.faults.campaign import CampaignSize, Outcome, Progress
from verification.faults.environment import Environment, settle, wait_for
from verification.faults.load import CompanyFixture

DAY_S = 86_400
JUMPS = (1, -1, 60, -60, 3_600, -3_600, -2 * DAY_S, 40 * DAY_S, 0)  # seconds from the right time
LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1")
LATE_S = 5.0
LIMIT_S = 60.0


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    """Run the campaign; return None where libfaketime is not installed."""
    if (library := find_library()) is None:
        print("clock: left out, libfaketime is not there (apt-get install faketime)", file=sys.stderr)
        return []
    jumps, pause_s, progress = (
        int(size(full=50, short=len(JUMPS))),
        size(full=4.0, short=1.0, brief=0.5),
        Progress("clock"),
    )
    late_s = size(full=LATE_S, short=LATE_S, brief=environment.limit_s)
    with environment.database() as database, database.auditor() as log, bootstrap.system(database.settings()) as system:
        offset = database.directory / "offset"
        _set_offset(offset, 0)
        env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # no step of the clock moves the monotonic one
        }
        processes = database.processes(env=env)
        company_fixture = CompanyFixture(system)
        try:
            for role in (*["scheduler"] * int(size(full=2, short=2, brief=1)), "projector"):
                processes.start(role)
            company_fixture.late(int(size(full=200, short=40, brief=10)), 10)
            database.trust_clocks("DEFAULT")
            settle(database, LIMIT_S)
            began = oracle.clock(log)
            moments = jumps * int(size(full=20, short=20, brief=5))
            ahead = [began + timedelta(seconds=1 + chance.uniform(0, jumps * pause_s)) for _ in range(moments)]
            company_fixture.once(ahead)
            for number in range(jumps):
                _set_offset(offset, JUMPS[number % len(JUMPS)])
                time.sleep(pause_s)
                progress(f"{number + 1} jumps, {oracle.runs(log):,} runs")
            wait_for(lambda: oracle.clock(log) > max(ahead), LIMIT_S)
            verdict = oracle.judge(log, until=settle(database, LIMIT_S), began=began)
            broken = [f"an occurrence was {verdict.worst_s:.1f} s late"] * (verdict.worst_s > late_s)
            broken += ["a process ended"] * any(process.poll() is not None for process in processes.running)
            return [Outcome("clock", verdict, f"{jumps} jumps", broken)]
        finally:
            processes.end()


def find_library() -> Path | None:
    if library_path := os.environ.get("LIBFAKETIME"):
        return Path(library_path)
    return next((library for pattern in LIBRARIES for library in Path("/").glob(pattern[1:])), None)


def _set_offset(offset: Path, seconds: int) -> None:
    """Write the offset in one step, so that readers never find half a number."""
    fresh = offset.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}")
    fresh.rename(offset)
