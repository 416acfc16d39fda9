import threading
import time
from collections import Counter
from datetime import timedelta
from functools import partial
from uuid import uuid4

import psycopg
import pytest
from structlog.testing import capture_logs

from application.event_store.store import EventStore
from application.event_store.stream_cache import StreamCache
from application.execute import Executor
from application.use_cases import runs
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
    SlotTaken,
    TriggerDeleted,
    TriggerMissed,
    TriggerUpdated,
)
from domain.identity import run_of_occurrence, slot_of
from domain.values import Coalesced, Failed, Opened, RetryPolicy, RoutineSettings, Skipped, TriggerSettings
from processes.scheduler import batches, quarantine
from processes.scheduler import scheduler as schedulers
from processes.scheduler.prefetch import PREFETCH_WINDOW
from processes.scheduler.scheduler import Scheduler
from processes.wakeup import Wakeup
from projections import catalogue
from projections.engine import positions
from projections.firing import triggers_due
from routines import bootstrap
from tests import waiting
from tests.processes.due import NOON, Clock, CompanyFixture
from tests.rebuilding import rebuild_outdated

MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
LIMIT_S = 10.0
wait_for = partial(waiting.wait_for, limit_s=LIMIT_S)


# Once


def test_a_due_occurrence_fires_once(company_fixture, scheduler, conn, happened):
    [armed] = company_fixture.routines(next_at=NOON)

    assert 1 == scheduler.tick(conn)
    assert 0 == scheduler.tick(conn)

    [run] = happened(RunFired)
    assert run_of_occurrence(armed.trigger_id, NOON) == run.stream_id
    assert (NOON, NOON + MINUTE, "scheduler") == (run.event.occurrence, run.event.next_at, run.actor)
    assert isinstance(run.event.outcome, Opened)
    assert [run.event.outcome.issue_id] == [issue.stream_id for issue in happened(IssueOpened)]
    assert [run.event.outcome.issue_id] == [taken.event.live.issue_id for taken in happened(SlotTaken)]


def test_nothing_fires_before_its_time(company_fixture, scheduler, conn, clock, happened):
    company_fixture.routines(3, next_at=NOON)

    clock.now = NOON - INSTANT
    assert 0 == scheduler.tick(conn)
    assert [] == happened(RunFired)

    clock.now = NOON
    assert 3 == scheduler.tick(conn)


def test_a_gate_stays_open_while_nobody_knows_what_has_happened_and_holds_once_nothing_has(  # noqa: PLR0917 fixtures
    company_fixture, scheduler, conn, clock, happened, system
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

    assert [Opened, Opened, Skipped] == [type(run.event.outcome) for run in happened(RunFired)]
    assert "no_external_activity" == happened(RunFired)[-1].event.outcome.reason


def test_every_minute_has_its_run(company_fixture, scheduler, conn, clock, happened):
    company_fixture.routines(2, next_at=NOON, concurrency_policy="always_enqueue")

    fired = []
    for minute in range(5):
        clock.now = NOON + minute * MINUTE
        fired.append(scheduler.tick(conn))

    assert [2] * 5 == fired
    assert Counter({NOON + n * MINUTE: 2 for n in range(5)}) == Counter(r.event.occurrence for r in happened(RunFired))


def test_more_than_a_batch_is_settled_by_one_tick(company_fixture, scheduler, conn, happened):
    company_fixture.routines(120, next_at=NOON)

    assert 120 == scheduler.tick(conn)
    assert 120 == len(happened(RunFired))


def test_two_schedulers_at_once_fire_each_occurrence_once(company_fixture, system, happened):
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
        run.stream_id for run in happened(RunFired)
    )
    assert 300 == len(happened(IssueOpened)) == len(happened(SlotTaken))


def test_a_clock_that_was_ahead_and_is_set_back_fires_nothing_twice_and_leaves_nothing_out(
    company_fixture, scheduler, conn, clock, happened
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

    moments = Counter((run.event.trigger_id, run.event.occurrence) for run in happened(RunFired))
    assert {1} == set(moments.values())
    assert {(one.trigger_id, NOON + n * MINUTE) for one in (steady, edited) for n in range(7)} == moments.keys()


# What changed between reading and firing


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


CHANGES = pytest.mark.parametrize("change", [delete, disable, edit, pause, archive])


@CHANGES
def test_a_row_that_has_become_stale_does_nothing(company_fixture, scheduler, conn, happened, change):
    armed, other = company_fixture.routines(2, next_at=NOON)
    triggers = triggers_due.triggers_due
    positions.advance(conn, [triggers], company_fixture.executor.store.after)
    rows = triggers_due.due(conn, NOON, limit=10)
    assert {armed.trigger_id, other.trigger_id} == {row.trigger_id for row in rows}

    change(company_fixture, armed)

    assert 1 == scheduler._batches.settle(rows, runs.fire_due)
    assert [other.trigger_id] == [run.event.trigger_id for run in happened(RunFired)]


@CHANGES
def test_a_change_that_comes_between_deciding_and_recording_wins(company_fixture, system, conn, happened, change):
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
    assert [other.trigger_id] == [run.event.trigger_id for run in happened(RunFired)]
    assert 0 == racing.tick(conn)


def test_an_edited_schedule_follows_its_new_times_only(company_fixture, scheduler, conn, clock, happened):
    [armed] = company_fixture.routines(next_at=NOON)
    edit(company_fixture, armed)

    clock.now = NOON + 30 * MINUTE
    scheduler.tick(conn)

    assert [NOON + 30 * MINUTE] == [run.event.occurrence for run in happened(RunFired)]


# A schedule that cannot be settled


def test_a_schedule_that_cannot_be_settled_stops_no_other(company_fixture, scheduler, conn, clock, happened):
    [poison] = company_fixture.routines(next_at=NOON - MINUTE, zone="Atlantis/Capital")
    sound = company_fixture.routines(60, next_at=NOON)

    with capture_logs() as logs:
        assert 60 == scheduler.tick(conn)
        clock.now = NOON + MINUTE
        assert 60 == scheduler.tick(conn)

    assert {one.trigger_id for one in sound} == {run.event.trigger_id for run in happened(RunFired)}
    assert [str(poison.trigger_id)] * 2 == [line["trigger_id"] for line in logs if line["event"] == "firing_failed"]


def test_a_schedule_that_cannot_be_settled_is_left_alone_for_a_while(company_fixture, scheduler, conn, clock):
    company_fixture.routines(next_at=NOON, zone="Atlantis/Capital")

    tries = []
    for rest in (timedelta(), timedelta(seconds=1), quarantine.REST - INSTANT, quarantine.REST):
        clock.now = NOON + rest
        with capture_logs() as logs:
            scheduler.tick(conn)
        tries.append([line["event"] for line in logs])

    assert [["firing_failed"], [], [], ["firing_failed"]] == tries


def test_a_schedule_that_cannot_be_settled_is_tried_again_after_its_rest(company_fixture, scheduler, conn):
    company_fixture.routines(next_at=NOON - MINUTE, zone="Atlantis/Capital")
    company_fixture.routines(next_at=NOON + timedelta(seconds=20))

    with capture_logs():
        scheduler.tick(conn)

    assert quarantine.REST.total_seconds() == scheduler.pause_s(conn)


def test_a_schedule_that_fails_again_and_again_ends_as_failed_and_says_why(
    company_fixture, scheduler, conn, clock, happened
):
    [poison] = company_fixture.routines(next_at=NOON, zone="Atlantis/Capital")

    with capture_logs():
        for attempt in range(quarantine.PATIENCE + 1):
            clock.now = NOON + attempt * quarantine.REST
            scheduler.tick(conn)

    [run] = happened(RunFired)
    assert (poison.trigger_id, NOON, None) == (run.event.trigger_id, run.event.occurrence, run.event.next_at)
    assert Failed(reason="The occurrence could not be carried out: ZoneInfoNotFoundError") == run.event.outcome
    clock.now = NOON + timedelta(days=1)
    assert 0 == scheduler.tick(conn)


@pytest.mark.parametrize("policy", ["skip_missed", "enqueue_missed_with_cap"])
def test_after_a_downtime_too_every_occurrence_of_a_schedule_that_fails_has_one_outcome(
    company_fixture, scheduler, conn, clock, happened, *, monkeypatch, policy
):
    """What is wrong is not the schedule: it goes on, and what came due meanwhile is failed or missed, on the record."""
    company_fixture.routines(next_at=NOON - 10 * MINUTE, cron="* * * * *", catch_up_policy=policy)
    whole = runs.scheduled
    monkeypatch.setattr(runs, "scheduled", lambda *_: 1 / 0)

    with capture_logs():
        for attempt in range(quarantine.PATIENCE):
            clock.now = NOON + attempt * quarantine.REST
            scheduler.tick(conn)

    failed = [run.event.occurrence for run in happened(RunFired)]
    assert {Failed(reason="The occurrence could not be carried out: ZeroDivisionError")} == {
        run.event.outcome for run in happened(RunFired)
    }
    missed = [
        one.event.first + n * MINUTE for one in happened(TriggerMissed) for n in range(one.event.count)
    ]  # each minute is an occurrence
    assert [NOON - n * MINUTE for n in range(10, -1, -1)] == sorted(failed + missed)
    monkeypatch.setattr(runs, "scheduled", whole)
    clock.now = NOON + MINUTE
    assert 1 == scheduler.tick(conn)


# Companies take turns


def test_a_company_with_very_much_due_work_does_not_keep_another_waiting(executor, scheduler, conn, happened):
    busy, quiet = CompanyFixture(executor), CompanyFixture(executor)
    busy.routines(300, next_at=NOON)
    [armed] = quiet.routines(next_at=NOON)

    scheduler.tick(conn)

    order = [run.event.trigger_id for run in happened(RunFired)]
    assert 301 == len(order)
    assert order.index(armed.trigger_id) < 50 * (
        batches.MAX_CONCURRENT_BATCHES + 1
    )  # in the first batches, however threads take turns


def test_a_long_tick_looks_again_before_it_goes_on(executor, system, conn, clock, happened):
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
    assert 150 == len(happened(RunFired))


@pytest.fixture
def hurried(executor, system, monkeypatch):
    """A scheduler that has time for MAX_CONCURRENT_BATCHES batches of 25 in a tick, on a clock that stands still."""
    monkeypatch.setattr(batches, "SLICE", -INSTANT)
    return Scheduler(executor, system.store.after, batch=25)


def test_in_the_midst_of_a_backlog_it_goes_on_with_what_is_left(company_fixture, hurried, conn, happened):
    company_fixture.routines(150, next_at=NOON)

    ticks = []
    while (fired := hurried.tick(conn)) or hurried.pause_s(conn) == 0.0:
        ticks.append(fired)

    assert [50, 50, 50] == ticks
    assert 150 == len({run.event.trigger_id for run in happened(RunFired)}) == len(happened(RunFired))


def test_what_comes_due_in_the_midst_of_a_backlog_has_its_turn_at_once(executor, hurried, conn, clock, happened):
    busy, quiet = CompanyFixture(executor), CompanyFixture(executor)
    busy.routines(300, next_at=NOON)
    [armed] = quiet.routines(next_at=NOON + INSTANT)
    hurried.tick(conn)

    clock.now = NOON + INSTANT
    hurried.tick(conn)

    assert armed.trigger_id in {run.event.trigger_id for run in happened(RunFired)}
    assert 100 == len(happened(RunFired))


def test_what_is_changed_in_the_midst_of_a_backlog_counts_for_what_is_left(
    company_fixture, hurried, conn, clock, happened
):
    schedules = company_fixture.routines(100, next_at=NOON)
    hurried.tick(conn)
    fired = {run.event.trigger_id for run in happened(RunFired)}
    company_fixture.record(
        *[(armed.trigger_id, [TriggerDeleted()]) for armed in schedules if armed.trigger_id not in fired]
    )

    assert 0 == hurried.tick(conn)
    clock.now += schedulers.REFRESH
    assert 0 == hurried.tick(conn)
    assert 50 == len(happened(RunFired))


# What ends by itself


def test_a_lease_that_is_not_renewed_ends_once_however_many_schedulers_look(
    company_fixture, executor, system, scheduler, conn, *, clock, happened
):
    company_fixture.routines(next_at=NOON, cron="0 0 1 1 *")
    scheduler.tick(conn)
    [opened] = happened(IssueOpened)
    issue, session, lease = opened.stream_id, uuid4(), timedelta(seconds=60)
    taken = IssueCheckedOut(agent_id=company_fixture.agent_id, run_id=session, lease_until=NOON + lease)
    company_fixture.record((issue, [taken]))
    clock.now = NOON + timedelta(seconds=50)
    company_fixture.record((issue, [IssueLeaseRenewed(agent_id=company_fixture.agent_id, until=clock.now + lease)]))
    clock.now = NOON + timedelta(seconds=109)
    scheduler.tick(conn)
    assert ([], 1.0) == (happened(IssueFreed), scheduler.pause_s(conn))

    clock.now = NOON + timedelta(seconds=110)
    others = [Scheduler(executor, system.store.after, batch=50) for _ in range(2)]
    ended = [one.tick(conn) for one in (scheduler, *others)]

    [freed] = happened(IssueFreed)
    assert (issue, "scheduler", session) == (freed.stream_id, freed.actor, freed.event.run_id)
    assert 1 == sum(ended)
    assert [] == happened(RunFailed) + happened(SlotFreed)


def test_a_run_that_lasts_too_long_fails_and_makes_room(company_fixture, scheduler, conn, clock, happened):
    company_fixture.routines(next_at=NOON, max_run_duration_sec=90)
    scheduler.tick(conn)
    [fired] = happened(RunFired)
    assert NOON + timedelta(seconds=90) == fired.event.deadline
    clock.now = NOON + timedelta(seconds=89)
    scheduler.tick(conn)
    assert [] == happened(RunFailed)
    assert 1.0 == scheduler.pause_s(conn)

    clock.now = NOON + timedelta(seconds=90)
    scheduler.tick(conn)

    [failed] = happened(RunFailed)
    assert (fired.stream_id, "timed_out") == (failed.stream_id, failed.event.reason)
    assert ["cancelled"] == [moved.event.status for moved in happened(IssueMoved)]
    assert 1 == len(happened(SlotFreed))
    [comment] = happened(CommentAdded)
    assert "maxRunDurationSec" in comment.event.body
    clock.now = NOON + 2 * MINUTE
    assert 1 == scheduler.tick(conn)
    assert isinstance(happened(RunFired)[-1].event.outcome, Opened)


POLICY = RetryPolicy(max_attempts=3, backoff_seconds=90)


def test_the_next_attempt_begins_at_its_time_and_the_occurrence_in_between_meets_the_run(
    company_fixture, scheduler, conn, clock, happened
):
    company_fixture.routines(
        next_at=NOON, max_run_duration_sec=15, retry_policy=POLICY, concurrency_policy="skip_if_active"
    )
    scheduler.tick(conn)
    [fired] = happened(RunFired)
    clock.now = NOON + timedelta(seconds=15)
    scheduler.tick(conn)
    [failed] = happened(RunAttemptFailed)
    assert ("timed_out", NOON + timedelta(seconds=105)) == (failed.event.reason, failed.event.next_at)

    clock.now = NOON + MINUTE
    scheduler.tick(conn)
    assert fired.stream_id == happened(RunFired)[-1].event.outcome.into_run_id
    assert 30.0 == scheduler.pause_s(conn)
    clock.now = failed.event.next_at - INSTANT
    scheduler.tick(conn)
    assert [] == happened(RunAttemptBegun)
    clock.now = failed.event.next_at
    scheduler.tick(conn)

    [begun] = happened(RunAttemptBegun)
    assert (fired.stream_id, 2) == (begun.stream_id, begun.event.attempt)
    assert clock.now + timedelta(seconds=15) == begun.event.deadline
    assert ["backlog", "todo"] == [moved.event.status for moved in happened(IssueMoved)]
    assert [] == happened(SlotFreed)


def test_two_schedulers_at_once_begin_each_attempt_once(  # noqa: PLR0917 fixtures
    company_fixture, system, scheduler, conn, clock, happened
):
    company_fixture.routines(60, next_at=NOON, max_run_duration_sec=1, retry_policy=POLICY)
    scheduler.tick(conn)
    clock.now = NOON + timedelta(seconds=1)
    scheduler.tick(conn)
    assert 60 == len(happened(RunAttemptFailed))
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

    assert Counter(dict.fromkeys((run.stream_id for run in happened(RunFired)[:60]), 1)) == Counter(
        begun.stream_id for begun in happened(RunAttemptBegun)
    )


def test_a_run_that_was_done_in_time_does_not_time_out(company_fixture, scheduler, conn, clock, happened):
    company_fixture.routines(next_at=NOON, max_run_duration_sec=90)
    scheduler.tick(conn)
    [fired] = happened(RunFired)
    company_fixture.record((fired.stream_id, [RunCompleted()]))
    clock.now = NOON + timedelta(seconds=91)

    scheduler.tick(conn)

    assert [] == happened(RunFailed)


def test_a_pause_that_has_an_end_ends_by_itself(company_fixture, scheduler, conn, clock, happened):
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

    active = happened(RoutineUpdated)[-1].event.settings
    assert ("active", None, None) == (active.status, active.pause_note, active.resume_at)
    clock.now = NOON + 4 * MINUTE
    assert 1 == scheduler.tick(conn)
    assert [NOON + 4 * MINUTE] == [run.event.occurrence for run in happened(RunFired)]


# Late


def test_what_was_missed_is_recorded_as_one_range_and_not_run(company_fixture, scheduler, conn, clock, happened):
    company_fixture.routines(next_at=NOON, catch_up_policy="skip_missed")
    clock.now = NOON + 90 * MINUTE

    scheduler.tick(conn)

    [missed] = happened(TriggerMissed)
    assert (NOON, NOON + 88 * MINUTE, 89) == (missed.event.first, missed.event.last, missed.event.count)
    assert [NOON + 89 * MINUTE, NOON + 90 * MINUTE] == [run.event.occurrence for run in happened(RunFired)]
    assert 0 == scheduler.tick(conn)


def test_what_was_missed_is_made_up_for_up_to_a_cap(company_fixture, scheduler, conn, clock, happened):
    policies = {"catch_up_policy": "enqueue_missed_with_cap", "concurrency_policy": "always_enqueue"}
    company_fixture.routines(next_at=NOON, **policies)
    clock.now = NOON + 40 * MINUTE + timedelta(seconds=30)

    scheduler.tick(conn)

    minutes = [(run.event.occurrence - NOON) // MINUTE for run in happened(RunFired)]
    [missed] = happened(TriggerMissed)
    assert [*range(25), 40] == minutes
    assert (25, 39, 15) == (
        (missed.event.first - NOON) // MINUTE,
        (missed.event.last - NOON) // MINUTE,
        missed.event.count,
    )
    assert 0 == scheduler.tick(conn)


def test_a_late_occurrence_runs_within_the_grace(company_fixture, scheduler, conn, clock, happened):
    company_fixture.routines(next_at=NOON, cron="0 12 * * *")
    clock.now = NOON + timedelta(seconds=60)

    assert 1 == scheduler.tick(conn)
    assert [] == happened(TriggerMissed)


def test_an_occurrence_too_late_has_missed_as_its_one_outcome(company_fixture, scheduler, conn, clock, happened):
    company_fixture.routines(next_at=NOON, cron="0 12 * * *")
    clock.now = NOON + timedelta(seconds=60) + INSTANT

    assert 0 == scheduler.tick(conn)
    assert 0 == scheduler.tick(conn)
    assert [(NOON, NOON, 1)] == [(m.event.first, m.event.last, m.event.count) for m in happened(TriggerMissed)]
    assert [] == happened(RunFired)


# Concurrency


OUTCOMES = {
    "coalesce_if_active": [Opened, Coalesced],
    "skip_if_active": [Opened, Skipped],
    "always_enqueue": [Opened, Opened],
    "cancel_previous": [Opened, Opened],
}


@pytest.mark.parametrize("policy", OUTCOMES)
def test_two_schedules_of_a_routine_in_one_batch_keep_its_policy(company_fixture, scheduler, conn, happened, policy):
    company_fixture.routines(next_at=NOON, triggers=2, concurrency_policy=policy)

    assert 2 == scheduler.tick(conn)

    runs = happened(RunFired)
    opened = [run.event.outcome.issue_id for run in runs if isinstance(run.event.outcome, Opened)]
    assert OUTCOMES[policy] == [type(run.event.outcome) for run in runs]
    assert opened == [issue.stream_id for issue in happened(IssueOpened)]
    assert all(run.event.outcome.issue_id in opened for run in runs)


def test_the_next_occurrence_opens_again_once_the_issue_is_done(company_fixture, scheduler, conn, clock, happened):
    [armed] = company_fixture.routines(next_at=NOON)
    scheduler.tick(conn)
    [issue] = happened(IssueOpened)
    freed = SlotFreed(routine_id=armed.routine_id, issue_id=issue.stream_id)
    done = (issue.stream_id, [IssueMoved(status="done")]), (slot_of(armed.routine_id), [freed])

    clock.now = NOON + MINUTE
    scheduler.tick(conn)
    company_fixture.record(*done)
    clock.now = NOON + 2 * MINUTE
    scheduler.tick(conn)

    assert [Opened, Coalesced, Opened] == [type(run.event.outcome) for run in happened(RunFired)]


# The loop


def test_what_is_due_is_fired_though_the_log_grows_faster_than_it_is_followed(
    company_fixture, scheduler, conn, monkeypatch
):
    monkeypatch.setattr(schedulers, "FOLLOW_S", 0.05)
    follow = scheduler._follower.try_step
    monkeypatch.setattr(scheduler._follower, "try_step", lambda conn: max(follow(conn), 1))
    company_fixture.routines(3, next_at=NOON)

    assert 3 == scheduler.tick(conn)
    assert 0 == scheduler.pause_s(conn)


def test_it_sleeps_until_the_next_schedule_is_due(company_fixture, scheduler, conn, clock):
    assert schedulers.LONGEST_SLEEP_S == scheduler.pause_s(conn)

    company_fixture.routines(next_at=NOON + timedelta(seconds=12.5))
    company_fixture.routines(next_at=NOON + timedelta(minutes=9))
    scheduler.tick(conn)

    assert 7.5 == scheduler.pause_s(conn)  # to read ahead
    clock.now += timedelta(seconds=7.5)
    scheduler.tick(conn)
    assert 5 == scheduler.pause_s(conn)
    clock.now = NOON + timedelta(seconds=13)
    assert 0 == scheduler.pause_s(conn)


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


def test_the_loop_fires_at_the_moment_and_not_before(company_fixture, executor, looping, happened, monkeypatch):
    monkeypatch.setattr(schedulers, "LONGEST_SLEEP_S", 600.0)
    began = time.monotonic()
    executor.clock = lambda: NOON - timedelta(seconds=0.6) + timedelta(seconds=time.monotonic() - began)
    company_fixture.routines(5, next_at=NOON)

    looping()
    wait_for(lambda: len(happened(RunFired)) == 5)

    assert min(run.at for run in happened(RunFired)) >= NOON


def test_the_loop_sees_a_new_schedule_at_once(company_fixture, looping, happened):
    looping()

    company_fixture.routines(next_at=NOON)

    wait_for(lambda: happened(RunFired))


def test_the_loop_sleeps_while_nothing_is_due(company_fixture, looping, monkeypatch):
    pauses_s = []

    class Noting(Wakeup):
        def wait(self, timeout_s, stop):
            pauses_s.append(timeout_s)
            super().wait(0.01, stop)

    monkeypatch.setattr(schedulers, "Wakeup", Noting)
    company_fixture.routines(next_at=NOON - MINUTE, zone="Atlantis/Capital")
    company_fixture.routines(next_at=NOON + 5 * MINUTE)

    with capture_logs():
        looping()
        wait_for(lambda: len(pauses_s) > 5)  # the first few plan by the zone data

    assert quarantine.REST.total_seconds() == pauses_s[5]


def test_a_database_that_is_away_is_waited_for(company_fixture, system, looping, happened, monkeypatch):
    monkeypatch.setattr(schedulers, "TROUBLE_S", 0.01)
    company_fixture.routines(next_at=NOON)
    refusals = []

    def connect():
        if len(refusals) < 3:
            refusals.append("no route to Postgres")
            raise psycopg.OperationalError(refusals[-1])
        return bootstrap.connect(system.settings)

    looping(connect=connect)

    wait_for(lambda: happened(RunFired))
    assert 3 == len(refusals)


def test_killed_connections_are_made_again(company_fixture, admin_url, looping, happened, monkeypatch):
    monkeypatch.setattr(schedulers, "TROUBLE_S", 0.01)
    company_fixture.routines(next_at=NOON)
    looping()
    wait_for(lambda: happened(RunFired))

    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'routines'")
    monkeypatch.setattr("application.event_store.recorder.TRIES", 5)
    wait_for(lambda: later(company_fixture))

    wait_for(lambda: len(happened(RunFired)) == 2)


def later(company_fixture):
    """Another schedule; False while the pool still hands out a connection that was killed."""
    try:
        return company_fixture.routines(next_at=NOON)
    except Exception:  # noqa: BLE001 whatever the driver calls it
        return False


def test_a_stop_ends_the_loop(looping):
    thread, stop = looping()

    stop.set()
    thread.join(3)

    assert not thread.is_alive()


def test_a_scheduler_whose_read_models_are_of_another_version_waits_until_they_are_rebuilt(
    company_fixture, system, conn, looping, happened
):
    """It would act on rows that do not mean what it takes them for."""
    company_fixture.routines(2, next_at=NOON)
    conn.execute("UPDATE positions SET shape = 'other.1' WHERE name = 'triggers_due'")

    with capture_logs() as lines:
        looping()
        wait_for(lambda: [line for line in lines if line["event"] == "read_models_outdated"])
        assert [] == happened(RunFired)
        assert ["triggers_due"] == rebuild_outdated(conn, catalogue.ALL, system.store.after)
        wait_for(lambda: len(happened(RunFired)) == 2)
