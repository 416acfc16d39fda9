"""A burst on the real clock: so many schedules due in one second, one scheduler process, one projector process."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psycopg
from ledger import arm, fresh_system
from table import number, title

from projections import catalogue
from projections.engine import positions
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres
from verification.faults.environment import Processes

MINUTE = timedelta(minutes=1)
AHEAD = timedelta(seconds=15)  # in which the processes come to rest
ARMED_A_SECOND = 200
FIRED_BEFORE = 20
FIRED = """
    SELECT convert_from(body, 'UTF8')::json FROM log.events WHERE name = 'run.fired'"""
HEAD = "SELECT position FROM log.head"
EVENTS = 3  # of one firing


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many, rounds = (2_000, 1) if quick else (10_000, 3)
    title(
        f"Burst, {many:,} schedules due in the same second, each of which has fired {FIRED_BEFORE} times before; "
        "each firing records run, issue and slot: 3 events, flushed"
    )
    bursts = [burst(postgres, many) for _ in range(rounds)]
    for name, unit in (
        ("all are fired after", "s"),
        ("so many in a second", "firings/s"),
        ("all read models show them after", "s"),
        ("lateness, median", "s"),
        ("lateness, p99", "s"),
        ("scheduler, most memory (RSS)", "MB"),
        ("scheduler, memory when idle", "MB"),
    ):
        values = [one[name] for one in bursts]
        times = [
            f"{value:,.2f}" if unit == "s" else number(value) for value in (median(values), min(values), max(values))
        ]
        print(f"  {name:<46} {times[0]:>9} {unit:<9} [{times[1]} - {times[2]}]")


def burst(postgres: LocalPostgres, many: int) -> dict[str, float]:
    """Return what one of them was like, by name."""
    with fresh_system(postgres) as system, TemporaryDirectory() as logs:
        due_at = datetime.now(UTC) + timedelta(seconds=many / ARMED_A_SECOND)
        due = (due_at + AHEAD).replace(second=0, microsecond=0) + MINUTE
        arm(system, many, due, FIRED_BEFORE)
        processes = Processes(system.settings.database_url, Path(logs), {"ROUTINES_BATCH": str(system.settings.batch)})
        try:
            scheduler = processes.start("scheduler")
            processes.start("projector")
            _time_catching_up(system)
            time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds() - 0.5))
            idle = _memory_mb(scheduler.pid, "VmRSS")
            fired_s = _time_firing(system, system.store.head() + EVENTS * many, due)
            shown_s = _time_catching_up(system, due)
            return {
                "all are fired after": fired_s,
                "so many in a second": many / fired_s,
                "all read models show them after": shown_s,
                "scheduler, most memory (RSS)": _memory_mb(scheduler.pid, "VmHWM"),
                "scheduler, memory when idle": idle,
                **_lateness(system, due),
            }
        finally:
            processes.end()


def _time_firing(system: System, head: int, due: datetime) -> float:
    """Return the seconds until they are all committed, as another client sees it."""
    with psycopg.connect(system.settings.database_url, autocommit=True) as conn:
        while (row := conn.execute(HEAD).fetchone()) is None or row[0] < head:
            time.sleep(0.02)
        return (datetime.now(UTC) - due).total_seconds()


def _time_catching_up(system: System, since: datetime | None = None) -> float:
    """Return the seconds until every read model is at the head of the log."""
    names = tuple(model.name for model in catalogue.ALL)
    with bootstrap.connect(system.settings) as conn:
        while positions.gap(conn, names)[1]:
            time.sleep(0.02)
    return (datetime.now(UTC) - since).total_seconds() if since else 0.0


def _lateness(system: System, due: datetime) -> dict[str, float]:
    """Return the seconds from the moment that was planned to the one that the event bears, in the median and the 99th percentile."""
    with psycopg.connect(system.settings.database_url) as conn:
        moments = (datetime.fromisoformat(body["at"]) for (body,) in conn.execute(FIRED))
        late = sorted((fired_at - due).total_seconds() for fired_at in moments)
    return {"lateness, median": median(late), "lateness, p99": late[int(len(late) * 0.99)]}


def _memory_mb(pid: int, process_name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1_024 for line in lines if line.startswith(process_name))
