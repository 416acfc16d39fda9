"""What analysts do with the log: take it out, rebuild from it, run a projection of their own, replay it with other settings."""

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Event as Stop
from uuid import UUID

import psycopg
import structlog
from ledger import NOON, arm, fresh_system
from table import in_turns, rows, title

from application.execute import Executor
from domain.events import RoutineCreated, RunFired, SlotFreed, SlotTaken, TriggerCreated
from domain.identity import issue_of_run, run_of_occurrence, slot_of
from domain.recorded import Recorded
from domain.values import LiveWork, Opened, RoutineSettings, TriggerSettings
from domain.what_if.change import UNCHANGED, Change
from domain.what_if.past import past_of
from domain.what_if.replay import replay
from processes import own_projection
from processes.projector import Projector
from processes.scheduler.scheduler import Scheduler
from projections import catalogue, exports, log_views
from projections.engine import installed, rebuilds, verification
from projections.engine import own_projection as own
from projections.engine.read_model import ReadModel
from projections.exports import EVENTS, VIEWS, Selection
from projections.firing.run_history import run_history
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres

COPY = "COPY log.events TO STDOUT"
MINUTE = timedelta(minutes=1)
FIRINGS = 10_000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many, rounds = (2_000, 2) if quick else (20_000, 3)
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from examples.success_rate import success_rate  # noqa: PLC0415 the programs of analysts are no package

    with fresh_system(postgres) as system:
        arm(system, many)
        with bootstrap.connect(system.settings) as conn, structlog.testing.capture_logs():
            scheduler = Scheduler(Executor(system.store, lambda: NOON), system.store.after, 200)
            while scheduler.tick(conn):
                pass
            projector = Projector(catalogue.ALL, system.store.after)
            while projector.step(conn):
                pass
            installed.define_views(conn, catalogue.ALL, log_views.OF_LOG)
        events = system.store.head()
        title(f"Analysts: a log of {events:,} events")
        work = {"COPY log.events TO STDOUT": partial(_copy, system, events)}
        work |= {f"export --format {name}": partial(_export, system, name, events) for name in formats()}
        work["a projection of one's own"] = partial(_own_projection, system, success_rate, events)
        work["rebuild run_history"] = partial(_rebuild, system, events)
        work["verify run_history"] = partial(_verify, system, events)
        rates = in_turns(rounds, work)
        rows(rates, "events/s", dict.fromkeys(rates, "COPY log.events TO STDOUT"))
    title(f"What if: the past of a routine with {FIRINGS:,} firings")
    past = past_of(minutely(FIRINGS))
    changes = {
        "unchanged": UNCHANGED,
        "skip_if_active": Change(concurrency_policy="skip_if_active"),
        "another cron": Change(cron_expression="1-59/2 * * * *"),
    }
    end = BEGIN + (FIRINGS + 1) * MINUTE

    def replayed(change: Change) -> float:
        began = time.perf_counter()
        replay(past, change, BEGIN, end, 10 * FIRINGS)
        return FIRINGS / (time.perf_counter() - began)

    rows(in_turns(rounds, {name: partial(replayed, change) for name, change in changes.items()}), "firings/s")


def formats() -> list[str]:
    return ["ndjson", "csv", *(["parquet"] if find_spec("pyarrow") else [])]


def _copy(system: System, events: int) -> float:
    began = time.perf_counter()
    with psycopg.connect(system.settings.database_url) as conn, conn.cursor() as cursor, cursor.copy(COPY) as copy:
        for _ in copy:
            pass
    return events / (time.perf_counter() - began)


def _export(system: System, name: str, events: int) -> float:
    selected = exports.query(VIEWS[EVENTS], Selection(), (0, events))
    with bootstrap.connect_as_login(system.settings) as conn, tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        if name == "parquet":
            from projections import parquet  # noqa: PLC0415 an optional dependency

            parquet.write(conn, VIEWS[EVENTS], file, Selection(), (0, events))
        else:
            file.writelines(exports.Text(conn, selected, "csv" if name == "csv" else "ndjson"))
        return events / (time.perf_counter() - began)


def _own_projection(system: System, model: ReadModel, events: int) -> float:
    with bootstrap.connect_own_projection(system.settings) as conn:
        own.forget(conn, model)
        began = time.perf_counter()
        own_projection.catch_up(conn, model, Stop())
        return events / (time.perf_counter() - began)


def _rebuild(system: System, events: int) -> float:
    with bootstrap.connect(system.settings) as conn:
        began = time.perf_counter()
        rebuilds.rebuild(conn, run_history, system.store.after)
        return events / (time.perf_counter() - began)


def _verify(system: System, events: int) -> float:
    with bootstrap.connect(system.settings) as conn:
        began = time.perf_counter()
        assert verification.verify(conn, run_history, system.store.after) == []
        return events / (time.perf_counter() - began)


def minutely(firings: int) -> list[Recorded]:
    """Make the past of a routine that runs each minute, and whose work takes 90 seconds."""
    routine, trigger, agent = (UUID(int=number) for number in (1, 2, 3))
    log: list[Recorded] = []

    def record(stream_id: UUID, moment: datetime, event: object) -> None:
        log.append(
            Recorded(
                stream_id=stream_id,
                version=1,
                at=moment,
                actor="scheduler",
                company_id=UUID(int=4),
                event=event,  # type: ignore[arg-type]
                position=len(log) + 1,
            )
        )

    settings = RoutineSettings(title="x", assignee_agent_id=agent, concurrency_policy="always_enqueue")
    record(routine, BEGIN - MINUTE, RoutineCreated(settings=settings))
    schedule = TriggerSettings(cron_expression="* * * * *", timezone="UTC")
    record(
        trigger,
        BEGIN - MINUTE,
        TriggerCreated(routine_id=routine, kind="schedule", settings=schedule, next_at=BEGIN + MINUTE),
    )
    ends: list[tuple[datetime, UUID]] = []
    for number in range(1, firings + 1):
        moment = BEGIN + number * MINUTE
        while ends and ends[0][0] <= moment:
            end, issue_id = ends.pop(0)
            record(slot_of(routine), end, SlotFreed(routine_id=routine, issue_id=issue_id))
        run_id = run_of_occurrence(trigger, moment)
        live = LiveWork(issue_id=issue_of_run(run_id), run_id=run_id)
        firing = RunFired(
            routine_id=routine,
            revision=1,
            source="schedule",
            outcome=Opened(issue_id=live.issue_id),
            trigger_id=trigger,
            occurrence=moment,
            next_at=moment + MINUTE,
        )
        record(run_id, moment, firing)
        record(slot_of(routine), moment, SlotTaken(routine_id=routine, live=live))
        ends.append((moment + timedelta(seconds=90), live.issue_id))
    return log
