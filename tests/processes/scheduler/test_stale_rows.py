"""What changes between the scheduler's reading and its firing counts."""

from datetime import timedelta
from functools import partial

import pytest

from application.execute import Executor
from application.use_cases import schedule_firing
from domain.events import RoutineUpdated, RunFired, TriggerDeleted, TriggerUpdated
from domain.values import RoutineSettings, TriggerSettings
from processes.scheduler.scheduler import Scheduler
from projections.engine import positions
from projections.firing import triggers_due
from tests import waiting
from tests.processes.due import NOON

MINUTE = timedelta(minutes=1)
LIMIT_S = 10.0
wait_for = partial(waiting.wait_for, limit_s=LIMIT_S)


def delete(company_fixture, armed):
    company_fixture.record((armed.trigger_id, [TriggerDeleted()]))


def disable(company_fixture, armed):
    off = TriggerSettings(cron_expression=armed.cron, timezone="UTC", enabled=False)
    company_fixture.record((armed.trigger_id, [TriggerUpdated(settings=off, next_at=armed.next_at)]))


def edit(company_fixture, armed):
    hourly = TriggerSettings(cron_expression="30 * * * *", timezone="UTC")
    company_fixture.record((armed.trigger_id, [TriggerUpdated(settings=hourly, next_at=NOON + 30 * MINUTE)]))


def _set_status(company_fixture, armed, status):
    settings = RoutineSettings(title="Check the inbox", assignee_agent_id=company_fixture.agent_id, status=status)
    company_fixture.record((armed.routine_id, [RoutineUpdated(settings=settings)]))


def pause(company_fixture, armed):
    _set_status(company_fixture, armed, "paused")


def archive(company_fixture, armed):
    _set_status(company_fixture, armed, "archived")


CHANGES = (delete, disable, edit, pause, archive)


def test_rows_that_have_become_stale_do_nothing(company_fixture, scheduler, conn, events_of):
    *changed, other = armed = company_fixture.routines(len(CHANGES) + 1, next_at=NOON)
    triggers = triggers_due.triggers_due
    positions.advance(conn, [triggers], company_fixture.executor.store.after)
    rows = triggers_due.due(conn, NOON, limit=10)
    assert {one.trigger_id for one in armed} == {row.trigger_id for row in rows}

    for change, one in zip(CHANGES, changed, strict=True):
        change(company_fixture, one)

    assert 1 == scheduler._batches.settle(rows, schedule_firing.fire_due)
    assert [other.trigger_id] == [run.event.trigger_id for run in events_of(RunFired)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_comes_between_deciding_and_recording_wins(company_fixture, system, conn, events_of, change):
    armed, other = company_fixture.routines(2, next_at=NOON)
    clock = company_fixture.executor.clock
    changes = iter([lambda: change(company_fixture, armed)])

    class Late(type(system.store)):
        def append(self, batch, guards=(), stored=None):
            for late in changes:
                late()
            return super().append(batch, guards, stored)

    racing = Scheduler(Executor(Late(system.store.recorder), clock), system.store.after, batch=50)

    assert 1 == racing.tick(conn)
    assert [other.trigger_id] == [run.event.trigger_id for run in events_of(RunFired)]
    assert 0 == racing.tick(conn)


def test_an_edited_schedule_follows_its_new_times_only(company_fixture, scheduler, conn, clock, events_of):
    [armed] = company_fixture.routines(next_at=NOON)
    edit(company_fixture, armed)

    clock.now = NOON + 30 * MINUTE
    scheduler.tick(conn)

    assert [NOON + 30 * MINUTE] == [run.event.occurrence for run in events_of(RunFired)]
