"""Fairness: how long a company waits whose schedules come due together with very many of another."""

from statistics import median

import structlog
from ledger import NOON, arm, fresh_system
from table import rows, title

from application.execute import Executor
from domain.events import RunFired
from processes.scheduler.scheduler import FOLLOWED, Scheduler
from projections.engine import positions
from routines import bootstrap
from routines.postgres.cluster import LocalPostgres


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many, few = (5_000, 10) if quick else (50_000, 10)
    title(
        f"Fairness: a company with {few} schedules due, beside one with {many:,} due at the same moment; one scheduler"
    )
    with fresh_system(postgres) as system, bootstrap.connect(system.settings) as conn:
        arm(system, many)
        small = arm(system, few)
        while positions.advance(conn, FOLLOWED, system.store.after):
            pass
        offset = NOON - system.clock()
        scheduler = Scheduler(Executor(system.store, lambda: system.clock() + offset), system.store.after, 200)
        fired = 0
        with structlog.testing.capture_logs():
            while fired < many + few:
                fired += scheduler.tick(conn)
        late: dict[bool, list[float]] = {True: [], False: []}
        for recorded in system.store.history():
            if isinstance(recorded.event, RunFired):
                late[recorded.company_id == small].append((recorded.at - NOON).total_seconds())
    for name, waits in ((f"the company with {few}", late[True]), (f"the company with {many:,}", late[False])):
        waits.sort()
        print(f"  {name + ', waits':<46} {median(waits):9.2f} s         [{waits[0]:.2f} - {waits[-1]:.2f}]")
    rows({"both together": [(many + few) / max(late[False])]}, "firings/s")
