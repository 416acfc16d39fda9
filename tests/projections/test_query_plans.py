"""The lists do not slow down with history: what their queries cost is the same for a thousand runs and for ten thousand."""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import md5
from typing import Any
from uuid import UUID

import pytest
from psycopg.sql import SQL, Composed

from projections import overview
from projections.board import issues
from projections.engine import cold
from projections.engine.documents import Docs
from projections.engine.table import Connection
from projections.firing import run_history
from projections.routines import routine_list, routines
from tests.projections.story import Story

FEW, MANY = 1_000, 10_000  # runs of one routine
SLACK = 1.2  # an index that is ten times larger may be a level deeper
MOST_READ = 400  # rows of a table: one that fits on a page is read whole for each of the twenty routines
GROWING = {"run", "issue", "run_cold", "issue_cold"}
RUNS = """
    INSERT INTO run SELECT md5('run' || n)::uuid, company_id, routine_id, position + n, until,
        triggered_at + n * interval '1 minute',
        md5('issue' || n)::uuid, trigger_id, status, source, doc
    FROM run, generate_series(1, %s) n WHERE id = %s"""
ISSUES = """
    INSERT INTO issue SELECT md5('issue' || n)::uuid, company_id, 'OLD-' || n, 'done', false, assignee_agent_id, project_id,
        parent_id, origin_kind, origin_id, title, folded_title, position + n, changed + n, doc
    FROM issue, generate_series(1, %s) n WHERE origin_id = %s AND is_open"""


LEAVE = (  # the hot tables
    """WITH left_it AS (DELETE FROM ONLY run WHERE position < (SELECT max(position) - 10 FROM run) RETURNING *)
    INSERT INTO run_cold SELECT id, company_id, routine_id, position, position, triggered_at, linked_issue_id, trigger_id,
        'completed', source, (doc::jsonb || jsonb_build_object('completedAt', doc->>'triggeredAt', 'status', 'completed'))::json FROM left_it""",
    """WITH left_it AS (DELETE FROM ONLY issue WHERE NOT is_open AND position < (SELECT max(position) - 10 FROM issue) RETURNING *)
    INSERT INTO issue_cold SELECT * FROM left_it""",
)


@pytest.fixture
def old_routine(story: Story) -> tuple[UUID, UUID]:
    """A company, and its routine with a long history among others with a short one."""
    company = story.company()
    agent = story.agent(company)
    first, *_ = [story.routine(company, agent, f"Check {number}") for number in range(20)]
    story.schedule(first)
    story.fire(first)
    story.project_all()
    return company, first


def grow(conn: Connection, routine_id: UUID, runs: int) -> None:
    (run,) = run_history.recent_runs(conn, routine_id, 1)
    conn.execute("DELETE FROM run WHERE id <> %s", (run.id,))
    conn.execute("DELETE FROM issue WHERE NOT is_open")
    conn.execute(RUNS, (runs - 1, run.id))
    conn.execute(ISSUES, (runs - 1, routine_id))
    conn.execute("ANALYZE")


def chill(conn: Connection) -> None:
    """Most of the history leaves the hot tables."""
    for model in (run_history.run_history, issues.issues):
        cold.move(conn, model, 1)
    for statement in LEAVE:
        conn.execute(SQL(statement))
    conn.execute("ANALYZE")


def plan_of(conn: Connection, explain: str, docs: Docs[Any], **values: object) -> Any:
    query: Composed = SQL(explain) + docs.query
    row = conn.execute(query, values).fetchone()
    return row[0][0]["Plan"] if row else None


def nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def read_whole(plan: Any) -> list[str]:
    """The tables of the history that are read from beginning to end."""
    scans = [node for node in nodes(plan) if node["Node Type"] == "Seq Scan"]
    return [node["Relation Name"] for node in scans if node["Relation Name"] in GROWING]


def values_of(conn: Connection, company: UUID, routine: UUID) -> dict[str, tuple[Docs[Any], dict[str, object]]]:
    """The queries of the lists as the product runs them, with values for all of their parameters."""
    runs = {"routine_id": routine, "before": None}
    halfway = runs | {"before": run_history.position(conn, routine, UUID(md5(b"run500").hexdigest()))}
    period = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    of_company = run_history.values_of_query(company, run_history.CompanyFilters(), period)
    failed = run_history.values_of_query(company, run_history.CompanyFilters(status=("failed",)), period)
    return {
        "all routines": (routine_list.WHOLE_LIST, routine_list.values_of_query(company)),
        "a page of routines": (routine_list.WHOLE_LIST, routine_list.values_of_query(company, limit=101)),
        "a search of routines": (
            routine_list.LIST,
            routine_list.values_of_query(company, routine_list.Filters(q="check"), limit=101),
        ),
        "the recent runs of a routine": (run_history.RECENT, {"limit": routines.RECENT_RUNS, **runs}),
        "the first page of runs": (run_history.RECENT, {"limit": 51, **runs}),
        "a later page of runs": (run_history.RECENT, {"limit": 51, **halfway}),
        "the failed runs": (run_history.NARROWED, {"limit": 51, "status": ["failed"], "source": ["api"], **halfway}),
        "the failed runs of a company": (run_history.OF_COMPANY, {"limit": 51, **failed}),
        "a page of a company's runs": (run_history.OF_COMPANY, {"limit": 51, **of_company}),
        "the active issue of a routine": (issues._ACTIVE, {"routine_id": routine}),
    }


def test_no_list_costs_more_because_its_routines_ran_more_often(conn: Connection, old_routine: tuple[UUID, UUID]):
    costs: dict[str, list[float]] = {}
    for runs in (FEW, MANY):
        grow(conn, old_routine[1], runs)
        for name, (docs, values) in values_of(conn, *old_routine).items():
            plan = plan_of(conn, "EXPLAIN (FORMAT JSON) ", docs, **values)
            assert [] == read_whole(plan), name
            costs.setdefault(name, []).append(plan["Total Cost"])

    for name, (few, many) in costs.items():
        assert many <= few * SLACK, name


def test_the_runs_of_a_day_are_counted_by_the_index_also_where_they_are_most_of_all_runs(
    conn: Connection, old_routine: tuple[UUID, UUID]
):
    grow(conn, old_routine[1], FEW)
    since, until = datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 2, tzinfo=UTC)
    filters = (overview.STATUSES, overview.SOURCES)
    counts = {
        overview._RUNS: (old_routine[0], since, overview.MOST_COUNTED, *filters),
        overview._BY_HOUR: (old_routine[0], overview.MOST_AN_HOUR, *filters, since, until),
    }
    for query, values in counts.items():
        with overview._by_index(conn):
            row = conn.execute("EXPLAIN (FORMAT JSON) " + query, values).fetchone()
        assert row
        assert [] == read_whole(row[0][0]["Plan"])


def test_no_list_reads_more_rows_because_its_routines_ran_more_often(conn: Connection, old_routine: tuple[UUID, UUID]):
    read: dict[str, list[int]] = {}
    for runs in (FEW, MANY):
        grow(conn, old_routine[1], runs)
        for name, (docs, values) in values_of(conn, *old_routine).items():
            plan = plan_of(conn, "EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF, FORMAT JSON) ", docs, **values)
            rows = [
                round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
                for node in nodes(plan)
            ]
            read.setdefault(name, []).append(max(rows))

    for name, (few, many) in read.items():
        assert few == many <= MOST_READ, name


def test_the_plans_that_are_kept_for_any_values_do_not_read_a_history_whole(
    conn: Connection, old_routine: tuple[UUID, UUID]
):
    grow(conn, old_routine[1], MANY)
    for name, (docs, values) in values_of(conn, *old_routine).items():
        if docs._is_prepared:
            plan = plan_of(conn, "EXPLAIN (GENERIC_PLAN, FORMAT JSON) ", docs, **values)
            assert [] == read_whole(plan), name


def test_a_history_that_is_cold_is_not_read_whole_either(conn: Connection, old_routine: tuple[UUID, UUID]):
    read: dict[str, list[int]] = {}
    for runs in (FEW, MANY):
        grow(conn, old_routine[1], runs)
        chill(conn)
        for name, (docs, values) in values_of(conn, *old_routine).items():
            plan = plan_of(conn, "EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF, FORMAT JSON) ", docs, **values)
            assert [] == read_whole(plan), name
            rows = [round(node["Actual Rows"] * node["Actual Loops"]) for node in nodes(plan)]
            read.setdefault(name, []).append(max(rows))

    for name, (few, many) in read.items():
        assert max(few, many) <= MOST_READ, name
