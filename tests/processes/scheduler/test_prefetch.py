"""What a firing rests on is read before its time."""

from datetime import timedelta
from functools import partial

import pytest

from application.event_store.store import EventStore
from application.event_store.stream_cache import StreamCache
from application.execute import Executor
from domain.events import RoutineUpdated, RunFired
from domain.values import RoutineSettings
from processes.scheduler.prefetch import PREFETCH_WINDOW
from processes.scheduler.scheduler import Scheduler
from tests import waiting
from tests.processes.due import NOON

LIMIT_S = 10.0
wait_for = partial(waiting.wait_for, limit_s=LIMIT_S)


class Counting:
    """A recorder that says how often streams were read."""

    def __init__(self, recorder):
        self._recorder = recorder
        self.reads = 0

    def __getattr__(self, name):
        return getattr(self._recorder, name)

    def select_streams(self, *args):
        self.reads += 1
        return self._recorder.select_streams(*args)


@pytest.fixture
def counting_recorder(system):
    return Counting(system.store.recorder)


@pytest.fixture
def caching_scheduler(counting_recorder, clock):
    """A scheduler with a memory."""
    store = EventStore(counting_recorder)
    return Scheduler(Executor(store, clock, cache=StreamCache()), store.after, batch=50)


def read_ahead(scheduler, conn):
    """All that it reads ahead now, a batch at a time."""
    scheduler.tick(conn)
    while scheduler.pause_s(conn) == 0:
        scheduler.tick(conn)


def test_what_a_firing_rests_on_is_read_before_its_time(
    company_fixture, caching_scheduler, counting_recorder, conn, clock
):
    company_fixture.routines(120, next_at=NOON)
    clock.now = NOON - PREFETCH_WINDOW
    read_ahead(caching_scheduler, conn)
    before = counting_recorder.reads

    clock.now = NOON

    assert 120 == caching_scheduler.tick(conn)
    assert before == counting_recorder.reads


def test_what_changes_after_it_was_read_ahead_counts(company_fixture, caching_scheduler, conn, clock, events_of):
    paused, retitled = company_fixture.routines(2, next_at=NOON)
    clock.now = NOON - PREFETCH_WINDOW
    read_ahead(caching_scheduler, conn)

    company_fixture.record((paused.routine_id, [RoutineUpdated(settings=RoutineSettings(title="No", status="paused"))]))
    company_fixture.record((retitled.routine_id, [RoutineUpdated(settings=RoutineSettings(title="New"))]))
    clock.now = NOON
    caching_scheduler.tick(conn)

    assert [retitled.routine_id] == [run.event.routine_id for run in events_of(RunFired)]
    assert [3] == [run.event.revision for run in events_of(RunFired)]


def test_what_has_fired_elsewhere_since_a_tick_began_does_not_fire_again(
    company_fixture, caching_scheduler, scheduler, conn, clock
):
    company_fixture.routines(60, next_at=NOON)
    clock.now = NOON - PREFETCH_WINDOW
    read_ahead(caching_scheduler, conn)
    clock.now = NOON
    seen = caching_scheduler._find_due(conn, NOON)

    assert 60 == scheduler.tick(conn)
    caching_scheduler._find_due = lambda *_: seen

    head = company_fixture.executor.store.head()
    assert 0 == caching_scheduler.tick(conn)
    assert head == company_fixture.executor.store.head()


def test_a_clock_that_is_set_back_does_not_stop_the_reading_ahead(
    company_fixture, caching_scheduler, counting_recorder, conn, clock
):
    clock.now = NOON + timedelta(days=2)
    caching_scheduler.tick(conn)

    clock.now = NOON
    company_fixture.routines(next_at=NOON + timedelta(seconds=3))
    before = counting_recorder.reads
    caching_scheduler.tick(conn)

    assert before < counting_recorder.reads
