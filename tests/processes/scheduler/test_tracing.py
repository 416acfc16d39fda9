"""What a scheduler's trace and log lines say of a tick: ids and counts down to the issue, and no more than that."""

from datetime import timedelta

import pytest
from opentelemetry.trace import StatusCode
from structlog.testing import capture_logs

from application import tracing
from application.execute import Executor
from domain.events import IssueOpened, RunFired
from processes.scheduler import batch_report
from processes.scheduler.scheduler import Scheduler
from tests.processes.due import NOON, Clock, CompanyFixture
from tests.spans import Spans

MINUTE, INSTANT = timedelta(minutes=1), timedelta(milliseconds=4)


@pytest.fixture
def executor(system):
    return Executor(system.store, Clock(NOON + INSTANT))


@pytest.fixture
def company_fixture(executor):
    return CompanyFixture(executor)


@pytest.fixture
def scheduler(executor, system):
    return Scheduler(executor, system.store.after, batch=50)


@pytest.fixture
def spans(company_fixture, monkeypatch):
    return Spans(monkeypatch)


def only_event(system, kind):
    (event,) = [recorded for recorded in system.store.history() if isinstance(recorded.event, kind)]
    return event


def lines_of_tick(scheduler, conn, event):
    with capture_logs() as lines:
        scheduler.tick(conn)
    return [line for line in lines if line["event"] == event]


def test_a_trace_leads_from_the_tick_to_the_issue(company_fixture, scheduler, conn, system, spans):
    [armed] = company_fixture.routines(next_at=NOON)

    scheduler.tick(conn)

    [firing] = spans.named("firing")
    run, issue = only_event(system, RunFired), only_event(system, IssueOpened)
    assert ["settle", "tick"] == spans.parents(firing)
    assert ["settle", "tick"] == spans.parents(spans.named("unit of work")[-1])
    assert {
        "routines.trigger_id": str(armed.trigger_id),
        "routines.routine_id": str(armed.routine_id),
        "routines.run_id": str(run.stream_id),
        "routines.issue_id": str(issue.stream_id),
        "routines.occurrence": "2026-03-02T12:00:00Z",
        "routines.lateness_s": 0.004,
        "routines.outcome": "issue_created",
        "routines.position": run.position,
    } == dict(firing.attributes)
    assert {"routines.schedules": 1} == dict(spans.named("settle")[0].attributes)


def test_each_of_many_firings_has_a_span_of_its_own(company_fixture, scheduler, conn, spans):
    armed = company_fixture.routines(120, next_at=NOON)

    scheduler.tick(conn)

    trigger_ids = [firing.attributes["routines.trigger_id"] for firing in spans.named("firing")]
    assert sorted(str(one.trigger_id) for one in armed) == sorted(trigger_ids)
    # Batches are settled by several threads, so that they end in any order.
    assert [20, 50, 50] == sorted(settle.attributes["routines.schedules"] for settle in spans.named("settle"))
    assert 1 == len(spans.named("tick"))


def test_a_tick_that_finds_nothing_due_leaves_no_trace(company_fixture, scheduler, conn, spans):
    company_fixture.routines(next_at=NOON + MINUTE)
    before = len(spans.all)

    scheduler.tick(conn)

    assert before == len(spans.all)


def test_what_fails_is_told_by_its_kind_alone(company_fixture, scheduler, conn, spans):
    company_fixture.routines(next_at=NOON, zone="Atlantis/Capital")

    with capture_logs():
        scheduler.tick(conn)

    [settle] = spans.named("settle")
    assert StatusCode.ERROR == settle.status.status_code
    assert settle.status.description is None
    assert ["error.type", "routines.schedules"] == sorted(settle.attributes)
    assert () == settle.events


def test_no_span_holds_what_the_work_is_about(company_fixture, scheduler, conn, spans):
    company_fixture.routines(next_at=NOON, description="Ask about Atlantis")

    scheduler.tick(conn)

    attribute_texts = [str(value) for span in spans.all for value in span.attributes.values()]
    assert not [value for value in attribute_texts if "inbox" in value or "Atlantis" in value]


def test_while_nobody_keeps_spans_there_are_none(company_fixture, scheduler, conn):
    company_fixture.routines(next_at=NOON)

    assert 1 == scheduler.tick(conn)
    with tracing.span("firing") as span:
        assert not span.is_recording()


# Log lines


def test_a_firing_is_one_line_with_its_ids_counts_and_positions(company_fixture, scheduler, conn, system):
    [armed] = company_fixture.routines(next_at=NOON)

    [line] = lines_of_tick(scheduler, conn, "fired")

    [firing] = line.pop("firings")
    assert {
        "event": "fired",
        "log_level": "info",
        "process": "scheduler",
        "schedules": 1,
        "runs": 1,
        "outcomes": {"issue_created": 1},
        "missed": 0,
        "latest_s": 0.004,
        "first_position": only_event(system, RunFired).position,
        "position": system.store.head(),
    } == line
    assert (str(armed.trigger_id), str(only_event(system, RunFired).stream_id)) == (
        firing["trigger_id"],
        firing["run_id"],
    )


def test_of_many_firings_a_line_says_how_many_and_where_they_are(company_fixture, scheduler, conn, system):
    company_fixture.routines(batch_report.MOST_NAMED + 1, next_at=NOON)
    before = system.store.head()

    [line] = lines_of_tick(scheduler, conn, "fired")

    assert (11, 11, before + 1, system.store.head()) == tuple(
        line[name] for name in ("schedules", "runs", "first_position", "position")
    )
    assert "firings" not in line


def test_what_was_only_missed_is_said_too(company_fixture, scheduler, conn):
    company_fixture.routines(next_at=NOON - 10 * MINUTE, cron="*/5 * * * *")

    [line] = lines_of_tick(scheduler, conn, "fired")

    assert (1, 2) == (line["runs"], line["missed"])


def test_a_firing_that_failed_is_named(company_fixture, scheduler, conn):
    [armed] = company_fixture.routines(next_at=NOON, zone="Atlantis/Capital")

    [line] = lines_of_tick(scheduler, conn, "firing_failed")

    assert {
        "trigger_id": str(armed.trigger_id),
        "trigger_version": 1,
        "routine_id": str(armed.routine_id),
        "next_at": "2026-03-02T12:00:00Z",
    }.items() <= line.items()
