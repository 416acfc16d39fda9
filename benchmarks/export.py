"""
`routines export` of a long log: the most memory of its process, its rate, and what the next export into the directory takes.

The log begins with real events of firings and doubles by SQL, under other ids and at later positions: who reads it finds no
difference to one that was appended. 10,000,000 events take some 30 GB of disk for a while, with their files.
"""

import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import psycopg
import structlog
from ledger import NOON, arm, fresh_system
from table import title

from application.execute import Executor
from processes.scheduler.scheduler import Scheduler
from projections import catalogue, log_views
from projections.engine import installed
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres

GOAL_MB = 300
DOUBLE = """
    INSERT INTO log.events (position, stream_id, version, name, body, recorded_at, hash, recorded_by)
    SELECT position + head, md5(stream_id::text || head)::uuid, version, name, body,
        last + position * interval '1 millisecond', hash, recorded_by
    FROM log.events, (SELECT max(position) AS head, max(recorded_at) AS last FROM log.events) ended
    WHERE position <= %s - head"""
HEAD = "UPDATE log.head SET position = (SELECT max(position) FROM log.events)"


class Export(NamedTuple):
    """What one export has taken."""

    seconds: float
    cpu_s: float
    memory_mb: float
    mib: float


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many = 300_000 if quick else 10_000_000
    with fresh_system(postgres) as system:
        _fill(postgres, system, many)
        title(f"Export of {many:,} events; the goal is less than {GOAL_MB} MB of memory")
        for name in ["ndjson", "csv", *(["parquet"] if find_spec("pyarrow") else [])]:
            with tempfile.TemporaryDirectory(prefix="routines-export-") as directory:
                first, again = (_export(system, name, Path(directory) / "out") for _ in range(2))
            mark = "" if first.memory_mb < GOAL_MB else "   above the goal"
            print(
                f"  {name:<10} {many / first.seconds:>9,.0f} events/s ({first.cpu_s / many * 1e6:.0f} us of processor each), "
                f"{first.mib:,.0f} MiB of files, at most {first.memory_mb:.0f} MB of memory; once more {again.seconds:.1f} s{mark}"
            )


def _fill(postgres: LocalPostgres, system: System, many: int) -> None:
    arm(system, 2_000)
    with bootstrap.connect(system.settings) as conn, structlog.testing.capture_logs():
        Scheduler(Executor(system.store, lambda: NOON), system.store.after, 200).tick(conn)
        installed.define_views(conn, catalogue.ALL, log_views.OF_LOG)
    name = system.settings.database_url.partition("@/")[2].partition("?")[0]
    with psycopg.connect(postgres.url("postgres", name), autocommit=True) as owner:
        while owner.execute(DOUBLE, (many,)).rowcount:
            pass
        owner.execute(HEAD)
        owner.execute("VACUUM ANALYZE log.events")


def _export(system: System, name: str, output: Path) -> Export:
    command = ["export", "--format", name, "--view", "events", "--json", "--output", str(output)]
    env = {**os.environ, "ROUTINES_DATABASE_URL": system.settings.database_url}
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "routines", *command], env=env, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    assert status == 0, name
    return Export(
        seconds,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss * 1024 / 1e6,
        sum(file.stat().st_size for file in output.iterdir()) / 2**20,
    )
