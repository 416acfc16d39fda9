"""
The tampering campaign: thousands of changes to logs by somebody who may do everything in the database.

    make tamper                                   5,000 changes in a real Postgres, and 200 healthy logs
    make tamper ARGS="--mutations 300 --seed 7"

Each change has to be found at its position: exactly, or, where all later hashes were computed anew, between the two
checkpoints around it. No healthy log may be called bad. Ends with 1 otherwise.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psycopg

from audit_verifier.chain import Report
from routines import bootstrap
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings
from verification.tampering import databases, logs, mutations
from verification.tampering.mutations import Tampered

EVERY = 10  # events between two checkpoints
WIDEST = 4  # positions that a finding may span where hashes were not computed anew


def is_found(report: Report, tampered: Tampered) -> bool:
    """Return whether the verifier names the position of the change, closely enough."""
    widest = EVERY if tampered.is_rehashed else WIDEST
    return any(
        finding.first <= tampered.position <= finding.last
        and (finding.last - finding.first <= widest or finding.kind == "lost tail")
        for finding in report.findings
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=5_000)
    parser.add_argument("--healthy", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    directory = Path(tempfile.mkdtemp(prefix="routines-tampering-"))
    postgres = LocalPostgres(directory, durable=False)
    try:
        postgres.start()
        bootstrap.prepare(Settings(database_url=postgres.url("postgres")))
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as conn:
            return _run_campaign(conn, arguments.mutations, arguments.healthy, random.Random(arguments.seed))
    finally:
        postgres.stop()
        shutil.rmtree((directory / "postgres").resolve())
        shutil.rmtree(directory)


def _run_campaign(conn: databases.Connection, many: int, healthy: int, chance: random.Random) -> int:
    began = time.monotonic()
    false_alarms, misses, hits = 0, Counter[str](), Counter[str]()
    for _ in range(healthy):
        log = logs.random_log(chance, chance.randrange(200), old=chance.choice((0, 0, 7)))
        with databases.hold_log(conn, log):
            false_alarms += bool(databases.verify(conn, logs.sign_checkpoints(log, EVERY)).findings)
    while hits.total() + misses.total() < many:
        log = logs.random_log(chance, chance.randrange(20, 100), old=chance.choice((0, 0, 5)))
        anchors = logs.sign_checkpoints(log, EVERY)
        for way in mutations.WAYS:
            tampered = way(chance, log)
            if tampered.file_only:
                report = logs.verify(logs.export_log(tampered.log), anchors)
            else:
                with databases.hold_log(conn, tampered.log):
                    report = databases.verify(conn, anchors)
            (hits if is_found(report, tampered) else misses)[tampered.kind] += 1
    for kind in sorted(hits | misses):
        print(f"{kind:45} {hits[kind]:5} found {misses[kind]:5} missed")
    seconds = time.monotonic() - began
    print(
        f"{hits.total()} changes found, {misses.total()} missed; {false_alarms} false alarms over {healthy} healthy logs"
    )
    print(f"{seconds:.0f} s")
    return int(bool(misses or false_alarms))


if __name__ == "__main__":
    sys.exit(main())
