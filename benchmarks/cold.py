"""
What cold tables bring: 1,000,000 old runs with their occurrences and done issues, in the hot tables and out of them.

The newest run and issue of each routine come from events; the old ones are copies of those rows by SQL, with other ids and
earlier times, and leave the hot tables in one statement each, as a rebuild leaves them. Everything is measured in both
states of the same database: what recent lists read, what a fold of new firings reads and writes ahead, and sizes. Pages of
Postgres that are touched say more than the clock on a machine that has other things to do.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import structlog
from ledger import arm, fresh_system
from psycopg.sql import SQL
from table import title

from application.execute import Executor
from processes.projector import Projector
from processes.scheduler.scheduler import Scheduler
from projections import catalogue, erasure, responses
from projections.board import issues
from projections.engine import cold, positions
from projections.engine.documents import Docs
from projections.engine.read_model import ReadModel
from projections.engine.table import Connection
from projections.firing import occurrences, run_history, triggers_due
from projections.routines import routine_list
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres

MIB = 1 << 20
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
TABLES = ("run", "issue", "occurrence")
MODELS = (run_history.run_history, issues.issues, occurrences.occurrences)
# The copies of the first row of each routine, `n` hours older.
OLD = {
    "run": """md5(id::text || n)::uuid, company_id, routine_id, position - n * %(many)s, position - n * %(many)s,
        triggered_at - n * interval '1 hour', md5(linked_issue_id::text || n)::uuid, trigger_id, 'completed', source, (doc::jsonb || jsonb_build_object('status', 'completed',
        'id', md5(id::text || n)::uuid, 'completedAt', doc->>'triggeredAt'))::json""",
    "issue": """md5(id::text || n)::uuid, company_id, identifier || '-' || n, 'done', false, assignee_agent_id, project_id,
        parent_id, origin_kind, origin_id, title, folded_title, position - n * %(many)s, changed - n * %(many)s, doc""",
    "occurrence": """md5(id::text || n)::uuid, trigger_id, routine_id, company_id, first - n * interval '1 hour',
        last - n * interval '1 hour', count, outcome, reason, concurrency_policy, catch_up_policy, md5(run_id::text || n)::uuid,
        issue_id, blocking_run_id, due_at - n * interval '1 hour', settled_at - n * interval '1 hour',
        position - n * %(many)s, backfill_id""",
}
LEAVE = """
    WITH old AS (DELETE FROM ONLY {table} WHERE position < %s RETURNING *) INSERT INTO {table}_cold SELECT * FROM old"""
ACTIVE = Docs(
    "SELECT doc FROM issue WHERE origin_id = %(routine_id)s AND is_open ORDER BY changed DESC LIMIT 1", responses.Issue
)
OF_BACKEND = """
    SELECT (SELECT sum(reads + hits) FROM pg_stat_get_backend_io(%(pid)s)), wal_bytes, wal_fpi
    FROM pg_stat_get_backend_wal(%(pid)s)"""  # of Postgres 18


class FoldingCost(NamedTuple):
    """What folding new firings takes of the database, for each event."""

    touched: float  # pages, each time that one is used
    wal_bytes: float
    whole_pages: float  # of those that are written ahead
    cpu_us: float


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many, old = (500, 200) if quick else (2_000, 500)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with fresh_system(postgres) as system, bootstrap.connect(system.settings) as conn:
        company = arm(system, many, now)
        _fire(system, conn, now)
        _fold(system, conn, catalogue.ALL)
        erasure.take_time(conn)
        first = _number(conn, "SELECT min(position) FROM run")
        for table, columns in OLD.items():
            filling = f"INSERT INTO {table} SELECT {columns} FROM {table}, generate_series(1, %(old)s) n"  # noqa: S608 names of ours
            conn.execute(filling, {"many": 10 * many, "old": old})  # a firing is fewer events
        title(
            f"Old rows: {many:,} routines with {many * old:,} old runs, occurrences and done issues, in the hot tables and out"
        )
        routine_ids = [id_ for (id_,) in conn.execute("SELECT id FROM routine ORDER BY id LIMIT 50")]
        before = _state(postgres, system, conn, company, routine_ids, now + timedelta(hours=1))
        for model in MODELS:
            while cold.move(conn, model, 1):  # nothing to move: this makes the tables
                pass
        for table in TABLES:
            conn.execute(LEAVE.format(table=table), (first,))
        after = _state(postgres, system, conn, company, routine_ids, now + timedelta(hours=2))
        _show(before, after)
        _measure_moving(system, conn)


def _fire(system: System, conn: Connection, now: datetime) -> None:
    while positions.advance(conn, [triggers_due.triggers_due], system.store.after):
        pass
    with structlog.testing.capture_logs():
        Scheduler(Executor(system.store, lambda: now), system.store.after, 200).tick(conn)


def _fold(system: System, conn: Connection, models: tuple[ReadModel, ...]) -> int:
    projector, since = Projector(models, system.store.after), positions.reached(conn, models) or 0
    while projector.step(conn):
        pass
    return system.store.head() - since


def _state(  # noqa: PLR0913, PLR0917 all of what is measured
    postgres: LocalPostgres, system: System, conn: Connection, company: UUID, routine_ids: list[UUID], now: datetime
) -> dict[str, float]:
    """Return everything that is measured of a state of the tables, by its name."""
    name = system.settings.database_url.partition("@/")[2].partition("?")[0]
    with psycopg.connect(postgres.url("postgres", name), autocommit=True) as admin:
        admin.execute("SET search_path = read_models")
        for table in TABLES:  # as after a rebuild
            admin.execute(f"VACUUM (FULL, ANALYZE) {table}")
        measured = _sizes(admin)
        _fire(system, conn, now)
        admin.execute("VACUUM ANALYZE")
        admin.execute("CHECKPOINT")  # after it, the first change of each page is written ahead as a whole page
        folded = _fold_log(system, conn)
        measured |= {
            "folding: pages touched for an event": folded.touched,
            "folding: KB written ahead for an event": folded.wal_bytes / 1024,
            "folding: of these, whole pages": folded.whole_pages,
            "folding: us of Postgres for an event": folded.cpu_us,
        }
        admin.execute("VACUUM ANALYZE")
    for question, (docs, values) in _questions(company, routine_ids).items():
        measured |= {f"{question}: {key}": value for key, value in _time_query(conn, docs, values).items()}
    return measured


def _sizes(admin: psycopg.Connection[Any]) -> dict[str, float]:
    sizes = {}
    for table in TABLES:
        for kind, function in (("rows", "pg_table_size"), ("indexes", "pg_indexes_size")):
            sizes[f"hot {table}, {kind}, MiB"] = _number(admin, f"SELECT {function}('{table}')") / MIB
            has_cold = _number(admin, f"SELECT count(to_regclass('{table}_cold'))")
            sizes[f"cold {table}, {kind}, MiB"] = (
                _number(admin, f"SELECT {function}('{table}_cold')") / MIB if has_cold else 0.0
            )
    return sizes


def _fold_log(system: System, conn: Connection) -> FoldingCost:
    pid = int(_number(conn, "SELECT pg_backend_pid()"))
    before, cpu_s = _of_backend(conn, pid), _cpu_s(pid)
    events = _fold(system, conn, MODELS)
    touched, wal_bytes, whole_pages = [
        (now - earlier) / events for now, earlier in zip(_of_backend(conn, pid), before, strict=True)
    ]
    work = FoldingCost(touched, wal_bytes, whole_pages, (_cpu_s(pid) - cpu_s) / events * 1e6)
    _fold(system, conn, catalogue.ALL)
    return work


def _questions(company: UUID, routine_ids: list[UUID]) -> Mapping[str, tuple[Docs[Any], list[dict[str, Any]]]]:
    period = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    everything = run_history.values_of_query(company, run_history.CompanyFilters(), period) | {"limit": 51}
    failed = run_history.values_of_query(company, run_history.CompanyFilters(status=("failed",)), period) | {
        "limit": 51
    }
    opened = {"routine_id": None, "before": None, "limit": 51}
    completed = {"status": ["completed"], "source": ["schedule"]}
    return {
        "3 newest runs of a routine": (
            run_history.RECENT,
            [opened | {"routine_id": id_, "limit": 3} for id_ in routine_ids],
        ),
        "50 runs of a routine": (run_history.RECENT, [opened | {"routine_id": id_} for id_ in routine_ids]),
        "50 completed ones": (run_history.NARROWED, [opened | completed | {"routine_id": id_} for id_ in routine_ids]),
        "50 runs of the company": (run_history.OF_COMPANY, [everything]),
        "its failed ones, none": (run_history.OF_COMPANY, [failed]),
        "open issue of a routine": (ACTIVE, [{"routine_id": id_} for id_ in routine_ids]),
        "a list of 100 routines": (routine_list.LIST, [routine_list.values_of_query(company, limit=101)]),
    }


def _time_query(conn: Connection, docs: Docs[Any], values: list[dict[str, Any]]) -> dict[str, float]:
    explain = SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ") + docs.query
    plans = []
    for _ in range(3):
        for each in values:
            row = conn.execute(explain, each).fetchone()
            assert row is not None
            plans.append(row[0][0])
    return {
        "pages": median(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] for plan in plans),
        "ms": median(plan["Execution Time"] for plan in plans),
        "ms to plan": median(plan["Planning Time"] for plan in plans),
    }


def _measure_moving(system: System, conn: Connection) -> None:
    """Measure what it costs to move the rows of real events."""
    pid = int(_number(conn, "SELECT pg_backend_pid()"))
    count = f"SELECT {' + '.join(f'(SELECT count(*) FROM {table}_cold)' for table in TABLES)}"  # noqa: S608 names of ours
    rows, cpu_s = _number(conn, count), _cpu_s(pid)
    for model in MODELS:
        while cold.move(conn, model, system.store.head()):
            pass
    moved_rows = _number(conn, count) - rows
    print(
        f"  moving {moved_rows:,.0f} rows: {(_cpu_s(pid) - cpu_s) / max(moved_rows, 1) * 1e6:.0f} us of Postgres each"
    )


def _show(before: Mapping[str, float], after: Mapping[str, float]) -> None:
    print(f"  {'':<46} {'all hot':>10} {'cold':>10} {'ratio':>8}")
    for name, value in before.items():
        ratio = f"{after[name] / value:>8.2f}" if value else f"{'':>8}"
        print(f"  {name:<46} {value:>10,.2f} {after[name]:>10,.2f} {ratio}")


def _number(conn: psycopg.Connection[Any], query: str) -> float:
    row = conn.execute(SQL(query)).fetchone()
    assert row is not None
    return float(row[0])


def _of_backend(conn: Connection, pid: int) -> list[float]:
    """Return the pages that the session has used, and the bytes and whole pages that it has written ahead."""
    conn.execute("SELECT pg_stat_force_next_flush()")
    return [float(number or 0) for number in conn.execute(OF_BACKEND, {"pid": pid}).fetchone() or ()]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
