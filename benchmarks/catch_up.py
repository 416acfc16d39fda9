"""After a long downtime: what was missed is one fact, found without a walk through it."""

import tracemalloc
from datetime import timedelta
from statistics import median

import structlog
from ledger import NOON, arm_one, fresh_system
from table import number, title

from application.execute import Executor
from domain.events import RunFired, TriggerMissed
from processes.scheduler.scheduler import FOLLOWED, Scheduler
from projections.engine import positions
from routines import bootstrap
from routines.postgres.cluster import LocalPostgres

MINUTE = timedelta(minutes=1)


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    rounds = 3 if quick else 9
    title("Catching up: one every-minute schedule after a downtime, one look of the scheduler settles it")
    for policy in ("skip_missed", "enqueue_missed_with_cap"):
        for missed_count in (1_000, 1_000_000):
            results = [settle(postgres, missed_count, policy) for _ in range(rounds)]
            took, peak = median(ms for ms, _ in results), median(kb for _, kb in results)
            name = f"{policy}, {missed_count:,} missed"
            print(f"  {name:<46} {took:9.1f} ms        {number(peak)} kB allocated at most")


def settle(postgres: LocalPostgres, missed_count: int, policy: str) -> tuple[float, float]:
    """Return the milliseconds, and then the most memory of the same once more."""
    with fresh_system(postgres) as system, bootstrap.connect(system.settings) as conn:
        took_ms, peak_kb = 0.0, 0.0
        for is_traced in (False, True):
            arm_one(system, NOON - missed_count * MINUTE, catch_up_policy=policy, concurrency_policy="always_enqueue")
            while positions.advance(conn, FOLLOWED, system.store.after):
                pass
            scheduler = Scheduler(Executor(system.store, lambda: NOON), system.store.after, 200)
            with structlog.testing.capture_logs():
                if is_traced:
                    tracemalloc.start()
                began = system.clock()
                scheduler.tick(conn)
                if not is_traced:
                    took_ms = (system.clock() - began).total_seconds() * 1_000
                else:
                    peak_kb = tracemalloc.get_traced_memory()[1] / 1_024
                    tracemalloc.stop()
        events = [recorded.event for recorded in system.store.history()]
        settled_count = sum(one.count for one in events if isinstance(one, TriggerMissed))
        settled_count += sum(isinstance(one, RunFired) for one in events)
        assert settled_count == 2 * (missed_count + 1), settled_count
        return took_ms, peak_kb
