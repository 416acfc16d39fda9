"""Each event of the log is found where it belongs, by an index, whatever it is asked for."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import SQL

from domain.errors import RuleViolation
from domain.events import AlertEvent, BackfillEvent, IssueOpened, RoutineEvent, RunEvent, RunFired, TriggerEvent
from domain.recorded import Recorded
from projections.audit import feed
from projections.audit.feed import Filters
from tests.projections.sharing import SHARED

ALL = 100_000


def positions(conn: Any, **filters: Any) -> list[int]:
    return [entry.position for entry in feed.page(conn, Filters(**filters), order="asc", limit=ALL)]


def of_stream(log: list[Recorded], stream_id: UUID) -> set[int]:
    return {one.position for one in log if one.stream_id == stream_id}


@pytest.fixture
def log(projected_story: Any) -> list[Recorded]:
    return list(projected_story.store.history())


@SHARED
def test_the_index_has_every_event_of_the_log_once(conn: Any, log: list[Recorded]):
    assert [one.position for one in log] == positions(conn)


@SHARED
def test_every_event_of_a_routine_its_triggers_its_runs_and_its_alerts_belongs_to_a_routine(
    conn: Any, log: list[Recorded]
):
    owned = (RoutineEvent, TriggerEvent, BackfillEvent, RunEvent, AlertEvent)
    entries = {entry.position: entry for entry in feed.page(conn, Filters(), order="asc", limit=ALL)}
    lost = [one for one in log if isinstance(one.event, owned) and entries[one.position].routine_id is None]

    assert [] == [(one.name, one.position) for one in lost]


@SHARED
def test_a_run_has_its_own_events_and_those_of_the_issue_that_it_opened(conn: Any, log: list[Recorded]):
    opened = [one for one in log if isinstance(one.event, IssueOpened) and one.event.run_id is not None]
    assert opened
    for issue in opened[:10]:
        assert isinstance(issue.event, IssueOpened)
        run_id, routine_id = issue.event.run_id, issue.event.routine_id
        assert run_id is not None
        together = of_stream(log, run_id) | of_stream(log, issue.stream_id)

        assert together <= set(positions(conn, run_id=run_id))
        assert of_stream(log, issue.stream_id) <= set(positions(conn, issue_id=issue.stream_id))
        assert set(positions(conn, run_id=run_id)) <= set(positions(conn, routine_id=routine_id))


@SHARED
def test_a_trigger_has_the_runs_that_it_fired(conn: Any, log: list[Recorded]):
    fired = next(one for one in log if isinstance(one.event, RunFired) and one.event.trigger_id is not None)
    assert isinstance(fired.event, RunFired)

    assert fired.position in positions(conn, trigger_id=fired.event.trigger_id)
    assert positions(conn, trigger_id=fired.event.trigger_id, company_id=UUID(int=7)) == []


FILTERS: list[dict[str, Any]] = [
    {},
    {"company_id": UUID(int=1)},
    {"company_id": UUID(int=1), "kinds": ("run.fired", "run.failed")},
    {"kinds": ("run.fired",)},
    {"company_id": UUID(int=1), "actor": "agent:x"},
    *({name: UUID(int=1)} for name in feed.THINGS),
]


class Explaining:
    """A connection that explains the queries of pages beside carrying them out."""

    def __init__(self, conn: Any) -> None:
        self.conn, self.plans = conn, list[Any]()

    def execute(self, query: Any, values: Any = None, **options: Any) -> Any:
        if "bytes_before" in (query if isinstance(query, str) else query.as_string(self.conn)):
            self.plans.append(self.conn.execute(SQL("EXPLAIN (FORMAT JSON) ") + query, values).fetchone()[0])
        return self.conn.execute(query, values, **options)


def test_no_page_reads_the_index_from_one_end_to_the_other(projected_story: Any, conn: Any):
    conn.execute(
        """INSERT INTO event SELECT md5(n || ' ' || position)::uuid, 100000 + n, md5((n % 50)::text)::uuid, stream_id, name,
            actor, routine_id, trigger_id, run_id, issue_id FROM event, generate_series(1, 50) n"""
    )
    conn.execute("ANALYZE event")
    explaining: Any = Explaining(conn)
    for filters in FILTERS:
        feed.page(explaining, Filters(**filters), order="asc", limit=100)
        feed.page(explaining, Filters(**filters), order="desc", limit=100)

    scanned = [node for node in _nodes_of_plan(explaining.plans) if node.get("Node Type") == "Seq Scan"]
    assert len(explaining.plans) == 2 * len(FILTERS)
    assert [] == [node for node in scanned if node["Relation Name"] == "event"]


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"routine_id": UUID(int=8), "actor": "user:rare"}, "actor"),
        ({"company_id": UUID(int=9), "actor": "user:rare"}, "actor"),
        ({"company_id": UUID(int=9), "kinds": ("goal.rare",), "routine_id": UUID(int=8)}, "name"),
        ({"company_id": UUID(int=9), "kinds": ("goal.deleted",), "routine_id": UUID(int=8)}, "routine_id"),
    ],
)
def test_what_is_rare_leads_the_search(conn: Any, monkeypatch: pytest.MonkeyPatch, filters: Any, index: str):
    monkeypatch.setattr(feed, "FEW", 10)
    conn.execute(
        """INSERT INTO event SELECT lpad(to_hex(n), 32, '0')::uuid, n, %s, md5(n::text)::uuid,
            CASE n WHEN 7 THEN 'goal.rare' ELSE 'goal.deleted' END, CASE n WHEN 7 THEN 'user:rare' ELSE 'user:busy' END,
            CASE WHEN n < 2000 THEN %s::uuid END FROM generate_series(1, 4000) n""",
        (UUID(int=9), UUID(int=8)),
    )
    conn.execute("ANALYZE event")
    explaining: Any = Explaining(conn)

    feed.page(explaining, Filters(**filters), order="desc", limit=100)

    (name,) = {node["Index Name"] for node in _nodes_of_plan(explaining.plans) if node.get("Relation Name") == "event"}
    assert f"{index}_position" in name


def test_a_page_that_is_not_found_in_time_is_refused_with_what_to_do(conn: Any, admin_url: str):
    with psycopg.connect(admin_url) as other:
        other.execute("LOCK TABLE read_models.event")
        with pytest.raises(RuleViolation, match=r"not found within 0\.05 s: .* Narrow it by from and to"):
            feed.page(conn, Filters(), limit=1, limit_s=0.05)

    assert len(feed.page(conn, Filters(), limit=1, limit_s=5)) == 0


def _nodes_of_plan(plan: Any) -> Any:
    match plan:
        case list():
            for part in plan:
                yield from _nodes_of_plan(part)
        case dict():
            yield plan
            for part in plan.values():
                yield from _nodes_of_plan(part)


@SHARED
@pytest.mark.parametrize("step", [timedelta(), timedelta(minutes=1)])
def test_a_period_has_the_events_that_were_recorded_within_it(
    conn: Any, log: list[Recorded], monkeypatch: pytest.MonkeyPatch, step: timedelta
):
    monkeypatch.setattr(feed, "CLOCK_STEP", step)
    entries = feed.page(conn, Filters(), order="asc", limit=ALL)
    moments = sorted({entry.recorded_at for entry in entries})
    for since, until in [
        (moments[0], moments[-1]),
        (moments[len(moments) // 3], moments[len(moments) // 2]),
        (moments[5], moments[5]),
        (moments[-1], None),
        (None, moments[0]),
        (moments[-1] + timedelta(microseconds=1), None),
        (None, moments[0] - timedelta(microseconds=1)),
    ]:
        within = [
            entry.position
            for entry in entries
            if (since is None or entry.recorded_at >= since) and (until is None or entry.recorded_at <= until)
        ]

        assert within == positions(conn, since=since, until=until)
        assert within == [entry.position for entry in entries if entry.meets(Filters(since=since, until=until))]
