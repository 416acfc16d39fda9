"""Leases, runs, attempts and pauses whose time is up."""

import threading
from collections import Counter
from datetime import timedelta
from functools import partial
from uuid import uuid4

from application.execute import Executor
from domain.events import (
    CommentAdded,
    IssueCheckedOut,
    IssueFreed,
    IssueLeaseRenewed,
    IssueMoved,
    IssueOpened,
    RoutineUpdated,
    RunAttemptBegun,
    RunAttemptFailed,
    RunCompleted,
    RunFailed,
    RunFired,
    SlotFreed,
)
from domain.values import Opened, RetryPolicy, RoutineSettings
from processes.scheduler import scheduler as schedulers
from processes.scheduler.scheduler import Scheduler
from routines import bootstrap
from tests import waiting
from tests.processes.due import NOON, Clock

MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
LIMIT_S = 10.0
wait_for = partial(waiting.wait_for, limit_s=LIMIT_S)


def test_a_lease_that_is_not_renewed_ends_once_however_many_schedulers_look(
    company_fixture, executor, system, scheduler, conn, *, clock, events_of
):
    company_fixture.routines(next_at=NOON, cron="0 0 1 1 *")
    scheduler.tick(conn)
    [opened] = events_of(IssueOpened)
    issue, session, lease = opened.stream_id, uuid4(), timedelta(seconds=60)
    event = IssueCheckedOut(agent_id=company_fixture.agent_id, run_id=session, lease_until=NOON + lease)
    company_fixture.record((issue, [event]))
    clock.now = NOON + timedelta(seconds=50)
    company_fixture.record((issue, [IssueLeaseRenewed(agent_id=company_fixture.agent_id, until=clock.now + lease)]))
    clock.now = NOON + timedelta(seconds=109)
    scheduler.tick(conn)
    assert ([], 1.0) == (events_of(IssueFreed), scheduler.pause_s(conn))

    clock.now = NOON + timedelta(seconds=110)
    others = [Scheduler(executor, system.store.after, batch=50) for _ in range(2)]
    ended = [one.tick(conn) for one in (scheduler, *others)]

    [freed] = events_of(IssueFreed)
    assert (issue, "scheduler", session) == (freed.stream_id, freed.actor, freed.event.run_id)
    assert 1 == sum(ended)
    assert [] == events_of(RunFailed) + events_of(SlotFreed)


def test_a_run_that_lasts_too_long_fails_and_makes_room(company_fixture, scheduler, conn, clock, events_of):
    company_fixture.routines(next_at=NOON, max_run_duration_sec=90)
    scheduler.tick(conn)
    [fired] = events_of(RunFired)
    assert NOON + timedelta(seconds=90) == fired.event.deadline
    clock.now = NOON + timedelta(seconds=89)
    scheduler.tick(conn)
    assert [] == events_of(RunFailed)
    assert 1.0 == scheduler.pause_s(conn)

    clock.now = NOON + timedelta(seconds=90)
    scheduler.tick(conn)

    [failed] = events_of(RunFailed)
    assert (fired.stream_id, "timed_out") == (failed.stream_id, failed.event.reason)
    assert ["cancelled"] == [moved.event.status for moved in events_of(IssueMoved)]
    assert 1 == len(events_of(SlotFreed))
    [comment] = events_of(CommentAdded)
    assert "maxRunDurationSec" in comment.event.body
    clock.now = NOON + 2 * MINUTE
    assert 1 == scheduler.tick(conn)
    assert isinstance(events_of(RunFired)[-1].event.outcome, Opened)


POLICY = RetryPolicy(max_attempts=3, backoff_seconds=90)


def test_the_next_attempt_begins_at_its_time_and_the_occurrence_in_between_meets_the_run(
    company_fixture, scheduler, conn, clock, events_of
):
    company_fixture.routines(
        next_at=NOON, max_run_duration_sec=15, retry_policy=POLICY, concurrency_policy="skip_if_active"
    )
    scheduler.tick(conn)
    [fired] = events_of(RunFired)
    clock.now = NOON + timedelta(seconds=15)
    scheduler.tick(conn)
    [failed] = events_of(RunAttemptFailed)
    assert ("timed_out", NOON + timedelta(seconds=105)) == (failed.event.reason, failed.event.next_at)

    clock.now = NOON + MINUTE
    scheduler.tick(conn)
    assert fired.stream_id == events_of(RunFired)[-1].event.outcome.into_run_id
    assert 30.0 == scheduler.pause_s(conn)
    clock.now = failed.event.next_at - INSTANT
    scheduler.tick(conn)
    assert [] == events_of(RunAttemptBegun)
    clock.now = failed.event.next_at
    scheduler.tick(conn)

    [begun] = events_of(RunAttemptBegun)
    assert (fired.stream_id, 2) == (begun.stream_id, begun.event.attempt)
    assert clock.now + timedelta(seconds=15) == begun.event.deadline
    assert ["backlog", "todo"] == [moved.event.status for moved in events_of(IssueMoved)]
    assert [] == events_of(SlotFreed)


def test_two_schedulers_at_once_begin_each_attempt_once(  # noqa: PLR0917 fixtures
    company_fixture, system, scheduler, conn, clock, events_of
):
    company_fixture.routines(60, next_at=NOON, max_run_duration_sec=1, retry_policy=POLICY)
    scheduler.tick(conn)
    clock.now = NOON + timedelta(seconds=1)
    scheduler.tick(conn)
    assert 60 == len(events_of(RunAttemptFailed))
    begin = threading.Barrier(2)

    def work(batch):
        executor = Executor(system.store, Clock(NOON + timedelta(seconds=91) + batch * INSTANT))
        with bootstrap.connect(system.settings) as own:
            begin.wait()
            Scheduler(executor, system.store.after, batch).tick(own)

    threads = [threading.Thread(target=work, args=(batch,)) for batch in (7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(dict.fromkeys((run.stream_id for run in events_of(RunFired)[:60]), 1)) == Counter(
        begun.stream_id for begun in events_of(RunAttemptBegun)
    )


def test_a_run_that_was_done_in_time_does_not_time_out(company_fixture, scheduler, conn, clock, events_of):
    company_fixture.routines(next_at=NOON, max_run_duration_sec=90)
    scheduler.tick(conn)
    [fired] = events_of(RunFired)
    company_fixture.record((fired.stream_id, [RunCompleted()]))
    clock.now = NOON + timedelta(seconds=91)

    scheduler.tick(conn)

    assert [] == events_of(RunFailed)


def test_a_pause_that_has_an_end_ends_by_itself(company_fixture, scheduler, conn, clock, events_of):
    [armed] = company_fixture.routines(next_at=NOON)
    resume_at = NOON + timedelta(minutes=3, seconds=30)
    paused = RoutineSettings(
        title="Check",
        assignee_agent_id=company_fixture.agent_id,
        status="paused",
        pause_note="holiday",
        resume_at=resume_at,
    )
    company_fixture.record((armed.routine_id, [RoutineUpdated(settings=paused)]))
    clock.now = NOON + MINUTE
    assert 0 == scheduler.tick(conn)
    assert 150.0 == scheduler.pause_s(conn) or schedulers.LONGEST_SLEEP_S == scheduler.pause_s(conn)

    clock.now = resume_at
    scheduler.tick(conn)

    active = events_of(RoutineUpdated)[-1].event.settings
    assert ("active", None, None) == (active.status, active.pause_note, active.resume_at)
    clock.now = NOON + 4 * MINUTE
    assert 1 == scheduler.tick(conn)
    assert [NOON + 4 * MINUTE] == [run.event.occurrence for run in events_of(RunFired)]
