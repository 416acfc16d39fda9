"""Cron expressions in plain English."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.schedule import cron_fields
from domain.schedule.cron_words import describe

SAID = {
    "* * * * *": "Every minute",
    "*/15 * * * *": "Every 15 minutes",
    "5/15 * * * *": "Every 15 minutes from minute 5",
    "*/7 * * * *": "At every 7th minute from 0 to 56 of every hour",
    "0 * * * *": "Every hour, on the hour",
    "5 * * * *": "At minute 5 of every hour",
    "30 9 * * 1-5": "At 09:30 on Monday to Friday",
    "0 9 * * 7": "At 09:00 every Sunday",
    "0 9 * * SUN,sat": "At 09:00 on Saturday and Sunday",
    "0 9 * JAN 0": "At 09:00 every Sunday in January",
    "0 9,12 1,15 3-5 *": "At 09:00 and 12:00 on days 1 and 15 of the month in March to May",
    "0 */2 * * *": "At minute 0 of every 2nd hour from 0 to 22",
    "*/15 9-17 * * MON-FRI": "Every 15 minutes from 09:00 to 17:59 on Monday to Friday",
    "*/20 3,5,9 * * *": "Every 20 minutes of hours 3, 5 and 9",
    "0 0 31 12 *": "At 00:00 on day 31 of the month in December",
}


@pytest.mark.parametrize("expression", SAID)
def test_an_expression_reads_as_people_say_it(expression):
    assert SAID[expression] == describe(expression)


@pytest.mark.parametrize(
    ("expression", "description"),
    [
        ("0 0 13 * 5", "At 00:00 on day 13 of the month, and also every Friday"),
        ("0 0 13 * */2", "At 00:00 on day 13 of the month, but only on a Tuesday, Thursday, Saturday or Sunday"),
        ("0 0 */2 * 1", "At 00:00 on every 2nd day from 1 to 31 of the month, but only on a Monday"),
        ("0 0 1-31 * 1", "At 00:00 every day"),
    ],
)
def test_two_day_fields_are_either_or_unless_one_begins_with_a_star(expression, description):
    assert description == describe(expression)


@pytest.mark.parametrize(
    ("real_time", "fixed"),
    [("*/15 * * * *", "0,15,30,45 0-23 * * *"), ("0 */6 * * *", "0 0,6,12,18 * * *"), ("0 * * * *", "0 0-23 * * *")],
)
def test_what_follows_another_rule_where_the_clocks_change_is_said_in_other_words(real_time, fixed):
    assert describe(real_time) != describe(fixed)
    assert describe(real_time, clocks_change=False) == describe(fixed, clocks_change=False)


@pytest.mark.parametrize(
    ("expression", "warned"),
    [
        ("*/90 * * * *", ["*/90"]),
        ("0 */25 * * *", ["*/25"]),
        ("0-29/45,5 */48 */40 */13 */9", ["0-29/45", "*/48", "*/40", "*/13", "*/9"]),
        ("50/15 * * * *", ["50/15"]),
        ("*/60 */24 */31 */12 */7", []),
        ("*/40 0-23/2 1-31 * MON-SUN/2", []),
        ("59/5 * * * *", []),
    ],
)
def test_a_step_that_leads_out_of_its_field_at_once_is_warned_of(expression, warned):
    assert warned == [warning.split('"')[1] for warning in cron_fields.warnings(expression)]


def field(low, high):
    single = st.integers(low, high).map(str)
    span = (
        st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    )
    stepped = st.tuples(st.just("*") | span, st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.just("*") | st.lists(single | span | stepped, min_size=1, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).map(" ".join)


def meaning(expression):
    """What decides when it runs, reduced to what can be told apart."""
    texts, (minutes, hours, days, months, weekdays) = cron_fields.read(expression)
    weekdays = {day % 7 for day in weekdays}
    either = not texts[2].startswith("*") and not texts[4].startswith("*")
    all_days, all_weekdays = len(days) == 31, len(weekdays) == 7
    if (all_days and all_weekdays) or (either and (all_days or all_weekdays)):
        on: object = "every day"
    elif all_days or all_weekdays:
        on = (None if all_days else days, None if all_weekdays else weekdays)
    else:
        on = (days, weekdays, either)
    return minutes, hours, months, on, cron_fields.is_real_time(texts)


@given(EXPRESSIONS, EXPRESSIONS)
def test_what_runs_at_other_times_is_said_in_other_words(one, other):
    assert (describe(one) == describe(other)) == (meaning(one) == meaning(other))
