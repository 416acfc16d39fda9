"""What is due fires once, at its time or late, by the policies of its routine."""

import threading
from collections import Counter
from datetime import timedelta
from functools import partial

import pytest

from application.execute import Executor
from domain.events import IssueMoved, IssueOpened, RunFired, SlotFreed, SlotTaken, TriggerMissed, TriggerUpdated
from domain.identity import run_of_occurrence, slot_of
from domain.values import Coalesced, Opened, Skipped, TriggerSettings
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from projections.engine import positions
from routines import bootstrap
from tests import waiting
from tests.processes.due import NOON, Clock

MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
LIMIT_S = 10.0
wait_for = partial(waiting.wait_for, limit_s=LIMIT_S)


def test_a_due_occurrence_fires_once(company_fixture, scheduler, conn, events_of):
    [armed] = company_fixture.routines(next_at=NOON)

    assert 1 == scheduler.tick(conn)
    assert 0 == scheduler.tick(conn)

    [run] = events_of(RunFired)
    assert run_of_occurrence(armed.trigger_id, NOON) == run.stream_id
    assert (NOON, NOON + MINUTE, "scheduler") == (run.event.occurrence, run.event.next_at, run.actor)
    assert isinstance(run.event.outcome, Opened)
    assert [run.event.outcome.issue_id] == [issue.stream_id for issue in events_of(IssueOpened)]
    assert [run.event.outcome.issue_id] == [taken.event.live.issue_id for taken in events_of(SlotTaken)]


def test_nothing_fires_before_its_time(company_fixture, scheduler, conn, clock, events_of):
    company_fixture.routines(3, next_at=NOON)

    clock.now = NOON - INSTANT
    assert 0 == scheduler.tick(conn)
    assert [] == events_of(RunFired)

    clock.now = NOON
    assert 3 == scheduler.tick(conn)


def test_what_is_due_when_it_looks_fires_though_the_clock_goes_back_meanwhile(
    company_fixture, scheduler, executor, conn, events_of
):
    """Otherwise nothing would wake it for that before half a minute is over."""
    company_fixture.routines(next_at=NOON, cron="0 * * * *")
    readings = iter([NOON])
    executor.clock = lambda: next(readings, NOON - timedelta(milliseconds=5))

    assert 1 == scheduler.tick(conn)
    assert [NOON] == [run.at for run in events_of(RunFired)]


def test_a_gate_stays_open_while_nobody_knows_what_has_happened_and_holds_once_nothing_has(  # noqa: PLR0917 fixtures
    company_fixture, scheduler, conn, clock, events_of, system
):
    company_fixture.routines(
        next_at=NOON, concurrency_policy="always_enqueue", activity_gate_policy="require_external_activity"
    )
    for _ in range(2):  # the read models show neither the routine nor its runs
        assert 1 == scheduler.tick(conn)
        clock.now += MINUTE
    while positions.advance(conn, catalogue.ALL, system.store.after):
        pass
    assert 1 == scheduler.tick(conn)

    assert [Opened, Opened, Skipped] == [type(run.event.outcome) for run in events_of(RunFired)]
    assert "no_external_activity" == events_of(RunFired)[-1].event.outcome.reason


def test_every_minute_has_its_run(company_fixture, scheduler, conn, clock, events_of):
    company_fixture.routines(2, next_at=NOON, concurrency_policy="always_enqueue")

    fired = []
    for minute in range(5):
        clock.now = NOON + minute * MINUTE
        fired.append(scheduler.tick(conn))

    assert [2] * 5 == fired
    assert Counter({NOON + n * MINUTE: 2 for n in range(5)}) == Counter(r.event.occurrence for r in events_of(RunFired))


def test_more_than_a_batch_is_settled_by_one_tick(company_fixture, scheduler, conn, events_of):
    company_fixture.routines(120, next_at=NOON)

    assert 120 == scheduler.tick(conn)
    assert 120 == len(events_of(RunFired))


def test_two_schedulers_at_once_fire_each_occurrence_once(company_fixture, system, events_of):
    armed = company_fixture.routines(150, next_at=NOON, triggers=2, concurrency_policy="always_enqueue")
    begin = threading.Barrier(2)
    fired = []

    def work(batch):
        executor = Executor(system.store, Clock(NOON + batch * INSTANT))  # equal bytes count as one's own
        scheduler = Scheduler(executor, system.store.after, batch)
        with bootstrap.connect(system.settings) as conn:
            begin.wait()
            fired.append(scheduler.tick(conn))

    threads = [threading.Thread(target=work, args=(batch,)) for batch in (20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 300 == sum(fired)
    assert sorted(run_of_occurrence(one.trigger_id, NOON) for one in armed) == sorted(
        run.stream_id for run in events_of(RunFired)
    )
    assert 300 == len(events_of(IssueOpened)) == len(events_of(SlotTaken))


def test_a_clock_that_was_ahead_and_is_set_back_fires_nothing_twice_and_leaves_nothing_out(
    company_fixture, scheduler, conn, clock, events_of
):
    always = {"concurrency_policy": "always_enqueue", "catch_up_policy": "enqueue_missed_with_cap"}
    steady, edited = company_fixture.routines(2, next_at=NOON, **always)
    clock.now = NOON + 3 * MINUTE  # it is noon
    while scheduler.tick(conn):
        pass

    clock.now = NOON
    again = TriggerSettings(cron_expression=edited.cron, timezone="UTC", label="edited")
    company_fixture.record((edited.trigger_id, [TriggerUpdated(settings=again, next_at=NOON + MINUTE)]))
    for minute in range(7):
        clock.now = NOON + minute * MINUTE
        scheduler.tick(conn)

    moments = Counter((run.event.trigger_id, run.event.occurrence) for run in events_of(RunFired))
    assert {1} == set(moments.values())
    assert {(one.trigger_id, NOON + n * MINUTE) for one in (steady, edited) for n in range(7)} == moments.keys()


def test_what_was_missed_is_recorded_as_one_range_and_not_run(company_fixture, scheduler, conn, clock, events_of):
    company_fixture.routines(next_at=NOON, catch_up_policy="skip_missed")
    clock.now = NOON + 90 * MINUTE

    scheduler.tick(conn)

    [missed] = events_of(TriggerMissed)
    assert (NOON, NOON + 88 * MINUTE, 89) == (missed.event.first, missed.event.last, missed.event.count)
    assert [NOON + 89 * MINUTE, NOON + 90 * MINUTE] == [run.event.occurrence for run in events_of(RunFired)]
    assert 0 == scheduler.tick(conn)


def test_what_was_missed_is_made_up_for_up_to_a_cap(company_fixture, scheduler, conn, clock, events_of):
    policies = {"catch_up_policy": "enqueue_missed_with_cap", "concurrency_policy": "always_enqueue"}
    company_fixture.routines(next_at=NOON, **policies)
    clock.now = NOON + 40 * MINUTE + timedelta(seconds=30)

    scheduler.tick(conn)

    minutes = [(run.event.occurrence - NOON) // MINUTE for run in events_of(RunFired)]
    [missed] = events_of(TriggerMissed)
    assert [*range(25), 40] == minutes
    assert (25, 39, 15) == (
        (missed.event.first - NOON) // MINUTE,
        (missed.event.last - NOON) // MINUTE,
        missed.event.count,
    )
    assert 0 == scheduler.tick(conn)


def test_a_late_occurrence_runs_within_the_grace(company_fixture, scheduler, conn, clock, events_of):
    company_fixture.routines(next_at=NOON, cron="0 12 * * *")
    clock.now = NOON + timedelta(seconds=60)

    assert 1 == scheduler.tick(conn)
    assert [] == events_of(TriggerMissed)


def test_an_occurrence_too_late_has_missed_as_its_one_outcome(company_fixture, scheduler, conn, clock, events_of):
    company_fixture.routines(next_at=NOON, cron="0 12 * * *")
    clock.now = NOON + timedelta(seconds=60) + INSTANT

    assert 0 == scheduler.tick(conn)
    assert 0 == scheduler.tick(conn)
    assert [(NOON, NOON, 1)] == [(m.event.first, m.event.last, m.event.count) for m in events_of(TriggerMissed)]
    assert [] == events_of(RunFired)


OUTCOMES = {
    "coalesce_if_active": [Opened, Coalesced],
    "skip_if_active": [Opened, Skipped],
    "always_enqueue": [Opened, Opened],
    "cancel_previous": [Opened, Opened],
}


@pytest.mark.parametrize("policy", OUTCOMES)
def test_two_schedules_of_a_routine_in_one_batch_keep_its_policy(company_fixture, scheduler, conn, events_of, policy):
    company_fixture.routines(next_at=NOON, triggers=2, concurrency_policy=policy)

    assert 2 == scheduler.tick(conn)

    runs = events_of(RunFired)
    opened = [run.event.outcome.issue_id for run in runs if isinstance(run.event.outcome, Opened)]
    assert OUTCOMES[policy] == [type(run.event.outcome) for run in runs]
    assert opened == [issue.stream_id for issue in events_of(IssueOpened)]
    assert all(run.event.outcome.issue_id in opened for run in runs)


def test_the_next_occurrence_opens_again_once_the_issue_is_done(company_fixture, scheduler, conn, clock, events_of):
    [armed] = company_fixture.routines(next_at=NOON)
    scheduler.tick(conn)
    [issue] = events_of(IssueOpened)
    event = SlotFreed(routine_id=armed.routine_id, issue_id=issue.stream_id)
    done = (issue.stream_id, [IssueMoved(status="done")]), (slot_of(armed.routine_id), [event])

    clock.now = NOON + MINUTE
    scheduler.tick(conn)
    company_fixture.record(*done)
    clock.now = NOON + 2 * MINUTE
    scheduler.tick(conn)

    assert [Opened, Coalesced, Opened] == [type(run.event.outcome) for run in events_of(RunFired)]
