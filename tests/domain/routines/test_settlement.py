"""What becomes of the occurrences of a schedule: on time, late, missed (contract 4.2)."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.events import TriggerCreated, TriggerMissed, TriggerReplanned
from domain.routines import settlement, trigger
from domain.schedule import plan as plans
from domain.schedule.cron_schedule import Cron
from domain.schedule.plan import Plan
from domain.values import TriggerSettings
from tests.given import given

ROUTINE = UUID(int=1)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
INSTANT = timedelta(microseconds=1)
MINUTELY = Plan(seed=ROUTINE, cron=Cron("* * * * *"))
HOURLY = Plan(seed=ROUTINE, cron=Cron("0 * * * *"))


def hours(first, many):
    return tuple(first + n * HOUR for n in range(many))


# What is due


def test_nothing_is_due_before_its_time():
    assert settlement.due(HOURLY, NOON, NOON - INSTANT, "skip_missed") is None


@pytest.mark.parametrize("policy", ["skip_missed", "enqueue_missed_with_cap"])
@pytest.mark.parametrize("late", [timedelta(), INSTANT, timedelta(seconds=59), timedelta(seconds=60)])
def test_up_to_sixty_seconds_late_is_on_time(policy, late):
    assert settlement.due(HOURLY, NOON, NOON + late, policy) == settlement.Due(
        fire=(NOON,), missed=None, next_at=NOON + HOUR
    )


def test_what_comes_due_later_is_not_missed_with_what_is_due():
    plan = replace(MINUTELY, jitter_s=600)
    now = NOON + 20 * MINUTE
    due = settlement.due(plan, NOON, now, "skip_missed")

    missed = settlement.miss(plan, NOON, due, "over_quota")

    assert due.next_at == now < due.due_at
    assert (NOON, due.next_at - MINUTE, due.next_at, due.due_at) == (
        missed.first,
        missed.last,
        missed.next_at,
        missed.due_at,
    )
    assert missed.count == (due.next_at - NOON) // MINUTE


def test_with_jitter_an_occurrence_is_late_by_when_it_came_due():
    plan = replace(MINUTELY, jitter_s=3_600)  # each comes due within its minute
    now = NOON + 30 * MINUTE
    planned = [NOON + n * MINUTE for n in range(31)]

    due = settlement.due(plan, NOON, now, "skip_missed")

    on_time = [one for one in planned if now - MINUTE <= plans.due_at(plan, one) <= now]
    assert list(due.fire) == on_time
    assert (due.missed.first, due.missed.last, due.missed.count) == (
        NOON,
        on_time[0] - MINUTE,
        planned.index(on_time[0]),
    )


def test_an_occurrence_that_the_zone_does_not_have_any_more_is_missed_too():
    since = NOON + MINUTE
    due = settlement.due(HOURLY, since, since, "skip_missed")

    missed = settlement.miss(HOURLY, since, due, "over_quota")

    assert (since, since, 1, NOON + HOUR) == (missed.first, missed.last, missed.count, missed.next_at)


def test_later_than_the_grace_is_missed():
    due = settlement.due(HOURLY, NOON, NOON + MINUTE + INSTANT, "skip_missed")

    event = TriggerMissed(first=NOON, last=NOON, count=1, reason="skip_missed", next_at=NOON + HOUR)
    assert due == settlement.Due(fire=(), missed=event, next_at=NOON + HOUR)


def test_later_than_the_grace_is_made_up_for_where_the_policy_says_so():
    due = settlement.due(HOURLY, NOON, NOON + MINUTE + INSTANT, "enqueue_missed_with_cap")

    assert due == settlement.Due(fire=(NOON,), missed=None, next_at=NOON + HOUR)


@pytest.mark.parametrize("policy", ["skip_missed", "enqueue_missed_with_cap"])
def test_what_was_promised_of_a_schedule_that_now_never_comes_has_its_outcome_and_is_the_last(policy):
    never = replace(HOURLY, cron=Cron("* 2 */31 10 0", "Australia/Sydney"))

    on_time = settlement.due(never, NOON, NOON, policy)
    late = settlement.due(never, NOON, NOON + 3 * HOUR, policy)

    assert on_time == settlement.Due(fire=(NOON,), missed=None, next_at=None)
    assert (late.fire, late.missed.first, late.missed.last, late.missed.count) == ((), NOON, NOON, 1)
    assert (late.next_at, late.missed.next_at) == (None, None)


def test_two_occurrences_within_the_grace_both_run():
    due = settlement.due(MINUTELY, NOON, NOON + MINUTE, "skip_missed")

    assert due == settlement.Due(fire=(NOON, NOON + MINUTE), missed=None, next_at=NOON + 2 * MINUTE)


def test_skip_missed_drops_all_that_is_late_and_runs_what_is_on_time():
    due = settlement.due(HOURLY, NOON, NOON + 40 * HOUR, "skip_missed")

    event = TriggerMissed(first=NOON, last=NOON + 39 * HOUR, count=40, reason="skip_missed", next_at=NOON + 41 * HOUR)
    assert due == settlement.Due(fire=(NOON + 40 * HOUR,), missed=event, next_at=NOON + 41 * HOUR)


def test_catching_up_runs_the_oldest_first():
    due = settlement.due(HOURLY, NOON, NOON + 3 * HOUR + 10 * MINUTE, "enqueue_missed_with_cap")

    assert due == settlement.Due(fire=hours(NOON, 4), missed=None, next_at=NOON + 4 * HOUR)


def test_exactly_twenty_five_missed_are_all_made_up_for():
    due = settlement.due(HOURLY, NOON, NOON + 24 * HOUR + 10 * MINUTE, "enqueue_missed_with_cap")

    assert due == settlement.Due(fire=hours(NOON, 25), missed=None, next_at=NOON + 25 * HOUR)


def test_the_twenty_sixth_is_dropped():
    due = settlement.due(HOURLY, NOON, NOON + 25 * HOUR + 10 * MINUTE, "enqueue_missed_with_cap")

    dropped = NOON + 25 * HOUR
    event = TriggerMissed(first=dropped, last=dropped, count=1, reason="catch_up_cap", next_at=NOON + 26 * HOUR)
    assert due == settlement.Due(fire=hours(NOON, 25), missed=event, next_at=NOON + 26 * HOUR)


def test_forty_missed_hours_give_twenty_five_runs_and_fifteen_dropped():
    due = settlement.due(HOURLY, NOON, NOON + 39 * HOUR + 10 * MINUTE, "enqueue_missed_with_cap")

    event = TriggerMissed(
        first=NOON + 25 * HOUR,
        last=NOON + 39 * HOUR,
        count=15,
        reason="catch_up_cap",
        next_at=NOON + 40 * HOUR,
    )
    assert due == settlement.Due(fire=hours(NOON, 25), missed=event, next_at=NOON + 40 * HOUR)


def test_a_schedule_denser_than_hourly_is_made_up_for_too():
    due = settlement.due(MINUTELY, NOON, NOON + 10 * MINUTE, "enqueue_missed_with_cap")

    assert due.fire == tuple(NOON + n * MINUTE for n in range(11))


@pytest.mark.parametrize("away", [70 * MINUTE, 5 * HOUR])
def test_with_jitter_no_more_run_late_than_without(away):
    plan, now = replace(MINUTELY, jitter_s=3_600), NOON + away

    due = settlement.due(plan, NOON, now, "enqueue_missed_with_cap")

    late = [one for one in due.fire if plans.due_at(plan, one) < now - MINUTE]
    assert late == [NOON + n * MINUTE for n in range(25)]


def test_a_year_of_missed_minutes_is_counted_and_not_walked():
    due = settlement.due(MINUTELY, NOON, NOON + timedelta(days=365), "skip_missed")

    assert due.missed == TriggerMissed(
        first=NOON,
        last=NOON + timedelta(days=365) - 2 * MINUTE,
        count=365 * 24 * 60 - 1,
        reason="skip_missed",
        next_at=NOON + timedelta(days=365) + MINUTE,
    )


def test_a_missed_night_without_its_wall_time_counts_once():
    amsterdam = Plan(seed=ROUTINE, cron=Cron("30 2 * * *", "Europe/Amsterdam"))
    before = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)
    after_gap = datetime(2026, 3, 29, 1, tzinfo=UTC)

    due = settlement.due(amsterdam, before, datetime(2026, 3, 29, 12, tzinfo=UTC), "skip_missed")

    next_at = datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    event = TriggerMissed(first=before, last=after_gap, count=2, reason="skip_missed", next_at=next_at)
    assert due == settlement.Due(fire=(), missed=event, next_at=next_at)


def test_who_gives_up_an_occurrence_goes_on_with_the_next():
    given_up = settlement.give_up(HOURLY, NOON, NOON + MINUTE, "skip_missed")

    assert settlement.Due(fire=(NOON,), missed=None, next_at=NOON + HOUR) == given_up


def test_with_jitter_the_next_one_after_an_occurrence_that_is_given_up_comes_due_later():
    plan = replace(HOURLY, jitter_s=600)

    given_up = settlement.give_up(plan, NOON, NOON + MINUTE, "skip_missed")

    assert (given_up.next_at, given_up.due_at) == (NOON + HOUR, plans.due_at(plan, NOON + HOUR))


@pytest.mark.parametrize(
    ("policy", "fired", "missed"),
    [("skip_missed", [0, 3], [1, 2]), ("enqueue_missed_with_cap", [0, 1, 2, 3], [])],
)
def test_what_came_due_since_an_occurrence_that_is_given_up_has_its_outcome_too(policy, fired, missed):
    given_up = settlement.give_up(HOURLY, NOON, NOON + 3 * HOUR, policy)

    assert [NOON + n * HOUR for n in fired] == list(given_up.fire)
    ranges = [given_up.missed] if given_up.missed else []
    assert [NOON + n * HOUR for n in missed] == [one.first + n * HOUR for one in ranges for n in range(one.count)]
    assert NOON + 4 * HOUR == given_up.next_at


# A change of the schedule


def schedule(*changes, **settings):
    """A schedule whose occurrence at noon has no outcome yet."""
    hourly = TriggerSettings(cron_expression="0 * * * *", timezone="UTC", **settings)
    created = TriggerCreated(routine_id=ROUTINE, kind="schedule", settings=hourly, next_at=NOON)
    return given(trigger.evolve, created, *changes)


def test_an_edit_keeps_an_occurrence_that_waits_for_its_jitter_and_misses_those_before():
    current = schedule(jitter_sec=3_000)
    waiting = NOON + 3 * HOUR
    now = plans.due_at(trigger.plan_of(current), waiting) - INSTANT
    twice_an_hour = replace(trigger.plan_of(current), cron=Cron("0,30 * * * *"))

    going_on = settlement.go_on(current, twice_an_hour, NOON, now, now, "edited", runs=True)

    assert waiting < now
    assert waiting == going_on.next_at
    assert [(NOON, waiting - HOUR, 3)] == [(one.first, one.last, one.count) for one in going_on.missed]


def test_what_came_due_while_a_schedule_rested_is_missed_on_account_of_the_quota_and_the_rest_of_the_edit():
    rest = TriggerMissed(
        first=NOON - HOUR,
        last=NOON - HOUR,
        count=1,
        reason="over_quota",
        next_at=NOON,
        rests_until=NOON + HOUR,
    )
    now = NOON + 3 * HOUR

    def missed(current, first):
        events = settlement.miss_until(current, HOURLY, first, now, now, "edited")
        return [(one.reason, one.first, one.last) for one in events]

    both = [("over_quota", NOON, NOON + HOUR), ("edited", NOON + 2 * HOUR, now)]
    assert both == missed(schedule(rest), NOON)
    assert [("edited", NOON + HOUR, now)] == missed(schedule(rest), NOON + HOUR)  # the rest was over with the first
    assert [("edited", NOON, now)] == missed(schedule(), NOON)


def test_what_is_too_much_to_be_caught_up_with_is_missed_with_the_rest_when_nothing_may_run():
    due = settlement.due(HOURLY, NOON, NOON + 39 * HOUR + 10 * MINUTE, "enqueue_missed_with_cap")

    missed = settlement.miss(HOURLY, NOON, due, "over_quota")

    assert (NOON, NOON + 39 * HOUR, 40, NOON + 40 * HOUR) == (missed.first, missed.last, missed.count, missed.next_at)


def test_a_schedule_rests_for_as_long_as_nothing_has_run_and_anew_once_something_has():
    rested = TriggerMissed(
        first=NOON - HOUR, last=NOON - HOUR, count=1, reason="over_quota", next_at=NOON, rests_until=NOON
    )
    current = schedule(rested)

    def rest(since):
        [event] = settlement.rest(current, HOURLY, since, settlement.due(HOURLY, since, since, "skip_missed"), since)
        return event.rests_until - since

    assert (HOUR, timedelta()) == (rest(NOON), rest(NOON + 2 * HOUR))
    assert settlement.record_rest_as_missed(current, HOURLY, NOON, NOON + 2 * HOUR).reason == "over_quota"
    assert settlement.record_rest_as_missed(current, HOURLY, NOON - HOUR, NOON + 2 * HOUR) is None


# Other rules of the zone than when the schedule was planned

DAILY = Plan(seed=ROUTINE, cron=Cron("0 9 * * *", "America/Vancouver"))  # 16:00 UTC by the rules of now
WORKDAY = Plan(seed=ROUTINE, cron=Cron("0 9-17 * * *", "America/Vancouver"))  # hourly, 16:00 to 00:00 UTC
FIRST = datetime(2026, 12, 2, 16, tzinfo=UTC)  # 09:00 in Vancouver
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("plan", "planned", "now", "next_at"),
    [
        (DAILY, FIRST + HOUR, FIRST - 12 * HOUR, FIRST),  # was planned an hour late
        (DAILY, FIRST - HOUR, FIRST - 12 * HOUR, FIRST),  # was planned an hour early
        (DAILY, FIRST + DAY - HOUR, FIRST - 30 * MINUTE, FIRST + DAY),  # ran today by the rules of before: not again
        (WORKDAY, FIRST + HOUR, FIRST - 5 * HOUR, FIRST),  # is one of the times, but not the first any more
        (replace(DAILY, ends_at=FIRST - INSTANT), FIRST - HOUR, FIRST - 12 * HOUR, None),  # lies after the end now
    ],
)
def test_by_other_rules_of_its_zone_a_schedule_goes_on_with_what_these_say(plan, planned, now, next_at):
    assert [TriggerReplanned(zone_data="2026f", next_at=next_at)] == settlement.replan(plan, planned, now, "2026f")


@pytest.mark.parametrize(
    ("plan", "planned", "now"),
    [
        (DAILY, FIRST, FIRST - HOUR),  # is planned as the rules of now say
        (DAILY, FIRST + HOUR, FIRST + HOUR),  # is due
        (DAILY, FIRST + HOUR, FIRST + 20 * MINUTE),  # is over by the rules of now: runs late, as it was planned
        (DAILY, FIRST + HOUR, FIRST),  # is due by the rules of now
        (DAILY, FIRST + 4 * HOUR, FIRST + 4 * HOUR),  # is due, and by the rules of now there is none near
        (replace(HOURLY, cron=Cron("*/30 * * * *", "America/Vancouver")), FIRST, FIRST - MINUTE),
        (Plan(seed=ROUTINE, once=FIRST), FIRST, FIRST - HOUR),  # a moment is the same by all rules
    ],
)
def test_what_is_due_over_or_the_same_by_other_rules_stays_as_it_was_planned(plan, planned, now):
    assert [] == settlement.replan(plan, planned, now, "2026f")


def test_jitter_is_that_of_the_occurrence_with_which_it_goes_on():
    plan = replace(DAILY, jitter_s=3_000)

    (event,) = settlement.replan(plan, FIRST + HOUR, FIRST - HOUR, "2026f")

    assert (FIRST, plans.due_at(plan, FIRST)) == (event.next_at, event.due_at)
