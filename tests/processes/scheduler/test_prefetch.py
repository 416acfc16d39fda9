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
def counting(system):
    return Counting(system.store.recorder)


@pytest.fixture
def foreseeing(counting, clock):
    """A scheduler with a memory."""
    store = EventStore(counting)
    return Scheduler(Executor(store, clock, cache=StreamCache()), store.after, batch=50)


def read_ahead(scheduler, conn):
    """All that it reads ahead now, a batch at a time."""
    scheduler.tick(conn)
    while scheduler.pause_s(conn) == 0:
        scheduler.tick(conn)


def test_what_a_firing_rests_on_is_read_before_its_time(company_fixture, foreseeing, counting, conn, clock):
    company_fixture.routines(120, next_at=NOON)
    clock.now = NOON - PREFETCH_WINDOW
    read_ahead(foreseeing, conn)
    before = counting.reads

    clock.now = NOON

    assert 120 == foreseeing.tick(conn)
    assert before == counting.reads


def test_what_changes_after_it_was_read_ahead_counts(company_fixture, foreseeing, conn, clock, happened):
    paused, retitled = company_fixture.routines(2, next_at=NOON)
    clock.now = NOON - PREFETCH_WINDOW
    read_ahead(foreseeing, conn)

    company_fixture.record((paused.routine_id, [RoutineUpdated(settings=RoutineSettings(title="No", status="paused"))]))
    company_fixture.record((retitled.routine_id, [RoutineUpdated(settings=RoutineSettings(title="New"))]))
    clock.now = NOON
    foreseeing.tick(conn)

    assert [retitled.routine_id] == [run.event.routine_id for run in happened(RunFired)]
    assert [3] == [run.event.revision for run in happened(RunFired)]


def test_what_has_fired_elsewhere_since_a_tick_began_does_not_fire_again(
    company_fixture, foreseeing, scheduler, conn, clock
):
    company_fixture.routines(60, next_at=NOON)
    clock.now = NOON - PREFETCH_WINDOW
    read_ahead(foreseeing, conn)
    clock.now = NOON
    seen = foreseeing._find_due(conn, NOON)

    assert 60 == scheduler.tick(conn)
    foreseeing._find_due = lambda *_: seen

    head = company_fixture.executor.store.head()
    assert 0 == foreseeing.tick(conn)
    assert head == company_fixture.executor.store.head()


def test_a_clock_that_is_set_back_does_not_stop_the_reading_ahead(company_fixture, foreseeing, counting, conn, clock):
    clock.now = NOON + timedelta(days=2)
    foreseeing.tick(conn)

    clock.now = NOON
    company_fixture.routines(next_at=NOON + timedelta(seconds=3))
    before = counting.reads
    foreseeing.tick(conn)

    assert before < counting.reads
