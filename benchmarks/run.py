"""
What the service does in a second on this machine, beside what Postgres does without it.

    make bench                     about half an hour
    make bench ARGS=--quick        about one minute
    make bench ARGS="firing http"  some of: append, firing, burst, idle, catch_up, fairness, projecting, http, mixed, lists, disk,
                                    proof, feed, analytics, board, as_of, paths, cold, and, only if named, export_memory
                                   http, mixed and lists need wrk: apt-get install wrk
    make bench-peers               burst, lateness and catching up beside APScheduler and procrastinate

Postgres is the embedded one with its defaults: every commit is flushed (fsync on). Lines of one table take turns,
round by round; a line is the median of its rounds [lowest - highest]. Nothing is left behind.
"""

import argparse
import os
import platform
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import analytics
import append
import as_of
import board
import burst
import call_paths
import catch_up
import cold
import disk
import export_memory
import fairness
import feed
import firing
import idle
import lists
import mixed
import projecting
import proof
import psycopg
import requests_per_second
from psycopg.sql import SQL, Identifier

from routines.postgres.cluster import LocalPostgres
from routines.prerequisites import SEVERAL
from routines.roles import OWNER

PARTS = {
    "append": append.run,
    "firing": firing.run,
    "burst": burst.run,
    "idle": idle.run,
    "catch_up": catch_up.run,
    "fairness": fairness.run,
    "projecting": projecting.run,
    "http": requests_per_second.run,
    "lists": lists.run,
    "mixed": mixed.run,
    "disk": disk.run,
    "proof": proof.run,
    "feed": feed.run,
    "analytics": analytics.run,
    "board": board.run,
    "export_memory": export_memory.run,
    "as_of": as_of.run,
    "paths": call_paths.run,
    "cold": cold.run,
}

ONLY_IF_NAMED = {"export_memory"}  # a quarter of an hour for one number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    arguments = parser.parse_args()
    if arguments.parts == ["peers"]:
        import peers  # noqa: PLC0415 what they need is installed for this alone

        PARTS["peers"] = peers.run
    if unknown := set(arguments.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    directory = Path(tempfile.mkdtemp(prefix="routines-bench-"))
    postgres = LocalPostgres(directory)
    try:
        postgres.start()
        _allow_several_systems(postgres)
        print(machine(postgres))
        for name in arguments.parts or (name for name in PARTS if name not in ONLY_IF_NAMED):
            PARTS[name](postgres, quick=arguments.quick)
    finally:
        postgres.stop()
        shutil.rmtree((directory / "postgres").resolve())
        shutil.rmtree(directory)


def _allow_several_systems(postgres: LocalPostgres) -> None:
    """Let two systems that are compared have a database each on this server, as a superuser may."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as conn:
        conn.execute(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(OWNER)))
        conn.execute(SQL("ALTER ROLE {} SET {} = 'on'").format(Identifier(OWNER), SQL(SEVERAL)))


def machine(postgres: LocalPostgres) -> str:
    with psycopg.connect(postgres.url("postgres")) as conn:
        row = conn.execute("SELECT current_setting('server_version'), current_setting('fsync')").fetchone()
    version, fsync = row or ("?", "?")
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores ({platform.machine()}), load {load:.1f} before, "
        f"Python {platform.python_version()}, Postgres {version}, fsync {fsync}"
    )


if __name__ == "__main__":
    main()
