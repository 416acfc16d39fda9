"""Troubles of routines, which the scheduler raises as alerts, once each."""

import threading
from datetime import timedelta

from application.execute import Executor
from domain.events import (
    AlertClosed,
    AlertFailing,
    AlertMissed,
    AlertOverdue,
    AlertRecovered,
    AlertStuck,
    AlertUntaken,
    IssueCheckedOut,
    IssueMoved,
    RoutineUpdated,
    RunCompleted,
    RunFailed,
    RunFired,
    SlotFreed,
    TriggerMissed,
)
from domain.identity import slot_of
from domain.values import AlertBounds, IssueStatus, RoutineSettings
from processes.scheduler.scheduler import Scheduler
from routines import bootstrap
from tests.processes.due import NOON, Clock

HOUR = timedelta(hours=1)
RAISED = AlertFailing | AlertMissed | AlertOverdue | AlertStuck | AlertUntaken


def alerts_told(events_of):
    """The kinds of alert that were raised, in order, and those that were closed."""
    raised = [row.name.removeprefix("alert.") for row in events_of(RAISED)]
    closed = events_of(AlertRecovered | AlertClosed)
    return raised, [getattr(row.event, "kind", "failing") for row in closed]


def fire_run(company_fixture, scheduler, conn, events_of, **settings):
    """The run of a routine whose next occurrence is far, and its issue."""
    company_fixture.routines(next_at=NOON, cron="0 12 1 1 *", **settings)
    scheduler.tick(conn)
    run = events_of(RunFired)[-1]
    return run.stream_id, run.event.outcome.issue_id, run.event.routine_id


def end(company_fixture, run, issue, routine, event, **by):
    """The run ends, as the use cases record it."""
    status: IssueStatus = "done" if isinstance(event, RunCompleted) else "cancelled"
    company_fixture.record(
        (issue, [IssueMoved(status=status)]),
        (run, [event]),
        (slot_of(routine), [SlotFreed(routine_id=routine, issue_id=issue)]),
        **by,
    )


def test_work_that_nobody_takes_is_told_once_and_closed_when_somebody_does(
    company_fixture, scheduler, conn, clock, events_of
):
    run, issue, _ = fire_run(company_fixture, scheduler, conn, events_of)
    clock.now = NOON + HOUR - timedelta(microseconds=1)
    scheduler.tick(conn)
    assert ([], []) == alerts_told(events_of)

    clock.now = NOON + HOUR
    for _ in range(3):
        scheduler.tick(conn)
    [alert] = events_of(AlertUntaken)
    assert (run, issue, "Check the inbox") == (alert.event.run_id, alert.event.subject_id, alert.event.title)
    company_fixture.record((issue, [IssueCheckedOut(agent_id=company_fixture.agent_id, run_id=None)]))
    for _ in range(3):
        scheduler.tick(conn)

    assert (["untaken"], ["untaken"]) == alerts_told(events_of)


def test_work_that_is_taken_in_time_is_no_alert_until_it_is_stuck(company_fixture, scheduler, conn, clock, events_of):
    run, issue, routine = fire_run(company_fixture, scheduler, conn, events_of)
    clock.now = NOON + timedelta(minutes=1)
    company_fixture.record((issue, [IssueCheckedOut(agent_id=company_fixture.agent_id, run_id=None)]))
    clock.now += 6 * HOUR
    for _ in range(2):
        scheduler.tick(conn)
    assert (["stuck"], []) == alerts_told(events_of)

    end(company_fixture, run, issue, routine, RunCompleted())
    for _ in range(2):
        scheduler.tick(conn)

    assert (["stuck"], ["stuck"]) == alerts_told(events_of)


def test_a_run_that_has_not_ended_in_time_is_overdue_counted_from_its_planned_moment(
    company_fixture, scheduler, conn, clock, events_of
):
    bounds = AlertBounds(untaken_after_sec=None, overdue_after_sec=600)
    clock.now = NOON + timedelta(seconds=30)
    fire_run(company_fixture, scheduler, conn, events_of, alert_bounds=bounds)

    clock.now = NOON + timedelta(seconds=599)
    scheduler.tick(conn)
    assert ([], []) == alerts_told(events_of)
    clock.now = NOON + timedelta(seconds=600)
    scheduler.tick(conn)

    assert [(NOON, 600)] == [(row.event.since, row.event.bound_sec) for row in events_of(AlertOverdue)]


def test_the_first_of_several_failures_is_told_and_the_first_success_after_them(
    company_fixture, scheduler, conn, clock, events_of
):
    quiet = {"alert_bounds": AlertBounds(untaken_after_sec=None)}
    [armed] = company_fixture.routines(next_at=NOON, concurrency_policy="always_enqueue", **quiet)
    failures = [RunFailed(reason="exit status 3"), RunFailed(reason="exit status 4")]
    for minute, event in enumerate([*failures, RunCompleted(), RunCompleted()]):
        clock.now = NOON + timedelta(minutes=minute)
        scheduler.tick(conn)
        run = events_of(RunFired)[-1]
        end(company_fixture, run.stream_id, run.event.outcome.issue_id, armed.routine_id, event)
        scheduler.tick(conn)
    scheduler.tick(conn)

    runs = [run.stream_id for run in events_of(RunFired)]
    assert (["failing"], ["failing"]) == alerts_told(events_of)
    assert [("exit status 3", runs[0])] == [(row.event.reason, row.event.run_id) for row in events_of(AlertFailing)]
    assert [(2, runs[2])] == [(row.event.failures, row.event.run_id) for row in events_of(AlertRecovered)]


def test_what_a_person_cancels_is_no_failure_and_an_archived_routine_fails_no_more(
    company_fixture, scheduler, conn, clock, events_of
):
    run, issue, routine = fire_run(company_fixture, scheduler, conn, events_of)
    end(company_fixture, run, issue, routine, RunFailed(reason="not needed"), actor=f"user:{company_fixture.agent_id}")
    scheduler.tick(conn)
    assert ([], []) == alerts_told(events_of)

    run, issue, routine = fire_run(company_fixture, scheduler, conn, events_of)
    end(company_fixture, run, issue, routine, RunFailed(reason="exit status 3"))
    scheduler.tick(conn)
    archived = RoutineSettings(title="Check", assignee_agent_id=company_fixture.agent_id, status="archived")
    company_fixture.record((routine, [RoutineUpdated(settings=archived)]))
    for _ in range(2):
        scheduler.tick(conn)

    assert (["failing"], ["failing"]) == alerts_told(events_of)
    assert [] == events_of(AlertRecovered)


def test_occurrences_that_are_missed_in_a_row_are_told_when_they_are_too_many_and_closed_when_one_runs(
    company_fixture, scheduler, conn, clock, events_of
):
    company_fixture.routines(next_at=NOON, cron="0 * * * *", alert_bounds=AlertBounds(untaken_after_sec=None))
    for hours in (1.5, 2.5):
        clock.now = NOON + hours * HOUR
        scheduler.tick(conn)
        scheduler.tick(conn)
    assert [2, 1] == [row.event.count for row in events_of(TriggerMissed)]
    assert (["missed"], []) == alerts_told(events_of)
    assert [3] == [row.event.count for row in events_of(AlertMissed)]

    clock.now = NOON + 3 * HOUR
    scheduler.tick(conn)
    scheduler.tick(conn)

    assert (["missed"], ["missed"]) == alerts_told(events_of)


def test_what_an_archived_routine_has_missed_is_an_alert_no_more(company_fixture, scheduler, conn, clock, events_of):
    several = company_fixture.routines(2, next_at=NOON, triggers=2)
    clock.now = NOON + HOUR
    for _ in range(2):
        scheduler.tick(conn)
    raised = {row.event.subject_id for row in events_of(AlertMissed)}
    assert {armed.trigger_id for armed in several} == raised
    archived = several[0].routine_id
    settings = RoutineSettings(title="Check the inbox", assignee_agent_id=company_fixture.agent_id, status="archived")
    company_fixture.record((archived, [RoutineUpdated(settings=settings)]))
    for _ in range(2):
        scheduler.tick(conn)

    assert {armed.trigger_id for armed in several if armed.routine_id == archived} == {
        row.event.subject_id for row in events_of(AlertClosed)
    }


def test_what_is_made_up_for_at_once_does_not_hide_an_outage(company_fixture, scheduler, conn, clock, events_of):
    company_fixture.routines(
        next_at=NOON,
        cron="0 * * * *",
        catch_up_policy="enqueue_missed_with_cap",
        alert_bounds=AlertBounds(untaken_after_sec=None),
    )
    clock.now = NOON + timedelta(hours=40)
    for _ in range(2):
        scheduler.tick(conn)
    assert (["missed"], []) == alerts_told(events_of)

    clock.now += HOUR
    for _ in range(2):
        scheduler.tick(conn)

    assert (["missed"], ["missed"]) == alerts_told(events_of)


def test_a_trouble_that_was_over_before_anybody_looked_is_forgotten(company_fixture, scheduler, conn, clock, events_of):
    run, issue, routine = fire_run(company_fixture, scheduler, conn, events_of)
    clock.now = NOON + 2 * HOUR
    end(company_fixture, run, issue, routine, RunCompleted())

    scheduler.tick(conn)

    assert ([], []) == alerts_told(events_of)


def test_bounds_that_are_null_are_never_exceeded(company_fixture, scheduler, conn, clock, events_of):
    none = AlertBounds(untaken_after_sec=None, stuck_after_sec=None, missed_in_a_row=None)
    fire_run(company_fixture, scheduler, conn, events_of, alert_bounds=none)
    clock.now = NOON + timedelta(days=30)
    scheduler.tick(conn)

    assert ([], []) == alerts_told(events_of)


def test_of_a_heap_of_open_issues_ten_are_told(company_fixture, scheduler, conn, clock, events_of):
    company_fixture.routines(next_at=NOON, concurrency_policy="always_enqueue")
    for minute in range(14):
        clock.now = NOON + timedelta(minutes=minute)
        scheduler.tick(conn)
    assert 14 == len(events_of(RunFired))

    clock.now = NOON + timedelta(hours=2)
    scheduler.tick(conn)
    scheduler.tick(conn)

    assert 10 == alerts_told(events_of)[0].count("untaken")


def test_two_schedulers_at_once_tell_each_trouble_once(company_fixture, system, scheduler, conn, events_of):
    company_fixture.routines(60, next_at=NOON, cron="0 12 1 1 *")
    scheduler.tick(conn)
    begin = threading.Barrier(2)

    def work(batch):
        executor = Executor(system.store, Clock(NOON + HOUR + batch * timedelta(microseconds=1)))
        with bootstrap.connect(system.settings) as own:
            begin.wait()
            Scheduler(executor, system.store.after, batch).tick(own)

    threads = [threading.Thread(target=work, args=(batch,)) for batch in (7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    subjects = [row.event.subject_id for row in events_of(AlertUntaken)]
    assert sorted(run.event.outcome.issue_id for run in events_of(RunFired)) == sorted(subjects)
