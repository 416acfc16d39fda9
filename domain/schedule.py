"""
When a routine runs: five cron fields read in the wall time of a zone.

* Days          a day field that begins with `*` (also `*/2`) is unrestricted: both day fields must then match;
                when both are restricted either is enough (Vixie).
* Spring        a fixed-time schedule whose wall times fall into the gap runs once, at the first instant after it.
* Autumn        a fixed-time schedule whose wall time comes twice runs once, the first time.
* Real time     when the minute or the hour begins with `*`, every real minute whose wall time matches runs.

Moments are aware and come back in UTC, in whole minutes; periods are open at `after` and closed at `until`.
Inside, a wall time is carried as if it were UTC: wall = moment + offset.
"""

from bisect import bisect_left
from collections.abc import Iterator
from copy import copy
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import chain, pairwise, takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from croniter import CroniterBadDateError, croniter

from domain import cron_fields
from domain.errors import BadSchedule

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


class Cron(msgspec.Struct, frozen=True):
    """Five cron fields read in the wall time of a zone; `cron` makes one that is checked."""

    expression: str
    timezone: str = "UTC"  # IANA name


def cron(expression: str, timezone: str = "UTC") -> Cron:
    """The schedule, or BadSchedule saying what is wrong with it."""
    schedule = Cron(expression.strip(), timezone.strip())
    if schedule.timezone not in _timezones():
        raise BadSchedule(f"Invalid timezone: {timezone}")
    _first_wall(_rule(schedule.expression), datetime(2000, 1, 1, tzinfo=UTC))
    return schedule


@lru_cache(maxsize=4096)  # many schedules are alike
def next_after(schedule: Cron, moment: datetime) -> datetime:
    """The first occurrence strictly after the moment."""
    rule = _rule(schedule.expression)
    asked = found = datetime.max.replace(tzinfo=UTC)  # the first wall time from `asked` on that matches
    for span in _spans(schedule, _minute_after(moment)):
        if not asked <= span.first <= found:
            asked, found = span.first, _first_wall(rule, span.first)
        if found < span.end:
            return max(found - span.offset, span.begin)
    raise BadSchedule(f'Cron expression has no date left: "{schedule.expression}"')


def occurrences(schedule: Cron, after: datetime, until: datetime) -> Iterator[datetime]:
    """The occurrences in (after, until], ascending, each found when asked for."""
    moment = next_after(schedule, after)
    while moment <= until:
        yield moment
        moment = next_after(schedule, moment)


def count(schedule: Cron, after: datetime, until: datetime) -> int:
    """How many occurrences there are in (after, until], without walking them."""
    rule, end = _rule(schedule.expression), _minute_after(until)
    spans = takewhile(lambda span: span.begin < end, _spans(schedule, _minute_after(after)))
    return sum(_count_in(rule, span, end) for span in spans)


def last_until(schedule: Cron, until: datetime, after: datetime) -> datetime | None:
    """The latest occurrence in (after, until], None when there is none."""
    low, high = after, until
    if not count(schedule, low, high):
        return None
    while high - low > MINUTE:
        middle = low + (high - low) / 2
        low, high = (middle, high) if count(schedule, middle, high) else (low, middle)
    return next_after(schedule, low)


class _Rule(NamedTuple):
    """An expression as sets of values, and croniter prepared with the same sets."""

    expression: str
    times: list[int]  # minutes after midnight, ascending
    days: set[int]
    months: set[int]
    weekdays: set[int]  # 0 = Sunday
    either: bool  # one matching day field is enough
    real_time: bool
    search: croniter


class _Span(NamedTuple):
    """Wall times [first, end) of one UTC offset; those of a gap come first and all mean `begin`."""

    first: datetime
    end: datetime
    offset: timedelta
    begin: datetime


@lru_cache(maxsize=1)
def _timezones() -> set[str]:
    """The IANA names, without the two that name no place."""
    return available_timezones() - {"localtime", "Factory"}


@lru_cache(maxsize=4096)
def _rule(expression: str) -> _Rule:
    """The expression read strictly; BadSchedule names the first fault."""
    texts, sets = cron_fields.read(expression)
    minutes, hours, days, months, weekdays = sets
    starred = [text.startswith("*") for text in texts]
    either = not starred[2] and not starred[4]
    return _Rule(
        expression,
        times=sorted(60 * hour + minute for hour in hours for minute in minutes),
        days=days,
        months=months,
        weekdays={day % 7 for day in weekdays},
        either=either,
        real_time=starred[0] or starred[1],
        search=croniter(" ".join(",".join(map(str, sorted(values))) for values in sets), day_or=either),
    )


def _first_wall(rule: _Rule, wall: datetime) -> datetime:
    """The first matching wall time at or after the given one, as if clocks never changed."""
    search = copy(rule.search)  # croniter keeps its place in itself, and threads share the rule
    try:
        found: datetime = search.get_next(datetime, start_time=wall - MINUTE)
    except CroniterBadDateError:
        raise BadSchedule(f'Cron expression never matches a date: "{rule.expression}"') from None
    return found


def _count_in(rule: _Rule, span: _Span, end: datetime) -> int:
    """How many instants of the span before the end match; the wall times of a gap are one instant."""
    in_gap = _count_walls(rule, span.first, span.begin + span.offset + MINUTE)
    return _count_walls(rule, span.first, min(span.end, end + span.offset)) - max(0, in_gap - 1)


def _count_walls(rule: _Rule, first: datetime, end: datetime) -> int:
    """How many wall times in [first, end) match."""
    if first >= end:
        return 0
    days = sum(_runs_on(rule, date.fromordinal(day)) for day in range(first.toordinal(), end.toordinal()))
    return days * len(rule.times) - _count_earlier(rule, first) + _count_earlier(rule, end)


def _count_earlier(rule: _Rule, wall: datetime) -> int:
    """How many wall times of that day before the given one match."""
    return bisect_left(rule.times, 60 * wall.hour + wall.minute) if _runs_on(rule, wall) else 0


def _runs_on(rule: _Rule, day: date) -> bool:
    if day.month not in rule.months:
        return False
    by_day, by_weekday = day.day in rule.days, day.isoweekday() % 7 in rule.weekdays
    return by_day or by_weekday if rule.either else by_day and by_weekday


def _spans(schedule: Cron, since: datetime) -> Iterator[_Span]:
    """The wall times whose instants are at or after a moment, one span per UTC offset and year, up to year 9998."""
    zone, real_time = ZoneInfo(schedule.timezone), _rule(schedule.expression).real_time
    begin = since - 2 * DAY  # the moment may lie in a second pass, and no clock goes back further
    offset = _offset(zone, begin)
    reached = begin + offset
    for change, following in chain.from_iterable(_changes(zone, year) for year in range(begin.year, 9999)):
        if begin < since:
            reached = max(reached, min(since, change) + offset)
        if since < change:
            start = max(begin, since)
            yield _Span(start + offset if real_time else reached, change + offset, offset, start)
        if begin < change:
            reached = max(reached, change + offset)
            begin, offset = change, following


@lru_cache(maxsize=16384)
def _changes(zone: ZoneInfo, year: int) -> tuple[tuple[datetime, timedelta], ...]:
    """The moments of a UTC year at which the offset changes, with the new one; the year's end closes them."""
    first, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    offsets = [(first + n * DAY, _offset(zone, first + n * DAY)) for n in range((end - first).days + 1)]
    changed = [(day, old, new) for (day, old), (_, new) in pairwise(offsets) if old != new]
    return *((_change(zone, day, old), new) for day, old, new in changed), offsets[-1]


def _change(zone: ZoneInfo, day: datetime, old: timedelta) -> datetime:
    """The first minute of the 24 hours at which the old offset is gone."""
    return day + MINUTE * bisect_left(range(24 * 60), 1, key=lambda n: _offset(zone, day + n * MINUTE) != old)


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _minute_after(moment: datetime) -> datetime:
    """The first whole minute after the moment."""
    if moment.utcoffset() is None:
        raise ValueError(f"a moment needs a time zone: {moment!r}")
    return moment.astimezone(UTC).replace(second=0, microsecond=0) + MINUTE
