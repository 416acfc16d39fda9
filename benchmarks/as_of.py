"""How long an answer as of a moment takes, by the length of the log, beside the same answer of now."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from statistics import quantiles
from typing import LiteralString
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import psycopg
from ledger import NOON, arm, fresh_system
from requests_per_second import web
from table import title

from domain.events import (
    AnyEvent,
    IssueMoved,
    IssueOpened,
    RoutineCreated,
    RoutineTriggerAdded,
    RoutineUpdated,
    RunCompleted,
    RunFired,
    TriggerCreated,
)
from domain.recorded import Recorded
from domain.values import IssueDetails, Opened, RoutineSettings, TriggerSettings
from projections import catalogue
from projections.audit import as_of, feed
from projections.engine import rebuilds
from projections.engine.table import Connection
from projections.responses import time as shown
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres

EVENTS_OF_EACH = 100  # routine
EDITED_EVERY = 5  # firings of a routine, from one edit to the next
AT_ONCE = 2_000  # events of an append
HOUR = timedelta(hours=1)
TIMES = "SELECT recorded_at FROM log.events WHERE position > 50 AND mod(position, %s) = 0"


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    sizes, requests = ([10_000], 40) if quick else ([10_000, 100_000, 1_000_000], 100)
    for events in sizes:
        with fresh_system(postgres) as system:
            company, token = arm(system, 1), bootstrap.first_board_token(system.settings)
            _live(system, company, events)
            with bootstrap.connect(system.settings) as conn:
                for model in catalogue.ALL:
                    if model.name in {*as_of.NAMES, *feed.NAMED_BY}:
                        rebuilds.rebuild(conn, model, system.store.after)
            with psycopg.connect(owner_url(postgres, system), autocommit=True) as owner:
                owner.execute("VACUUM ANALYZE")
            title(
                f"As of a random moment, over HTTP, one request after the other: a log of {system.store.head():,} events, "
                f"one company with {events // EVENTS_OF_EACH:,} routines"
            )
            _measure(system, company, requests, token)


def owner_url(postgres: LocalPostgres, system: System) -> str:
    return postgres.url("postgres", system.settings.database_url.partition("@/")[2].partition("?")[0])


def _live(system: System, company: UUID, events: int) -> None:
    """Let many routines fire again and again; their work gets done, and they are edited now and then."""
    settings = next(one.event.settings for one in system.store.history() if isinstance(one.event, RoutineCreated))
    versions = Counter[UUID]()
    batch: list[Recorded] = []
    for moment, stream_id, event in _happenings(settings, events - system.store.head()):
        versions[stream_id] += 1
        batch.append(
            Recorded(
                stream_id=stream_id,
                version=versions[stream_id],
                at=moment,
                actor="scheduler",
                company_id=company,
                event=event,
            )
        )
        if len(batch) == AT_ONCE:
            system.store.append(batch)
            batch = []
    system.store.append(batch)


def _happenings(settings: RoutineSettings, many: int) -> Iterator[tuple[datetime, UUID, AnyEvent]]:
    triggers = {uuid4(): uuid4() for _ in range(many // EVENTS_OF_EACH)}
    left = many - 3 * len(triggers)
    schedule = TriggerSettings(cron_expression="0 * * * *", timezone="UTC")
    for routine_id, trigger_id in triggers.items():
        yield NOON, routine_id, RoutineCreated(settings=settings)
        yield NOON, trigger_id, TriggerCreated(routine_id=routine_id, kind="schedule", settings=schedule, next_at=NOON)
        yield NOON, routine_id, RoutineTriggerAdded(trigger_id=trigger_id, kind="schedule")
    for number in range(many):
        moment = NOON + number * HOUR
        for routine_id, trigger_id in triggers.items():
            if left <= 0:
                return
            run_id, issue_id = uuid4(), uuid4()
            firing = RunFired(
                routine_id=routine_id,
                revision=2 + number // EDITED_EVERY,
                source="schedule",
                outcome=Opened(issue_id=issue_id),
                trigger_id=trigger_id,
                occurrence=moment,
                next_at=moment + HOUR,
            )
            events: list[tuple[UUID, AnyEvent]] = [
                (run_id, firing),
                (issue_id, _issue(settings, routine_id, run_id)),
                (issue_id, IssueMoved(status="in_progress")),
                (issue_id, IssueMoved(status="done")),
                (run_id, RunCompleted()),
            ]
            if number % EDITED_EVERY == EDITED_EVERY - 1:
                events.append((routine_id, RoutineUpdated(settings=settings)))
            left -= len(events)
            yield from ((moment, stream_id, event) for stream_id, event in events)


def _issue(settings: RoutineSettings, routine_id: UUID, run_id: UUID) -> IssueOpened:
    details = IssueDetails(
        title=settings.title, description=settings.description, assignee_agent_id=settings.assignee_agent_id
    )
    return IssueOpened(details=details, status="todo", routine_id=routine_id, run_id=run_id)


def _measure(system: System, company: UUID, requests: int, token: str | None) -> None:
    head, chance = system.store.head(), random.Random(1)
    headers = {"Authorization": f"Bearer {token}"}
    with bootstrap.connect(system.settings) as conn:
        routines = _read_things(conn, "SELECT routine_id, min(since) FROM routine_version GROUP BY 1 ORDER BY 1")
        runs = _read_things(conn, "SELECT id, position FROM run ORDER BY id LIMIT %s", requests)
        issues = _read_things(conn, "SELECT id, position FROM issue ORDER BY id LIMIT %s", requests)
        times = [at for (at,) in conn.execute(TIMES, (head // 50,))]

    def request_past(kind: str, targets: list[tuple[UUID, int]], subpath: str = "") -> str:
        """Return the request for one of these things, as of a moment after it was made."""
        id_, since = chance.choice(targets)
        return f"{kind}/{id_}{subpath}?asOf={chance.randint(since, head)}"

    def anywhere() -> int:
        return chance.randint(1, head)

    def routine() -> str:
        return f"routines/{chance.choice(routines)[0]}"

    first = [(id_, since) for id_, since in routines if since < head // 50]
    paths: dict[str, Callable[[], str]] = {
        "a routine, now": routine,
        "a routine": lambda: request_past("routines", routines),
        "a routine, by a time": lambda: f"routines/{chance.choice(first)[0]}?asOf={quote(shown(chance.choice(times)))}",
        "its runs, now": lambda: f"{routine()}/runs",
        "its runs": lambda: request_past("routines", routines, "/runs"),
        "a run": lambda: request_past("routine-runs", runs),
        "an issue": lambda: request_past("issues", issues),
        "100 routines, now": lambda: f"companies/{company}/routines?limit=100",
        "100 routines": lambda: f"companies/{company}/routines?limit=100&asOf={anywhere()}",
        "50 routines": lambda: f"companies/{company}/routines?limit=50&asOf={anywhere()}",
        "100 issues": lambda: f"companies/{company}/issues?limit=100&asOf={anywhere()}",
        "100 issues in progress": lambda: f"companies/{company}/issues?limit=100&status=in_progress&asOf={anywhere()}",
        "50 runs of all, now": lambda: f"companies/{company}/runs",
        "50 runs of all": lambda: f"companies/{company}/runs?asOf={anywhere()}",
        "50 live runs of all": lambda: f"companies/{company}/runs?status=issue_created&asOf={anywhere()}",
        "what differs of a routine": lambda: request_past("routines", routines, "/diff").replace("asOf", "from"),
    }
    with (
        web(system, {}) as url,
        httpx.Client(base_url=f"{url}/", headers=headers, timeout=60) as client,
        bootstrap.connect(system.settings) as conn,
    ):
        postmaster = _parent_of(conn.info.backend_pid)
        for name, path in paths.items():
            for _ in range(5):
                client.get(path()).raise_for_status()
            asking = [path() for _ in range(requests)]
            before = _processor_s(os.getpid(), postmaster)
            took = sorted(_took(client, one) for one in asking)
            busy_s = (_processor_s(os.getpid(), postmaster) - before) / requests
            p50, p95 = quantiles(took, n=20)[9], quantiles(took, n=20)[18]
            print(
                f"  {name:<34} p50 {p50 * 1_000:>7.1f} ms   p95 {p95 * 1_000:>7.1f} ms   processor {busy_s * 1_000:>6.1f} ms"
            )


def _read_things(conn: Connection, query: LiteralString, *values: object) -> list[tuple[UUID, int]]:
    return [(id_, since) for id_, since in conn.execute(query, values or None)]


def _took(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - began


def _processor_s(*parents: int) -> float:
    """Return the processor time of all processes that these have started: the service and its database, whatever else is busy."""
    ticks = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = _fields(place)
            if int(fields[1]) in parents:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _parent_of(pid: int) -> int:
    return int(_fields(Path(f"/proc/{pid}/stat"))[1])


def _fields(place: Path) -> list[str]:
    return place.read_text().rpartition(")")[2].split()
