"""How much memory `routines export` takes for a long log: the real command, as a process of its own, in every format."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import structlog
from analytics import formats
from as_of import owner_url
from ledger import NOON, arm, fresh_system
from table import title

from application.execute import Executor
from processes.scheduler.scheduler import Scheduler
from projections import catalogue, log_views
from projections.engine import installed
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres

ROUTINES = 2_000
AT_ONCE = 20  # copies in a transaction, which may last a minute
# Events once more, in other streams, at later positions. What is sealed stays so: an export does not open it.
COPIES = """
    INSERT INTO log.events SELECT position + n * %(head)s, md5(stream_id::text || n)::uuid, version, name, body,
        recorded_at + n * interval '1 second', hash, recorded_by
    FROM log.events, generate_series(%(first)s::int, %(last)s) n WHERE position <= %(head)s"""


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many = 300_000 if quick else 10_000_000
    with fresh_system(postgres) as system:
        _fill(postgres, system, many)
        title(f"Memory of `routines export`, a log of {system.store.head():,} events")
        for name in formats():
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as directory:
                memory_mb = _export(system, name, directory)
                size_mb = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file()) / 1e6
            rate = system.store.head() / (time.perf_counter() - began)
            print(
                f"  {name:<8} most memory (RSS) {memory_mb:4.0f} MB   {rate:>8,.0f} events/s   {size_mb:>7,.0f} MB of files"
            )


def _fill(postgres: LocalPostgres, system: System, many: int) -> None:
    arm(system, ROUTINES)
    with bootstrap.connect(system.settings) as conn, structlog.testing.capture_logs():
        scheduler = Scheduler(Executor(system.store, lambda: NOON), system.store.after, 200)
        while scheduler.tick(conn):
            pass
        installed.define_views(conn, catalogue.ALL, log_views.OF_LOG)
    head = system.store.head()
    copies = many // head
    with psycopg.connect(owner_url(postgres, system), autocommit=True) as owner:
        for first in range(1, copies + 1, AT_ONCE):
            owner.execute(COPIES, {"head": head, "first": first, "last": min(first + AT_ONCE - 1, copies)})
        owner.execute("UPDATE log.head SET position = %s", ((copies + 1) * head,))
        owner.execute("VACUUM ANALYZE log.events")


def _export(system: System, name: str, directory: str) -> float:
    """Run the command, and return the most memory that it had, in MB."""
    command = [
        sys.executable,
        "-m",
        "routines",
        "export",
        "--json",
        "--view",
        "events",
        "--format",
        name,
        "--output",
        directory,
    ]
    env = {**os.environ, "ROUTINES_DATABASE_URL": system.settings.database_url}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"`routines export --format {name}` ended with {process.returncode}")
    return usage.ru_maxrss / 1_024
