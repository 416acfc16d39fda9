"""The days of a cron expression against a walk through the calendar."""

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from domain.schedule.cron_days import LONGEST_GAP_YEARS, CronDays, count, first_from, last_until

LEAP_SUNDAYS = CronDays(frozenset({29}), frozenset({2}), frozenset({0}), either=False)


def some_numbers(low: int, high: int) -> st.SearchStrategy[frozenset[int]]:
    few = st.frozensets(st.integers(low, high), min_size=1, max_size=3)
    return st.one_of(st.just(frozenset(range(low, high + 1))), few)


DAYS = st.builds(CronDays, some_numbers(1, 31), some_numbers(1, 12), some_numbers(0, 6), st.booleans())
STARTS = st.integers(date(1, 1, 1).toordinal(), date(9990, 1, 1).toordinal())


@settings(max_examples=200)
@for_all(DAYS, STARTS, st.integers(0, 1_500))
def test_first_last_and_count_agree_with_a_walk(days, start, many):
    walked = [day for day in range(start, start + many) if days.include(date.fromordinal(day))]

    assert count(days, start, start + many) == len(walked)
    first, last = first_from(days, start), last_until(days, start + many - 1) if many else None
    assert walked[:1] == [day for day in [first] if day is not None and day < start + many]
    assert walked[-1:] == [day for day in [last] if day is not None and day >= start]


def test_no_kind_of_year_stays_away_longer_than_the_search_looks():
    first = first_from(LEAP_SUNDAYS, date(1600, 1, 1).toordinal())
    years = []
    while first is not None and (year := date.fromordinal(first).year) <= 2400:
        years.append(year)
        first = first_from(LEAP_SUNDAYS, first + 1)

    assert max(later - earlier for earlier, later in pairwise(years)) == LONGEST_GAP_YEARS


@pytest.mark.parametrize("either", [False, True])
def test_a_day_that_is_in_no_month_never_comes(either):
    never = CronDays(frozenset({30, 31}), frozenset({2}), frozenset(), either=either)

    assert first_from(never, 1) is None
    assert last_until(never, date(9999, 12, 31).toordinal()) is None
    assert count(never, 1, date(9999, 12, 31).toordinal()) == 0
