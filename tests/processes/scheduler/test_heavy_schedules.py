"""Schedules whose histories are too much to be read at once keep nobody from firing, and no process forever busy."""

from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import OperationalError
from structlog.testing import capture_logs

from application.event_store.store import EventStore
from application.event_store.stream_cache import StreamCache
from application.execute import Executor
from domain.bounds.limits import KIB, Limits
from domain.events import IssueOpened, RoutineUpdated, RunFired, SlotTaken
from domain.identity import slot_of
from domain.values import Failed, IssueDetails, LiveWork, RoutineSettings
from processes.scheduler import quarantine
from processes.scheduler.prefetch import PREFETCH_WINDOW
from processes.scheduler.scheduler import Scheduler
from projections.engine import isolation
from tests.processes.due import NOON

TEXT = "x" * (50 * KIB)
LIMITS = Limits(max_read_bytes=400 * KIB, max_cached_stream_bytes=500 * KIB)


class Measured:
    """A recorder that knows the most bytes that it was asked for at once, and may be slow for many streams."""

    def __init__(self, recorder):
        self._recorder = recorder
        self.most = 0
        self.slow_from = None  # streams that take longer than Postgres allows
        self.error = psycopg.errors.QueryCanceled("canceling statement due to statement timeout")

    def __getattr__(self, name):
        return getattr(self._recorder, name)

    def select_streams(self, stream_ids, *args):
        if self.slow_from is not None and len(stream_ids) >= self.slow_from:
            raise OperationalError(str(self.error)) from self.error
        events = self._recorder.select_streams(stream_ids, *args)
        self.most = max(self.most, sum(len(event.state) for event in events))
        return events


@pytest.fixture
def measuring_recorder(system):
    return Measured(system.store.recorder)


@pytest.fixture
def bounded_scheduler(measuring_recorder, clock):
    """A scheduler with little room to read, and a memory."""
    store = EventStore(measuring_recorder, LIMITS)
    return Scheduler(Executor(store, clock, cache=StreamCache(LIMITS)), store.after, batch=50)


def edit(company_fixture, rows, times=3):
    """Gives the routine of each as many large revisions."""
    for row in rows:
        settings = RoutineSettings(title="Check", description=TEXT, assignee_agent_id=company_fixture.agent_id)
        company_fixture.record((row.routine_id, [RoutineUpdated(settings=settings)] * times))


def test_a_batch_that_is_too_much_to_read_is_settled_in_parts(
    company_fixture, bounded_scheduler, measuring_recorder, conn, events_of
):
    rows = company_fixture.routines(12, next_at=NOON)
    edit(company_fixture, rows)

    assert 12 == bounded_scheduler.tick(conn)

    assert {row.trigger_id for row in rows} == {run.event.trigger_id for run in events_of(RunFired)}
    assert measuring_recorder.most <= 400 * KIB + len(TEXT) + KIB


def test_one_company_that_is_too_much_to_read_does_not_keep_the_others_waiting(
    company_fixture, bounded_scheduler, conn, events_of
):
    heavy = company_fixture.routines(1, next_at=NOON - timedelta(minutes=1))
    edit(company_fixture, heavy, times=10)
    light = company_fixture.routines(20, next_at=NOON)

    with capture_logs():
        assert 20 == bounded_scheduler.tick(conn)

    assert {row.trigger_id for row in light} == {run.event.trigger_id for run in events_of(RunFired)}


@pytest.mark.parametrize("error", ["57014", "53200", "54000"])
def test_a_batch_that_the_database_refuses_is_settled_in_parts(
    company_fixture, bounded_scheduler, measuring_recorder, conn, error
):
    company_fixture.routines(10, next_at=NOON)
    measuring_recorder.slow_from, measuring_recorder.error = 7, psycopg.errors.lookup(error)("too much")

    assert 10 == bounded_scheduler.tick(conn)


def test_a_schedule_that_always_takes_too_long_is_recorded_as_failed(  # noqa: PLR0917 its fixtures
    company_fixture, bounded_scheduler, measuring_recorder, conn, clock, events_of
):
    company_fixture.routines(1, next_at=NOON)
    measuring_recorder.slow_from = 2

    with capture_logs():
        for attempt in range(quarantine.PATIENCE):
            clock.now = NOON + attempt * quarantine.REST
            bounded_scheduler.tick(conn)

    (run,) = events_of(RunFired)
    assert Failed(reason="The occurrence could not be carried out: OperationalError") == run.event.outcome


def test_a_schedule_whose_open_issues_are_too_much_to_read_is_recorded_as_failed(
    company_fixture, bounded_scheduler, conn, clock, events_of
):
    (row,) = company_fixture.routines(1, next_at=NOON)
    live = [LiveWork(issue_id=uuid4(), run_id=uuid4()) for _ in range(10)]
    for one in live:
        event = IssueOpened(details=IssueDetails(title="Look", description=TEXT), status="todo")
        company_fixture.record((one.issue_id, [event]))
    company_fixture.record((slot_of(row.routine_id), [SlotTaken(routine_id=row.routine_id, live=one) for one in live]))

    with capture_logs():
        for attempt in range(quarantine.PATIENCE):
            clock.now = NOON + attempt * quarantine.REST
            bounded_scheduler.tick(conn)

    (run,) = events_of(RunFired)
    assert Failed(reason="The occurrence could not be carried out: Oversized") == run.event.outcome


def test_a_database_that_is_away_is_still_waited_for(company_fixture, bounded_scheduler, measuring_recorder, conn):
    company_fixture.routines(10, next_at=NOON)
    measuring_recorder.slow_from, measuring_recorder.error = 1, psycopg.OperationalError("the connection is lost")

    with pytest.raises(OperationalError):
        bounded_scheduler.tick(conn)


@pytest.mark.parametrize("slow_from", [None, 7])
def test_what_is_too_much_to_be_read_ahead_is_read_in_parts(  # noqa: PLR0917 its fixtures
    company_fixture, bounded_scheduler, measuring_recorder, conn, clock, slow_from
):
    rows = company_fixture.routines(12, next_at=NOON)
    if slow_from is None:
        edit(company_fixture, rows[:6], times=2)
        edit(company_fixture, rows[6:7], times=10)
    measuring_recorder.slow_from = slow_from
    clock.now = NOON - PREFETCH_WINDOW

    steps = 0
    bounded_scheduler.tick(conn)
    while bounded_scheduler.pause_s(conn) == 0:
        bounded_scheduler.tick(conn)
        steps += 1

    assert steps < 30
    cached = bounded_scheduler._executor.cache
    assert {row.routine_id for row in rows if cached.get(row.routine_id) is None} <= {rows[6].routine_id}


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (psycopg.errors.QueryCanceled(), False),
        (psycopg.errors.OutOfMemory(), False),
        (psycopg.errors.ProgramLimitExceeded(), False),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.TooManyConnections(), True),
        (psycopg.errors.ReadOnlySqlTransaction(), True),
        (psycopg.errors.DiskFull(), True),
        (psycopg.OperationalError("the connection is lost"), True),
        (ValueError(), False),
    ],
)
def test_a_database_that_answers_is_not_away(error, away):
    wrapped = OperationalError(str(error))
    wrapped.__cause__ = error

    assert away == isolation.is_away(error)
    assert away == isolation.is_away(wrapped)
    assert isolation.is_away(OperationalError("no cause is known"))
