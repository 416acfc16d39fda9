"""The backlog: how many schedules are due, and since when; at a price that does not grow with those that are not."""

from datetime import timedelta

import pytest

from projections.firing import backlog
from tests.projections.story import MINUTE, START

MANY = 20_000  # schedules
ONE = START.replace(hour=13, minute=0, second=0)


def count_waiting(story, until, most=100):
    due = backlog.backlog(story.conn, until, most)
    return due.count, due.first_at


def nodes(plan):
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


@pytest.fixture
def acme(story):
    return story.company()


@pytest.fixture
def scout(story, acme):
    return story.agent(acme)


def test_the_backlog_is_what_is_due_and_the_first_of_it(story, acme, scout):
    hourly, half_hourly = story.routine(acme, scout), story.routine(acme, scout)
    story.schedule(hourly)
    story.schedule(half_hourly, "*/30 * * * *")
    story.schedule(hourly, enabled=False)
    story.schedule(story.routine(acme, scout, status="paused"))
    story.project_all()

    assert (0, None) == count_waiting(story, START)
    assert (1, ONE - 30 * MINUTE) == count_waiting(story, ONE - MINUTE)
    assert (2, ONE - 30 * MINUTE) == count_waiting(story, ONE)
    assert (1, ONE - 30 * MINUTE) == count_waiting(story, ONE, most=1)
    assert (2, ONE - 30 * MINUTE) == count_waiting(story, backlog.ANY_TIME)


SCHEDULES = """
    INSERT INTO schedule
    SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, at, at, false, true, true, false
    FROM (SELECT %s::timestamptz + n * interval '1 second' AS at FROM generate_series(1, %s) n) times"""


def test_the_backlog_is_a_scan_of_an_index_however_many_schedules_there_are(conn):
    conn.execute(SCHEDULES, (START, MANY))
    conn.execute("ANALYZE schedule")

    values = {"until": START + timedelta(seconds=100), "most": 1_000}
    (plan,) = conn.execute("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + backlog._BACKLOG, values).fetchone()

    scans = [node for node in nodes(plan[0]["Plan"]) if "Scan" in node["Node Type"]]
    assert scans
    assert {"Index Scan", "Index Only Scan", "Bitmap Index Scan", "Bitmap Heap Scan"} >= {
        scan["Node Type"] for scan in scans
    }
    assert 100 == max(scan["Actual Rows"] for scan in scans)
    assert (100, START + timedelta(seconds=1)) == tuple(conn.execute(backlog._BACKLOG, values).fetchone())
