"""
Schedulers race for the same occurrences; one of them freezes for a while and comes back.

A company that has missed very much keeps them busy at first; what is timed are occurrences of another. Each is frozen in the
midst of a transaction that holds up the others, if that succeeds within some seconds.
"""

import random
import signal
import time
from datetime import timedelta
from typing import Any

import psycopg

from routines import bootstrap
from verification.faults import oracle
from verification.faults.campaign import CampaignSize, Outcome, Progress
from verification.faults.environment import Environment, Process, settle, wait_for
from verification.faults.load import CompanyFixture

MINUTES = 20  # how many minutes each schedule has missed
LIMIT_S = 1_800.0
LATE_S = 10.0  # the longest that an occurrence may wait for a scheduler which is frozen
AIM_S = 10.0  # the longest time until one is frozen in the midst of a transaction
STILL_S = 0.2  # a client that Postgres waits for, and that has sent nothing for so long, is most likely the frozen one
SOON = timedelta(seconds=0.5)
HOLDING = """
    SELECT pid, state_change FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Client' AND backend_xid IS NOT NULL"""


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    racers, schedules = int(size(full=8, short=3)), int(size(full=100_000, short=2_000)) // MINUTES
    frozen_s, freezes = size(full=60.0, short=10.0), int(size(full=5, short=2))
    progress = Progress("race")
    with (
        environment.database() as database,
        database.auditor() as log,
        database.superuser() as admin,
        bootstrap.system(database.settings()) as system,
    ):
        busy, other = CompanyFixture(system), CompanyFixture(system)
        busy.late(schedules, MINUTES)
        processes = database.processes()
        try:
            running = [processes.start("scheduler") for _ in range(racers)]
            wait_for(lambda: oracle.runs(log), LIMIT_S)
            began = oracle.clock(log)
            for number in range(freezes):
                victim = chance.choice(running)
                end = time.monotonic() + AIM_S
                while not freeze(victim, admin, chance) and time.monotonic() < end:
                    victim.send_signal(signal.SIGCONT)
                    other.once([oracle.clock(log) + SOON] * 5)  # which all fold, also when there is nothing else to do
                now = oracle.clock(log)
                other.once([now + timedelta(seconds=chance.uniform(0.5, frozen_s)) for _ in range(200)])
                end = time.monotonic() + frozen_s
                while time.monotonic() < end:
                    time.sleep(0.2)
                    progress(f"freeze {number + 1} of {freezes}, {oracle.runs(log):,} runs")
                victim.send_signal(signal.SIGCONT)
            settle(database, LIMIT_S)
            time.sleep(2)  # time for the scheduler that came back to act on what it had read before
            verdict = oracle.judge(log, until=settle(database, LIMIT_S), began=began)
            broken = [f"an occurrence waited {verdict.worst_s:.1f} s"] * (verdict.worst_s > LATE_S)
            broken += ["a scheduler ended"] * any(process.poll() is not None for process in running)
            ended = (database.directory / "scheduler.log").read_text().count("silent_session_ended")
            notes = [f"{ended} sessions were ended, which held up others while their scheduler was frozen"]
            faults = f"{racers} schedulers, {freezes} x {frozen_s:g} s frozen"
            return [Outcome("race", verdict, faults, broken, notes=notes)]
        finally:
            processes.end()


def freeze(victim: Process, admin: psycopg.Connection[Any], chance: random.Random) -> bool:
    """Freeze a process at some moment; say whether Postgres waits for it in a transaction that has changed something."""
    time.sleep(chance.uniform(0, 0.03))
    victim.send_signal(signal.SIGSTOP)
    before = admin.execute(HOLDING).fetchall()
    time.sleep(STILL_S)
    return bool(set(before) & set(admin.execute(HOLDING).fetchall()))
