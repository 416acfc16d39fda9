"""
The pages of the board at 10,000 routines with 1,000,000 runs: how long the service takes for each.

Beside the time that passes stands the time that the web process and Postgres had the processor: on a machine that does other
things as well, only that tells one page from another.

The routines, one run and one issue of each are events that the scheduler and the projector have made rows of; the older runs
and issues are copies of those rows, with other outcomes, earlier times and ids of their own.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple
from uuid import UUID

import httpx
import structlog
from ledger import arm, fresh_system
from requests_per_second import LIMIT_S, UNLIMITED, catch_up, process, web
from table import title

from application.execute import Executor
from processes.projector import Projector
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from projections.engine import positions
from projections.engine.table import Connection
from projections.firing import triggers_due
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres

GOAL_MS = 150  # for the 95th percentile
TIME = """'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'"""
STATUSES = """CASE WHEN mod(hashtext(run.id::text || n), 1000) = 0 THEN 'failed' WHEN mod(hashtext(run.id::text || n), 100) = 7
    THEN 'coalesced' ELSE 'completed' END"""  # 1 of 1,000 and about 1 of 200
# The text of a document is changed, since lists read its beginning: what jsonb makes of one has its fields in another order.
RUNS = f"""
    INSERT INTO run SELECT md5(run.id::text || n)::uuid, company_id, routine_id, position - n * %(many)s, position - n * %(many)s,
        triggered_at - n * interval '1 hour', md5(linked_issue_id::text || n)::uuid, trigger_id, {STATUSES}, source,
        regexp_replace(regexp_replace(replace(replace(replace(doc::text, run.id::text, md5(run.id::text || n)::uuid::text),
            linked_issue_id::text, md5(linked_issue_id::text || n)::uuid::text),
            '"status":"issue_created"', '"status":"' || {STATUSES} || '"'),
            '"triggeredAt":"[^"]*"', '"triggeredAt":"' || to_char(triggered_at - n * interval '1 hour', {TIME}) || '"'),
            '"completedAt":(null|"[^"]*")', '"completedAt":"'
                || to_char(triggered_at - n * interval '1 hour' + mod(n, 50) * interval '1 minute', {TIME}) || '"')::json
    FROM run, generate_series(%(first)s::int, %(last)s) n WHERE company_id = %(company)s AND status = 'issue_created'"""  # noqa: S608 SQL of our own
ISSUES = """
    INSERT INTO issue SELECT md5(id::text || n)::uuid, company_id, identifier || '-' || n, 'done', false,
        assignee_agent_id, project_id, parent_id, origin_kind, origin_id, title, folded_title,
        position - n * %(many)s, changed, regexp_replace(replace(replace(doc::text, id::text, md5(id::text || n)::uuid::text),
            '"' || identifier || '"', '"' || identifier || '-' || n || '"'), '"status":"[^"]*"', '"status":"done"')::json
    FROM issue, generate_series(%(first)s::int, %(last)s) n WHERE company_id = %(company)s AND is_open"""
AT_ONCE = 3  # runs of each routine
NEWEST_LAST = (  # so that the copies, which are older, come before them
    "UPDATE run SET position = position + (%(runs)s + 1) * %(many)s",
    "UPDATE issue SET position = position + (%(runs)s + 1) * %(many)s",
)
TITLES = """
    UPDATE routine_text SET folded = 'report ' || left(md5(id::text), 8) || E'\\n' || repeat('what is to be done ', 20)"""
LIMITS = UNLIMITED | {"ROUTINES_MAX_COMPANY_ROUTINES": "20000"}  # a task has a routine, too
PAUSED = """
    UPDATE routine SET doc = replace(doc::text, '"status":"active"', '"status":"paused"')::json
    WHERE left(md5(id::text), 2) = 'ab'"""


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    routines, runs, rounds = (1_000, 20, 5) if quick else (10_000, 100, 10)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with fresh_system(postgres) as system, bootstrap.connect(system.settings) as conn:
        began = time.perf_counter()
        company = arm(system, routines, now)
        _fire(system, conn, now)
        _grow(conn, company, routines, runs - 1)
        filled_s = time.perf_counter() - began
        token = bootstrap.first_board_token(system.settings)
        with process(system, LIMITS, "projector"), web(system, LIMITS) as api_url:
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=api_url.removesuffix("/api"), headers=headers, timeout=LIMIT_S) as client:
                paths = _paths(client, company)
                catch_up(system)
                title(
                    f"Pages of the board, {routines:,} routines with {runs * routines:,} runs (filled in {filled_s:.0f} s); "
                    f"one web process, {rounds} requests of each in turns; the goal is a p95 of {GOAL_MS} ms"
                )
                _show(_measure(client, paths, rounds, _Processor(conn)))


def _fire(system: System, conn: Connection, now: datetime) -> None:
    """Fire every schedule once, so that each routine has a run and an open issue."""
    with structlog.testing.capture_logs():
        while positions.advance(conn, [triggers_due.triggers_due], system.store.after):
            pass
        Scheduler(Executor(system.store, lambda: now), system.store.after, 200).tick(conn)
        projector = Projector(catalogue.ALL, system.store.after)
        while projector.step(conn):
            pass


def _grow(conn: Connection, company: UUID, routines: int, runs: int) -> None:
    """Add so many older runs and issues to each of the routines, titles that differ, and some routines that are paused."""
    many = 10 * routines  # more than the events of a firing of all of them
    values = {"runs": runs, "many": many, "company": company}
    for statement in NEWEST_LAST:
        conn.execute(statement, values)
    for first in range(1, runs + 1, AT_ONCE):  # a transaction may last a minute
        for statement in (RUNS, ISSUES):
            conn.execute(statement, values | {"first": first, "last": min(first + AT_ONCE - 1, runs)})
    for statement in (TITLES, PAUSED, "VACUUM ANALYZE"):
        conn.execute(statement)


def _paths(client: httpx.Client, company: UUID) -> Mapping[str, str]:
    """Return every page, by what it is of, after making the things that no schedule makes."""
    api, board = f"/api/companies/{company}", f"/board/companies/{company}"

    def post(path: str, body: object) -> dict[str, str]:
        answer: dict[str, str] = client.post(path, json=body).raise_for_status().json()
        return answer

    task = {
        "init_params": {"text": "a"},
        "steps": ["say"],
        "step_configs": {"say": {"activity": "text_echo", "text": "a"}},
    }
    post(f"/api/v1/tasks/{company}", {"name": "echo", "workflow": task})
    post(f"/api/v1/routines/{company}/echo", {"name": "daily", "cadence": {"type": "daily", "hour_utc": 9}})
    trajectory = post(f"/api/v1/run/{company}/echo", {})["trajectory_id"]
    idle = post(f"{api}/agents", {"name": "Idle"})["id"]
    newest = client.get(f"{api}/runs", params={"limit": 1}).raise_for_status().json()[0]
    text = client.get(f"{api}/routines", params={"limit": 1}).raise_for_status().json()[0]["id"]
    routine, failed_runs = f"{board}/routines/{newest['routineId']}", f"{board}/runs?status=failed"
    trigger = f"{routine}/triggers/{newest['triggerId']}"
    return {
        "home": board,
        "home: the coming week": f"{board}/week",
        "routines": f"{board}/routines",
        "routines: a text in many": f"{board}/routines?q=report",
        "routines: a text in one": f"{board}/routines?q={_title_part_of(text)}",
        "routines: a text in none": f"{board}/routines?q=nowhere",
        "routines: paused, 1 of 256": f"{board}/routines?status=paused",
        "routines: archived, none": f"{board}/routines?status=archived",
        "routines: of an agent, none": f"{board}/routines?agent={idle}",
        "routines: by title": f"{board}/routines?sort=title",
        "routines: by last change": f"{board}/routines?sort=changed",
        "a routine": routine,
        "a routine: why": f"{routine}?why={datetime.now(UTC):%Y-%m-%d}+09:00",
        "a routine: revisions": f"{routine}/revisions",
        "a routine: its form": f"{routine}/edit",
        "a routine: run it": f"{routine}/run",
        "a schedule: its form": trigger,
        "a schedule: backfills": f"{trigger}/backfills",
        "runs": f"{board}/runs",
        "runs: failed, 1 of 1,000": failed_runs,
        "runs: by webhook, none": f"{board}/runs?source=webhook",
        "runs: by webhook, none failed": f"{failed_runs}&source=webhook",
        "runs: of a routine": f"{board}/runs?routine={newest['routineId']}",
        "runs: of a routine, failed": f"{failed_runs}&routine={newest['routineId']}",
        "runs: before a moment": f"{board}/runs?to={datetime.now(UTC):%Y-%m-%d}+00:00",
        "a run": f"{board}/runs/{newest['id']}",
        "issues: open": f"{board}/issues",
        "issues: cancelled, none": f"{board}/issues?status=cancelled",
        "issues: all": f"{board}/issues?status=all",
        "issues: a text in none": f"{board}/issues?q=nowhere",
        "an issue": f"{board}/issues/{newest['linkedIssue']['id']}",
        "tasks": f"{board}/tasks",
        "a task": f"{board}/tasks/echo",
        "a routine of a task": f"{board}/tasks/echo/routines/daily",
        "a trajectory": f"{board}/tasks/echo/trajectories/{trajectory}",
        "variables": f"{board}/variables",
        "deliveries": f"{board}/deliveries",
        "people and keys": f"{board}/people",
        "log": f"{board}/log",
        "log: of a routine": f"{board}/log?routine={newest['routineId']}",
        "refused attempts": f"{board}/refusals",
        "system": f"{board}/system",
        "projects and goals": f"{board}/structure",
        "Ctrl-K: a text in many": f"{board}/palette?q=report",
        "Ctrl-K: a text in none": f"{board}/palette?q=nowhere",
        "search for an id": f"{board}/find?q={newest['id']}",
    }


def _title_part_of(routine_id: str) -> str:
    """Return the part of a title that no other routine has, as TITLES makes it."""
    return md5(routine_id.encode(), usedforsecurity=False).hexdigest()[:8]


class _Processor:
    """The time that the web process and the processes of Postgres have had a processor."""

    def __init__(self, conn: Connection) -> None:
        row = conn.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        self._postmaster = _parent(Path(f"/proc/{row[0]}"))

    def used_ms(self) -> float:
        """Return the milliseconds of processor time since those processes began."""
        parents = {str(os.getpid()), self._postmaster}
        used_ns = 0
        for process_ in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                is_asked = _parent(process_) in parents and b"projector" not in (process_ / "cmdline").read_bytes()
                if is_asked:
                    used_ns += sum(int(one.read_text().split()[0]) for one in process_.glob("task/*/schedstat"))
        return used_ns / 1e6


def _parent(process_: Path) -> str:
    return (process_ / "stat").read_text().rpartition(")")[2].split()[1]


class _PageTime(NamedTuple):
    passed_ms: float
    used_ms: float


def _measure(
    client: httpx.Client, paths: Mapping[str, str], rounds: int, processor: _Processor
) -> Mapping[str, list[_PageTime]]:
    took: dict[str, list[_PageTime]] = {name: [] for name in paths}
    for _ in range(rounds + 1):
        for name, path in paths.items():
            used_ms, began = processor.used_ms(), time.perf_counter()
            answer = client.get(path)
            passed_ms = (time.perf_counter() - began) * 1_000
            assert answer.status_code in (200, 303), (path, answer.status_code)
            took[name].append(_PageTime(passed_ms, processor.used_ms() - used_ms))
    return took


def _show(took: Mapping[str, list[_PageTime]]) -> None:
    """Print a line for each: the first request, which finds nothing cached, then the others."""
    print(f"  {'':<34} {'first':>10} {'median':>10} {'p95':>10} {'processor':>10}")
    for name, (first, *others) in took.items():
        passed_ms = [one.passed_ms for one in others]
        times = (
            first.passed_ms,
            median(passed_ms),
            quantiles(passed_ms, n=20)[-1],
            median(one.used_ms for one in others),
        )
        mark = "" if times[2] <= GOAL_MS else "   above the goal"
        print(f"  {name:<34} " + " ".join(f"{ms:>7.0f} ms" for ms in times) + mark)
