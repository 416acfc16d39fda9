"""A company over its quota: its schedules are missed in small events, its backfills wait, and others notice nothing."""

from datetime import timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from application.access import BoardUser
from application.event_store.postgres_errors import ClockDiffers
from application.event_store.store import EventStore
from application.execute import Executor
from application.quotas.quotas import Quotas
from application.request_bodies.routines import BackfillDraft
from application.request_bodies.triggers import TriggerPatch
from application.use_cases import backfills, explanations, triggers
from domain.bounds.limits import Limits
from domain.events import (
    BackfillAdvanced,
    BackfillCompleted,
    IssueOpened,
    RunAttemptBegun,
    RunCompleted,
    RunFailed,
    RunFired,
    TriggerCreated,
    TriggerMissed,
)
from domain.identity import FIRST_USER, run_of_occurrence
from domain.values import Failed, Opened, RetryPolicy, TriggerSettings
from processes.scheduler import batches, quarantine
from processes.scheduler.scheduler import Scheduler
from projections.engine import positions
from projections.firing import backfills as read_model
from projections.firing import backlog
from tests.processes.due import NOON, CompanyFixture

MINUTE = timedelta(minutes=1)
USER = BoardUser(user_id=FIRST_USER, key_id=FIRST_USER, instance_admin=True)


class Bounded:
    """A scheduler and workplaces under these limits; the quotas have a clock of their own."""

    def __init__(self, system, conn, clock, count=None, **limits):
        self.system, self.conn, self.clock, self.now_s = system, conn, clock, 0.0
        self.quotas = Quotas(Limits(**limits), count, lambda: self.now_s)
        self.executor = Executor(system.store, clock, quotas=self.quotas)
        self.free = Executor(system.store, clock)  # for what the quotas are not to count
        self.scheduler = Scheduler(self.executor, system.store.after, batch=50)

    def company_fixture(self):
        return CompanyFixture(self.free)

    def tick(self):
        return self.scheduler.tick(self.conn)

    def happened(self, kind, company_fixture=None):
        return [
            one
            for one in self.system.store.history()
            if isinstance(one.event, kind) and company_fixture in (None, one.company_id)
        ]

    def pass_time(self, time):
        self.clock.now += time
        self.now_s += time.total_seconds()


def test_a_chain_of_a_company_over_its_quota_waits_and_goes_on_when_it_is_within_it(make_bounded_scheduler):
    place = make_bounded_scheduler(max_company_events_per_minute=12)
    company_fixture = place.company_fixture()
    fetch, write = company_fixture.routines(2, next_at=NOON, cron="0 12 1 1 *", concurrency_policy="always_enqueue")
    link = TriggerSettings(after_routine_id=fetch.routine_id, after_outcome="any")
    event = TriggerCreated(routine_id=write.routine_id, kind="chain", settings=link)
    company_fixture.record((uuid4(), [event]))
    company_fixture.routines(6, next_at=NOON, description="x" * 10_000)
    place.tick()  # which is more than the quota allows
    run = run_of_occurrence(fetch.trigger_id, NOON)
    company_fixture.record((run, [RunCompleted()]))

    for _ in range(3):
        place.pass_time(quarantine.REST)
        assert 0 == place.tick()
    place.pass_time(MINUTE)
    place.tick()

    assert [run] == [one.event.cause_run_id for one in place.happened(RunFired) if one.event.source == "chain"]
    assert 0 == place.tick()


def test_attempts_of_a_company_over_its_quota_wait_and_take_no_time_in_which_the_runs_of_others_end(
    make_bounded_scheduler, monkeypatch
):
    monkeypatch.setattr(
        batches, "SLICE", timedelta(seconds=-1)
    )  # a tick has time for a batch in each thread, and no more
    place = make_bounded_scheduler(max_company_events_per_minute=10)
    place.scheduler = Scheduler(place.executor, place.system.store.after, batch=1)
    noisy, quiet = place.company_fixture(), place.company_fixture()
    policy = RetryPolicy(max_attempts=2, backoff_seconds=15)
    noisy.routines(2, next_at=NOON, cron="0 12 1 1 *", max_run_duration_sec=15, retry_policy=policy)
    quiet.routines(1, next_at=NOON, cron="0 12 1 1 *", max_run_duration_sec=60)
    ticks = lambda: [place.tick() for _ in range(3)]  # noqa: E731
    ticks()
    for second in (15, 60):
        place.clock.now = NOON + timedelta(seconds=second)  # and the quota's clock stands still
        ticks()

    assert [quiet.company_id] == [one.company_id for one in place.happened(RunFailed)]
    assert [] == place.happened(RunAttemptBegun)
    place.pass_time(2 * MINUTE)
    ticks()
    assert [noisy.company_id] * 2 == [one.company_id for one in place.happened(RunAttemptBegun)]


@pytest.fixture
def make_bounded_scheduler(system, conn, clock):
    return lambda *args, **limits: Bounded(system, conn, clock, *args, **limits)


def test_schedules_of_a_company_over_its_quota_are_missed_and_those_of_others_run(make_bounded_scheduler):
    place = make_bounded_scheduler(max_company_events_per_minute=6)
    noisy, quiet = place.company_fixture(), place.company_fixture()
    noisy.routines(4, next_at=NOON, description="x" * 10_000, concurrency_policy="always_enqueue")
    quiet.routines(1, next_at=NOON + MINUTE)
    place.tick()
    assert 4 == len(place.happened(RunFired))

    place.clock.now += MINUTE  # and the quota's clock stands still

    assert 1 == place.tick()
    assert [quiet.company_id] == [one.company_id for one in place.happened(RunFired)[4:]]
    missed = place.happened(TriggerMissed)
    assert {("over_quota", NOON + MINUTE, NOON + MINUTE, 1)} == {
        (one.event.reason, one.event.first, one.event.last, one.event.count) for one in missed
    }
    assert [noisy.company_id] * 4 == [one.company_id for one in missed]
    assert 0 == place.tick()  # each occurrence has one outcome


def test_why_it_did_not_run_is_told_in_a_sentence(make_bounded_scheduler):
    place = make_bounded_scheduler(max_company_events_per_minute=3)
    [armed] = place.company_fixture().routines(1, next_at=NOON, concurrency_policy="always_enqueue")
    place.tick()
    place.clock.now += MINUTE
    place.tick()

    [(account, sentence)] = place.free.query(
        lambda work: explanations.explain(work, USER, armed.routine_id, NOON + MINUTE)
    )

    assert ("missed", "over_quota") == (account.verdict, account.reason)
    assert "was missed: its company was over one of its quotas, as was recorded on " in sentence


def test_when_the_minute_is_over_they_run_again(make_bounded_scheduler):
    place = make_bounded_scheduler(max_company_events_per_minute=3)
    place.company_fixture().routines(1, next_at=NOON, concurrency_policy="always_enqueue")

    place.tick()
    place.clock.now += MINUTE
    place.tick()
    place.pass_time(2 * MINUTE)
    place.tick()

    assert NOON + 3 * MINUTE == place.happened(RunFired)[-1].event.occurrence
    assert ["over_quota"] == [one.event.reason for one in place.happened(TriggerMissed)]


def full_company(place_of):
    """A schedule that has run at noon, how many open issues its company has, which is as many as it may, and where."""
    counted = {"max_company_open_issues": 1}
    place = place_of(lambda quota, *_: counted.get(quota, 0), max_company_open_issues=1)
    [armed] = place.company_fixture().routines(1, next_at=NOON, concurrency_policy="always_enqueue")
    place.tick()
    return place, counted, armed


def list_fired(place):
    """The occurrences that have run since noon."""
    return [one.event.occurrence for one in place.happened(RunFired)[1:]]


def every_minute(place, minutes):
    for _ in range(minutes):
        place.pass_time(MINUTE)
        place.tick()


def ranges(place):
    return [(one.event.first, one.event.last, one.event.reason) for one in place.happened(TriggerMissed)]


def test_hours_over_a_quota_are_a_few_ranges_and_not_an_event_for_each_minute(make_bounded_scheduler):
    place, _, _ = full_company(make_bounded_scheduler)

    every_minute(place, 8 * 60)

    missed = [one.event for one in place.happened(TriggerMissed)]
    assert len(missed) <= 16
    assert {"over_quota"} == {one.reason for one in missed}
    assert NOON + MINUTE == missed[0].first
    assert all(after.first == before.last + MINUTE for before, after in pairwise(missed))
    assert sum(one.count for one in missed) == (missed[-1].last - NOON) // MINUTE
    assert NOON + timedelta(hours=7) < missed[-1].last  # what waits for its range waits for an hour at most
    assert [] == list_fired(place)


def test_a_schedule_goes_on_within_a_minute_of_its_company_being_within_its_quotas(make_bounded_scheduler):
    place, counted, _ = full_company(make_bounded_scheduler)
    every_minute(place, 100)
    resting = ranges(place)
    counted.clear()

    every_minute(place, 3)

    assert [NOON + minute * MINUTE for minute in (100, 101, 102, 103)] == list_fired(place)
    assert [(resting[-1][1] + MINUTE, NOON + 99 * MINUTE, "over_quota")] == ranges(place)[len(resting) :]


def test_what_a_schedule_missed_while_no_scheduler_ran_is_not_put_down_to_a_quota(make_bounded_scheduler):
    place, counted, _ = full_company(make_bounded_scheduler)
    every_minute(place, 9)
    rests_until = place.happened(TriggerMissed)[-1].event.rests_until
    counted.clear()
    place.pass_time(timedelta(hours=5))
    place.tick()

    (*_, waited, away) = ranges(place)
    assert (rests_until, "over_quota") == waited[1:]
    assert (rests_until + MINUTE, NOON + timedelta(hours=5, minutes=7), "skip_missed") == away
    assert [8, 9] == [occurrence.minute for occurrence in list_fired(place)]


def test_while_a_schedule_rests_one_is_told_why_and_nothing_is_overdue(make_bounded_scheduler):
    place, _, armed = full_company(make_bounded_scheduler)
    every_minute(place, 100)

    [(account, sentence)] = place.free.query(
        lambda work: explanations.explain(work, USER, armed.routine_id, NOON + 99 * MINUTE)
    )

    assert "being_settled" == account.verdict
    assert "waits: its company was over one of its quotas, and the schedule rests until " in sentence
    assert 0 == backlog.backlog(place.conn, place.clock.now, 9).count


def test_an_edit_of_a_resting_schedule_says_that_its_company_was_over_a_quota(make_bounded_scheduler):
    place, _, armed = full_company(make_bounded_scheduler)
    every_minute(place, 100)
    resting = ranges(place)

    place.free.attempt(
        lambda work: triggers.update(work, USER, armed.trigger_id, TriggerPatch(cron_expression="0 0 * * *"))
    )

    assert [(resting[-1][1] + MINUTE, NOON + 100 * MINUTE, "over_quota")] == ranges(place)[len(resting) :]


def test_schedules_of_a_company_whose_issues_pile_up_are_missed(make_bounded_scheduler):
    place = make_bounded_scheduler(
        lambda quota, *_: 5 if quota == "max_company_open_issues" else 0, max_company_open_issues=5
    )
    place.company_fixture().routines(1, next_at=NOON, concurrency_policy="always_enqueue")
    place.tick()
    place.clock.now += MINUTE

    place.tick()

    assert (1, ["over_quota"]) == (
        len(place.happened(IssueOpened)),
        [one.event.reason for one in place.happened(TriggerMissed)],
    )


def test_a_routine_has_so_many_open_issues_and_its_next_firing_fails(system, conn, clock):
    system.store.limits = Limits(max_routine_open_issues=1)
    executor = Executor(system.store, clock)
    CompanyFixture(executor).routines(1, next_at=NOON, concurrency_policy="always_enqueue")
    scheduler = Scheduler(executor, system.store.after, batch=50)
    scheduler.tick(conn)
    clock.now += MINUTE

    scheduler.tick(conn)

    first, second = [one.event.outcome for one in system.store.history() if isinstance(one.event, RunFired)]
    assert (Opened, Failed) == (type(first), type(second))
    assert "The routine has 1 open issues or trajectories, and may have at most 1: end some first" == second.reason


def test_a_text_that_grows_too_large_fails_its_scheduled_run_with_the_reason(system, conn, clock):
    system.store.limits = Limits(max_run_text_bytes=1_024)
    executor = Executor(system.store, clock)
    CompanyFixture(executor).routines(1, next_at=NOON, description="{{timestamp}}" * 1_000)

    Scheduler(executor, system.store.after, batch=50).tick(conn)

    [run] = [one.event for one in system.store.history() if isinstance(one.event, RunFired)]
    assert isinstance(run.outcome, Failed)
    assert run.outcome.reason.startswith("The variables of a run may add at most 1024 bytes to it, and add ")


def test_a_backfill_takes_half_of_a_minute_says_that_it_waits_and_goes_on(make_bounded_scheduler):
    place = make_bounded_scheduler(max_company_events_per_minute=400)
    company_fixture = place.company_fixture()
    [armed] = company_fixture.routines(1, next_at=NOON + MINUTE, concurrency_policy="always_enqueue")
    draft = BackfillDraft(from_=NOON - 200 * MINUTE, to=NOON - MINUTE, overlap="policy")
    id_ = place.free.attempt(lambda work: backfills.create(work, USER, armed.trigger_id, draft)).result

    def shown():
        while positions.advance(place.conn, [read_model.backfills], place.system.store.after):
            pass
        backfill = read_model.backfill(place.conn, id_)
        return backfill.status, backfill.reason

    while shown()[0] == "running":
        place.clock.now += timedelta(seconds=6)
        place.tick()
    fired = len(place.happened(RunFired))

    assert ("waiting", "over_quota") == shown()
    assert 40 <= fired <= 100  # half of 400 events, each run being three or four, and the last unit of work
    place.clock.now += timedelta(seconds=6)
    place.tick()
    assert (fired, 1) == (
        len(place.happened(RunFired)),
        sum(one.event.over_quota for one in place.happened(BackfillAdvanced)),
    )
    place.now_s += 60
    place.clock.now += timedelta(seconds=6)
    assert 20 == place.tick()
    assert "running" == shown()[0] or place.happened(BackfillCompleted)


def test_a_clock_that_differs_is_told_and_what_is_due_rests(place_of_a_wrong_clock):
    executor, scheduler, conn, clock, tried = place_of_a_wrong_clock
    CompanyFixture(executor).routines(3, next_at=NOON)
    tried.difference = timedelta(hours=1)

    with capture_logs() as logged:
        assert 0 == scheduler.tick(conn)
        assert 0 == scheduler.tick(conn)  # they rest

    [line] = [one for one in logged if one["event"] == "clock_differs"]
    assert ("error", 3_600.0, 3) == (line["log_level"], line["difference_s"], line["rows"])
    assert "firing_lost_race" not in {one["event"] for one in logged}
    assert tried.many <= 3
    tried.difference = None
    clock.now += timedelta(seconds=6)
    assert 3 == scheduler.tick(conn)


class WrongClock:
    """Refuses what is recorded, as Postgres does, while the clocks differ."""

    def __init__(self, recorder):
        self._recorder, self.difference, self.many = recorder, None, 0

    def __getattr__(self, name):
        return getattr(self._recorder, name)

    def insert_events(self, stored_events, **kwargs):
        if self.difference is None:
            return self._recorder.insert_events(stored_events, **kwargs)
        self.many += 1
        decided = f"{NOON + self.difference:%Y-%m-%dT%H:%M:%SZ}"
        raise ClockDiffers(f'an event that begins {{"at":"{decided}" is to be recorded at {NOON}')


@pytest.fixture
def place_of_a_wrong_clock(system, conn, clock):
    recorder = WrongClock(system.store.recorder)
    store = EventStore(recorder)
    executor = Executor(store, clock)
    return executor, Scheduler(executor, store.after, batch=50), conn, clock, recorder
