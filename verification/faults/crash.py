"""Postgres itself crashes (what `pg_ctl stop -m immediate` does) under load, again and again, and recovers."""

import os
import random
import signal
import time
from contextlib import suppress
from functools import partial

import psycopg
from eventsourcing.persistence import PersistenceError

from verification.faults import oracle
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.environment import Database, Environment, wait_for
from verification.faults.kill import MINUTES, answers, finish, running_system
from verification.faults.load import CompanyFixture

BACK_S = 5.0  # after which something is recorded again, once the database is back


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    crashes = int(size(full=200, short=6, brief=2))
    progress, broken, back_s = Progress("crash"), list[str](), [0.0]
    longest_s = size(full=BACK_S, short=BACK_S, brief=environment.limit_s)
    with environment.database() as database, running_system(environment, database, chance) as system:
        for role in ("scheduler", "web", "projector"):
            system.start(role)
        with noting_standstill(broken):
            wait_for(lambda: answers(system.port), environment.limit_s)
            for number in range(crashes):
                wait_for(lambda: _arm_schedules(system.company_fixture), environment.limit_s)
                goal = _read_head(database) + chance.randint(1, 100)
                wait_for(partial(_has_reached, database, goal), environment.limit_s)
                time.sleep(chance.uniform(0, 0.05))
                head_before, head_after = _crash_postgres(environment, database)
                began = time.monotonic()
                if head_after < head_before:
                    broken.append(f"the head was {head_before} before a crash and {head_after} after it")
                wait_for(partial(_has_reached, database, head_after + 1), environment.limit_s)
                back_s.append(time.monotonic() - began)
                progress(f"{number + 1} crashes, {head_before:,} events, slowest return {max(back_s):.1f} s")
        broken += [f"nothing was recorded for {max(back_s):.1f} s after Postgres was back"] * (max(back_s) > longest_s)
        outcome = finish("crash", f"{crashes} crashes", system, broken)
        outcome.notes.append(f"recorded again after {max(back_s):.1f} s at most")
        return [outcome]


def _arm_schedules(company_fixture: CompanyFixture) -> bool:
    """Arm schedules; return False where that fails, since a crash ends our own connections, too."""
    with suppress(psycopg.Error, PersistenceError):
        return bool(company_fixture.late(10, MINUTES))
    return False


def _crash_postgres(environment: Environment, database: Database) -> tuple[int, int]:
    """Crash Postgres; return the head of the log before, and as soon as Postgres is back."""
    head_before = _read_head(database)
    pid = int((environment.postgres.data / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    wait_for(lambda: not environment.postgres.alive())
    environment.postgres.start()
    return head_before, _read_head(database)


def _has_reached(database: Database, goal: int) -> bool:
    return _read_head(database) >= goal


def _read_head(database: Database) -> int:
    """Read the head through a connection of its own, since the last one may have been cut off."""

    def ask() -> int:
        with suppress(psycopg.OperationalError), database.auditor() as log:
            return 1 + oracle.head(log)
        return 0

    return wait_for(ask) - 1
