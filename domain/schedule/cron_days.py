"""
The days that the date fields of a cron expression mean, found in the calendar without walking through it.

There are fourteen kinds of year in the Gregorian calendar: common or leap, beginning on one of seven weekdays. Each
kind is examined once, and every kind recurs within 40 years, so a search examines 41 years at most: days that are in
none of them never come. Days are proleptic ordinals, as `date.toordinal` gives them.
"""

from bisect import bisect_left, bisect_right
from calendar import isleap
from datetime import date
from functools import lru_cache
from typing import NamedTuple

# Two years with the same calendar are at most so far apart: leap years that begin on the same weekday, around 2100.
LONGEST_GAP_YEARS = 40


class CronDays(NamedTuple):
    """The three date fields as sets of values, and how the two day fields go together."""

    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 = Sunday
    either: bool  # whether one matching day field is enough

    def include(self, day: date) -> bool:
        """Return whether the day matches the date fields."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday if self.either else by_day and by_weekday


def first_from(days: CronDays, ordinal: int) -> int | None:
    """Return the first matching day at or after the given one; None if there is none up to the end of the calendar."""
    year = date.fromordinal(ordinal).year
    for later in range(year, min(year + LONGEST_GAP_YEARS, date.max.year) + 1):
        new_year, offsets = _days_of_year(days, later)
        index = bisect_left(offsets, ordinal - new_year)
        if index < len(offsets):
            return new_year + offsets[index]
    return None


def last_until(days: CronDays, ordinal: int) -> int | None:
    """Return the last matching day at or before the given one; None if there is none since the beginning of the calendar."""
    year = date.fromordinal(ordinal).year
    for earlier in range(year, max(year - LONGEST_GAP_YEARS, 1) - 1, -1):
        new_year, offsets = _days_of_year(days, earlier)
        if index := bisect_right(offsets, ordinal - new_year):
            return new_year + offsets[index - 1]
    return None


def count(days: CronDays, first: int, end: int) -> int:
    """Return how many matching days lie in [first, end)."""
    if first >= end:
        return 0
    first_year, last_year = date.fromordinal(first).year, date.fromordinal(end - 1).year
    whole = sum(len(_days_of_year(days, year)[1]) for year in range(first_year, last_year))
    return whole - _count_in_year(days, first_year, first) + _count_in_year(days, last_year, end)


def _count_in_year(days: CronDays, year: int, end: int) -> int:
    """Return how many matching days of a year lie before `end`."""
    new_year, offsets = _days_of_year(days, year)
    return bisect_left(offsets, end - new_year)


def _days_of_year(days: CronDays, year: int) -> tuple[int, tuple[int, ...]]:
    """Return the first of January, and how many days after it each matching day is."""
    new_year = date(year, 1, 1)
    return new_year.toordinal(), _offsets_of_days(days, new_year.weekday(), isleap(year))


@lru_cache(maxsize=16384)
def _offsets_of_days(days: CronDays, weekday: int, is_leap: bool) -> tuple[int, ...]:
    """Return the matching days of a kind of year, counted from its first of January."""
    new_year = next(
        day
        for day in (date(year, 1, 1) for year in range(2000, 2028))  # among 28 years in a row are all kinds of years
        if day.weekday() == weekday and isleap(day.year) == is_leap
    )
    first = new_year.toordinal()
    return tuple(n for n in range(366 if is_leap else 365) if days.include(date.fromordinal(first + n)))
