"""
The same for APScheduler and procrastinate, on the same Postgres, where they offer it: `make bench-peers`.

APScheduler runs jobs of an SQLAlchemy job store in threads of its own process and records no run; procrastinate puts a
periodic task into its queue as a job and works it off. A job of either does nothing here, so that what is measured is
what the scheduler does. Ours records run, issue and slot of each firing.
"""

import asyncio
import threading
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, cast

import burst
import catch_up
import idle
import procrastinate
import psycopg
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from ledger import database
from table import number, title

from routines.postgres.cluster import LocalPostgres

warnings.simplefilter("ignore")
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
LIMIT_S = 300.0
ran: list[tuple[str, datetime]] = []
lock = threading.Lock()
JOBS = """
    SELECT count(*) FROM procrastinate_jobs
    WHERE status::text = ANY(%s) AND (args->>'timestamp')::bigint = %s"""  # a worker that starts queues the time before, too
DEFERRED, DONE = ["todo", "doing", "succeeded"], ["succeeded"]


def note(name: str = "") -> None:
    """Do what a job does: say that it ran, and when."""
    with lock:
        ran.append((name, datetime.now(UTC)))


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many = 500 if quick else 2_000
    title(f"Burst of {many:,} recurring schedules due in the same second, until all are recorded")
    ours = burst.burst(postgres, many)
    _line("Routines, runs and issues recorded", many / ours["all are fired after"], "a second")
    _line("APScheduler 3, jobs run and put off", _apscheduler_burst(postgres, many), "a second")
    deferred, done = asyncio.run(_procrastinate_burst(postgres, many))
    _line("procrastinate, jobs queued", deferred, "a second")
    _line("procrastinate, jobs worked off", done, "a second")

    spaced = 10 if quick else 20
    title(f"Lateness at idle, {spaced} schedules half a second apart")
    _lateness("Routines, planned to recorded", idle.lateness_ms(postgres, spaced))
    _lateness("APScheduler 3, planned to run", _apscheduler_lateness(postgres, spaced))
    _lateness("procrastinate, planned to run", asyncio.run(_procrastinate_lateness(postgres, spaced)))

    title("After a downtime, one every-minute schedule that has missed 100,000 times")
    _line("Routines, one fact with their number", catch_up.settle(postgres, 100_000, "skip_missed")[0], "ms")
    _line("APScheduler 3, coalesced into one run", _apscheduler_catch_up(postgres), "ms")
    print("  procrastinate drops what is more than 10 minutes late, and keeps no record of it")


def _line(name: str, value: float, unit: str) -> None:
    print(f"  {name:<46} {number(value):>9} {unit}")


def _lateness(name: str, ms: list[float]) -> None:
    print(f"  {name:<46} {median(ms):9.1f} ms   [{min(ms):.1f} - {max(ms):.1f}]")


def _next_minute(ahead_s: float) -> datetime:
    return (datetime.now(UTC) + timedelta(seconds=ahead_s)).replace(second=0, microsecond=0) + MINUTE


def _wait(done: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_S
    while not done():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.02)


# APScheduler


def _scheduler(url: str) -> BackgroundScheduler:
    store = SQLAlchemyJobStore(url=url.replace("postgresql://", "postgresql+psycopg://"))
    scheduler = BackgroundScheduler(
        jobstores={"default": store}, job_defaults={"misfire_grace_time": None, "coalesce": True}, timezone=UTC
    )
    scheduler.start(paused=True)
    ran.clear()
    return scheduler


def _apscheduler_burst(postgres: LocalPostgres, many: int) -> float:
    with database(postgres) as url:
        scheduler, due = _scheduler(url), _next_minute(many / 200)
        for index in range(many):
            scheduler.add_job("peers:note", "cron", minute="*", args=[str(index)], next_run_time=due)
        scheduler.resume()
        _wait(lambda: len(ran) >= many)
        scheduler.shutdown()
        return many / (ran[many - 1][1] - due).total_seconds()


def _apscheduler_lateness(postgres: LocalPostgres, many: int) -> list[float]:
    with database(postgres) as url:
        scheduler, first = _scheduler(url), datetime.now(UTC) + 3 * SECOND
        planned = {str(index): first + index * SECOND / 2 for index in range(many)}
        for name, moment in planned.items():
            scheduler.add_job("peers:note", "date", run_date=moment, args=[name])
        scheduler.resume()
        _wait(lambda: len(ran) >= many)
        scheduler.shutdown()
        return [(fired_at - planned[name]).total_seconds() * 1_000 for name, fired_at in ran]


def _apscheduler_catch_up(postgres: LocalPostgres) -> float:
    with database(postgres) as url:
        scheduler = _scheduler(url)
        scheduler.add_job("peers:note", "interval", minutes=1, next_run_time=datetime.now(UTC) - 100_000 * MINUTE)
        began = time.perf_counter()
        scheduler.resume()
        _wait(lambda: bool(ran))
        took_ms = (time.perf_counter() - began) * 1_000
        scheduler.shutdown()
        return took_ms


# procrastinate


async def _run_worker(url: str, tasks: Callable[[procrastinate.App], None], use: Callable[[Any], Any]) -> Any:
    """Run a worker of ten jobs at once, while `use` goes on."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
    tasks(app)
    ran.clear()
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        worker = asyncio.create_task(app.run_worker_async(concurrency=10, install_signal_handlers=False))
        try:
            return await use(app)
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)


def _count(conn: psycopg.Connection[Any], states: list[str], due: datetime) -> int:
    row = conn.execute(JOBS, (states, due.timestamp())).fetchone()
    return int(row[0]) if row else 0


async def _procrastinate_burst(postgres: LocalPostgres, many: int) -> tuple[float, float]:
    due = _next_minute(5)

    def tasks(app: procrastinate.App) -> None:
        def one(timestamp: int) -> None:
            pass

        task = app.task(name="note", pass_context=False)(one)
        for index in range(many):
            app.periodic(cron="* * * * *", periodic_id=str(index))(task)

    with database(postgres) as url, psycopg.connect(url, autocommit=True) as conn:

        async def use(_app: procrastinate.App) -> tuple[float, float]:
            took = list[float]()
            for states in (DEFERRED, DONE):
                while _count(conn, states, due) < many:
                    await asyncio.sleep(0.05)
                took.append(many / (datetime.now(UTC) - due).total_seconds())
            return took[0], took[1]

        return cast("tuple[float, float]", await _run_worker(url, tasks, use))


async def _procrastinate_lateness(postgres: LocalPostgres, many: int) -> list[float]:
    def tasks(app: procrastinate.App) -> None:
        app.task(name="note")(note)

    with database(postgres) as url:

        async def use(app: procrastinate.App) -> list[float]:
            first = datetime.now(UTC) + 3 * SECOND
            planned = {str(index): first + index * SECOND / 2 for index in range(many)}
            for name, moment in planned.items():
                await app.configure_task("note", schedule_at=moment).defer_async(name=name)
            while len(ran) < many:
                await asyncio.sleep(0.05)
            return [(fired_at - planned[name]).total_seconds() * 1_000 for name, fired_at in ran]

        return cast("list[float]", await _run_worker(url, tasks, use))
