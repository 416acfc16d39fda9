"""The projector over a log of firings: all read models together, and each one rebuilt."""

import time
from functools import partial

import structlog
from ledger import NOON, arm, fresh_system
from table import in_turns, rows, title

from application.execute import Executor
from processes.projector import Projector
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from projections.engine import positions
from projections.engine.read_model import ReadModel
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many, rounds = (500, 2) if quick else (2_000, 3)
    with fresh_system(postgres) as system:
        arm(system, many)
        with bootstrap.connect(system.settings) as conn, structlog.testing.capture_logs():
            Scheduler(Executor(system.store, lambda: NOON), system.store.after, 200).tick(conn)
        events = system.store.head()
        title(f"Projecting a log of {events:,} events ({many:,} routines, each fired once)")
        together = f"catch up, all {len(catalogue.ALL)} read models together"
        work = {"read and decode only": lambda: _read(system), together: lambda: _catch_up(system)}
        work |= {f"rebuild {model.name}": partial(_rebuild, system, model) for model in catalogue.ALL}
        rates = in_turns(rounds, work)
        rows(rates, "events/s", dict.fromkeys(rates, "read and decode only"))


def _read(system: System) -> float:
    began = time.perf_counter()
    events = sum(1 for _ in system.store.history(page=positions.BATCH))
    return events / (time.perf_counter() - began)


def _catch_up(system: System) -> float:
    with bootstrap.connect(system.settings) as conn:
        for model in catalogue.ALL:
            for table in model.tables:
                conn.execute(f"TRUNCATE {table.name}")
        conn.execute("UPDATE positions SET position = 0")
        projector = Projector(catalogue.ALL, system.store.after)
        began, events = time.perf_counter(), 0
        while moved := projector.step(conn):
            events += moved
        return events / (time.perf_counter() - began)


def _rebuild(system: System, model: ReadModel) -> float:
    with bootstrap.connect(system.settings) as conn:
        began = time.perf_counter()
        events = positions.rebuild(conn, model, system.store.after)
        return events / (time.perf_counter() - began)
