"""Companies take turns, and a long tick looks again before it goes on."""

from datetime import timedelta
from functools import partial

import pytest

from domain.events import AlertUntaken, RunFired, TriggerDeleted
from processes.scheduler import batches
from processes.scheduler import scheduler as schedulers
from processes.scheduler.scheduler import Scheduler
from tests import waiting
from tests.processes.due import NOON, CompanyFixture

INSTANT = timedelta(microseconds=1)
LIMIT_S = 10.0
wait_for = partial(waiting.wait_for, limit_s=LIMIT_S)


def test_a_company_with_very_much_due_work_does_not_keep_another_waiting(executor, scheduler, conn, events_of):
    busy, quiet = CompanyFixture(executor), CompanyFixture(executor)
    busy.routines(300, next_at=NOON)
    [armed] = quiet.routines(next_at=NOON)

    scheduler.tick(conn)

    order = [run.event.trigger_id for run in events_of(RunFired)]
    assert 301 == len(order)
    assert order.index(armed.trigger_id) < 50 * (
        batches.MAX_CONCURRENT_BATCHES + 1
    )  # in the first batches, however threads take turns


def test_a_long_tick_looks_again_before_it_goes_on(executor, system, conn, clock, events_of):
    company_fixture = CompanyFixture(executor)
    company_fixture.routines(150, next_at=NOON)
    ticking = Scheduler(executor, system.store.after, batch=50 // batches.MAX_CONCURRENT_BATCHES)

    class Passing(type(clock)):
        def __call__(self):
            self.now += batches.SLICE
            return self.now

    executor.clock = Passing(NOON)

    assert 50 == ticking.tick(conn)
    assert 0.0 == ticking.pause_s(conn)
    assert 50 == ticking.tick(conn)
    assert 50 == ticking.tick(conn)
    assert 150 == len(events_of(RunFired))


@pytest.fixture
def hurried_scheduler(executor, system, monkeypatch):
    """A scheduler that has time for MAX_CONCURRENT_BATCHES batches of 25 in a tick, on a clock that stands still."""
    monkeypatch.setattr(batches, "SLICE", -INSTANT)
    return Scheduler(executor, system.store.after, batch=25)


def test_in_the_midst_of_a_backlog_it_goes_on_with_what_is_left(company_fixture, hurried_scheduler, conn, events_of):
    company_fixture.routines(150, next_at=NOON)

    ticks = []
    while (fired := hurried_scheduler.tick(conn)) or hurried_scheduler.pause_s(conn) == 0.0:
        ticks.append(fired)

    assert [50, 50, 50] == ticks
    assert 150 == len({run.event.trigger_id for run in events_of(RunFired)}) == len(events_of(RunFired))


def test_what_comes_due_in_the_midst_of_a_backlog_has_its_turn_at_once(
    executor, hurried_scheduler, conn, clock, events_of
):
    busy, quiet = CompanyFixture(executor), CompanyFixture(executor)
    busy.routines(300, next_at=NOON)
    [armed] = quiet.routines(next_at=NOON + INSTANT)
    hurried_scheduler.tick(conn)

    clock.now = NOON + INSTANT
    hurried_scheduler.tick(conn)

    assert armed.trigger_id in {run.event.trigger_id for run in events_of(RunFired)}
    assert 100 == len(events_of(RunFired))


def test_what_is_changed_in_the_midst_of_a_backlog_counts_for_what_is_left(
    company_fixture, hurried_scheduler, conn, clock, events_of
):
    schedules = company_fixture.routines(100, next_at=NOON)
    hurried_scheduler.tick(conn)
    fired = {run.event.trigger_id for run in events_of(RunFired)}
    company_fixture.record(
        *[(armed.trigger_id, [TriggerDeleted()]) for armed in schedules if armed.trigger_id not in fired]
    )

    assert 0 == hurried_scheduler.tick(conn)
    clock.now += schedulers.REFRESH
    assert 0 == hurried_scheduler.tick(conn)
    assert 50 == len(events_of(RunFired))


def test_a_company_with_very_many_alerts_does_not_keep_those_of_another_waiting(
    executor, hurried_scheduler, conn, clock, events_of
):
    busy, quiet, later = CompanyFixture(executor), CompanyFixture(executor), NOON + timedelta(minutes=1)
    busy.routines(100, next_at=NOON, cron="0 12 1 1 *")
    [armed] = quiet.routines(next_at=later, cron="0 12 1 1 *")
    for clock.now in (NOON, later):
        while hurried_scheduler.tick(conn):
            pass

    clock.now += timedelta(hours=1)
    hurried_scheduler.tick(conn)

    raised = [row.event.routine_id for row in events_of(AlertUntaken)]
    assert 50 == len(raised)
    assert armed.routine_id in raised
