"""Cadences as cron expressions in UTC: Jetty contract 3."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidField
from domain.jetty import cadence
from domain.values import Cadence

SUNDAY = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("of", "cron"),
    [
        (Cadence(type="manual"), None),
        (Cadence(type="hourly", minute_utc=5), "5 * * * *"),
        (Cadence(type="daily", hour_utc=9), "0 9 * * *"),
        (Cadence(type="weekdays", hour_utc=0, minute_utc=59), "59 0 * * 1-5"),
        (Cadence(type="weekly", hour_utc=23, day_of_week="sun"), "0 23 * * 0"),
        (Cadence(type="weekly", hour_utc=23, day_of_week="sat"), "0 23 * * 6"),
    ],
)
def test_each_has_its_cron_expression(of, cron):
    assert cadence.cron_of(of) == cron


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (("manual", 9), "hour_utc"),
        (("manual", None, 0), "minute_utc"),
        (("manual", None, None, "mon"), "day_of_week"),
        (("hourly", 1), "hour_utc"),
        (("hourly", None, 1, "mon"), "day_of_week"),
        (("daily",), "hour_utc"),
        (("daily", 1, None, "mon"), "day_of_week"),
        (("weekdays", None, 5), "hour_utc"),
        (("weekly", 9), "day_of_week"),
        (("weekly", None, None, "mon"), "hour_utc"),
    ],
)
def test_what_makes_no_sense_names_the_field(given, field):
    with pytest.raises(InvalidField) as refusal:
        cadence.cadence(*given)

    assert refusal.value.field == f"cadence.{field}"
    assert field in refusal.value.message


def test_midnight_is_an_hour():
    assert cadence.cadence("daily", 0) == Cadence(type="daily", hour_utc=0)


@pytest.mark.parametrize(
    ("of", "next_at"),
    [
        (Cadence(type="manual"), None),
        (Cadence(type="hourly"), datetime(2026, 11, 29, 13, 0, tzinfo=UTC)),
        (Cadence(type="daily", hour_utc=12), datetime(2026, 11, 30, 12, 0, tzinfo=UTC)),
        (Cadence(type="weekdays", hour_utc=9), datetime(2026, 11, 30, 9, 0, tzinfo=UTC)),
        (Cadence(type="weekly", hour_utc=11, day_of_week="sun"), datetime(2026, 12, 6, 11, 0, tzinfo=UTC)),
    ],
)
def test_the_next_time_lies_strictly_ahead(of, next_at):
    assert cadence.next_after(of, SUNDAY) == next_at


@given(
    st.sampled_from(["daily", "weekdays"]),
    st.integers(0, 23),
    st.integers(0, 59),
    st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 the zone is given
)
def test_whatever_the_moment_the_next_time_has_the_hour_and_minute_that_were_asked_for(type_, hour, minute, moment):
    next_time = cadence.next_after(Cadence(type=type_, hour_utc=hour, minute_utc=minute), moment)

    assert next_time is not None
    assert next_time > moment
    assert (next_time.hour, next_time.minute) == (hour, minute)
    assert type_ == "daily" or next_time.weekday() < 5
