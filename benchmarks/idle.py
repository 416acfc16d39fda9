"""What enabled schedules cost while none is due, and how late one is that comes due alone."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psycopg
from ledger import NOON, arm_once, fresh_system
from table import in_turns, number, title

from application.execute import Executor
from processes.scheduler.scheduler import Scheduler
from projections.engine import positions
from projections.firing import triggers_due
from routines import bootstrap
from routines.postgres.cluster import LocalPostgres
from verification.faults.environment import Processes

FILL = """
    INSERT INTO schedule (id, routine_id, company_id, trigger_version, next_at, due_at, rests, enabled, routine_active,
        gated)
    SELECT gen_random_uuid(), gen_random_uuid(), '00000000-0000-4000-8000-000000000001', 1, at, at, false, true, true, false
    FROM (SELECT %(noon)s::timestamptz + interval '1 hour' + random() * interval '30 days' AS at
          FROM generate_series(1, %(many)s)) moments"""
FIRED = """
    SELECT convert_from(body, 'UTF8')::json FROM log.events WHERE name = 'run.fired'"""


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    few, many, looks = (1_000, 100_000, 100) if quick else (1_000, 1_000_000, 300)
    title("Idle: one look of the scheduler (what is due now, when is the next) while nothing is due")
    with fresh_system(postgres) as small, fresh_system(postgres) as large:
        places = {f"{few:,} enabled schedules": (small, few), f"{many:,} enabled schedules": (large, many)}
        for system, rows in places.values():
            _fill(system, rows)
        took = in_turns(3, {name: partial(_look_us, system, looks) for name, (system, _) in places.items()})
        for name, times in took.items():
            print(f"  {name:<46} {number(median(times)):>9} us        [{number(min(times))} - {number(max(times))}]")
        print(f"  the plan, of {many:,}:")
        print("\n".join(f"    {line}" for line in _plan(large)))
    alone = 10 if quick else 40
    title(f"Lateness at idle: {alone} schedules half a second apart, one scheduler process that sleeps in between")
    late = lateness_ms(postgres, alone)
    print(f"  {'from planned to decided':<46} {median(late):9.1f} ms        [{late[0]:.1f} - {late[-1]:.1f}]")


def _fill(system: bootstrap.System, many: int) -> None:
    """Write straight into the read model that the scheduler asks: 1,000,000 through the log take many minutes."""
    with bootstrap.connect(system.settings) as conn:
        while positions.advance(conn, [triggers_due.triggers_due], system.store.after):
            pass
        conn.execute(FILL, {"noon": NOON, "many": many})
    with psycopg.connect(
        system.settings.database_url.replace("routines_service@", "postgres@"), autocommit=True
    ) as admin:
        admin.execute("VACUUM ANALYZE read_models.schedule")


def _look_us(system: bootstrap.System, looks: int) -> float:
    scheduler = Scheduler(Executor(system.store, lambda: NOON), system.store.after, 200)
    with bootstrap.connect(system.settings) as conn:
        scheduler.tick(conn)
        began = time.perf_counter()
        for _ in range(looks):
            assert scheduler.tick(conn) == 0
            assert scheduler.pause_s(conn) > 0
        return (time.perf_counter() - began) / looks * 1_000_000


def _plan(system: bootstrap.System) -> list[str]:
    with bootstrap.connect(system.settings) as conn:
        explain = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS) "
        due = conn.execute(explain + triggers_due.DUE, (triggers_due.BEGINNING, NOON, 100_000)).fetchall()
        following = conn.execute(explain + triggers_due.NEXT, (NOON,)).fetchall()
        return [line for (line,) in [*due, *following] if not line.startswith(("Planning", "Execution"))]


def lateness_ms(postgres: LocalPostgres, many: int) -> list[float]:
    """Return how late one-shot schedules fire that are half a second apart, so that each finds a scheduler that sleeps; ascending."""
    with fresh_system(postgres) as system, TemporaryDirectory() as logs:
        first = datetime.now(UTC) + timedelta(seconds=8)
        arm_once(system, [first + number * timedelta(seconds=0.5) for number in range(many)])
        processes = Processes(system.settings.database_url, Path(logs))
        try:
            processes.start("scheduler")
            time.sleep((first - datetime.now(UTC)).total_seconds() + many * 0.5 + 1)
        finally:
            processes.end()
        with psycopg.connect(system.settings.database_url) as conn:
            fired = [body for (body,) in conn.execute(FIRED)]
    assert len(fired) == many
    return sorted(
        (datetime.fromisoformat(one["at"]) - datetime.fromisoformat(one["event"]["occurrence"])).total_seconds() * 1_000
        for one in fired
    )
