"""How much a firing takes on the disk: of the log, of the read models, of the write-ahead log."""

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import msgspec
import psycopg
import structlog
from ledger import NOON, arm, fresh_system
from table import title

from application.access import AgentCaller
from application.execute import Executor
from application.request_bodies.issues import Checkout, IssuePatch
from application.use_cases.board import issues
from domain.events import AgentCreated, IssueOpened
from processes.projector import Projector
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from projections.engine.table import Connection
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres

MIB = 1 << 20
THOUSAND = 1_000
COMMENT = "Looked at everything that came in since yesterday. Nothing new."
BY_SCHEMA = """
    SELECT n.nspname, sum(pg_table_size(c.oid)), sum(pg_indexes_size(c.oid))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname IN ('log', 'read_models') GROUP BY 1 ORDER BY 1"""
LARGEST = """
    SELECT c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname = 'read_models' ORDER BY pg_total_relation_size(c.oid) DESC LIMIT 10"""


class DiskUse(msgspec.Struct):
    """What a database takes: events, and bytes by part of it."""

    events: int
    parts: dict[str, int]


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many, turns = (500, 2) if quick else (1_000, 4)
    with fresh_system(postgres) as system, bootstrap.connect(system.settings) as conn:
        company_id = arm(system, many)
        _fold(system, conn)
        before = _measure(postgres, system)
        fired, finished = _no_change(), _no_change()
        for turn in range(turns):
            now = NOON + turn * timedelta(hours=1)
            since = system.store.head()
            _fire(system, conn, now, many)
            after = _measure(postgres, system)
            _add(fired, before, after)
            _finish(system, conn, company_id, since, now)
            before = _measure(postgres, system)
            _add(finished, after, before)
        largest = conn.execute(LARGEST).fetchall()
    title(
        f"Disk: {many:,} routines that each fire {turns} times; VACUUM before each measurement; MiB for each {THOUSAND:,} firings"
    )
    firings = many * turns
    _show("a firing (run, issue, slot)", fired, firings)
    _show("its work (checked out, done with a comment)", finished, firings)
    print("  the largest tables then, with their indexes")
    for name, rows, indexes in largest:
        print(f"    {name:<44} {rows / MIB:>6.2f} MiB {indexes / MIB:>6.2f} MiB")


def _fire(system: System, conn: Connection, now: datetime, many: int) -> None:
    with structlog.testing.capture_logs():
        assert Scheduler(Executor(system.store, lambda: now), system.store.after, 200).tick(conn) == many
    _fold(system, conn)


def _finish(system: System, conn: Connection, company_id: UUID, since: int, now: datetime) -> None:
    """Let the agent check every issue out that was opened since then, and finish it."""
    executor = Executor(system.store, lambda: now + timedelta(minutes=1))
    (agent_id,) = {one.stream_id for one in system.store.history() if isinstance(one.event, AgentCreated)}
    agent, session = AgentCaller(agent_id=agent_id, company_id=company_id), uuid4()
    checkout = Checkout(agent_id=agent_id, expected_statuses=("todo",))
    ending = IssuePatch(status="done", comment=COMMENT)
    for issue_id in [one.stream_id for one in system.store.history(since) if isinstance(one.event, IssueOpened)]:
        executor.attempt(
            partial(issues.check_out, principal=agent, issue_id=issue_id, request=checkout, session=session)
        )
        executor.attempt(partial(issues.update, principal=agent, issue_id=issue_id, patch=ending, session=session))
    _fold(system, conn)


def _fold(system: System, conn: Connection) -> None:
    projector = Projector(catalogue.ALL, system.store.after)
    while projector.step(conn):
        pass


def _measure(postgres: LocalPostgres, system: System) -> DiskUse:
    name = system.settings.database_url.partition("@/")[2].partition("?")[0]
    with psycopg.connect(postgres.url("postgres", name), autocommit=True) as admin:
        (wal,) = admin.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone() or (0,)
        admin.execute("VACUUM")
        parts = {"write-ahead log": int(wal)}
        for schema, tables, indexes in admin.execute(BY_SCHEMA):
            parts |= {f"{schema}, tables": int(tables), f"{schema}, indexes": int(indexes)}
    return DiskUse(system.store.head(), parts)


def _no_change() -> DiskUse:
    return DiskUse(0, {})


def _add(total: DiskUse, before: DiskUse, after: DiskUse) -> None:
    total.events += after.events - before.events
    for part, size in after.parts.items():
        total.parts[part] = total.parts.get(part, 0) + size - before.parts[part]


def _show(name: str, use: DiskUse, firings: int) -> None:
    kept_bytes = sum(size for part, size in use.parts.items() if part != "write-ahead log")
    rows = {**use.parts, "kept on disk": kept_bytes}
    print(f"  {name}: {use.events / firings:.1f} events each")
    for part, size in rows.items():
        print(f"    {part:<44} {size / MIB / firings * THOUSAND:>6.2f} MiB")
