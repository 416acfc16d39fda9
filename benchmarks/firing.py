"""Firing: so many schedules due at once, settled by one scheduler."""

import time
from collections.abc import Callable
from functools import partial

import structlog
from ledger import EXPRESSIONS, NOON, arm, fresh_system
from table import in_turns, rows, title

from application.event_store.stream_cache import StreamCache
from application.execute import Executor
from processes.scheduler.prefetch import PREFETCH_WINDOW
from processes.scheduler.scheduler import FOLLOWED, Scheduler
from projections.engine import positions
from routines import bootstrap
from routines.postgres.cluster import LocalPostgres

FIRED_BEFORE = 20


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many, rounds = (500, 2) if quick else (2_000, 3)
    title(
        f"Firing, {many:,} schedules ({EXPRESSIONS} expressions) due at once, each fired {FIRED_BEFORE} times before, one scheduler; "
        "each firing records run, issue and slot: 3 events"
    )
    work: dict[str, Callable[[], float]] = {
        f"batches of {batch}": partial(_rate, postgres, many, batch) for batch in (50, 200, 500)
    }
    work["batches of 200, read ahead"] = lambda: _rate(postgres, many, 200, ahead=True)
    rates = in_turns(rounds, work)
    rows(rates, "firings/s", dict.fromkeys(rates, "batches of 50"))
    rows({f"{name}, events": [3 * rate for rate in rates_of_runs] for name, rates_of_runs in rates.items()}, "events/s")


def _rate(postgres: LocalPostgres, many: int, batch: int, *, ahead: bool = False) -> float:
    with fresh_system(postgres) as system, bootstrap.connect(system.settings) as conn:
        arm(system, many, fired=FIRED_BEFORE)
        executor = Executor(system.store, lambda: NOON - PREFETCH_WINDOW, cache=StreamCache())
        scheduler = Scheduler(executor, system.store.after, batch)
        while positions.advance(conn, FOLLOWED, system.store.after):
            pass
        while ahead and scheduler.pause_s(conn) == 0:
            scheduler.tick(conn)
        executor.clock = lambda: NOON
        with structlog.testing.capture_logs():
            began = time.perf_counter()
            fired = scheduler.tick(conn)
            took_s = time.perf_counter() - began
        assert fired == many
        return fired / took_s
