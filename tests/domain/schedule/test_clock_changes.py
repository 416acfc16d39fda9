"""Which clock changes touch a schedule, and how."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.schedule import cron_fields, cron_schedule
from domain.schedule import plan as plans
from domain.schedule.clock_changes import find_affected_occurrences
from domain.schedule.plan import Plan

YEAR = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
AMSTERDAM, NEW_YORK, LORD_HOWE = "Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def plan(expression, zone=AMSTERDAM, **limits):
    return Plan(seed=UUID(int=1), cron=cron_schedule.parse_cron(expression, zone), **limits)


def effects(expression, zone=AMSTERDAM, **limits):
    return [
        (change.effect, len(change.wall_times), len(change.occurrences))
        for change in find_affected_occurrences(plan(expression, zone, **limits), *YEAR)
    ]


@pytest.mark.parametrize(
    ("expression", "spring", "autumn"),
    [
        ("30 2 * * *", ("moved", 1, 1), ("once", 1, 1)),
        ("0,30 2 * * *", ("merged", 2, 1), ("once", 2, 2)),
        ("30 2,3 * * *", ("moved", 1, 1), ("once", 1, 1)),
        ("0 2,3 * * *", ("merged", 1, 1), ("once", 1, 1)),
        ("*/15 2 * * *", ("left_out", 4, 0), ("twice", 4, 8)),
        ("0 */2 * * *", ("left_out", 1, 0), ("twice", 1, 2)),
    ],
)
def test_what_becomes_of_an_occurrence_in_the_hour_that_is_missing_and_in_the_one_that_comes_twice(
    expression, spring, autumn
):
    assert [spring, autumn] == effects(expression)


@pytest.mark.parametrize("expression", ["30 9 * * *", "0 * * * *", "*/15 * * * *", "* * * * *", "30 2 * 1 *"])
def test_a_change_that_changes_nothing_is_not_told(expression):
    assert [] == effects(expression)


def test_a_shift_of_half_an_hour_touches_an_hourly_schedule():
    assert [("left_out", 1, 0)] == effects("0 * * * *", LORD_HOWE)


@pytest.mark.parametrize("expression", ["*/30 * * * *", "*/10 * * * *", "*/15 * * * *", "*/2 * * * *", "* * * * *"])
def test_a_shift_of_half_an_hour_leaves_what_is_even_in_half_an_hour_as_it_is(expression):
    assert [] == effects(expression, LORD_HOWE)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0,20,40 * * * *", [("twice", 1, 2), ("left_out", 2, 0)]),  # April 01:30-02:00 twice, October no 02:00-02:30
        ("*/4 * * * *", [("twice", 7, 14), ("left_out", 8, 0)]),
    ],
)
def test_a_shift_of_half_an_hour_touches_what_is_uneven_in_half_an_hour(expression, expected):
    assert expected == effects(expression, LORD_HOWE)


def test_where_clocks_never_change_nothing_is_touched():
    assert [] == effects("30 2 * * *", "UTC")


def test_a_date_that_is_left_out_and_one_outside_the_limits_are_not_touched():
    assert [("once", 1, 1)] == effects("30 2 * * *", excluded=(date(2026, 3, 29),))
    assert [("moved", 1, 1)] == effects("30 2 * * *", ends_at=datetime(2026, 6, 1, tzinfo=UTC))
    assert [("once", 1, 1)] == effects("30 2 * * *", starts_at=datetime(2026, 6, 1, tzinfo=UTC))


def test_it_is_told_in_words():
    spring, autumn = find_affected_occurrences(plan("30 2 * * *"), *YEAR)

    assert spring.text == (
        "On Sun 29 Mar 2026 the clocks of Europe/Amsterdam go forward from 02:00 to 03:00: 02:30 does not exist, and "
        "the schedule runs at 03:00 (01:00 UTC) instead."
    )
    assert autumn.text == (
        "On Sun 25 Oct 2026 the clocks of Europe/Amsterdam go back from 03:00 to 02:00: 02:30 comes twice, and the "
        "schedule runs the first time only, at 02:30 (00:30 UTC)."
    )
    assert (timedelta(hours=1), timedelta(hours=-1)) == (spring.shift, autumn.shift)


TIMES = st.tuples(st.sampled_from(["0", "30", "0,30", "*/20", "5-7"]), st.sampled_from(["1", "2", "1-3", "*/2", "0,2"]))


@given(
    TIMES,
    st.sampled_from([AMSTERDAM, NEW_YORK, LORD_HOWE, "America/Santiago", "Africa/Casablanca"]),
    st.sampled_from([(2, 20), (3, 20), (9, 1), (10, 10)]),
)
@settings(max_examples=30)
def test_on_a_day_that_is_not_told_of_the_schedule_runs_at_exactly_its_wall_times(times, zone, first):
    daily = plan(f"{times[0]} {times[1]} * * *", zone)
    _, (minutes, hours, *_) = cron_fields.read(daily.cron.expression)
    walls = sorted((hour, minute) for hour in hours for minute in minutes)
    begin = datetime(2026, *first, tzinfo=UTC)
    tz, changes = ZoneInfo(zone), list(find_affected_occurrences(daily, begin, begin + 30 * DAY))

    occurrences, ran = list(plans.occurrences(daily, begin, begin + 30 * DAY)), {}
    for at in occurrences:
        local = at.astimezone(tz)
        ran.setdefault(local.date(), []).append((local.hour, local.minute))

    whole_days = [(begin + n * DAY).date() for n in range(2, 28)]
    other = {day for day in whole_days if ran.get(day, []) != walls}
    assert other <= {moment.astimezone(tz).date() for one in changes for moment in (one.at, one.at - MINUTE)}
    assert {at for one in changes for at in one.occurrences} <= set(occurrences)
