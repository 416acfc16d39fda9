"""
Schedulers race for the same occurrences; one of them freezes for a while and comes back.

A company that has missed very much keeps them busy at first; what is timed are occurrences of another.
"""

import random
import signal
import time
from datetime import timedelta

from routines import bootstrap
from verification.faults import oracle
from verification.faults.campaign import Outcome, Progress, Size
from verification.faults.environment import Environment, settle, wait_for
from verification.faults.load import CompanyFixture

MINUTES = 20  # how many minutes each schedule has missed
LIMIT_S = 1_800.0
LATE_S = 10.0  # the longest that an occurrence may wait for a scheduler which is frozen


def run(environment: Environment, size: Size, chance: random.Random) -> list[Outcome]:
    racers, schedules = int(size(full=8, short=3)), int(size(full=100_000, short=2_000)) // MINUTES
    frozen_s, freezes = size(full=60.0, short=3.0), int(size(full=5, short=2))
    progress = Progress("race")
    with environment.database() as database, database.auditor() as log, bootstrap.system(database.settings()) as system:
        busy, other = CompanyFixture(system), CompanyFixture(system)
        busy.late(schedules, MINUTES)
        processes = database.processes()
        try:
            running = [processes.start("scheduler") for _ in range(racers)]
            wait_for(lambda: oracle.runs(log), LIMIT_S)
            began = oracle.clock(log)
            for number in range(freezes):
                victim = chance.choice(running)
                time.sleep(chance.uniform(0, 0.3))
                victim.send_signal(signal.SIGSTOP)
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
            return [Outcome("race", verdict, f"{racers} schedulers, {freezes} x {frozen_s:g} s frozen", broken)]
        finally:
            processes.end()
