"""How long an answer as of a moment takes, by the length of the log, beside the same answer of now."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from statistics import quantiles
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
from ledger import NOON, arm, fresh_system
from requests_per_second import web
from table import title

from domain.events import (
    AnyEvent,
    IssueMoved,
    IssueOpened,
    RoutineCreated,
    RoutineUpdated,
    RunCompleted,
    RunFired,
    TriggerCreated,
)
from domain.recorded import Recorded
from domain.values import IssueDetails, Opened, RoutineSettings
from projections import catalogue
from projections.audit import as_of, feed
from projections.engine import positions
from projections.responses import time as shown
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres

MOST_ROUTINES, EVENTS_OF_EACH = 10_000, 100
EDITED_EVERY = 5  # firings of a routine, from one edit to the next
AT_ONCE = 2_000  # events of an append
HOUR = timedelta(hours=1)


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    sizes, asked = ([10_000], 40) if quick else ([10_000, 100_000, 1_000_000], 200)
    for events in sizes:
        with fresh_system(postgres) as system:
            routines = min(MOST_ROUTINES, events // EVENTS_OF_EACH)
            company, token = arm(system, routines), bootstrap.first_board_token(system.settings)
            _live(system, company, events)
            log = list(islice(system.store.history(), 3 * routines + 10))
            with bootstrap.connect(system.settings) as conn:
                for model in catalogue.ALL:
                    if model.name in {*as_of.NAMES, *feed.NAMED_BY}:
                        positions.rebuild(conn, model, system.store.after)
                conn.execute("ANALYZE")
            title(
                f"As of a random moment, over HTTP, one request after the other: a log of {system.store.head():,} events, "
                f"{routines:,} routines of one company"
            )
            _measure(
                system, company, [one.stream_id for one in log if isinstance(one.event, RoutineCreated)], asked, token
            )


def _live(system: System, company: UUID, events: int) -> None:
    """Every routine fires again and again, its work gets done but for the newest, and it is edited now and then."""
    settings = {
        one.stream_id: one.event.settings for one in system.store.history() if isinstance(one.event, RoutineCreated)
    }
    triggers = {
        one.event.routine_id: one.stream_id for one in system.store.history() if isinstance(one.event, TriggerCreated)
    }
    versions = Counter(dict.fromkeys(settings, 2))
    batch: list[Recorded] = []
    for at, stream_id, event in _happenings(settings, triggers, events - system.store.head()):
        versions[stream_id] += 1
        batch.append(
            Recorded(
                stream_id=stream_id,
                version=versions[stream_id],
                at=at,
                actor="scheduler",
                company_id=company,
                event=event,
            )
        )
        if len(batch) == AT_ONCE:
            system.store.append(batch)
            batch = []
    system.store.append(batch)


def _happenings(
    settings: dict[UUID, RoutineSettings], triggers: dict[UUID, UUID], many: int
) -> Iterator[tuple[datetime, UUID, AnyEvent]]:
    left = many
    for number in range(many):
        at = NOON + number * HOUR
        for routine_id, wanted in settings.items():
            if left <= 0:
                return
            run_id, issue_id = uuid4(), uuid4()
            found: list[tuple[UUID, AnyEvent]] = [
                (
                    run_id,
                    RunFired(
                        routine_id=routine_id,
                        revision=2 + number // EDITED_EVERY,
                        source="schedule",
                        outcome=Opened(issue_id=issue_id),
                        trigger_id=triggers[routine_id],
                        occurrence=at,
                        next_at=at + HOUR,
                    ),
                ),
                (issue_id, _issue(wanted, routine_id, run_id)),
                (issue_id, IssueMoved(status="in_progress")),
                (issue_id, IssueMoved(status="done")),
                (run_id, RunCompleted()),
            ]
            if number % EDITED_EVERY == EDITED_EVERY - 1:
                found.append((routine_id, RoutineUpdated(settings=wanted)))
            left -= len(found)
            yield from ((at, stream_id, event) for stream_id, event in found)


def _issue(settings: RoutineSettings, routine_id: UUID, run_id: UUID) -> IssueOpened:
    details = IssueDetails(
        title=settings.title, description=settings.description, assignee_agent_id=settings.assignee_agent_id
    )
    return IssueOpened(details=details, status="todo", routine_id=routine_id, run_id=run_id)


def _measure(system: System, company: UUID, routine_ids: Sequence[UUID], asked: int, token: str | None) -> None:
    head, created = system.store.head(), 3 * len(routine_ids) + 10
    chance = random.Random(1)
    headers = {"Authorization": f"Bearer {token}"}
    with bootstrap.connect(system.settings) as conn:
        runs = [
            id_
            for (id_,) in conn.execute(
                "SELECT id FROM run WHERE position < %s ORDER BY id LIMIT %s", (head // 2, asked)
            )
        ]
        issues = [
            id_
            for (id_,) in conn.execute(
                "SELECT id FROM issue WHERE position < %s ORDER BY id LIMIT %s", (head // 2, asked)
            )
        ]
        times = [
            at for (at,) in conn.execute("SELECT recorded_at FROM log.events WHERE position %% %s = 0", (head // 50,))
        ]

    def position(least: int = created) -> int:
        return chance.randint(min(least, head), head)

    def routine() -> str:
        return f"routines/{chance.choice(routine_ids)}"

    paths: dict[str, Callable[[], str]] = {
        "a routine, now": routine,
        "a routine": lambda: f"{routine()}?asOf={position()}",
        "a routine, by a time": lambda: f"{routine()}?asOf={quote(shown(chance.choice(times)))}",
        "its runs, now": lambda: f"{routine()}/runs",
        "its runs": lambda: f"{routine()}/runs?asOf={position()}",
        "a run": lambda: f"routine-runs/{chance.choice(runs)}?asOf={position(head // 2)}",
        "an issue": lambda: f"issues/{chance.choice(issues)}?asOf={position(head // 2)}",
        "100 routines, now": lambda: f"companies/{company}/routines?limit=100",
        "100 routines": lambda: f"companies/{company}/routines?limit=100&asOf={position()}",
        "50 routines": lambda: f"companies/{company}/routines?limit=50&asOf={position()}",
        "100 issues": lambda: f"companies/{company}/issues?limit=100&asOf={position()}",
        "100 issues in progress": lambda: f"companies/{company}/issues?limit=100&status=in_progress&asOf={position()}",
        "what differs of a routine": lambda: f"{routine()}/diff?from={created}&to={position()}",
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
            asking = [path() for _ in range(asked)]
            before = _processor_s(os.getpid(), postmaster)
            took = sorted(_took(client, one) for one in asking)
            busy_s = (_processor_s(os.getpid(), postmaster) - before) / asked
            p50, p95 = quantiles(took, n=20)[9], quantiles(took, n=20)[18]
            print(
                f"  {name:<34} p50 {p50 * 1_000:>7.1f} ms   p95 {p95 * 1_000:>7.1f} ms   processor {busy_s * 1_000:>6.1f} ms"
            )


def _took(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - began


def _processor_s(*parents: int) -> float:
    """The processor time of all processes that these have started: the service and its database, whatever else is busy."""
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
