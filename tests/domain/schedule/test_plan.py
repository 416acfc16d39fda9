"""Schedules within limits: against the bare schedule, filtered one by one."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.errors import BadSchedule
from domain.schedule import cron_schedule
from domain.schedule import plan as plans
from domain.schedule.cron_schedule import Cron
from domain.schedule.plan import Plan
from tests.examples import examples

ROUTINE = UUID(int=7)
NOON = datetime(2026, 3, 27, 12, tzinfo=UTC)
MINUTE, HOUR, DAY, INSTANT = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
HOURLY = Plan(seed=ROUTINE, cron=Cron("0 * * * *"))
ONCE = Plan(seed=ROUTINE, once=NOON + timedelta(seconds=7))

crons = st.builds(
    Cron,
    st.sampled_from(["0 * * * *", "*/20 * * * *", "30 2 * * *", "0 0 * * *", "15 9 * * MON-FRI", "0 */5 1,28 * *"]),
    st.sampled_from(["UTC", "Europe/Amsterdam", "Asia/Beirut", "Australia/Lord_Howe", "America/New_York"]),
)
moments = st.integers(0, 20 * 24 * 60).map(lambda n: NOON - 5 * DAY + n * MINUTE)
days = st.integers(0, 20).map(lambda n: date(2026, 3, 22) + n * DAY)
limited = st.builds(
    Plan,
    seed=st.just(ROUTINE),
    cron=crons,
    starts_at=st.none() | moments,
    ends_at=st.none() | moments,
    excluded=st.lists(days, max_size=4, unique=True).map(sorted).map(tuple),
    jitter_s=st.sampled_from([0, 1, 59, 60, 600, 3600]),
)


def one_by_one(plan, after, until):
    """What the limits leave of the bare schedule."""
    zone = ZoneInfo(plan.cron.timezone)
    return [
        moment
        for moment in cron_schedule.occurrences(plan.cron, after, until)
        if (plan.starts_at is None or moment >= plan.starts_at)
        and (plan.ends_at is None or moment <= plan.ends_at)
        and moment.astimezone(zone).date() not in plan.excluded
    ]


@settings(max_examples=examples(suite=100, campaign=300))
@for_all(limited, moments, st.integers(0, 12 * 24 * 60))
def test_the_limits_leave_what_they_leave_one_by_one(plan, after, minutes):
    until = after + minutes * MINUTE
    expected = one_by_one(plan, after, until)

    assert expected == list(plans.occurrences(plan, after, until))
    assert len(expected) == plans.count(plan, after, until)
    middle = after + minutes // 3 * MINUTE
    earlier = sum(moment <= middle for moment in expected)
    assert [earlier, len(expected) - earlier] == plans.counts(plan, [after, middle, until])
    assert (expected[-1] if expected else None) == plans.last_until(plan, until, after)


@settings(max_examples=examples(suite=80, campaign=200))
@for_all(limited, moments)
def test_jitter_never_makes_an_occurrence_early_nor_lets_it_overtake_the_next(plan, after):
    due = [(moment, plans.due_at(plan, moment)) for moment in plans.occurrences(plan, after, after + 3 * DAY)]

    assert all(timedelta() <= due_at - moment <= timedelta(seconds=plan.jitter_s) for moment, due_at in due)
    assert all(due_at < following for (_, due_at), (following, _) in pairwise(due))
    assert due == [(moment, plans.due_at(plan, moment)) for moment, _ in due]


@settings(max_examples=examples(suite=80, campaign=200))
@for_all(limited, moments)
def test_jitter_never_passes_the_end_nor_reaches_an_excluded_date(plan, after):
    zone = ZoneInfo(plan.cron.timezone)
    due = [plans.due_at(plan, moment) for moment in plans.occurrences(plan, after, after + 6 * DAY)]

    assert plan.ends_at is None or all(due_at <= plan.ends_at for due_at in due)
    assert {due_at.astimezone(zone).date() for due_at in due}.isdisjoint(plan.excluded)


def test_an_occurrence_at_the_very_end_and_one_before_an_excluded_midnight_still_come_due():
    last = replace(HOURLY, jitter_s=3_600, ends_at=NOON)
    eve = replace(HOURLY, cron=Cron("50 23 * * *", "Asia/Tokyo"), jitter_s=3_600, excluded=(date(2026, 3, 28),))
    seeds = [replace(eve, seed=UUID(int=n)) for n in range(300)]
    planned = datetime(2026, 3, 27, 14, 50, tzinfo=UTC)  # 23:50 in Tokyo

    due = {plans.due_at(plan, planned) for plan in seeds}

    assert NOON == plans.due_at(last, NOON)
    assert planned <= min(due) < max(due) <= planned + 10 * MINUTE - timedelta(seconds=1)


def test_jitter_spreads_the_routines_that_share_a_moment():
    seeds = [replace(HOURLY, seed=UUID(int=n), jitter_s=600) for n in range(200)]

    late = sorted({(plans.due_at(plan, NOON) - NOON).total_seconds() for plan in seeds})

    assert len(late) > 100
    assert late[0] < 60
    assert late[-1] > 540


def test_jitter_comes_up_to_the_second_before_the_next_occurrence_and_to_the_end():
    minutely = replace(HOURLY, cron=Cron("* * * * *"), jitter_s=3_600)
    ends = [replace(HOURLY, seed=UUID(int=n), jitter_s=600, ends_at=NOON + timedelta(seconds=5)) for n in range(200)]

    late = [plans.due_at(minutely, NOON + n * MINUTE) - NOON - n * MINUTE for n in range(1_000)]

    assert (timedelta(), timedelta(seconds=59)) == (min(late), max(late))
    assert timedelta(seconds=5) == max(plans.due_at(plan, NOON) - NOON for plan in ends)
    assert NOON == plans.due_at(replace(HOURLY, jitter_s=600, ends_at=NOON - HOUR), NOON), "the end was moved before it"


def test_an_occurrence_comes_due_at_the_same_moment_in_every_version():
    assert NOON + timedelta(seconds=395) == plans.due_at(replace(HOURLY, jitter_s=600), NOON)


def test_what_comes_due_at_a_moment_has_come_due_by_then_and_does_not_come_due_afterwards():
    plan = replace(HOURLY, jitter_s=600)
    due_at = plans.due_at(plan, NOON)

    assert due_at > NOON
    assert (NOON, NOON + HOUR) == (plans.next_due_after(plan, due_at - INSTANT), plans.next_due_after(plan, due_at))
    assert plans.comes_due_within(plan, due_at - INSTANT, due_at)
    assert not plans.comes_due_within(plan, due_at, due_at + MINUTE)


def test_the_part_before_a_moment_ends_where_the_plan_does():
    assert NOON == plans.plan_before(replace(HOURLY, ends_at=NOON), NOON + DAY).ends_at
    assert NOON - INSTANT == plans.plan_before(replace(HOURLY, ends_at=NOON), NOON).ends_at


def test_a_limit_belongs_to_what_it_limits():
    limits = replace(HOURLY, starts_at=NOON, ends_at=NOON + 2 * HOUR)

    assert [NOON, NOON + HOUR, NOON + 2 * HOUR] == list(plans.occurrences(limits, NOON - DAY, NOON + DAY))
    assert plans.next_after(limits, NOON + 2 * HOUR) is None
    assert ONCE.once == plans.next_after(replace(ONCE, starts_at=ONCE.once, ends_at=ONCE.once), NOON)


def test_an_excluded_date_is_one_of_the_schedules_zone():
    tokyo = Plan(seed=ROUTINE, cron=Cron("0 3 * * *", "Asia/Tokyo"), excluded=(date(2026, 3, 28),))

    assert datetime(2026, 3, 28, 18, tzinfo=UTC) == plans.next_after(tokyo, NOON)


def test_what_happens_once_happens_once():
    run_at = ONCE.once

    assert [run_at] == list(plans.occurrences(ONCE, NOON, NOON + DAY))
    assert 1 == plans.count(ONCE, NOON, run_at)
    assert [1, 0] == plans.counts(ONCE, [NOON, run_at, NOON + DAY])
    assert run_at == plans.last_until(ONCE, NOON + DAY, NOON)
    assert plans.next_after(ONCE, run_at) is None
    assert 0 == plans.count(ONCE, run_at, NOON + DAY)
    assert plans.last_until(ONCE, run_at - INSTANT, NOON) is None


def test_a_plan_with_nothing_left_is_a_mistake():
    with pytest.raises(BadSchedule, match="no occurrence left"):
        plans.must_have_an_occurrence(replace(HOURLY, ends_at=NOON), NOON)


def test_a_plan_that_never_comes_in_its_zone_is_a_mistake_that_names_the_zone():
    never = replace(HOURLY, cron=Cron("* 2 */31 10 0", "Australia/Sydney"))

    with pytest.raises(BadSchedule, match="never comes in Australia/Sydney"):
        plans.must_have_an_occurrence(never, NOON)
    assert plans.next_after(never, NOON) is None
    assert [] == list(plans.occurrences(never, NOON, NOON + 9_999 * DAY))
    assert plans.last_until(never, NOON + 9_999 * DAY, NOON) is None


def test_a_plan_whose_only_days_are_excluded_has_nothing_left():
    leap_days = replace(HOURLY, cron=Cron("0 0 29 2 *"), excluded=(date(2028, 2, 29), date(2032, 2, 29)))

    assert plans.next_after(leap_days, NOON) == datetime(2036, 2, 29, tzinfo=UTC)
    with pytest.raises(BadSchedule, match="no occurrence left"):
        plans.must_have_an_occurrence(replace(leap_days, ends_at=datetime(2033, 1, 1, tzinfo=UTC)), NOON)
