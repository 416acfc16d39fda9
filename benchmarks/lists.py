"""Lists over HTTP, long ones and such of routines with a long history, beside the route that does next to nothing."""

from functools import partial
from typing import Any
from uuid import UUID

import structlog
import wrk
from ledger import NOON, arm, fresh_system
from psycopg.sql import SQL
from requests_per_second import process, rate, web
from table import Latencies, in_turns, number, rows, title

from application.execute import Executor
from processes.projector import Projector
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from projections.engine import positions
from projections.engine.documents import Docs
from projections.engine.table import Connection
from projections.firing import run_history, triggers_due
from projections.routines import routine_list, routines
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres

PAGE, RUNS = 100, 50
FEW, MANY = 100, 10_000  # routines of a company
RUN = """
    INSERT INTO run SELECT md5(id::text || n)::uuid, company_id, routine_id, position + n, until, triggered_at,
        md5(linked_issue_id::text || n)::uuid, trigger_id, status, source, doc
    FROM run, generate_series(1, %s) n WHERE routine_id = %s"""
ISSUE = """
    INSERT INTO issue SELECT md5(id::text || n)::uuid, company_id, identifier || '-' || n, 'done', false,
        assignee_agent_id, project_id, parent_id, origin_kind, origin_id, title, folded_title, position + n, changed + n, doc
    FROM issue, generate_series(1, %s) n WHERE origin_id = %s"""


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    rounds, seconds = (2, 1) if quick else (5, 2)
    with fresh_system(postgres) as system, bootstrap.connect(system.settings) as conn:
        few, many = arm(system, FEW), arm(system, MANY)
        companies = {runs: arm(system, 1) for runs in (1_000, 10_000, 100_000)}
        _fire(system, conn)
        histories = {runs: _grow(conn, company, runs) for runs, company in companies.items()}
        conn.execute("ANALYZE")
        paths = {
            "GET /api/health": "health",
            f"{FEW:,} routines": f"companies/{few}/routines",
            f"{MANY:,} routines": f"companies/{many}/routines",
            f"{PAGE} of {MANY:,} routines": f"companies/{many}/routines?limit={PAGE}",
            **{f"detail of a routine with {runs:,} runs": f"routines/{id_}" for runs, id_ in histories.items()},
            **{f"{RUNS} of {runs:,} runs": f"routines/{id_}/runs?limit={RUNS}" for runs, id_ in histories.items()},
        }
        _measure(system, paths, rounds, seconds)
        _plans(conn, companies, histories)


def _fire(system: System, conn: Connection) -> None:
    """Fire every schedule once, so that each routine has a run and an open issue."""
    with structlog.testing.capture_logs():
        while positions.advance(conn, [triggers_due.triggers_due], system.store.after):
            pass
        Scheduler(Executor(system.store, lambda: NOON), system.store.after, 200).tick(conn)
        projector = Projector(catalogue.ALL, system.store.after)
        while projector.step(conn):
            pass


def _grow(conn: Connection, company: UUID, runs: int) -> UUID:
    """Give the company's one routine so many runs in the read models."""
    (routine,) = routine_list.page(conn, company)
    for statement in (RUN, ISSUE):
        conn.execute(statement, (runs - 1, routine.id))
    return routine.id


def _measure(system: System, paths: dict[str, str], rounds: int, seconds: int) -> None:
    headers = {"Authorization": f"Bearer {bootstrap.first_board_token(system.settings)}"}
    latencies = Latencies()
    title("Lists over HTTP, one connection; one web process (the client shares the cores)")
    with process(system, {}, "projector"), web(system, {}) as url:
        work = {
            name: partial(rate, latencies.of(name), [wrk.request("GET", f"{url}/{path}", headers)], 1, seconds)
            for name, path in paths.items()
        }
        rows(in_turns(rounds, work), "req/s", dict.fromkeys(paths, "GET /api/health"))
    latencies.show()


def _plans(conn: Connection, companies: dict[int, UUID], histories: dict[int, UUID]) -> None:
    """Return the costs that Postgres expects of the queries as they are run, a column for each length of history."""
    title(f"Planned costs with {', '.join(f'{runs:,}' for runs in histories)} runs of the routine")
    recent = routines.RECENT_RUNS
    lines: dict[str, tuple[Docs[Any], list[dict[str, object]]]] = {
        "list with the routine": (
            routine_list.LIST,
            [routine_list.values_of_query(company) for company in companies.values()],
        ),
        f"detail, its {recent} runs": (run_history.RECENT, [_runs(id_, recent) for id_ in histories.values()]),
        f"page of {RUNS} runs": (run_history.RECENT, [_runs(id_, RUNS + 1) for id_ in histories.values()]),
    }
    for name, (docs, values_of_companies) in lines.items():
        costs = [_cost(conn, docs, values) for values in values_of_companies]
        print(f"  {name:<46} " + "".join(f"{number(cost):>9}" for cost in costs))


def _runs(routine_id: UUID, limit: int) -> dict[str, object]:
    return {"routine_id": routine_id, "before": None, "limit": limit}


def _cost(conn: Connection, docs: Docs[Any], values: dict[str, object]) -> float:
    row = conn.execute(SQL("EXPLAIN (FORMAT JSON) ") + docs.query, values).fetchone()
    assert row is not None
    return float(row[0][0]["Plan"]["Total Cost"])
