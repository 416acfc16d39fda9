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
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import chain, pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from domain.errors import BadSchedule
from domain.schedule import cron_days, cron_fields, zones
from domain.schedule.cron_days import CronDays

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
STEP_DAYS = 8  # the offsets of a zone are looked up and cached in steps of so many days
LAST_TABLE_YEAR = 2090  # from then on each zone changes its clocks by a rule that depends on the kind of year alone
LAST_YEAR = 9998


class Cron(msgspec.Struct, frozen=True):
    """Five cron fields read in the wall time of a zone; `parse_cron` makes one that is checked."""

    expression: str
    timezone: str = "UTC"  # IANA name


def parse_cron(expression: str, timezone: str = "UTC") -> Cron:
    """Return the schedule. Raise BadSchedule, which says what is wrong with it."""
    schedule = Cron(expression.strip(), zones.spell_zone(timezone))
    if cron_days.first_from(_parse_rule(schedule.expression).dates, 1) is None:
        raise BadSchedule(f'Cron expression never matches a date: "{schedule.expression}"')
    return schedule


@lru_cache(maxsize=4096)  # many triggers have the same schedule
def next_after(schedule: Cron, moment: datetime) -> datetime | None:
    """
    Return the first occurrence strictly after the moment; None if none ever comes.

    Days that match, but whose wall times all fall into gaps, are skipped. The search ends when each kind of year was
    seen under each zone's last rule: what has not come by then never comes.
    """
    rule, since = _parse_rule(schedule.expression), _minute_after(moment)
    for begin, end in _windows_from(rule.dates, since):
        for span in _spans_between(schedule, begin, end):
            wall = _first_wall(rule, span.first)
            if wall is not None and wall < span.end:
                return max(wall - span.offset, span.begin)
    return None


def occurrences(schedule: Cron, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the occurrences in (after, until], ascending; each is computed only when it is requested."""
    moment = next_after(schedule, after)
    while moment is not None and moment <= until:
        yield moment
        moment = next_after(schedule, moment)


def count(schedule: Cron, after: datetime, until: datetime) -> int:
    """Return how many occurrences there are in (after, until], without walking through them."""
    rule, end = _parse_rule(schedule.expression), _minute_after(until)
    return sum(sum(_counts_in(rule, span, (end,))) for span in _spans_between(schedule, _minute_after(after), end))


def counts(schedule: Cron, bounds: Sequence[datetime]) -> list[int]:
    """Return how many occurrences there are between each of the bounds, which ascend, and the next one, as `count` does."""
    rule, ends = _parse_rule(schedule.expression), [_minute_after(moment) for moment in bounds]
    of_spans = [_counts_in(rule, span, ends) for span in _spans_between(schedule, ends[0], ends[-1])]
    so_far = [sum(column) for column in zip(*of_spans, strict=True)] or [0] * len(ends)
    return [later - earlier for earlier, later in pairwise(so_far)]


def last_until(schedule: Cron, until: datetime, after: datetime) -> datetime | None:
    """Return the latest occurrence in (after, until]; None if there is none."""
    for begin, end in _windows_back(_parse_rule(schedule.expression).dates, until, after):
        low, high = max(begin, after), min(end, until)
        if low < high and count(schedule, low, high):
            while high - low > MINUTE:
                middle = low + (high - low) / 2
                low, high = (middle, high) if count(schedule, middle, high) else (low, middle)
            return next_after(schedule, low)
    return None


class _Rule(NamedTuple):
    """A cron expression as sets of values."""

    times: list[int]  # minutes after midnight, ascending
    dates: CronDays
    real_time: bool


class _Span(NamedTuple):
    """Wall times [first, end) of one UTC offset; those of a gap come first and all mean `begin`."""

    first: datetime
    end: datetime
    offset: timedelta
    begin: datetime


@lru_cache(maxsize=512)  # about 45 KB each
def _parse_rule(expression: str) -> _Rule:
    """Return the sets of values of an expression, read strictly. Raise BadSchedule, which names the first fault."""
    texts, sets = cron_fields.read(expression)
    minutes, hours, days, months, weekdays = sets
    starred = [text.startswith("*") for text in texts]
    return _Rule(
        times=sorted(60 * hour + minute for hour in hours for minute in minutes),
        dates=CronDays(
            days=frozenset(days),
            months=frozenset(months),
            weekdays=frozenset(day % 7 for day in weekdays),
            either=not starred[2] and not starred[4],
        ),
        real_time=cron_fields.is_real_time(texts),
    )


def _windows_from(dates: CronDays, since: datetime) -> Iterator[tuple[datetime, datetime]]:
    """
    Yield the periods [begin, end) from a moment on in which it is a matching day somewhere on earth, ascending.

    No occurrence lies outside of them.
    """
    day = cron_days.first_from(dates, (since - 2 * DAY).toordinal())
    last = min(max(since.year, LAST_TABLE_YEAR) + cron_days.LONGEST_GAP_YEARS + 1, LAST_YEAR)
    while day is not None and date.fromordinal(day).year <= last:
        begin, end = _window_of_day(day)
        yield max(since, begin), end
        since = end
        day = cron_days.first_from(dates, day + 1)


def _windows_back(dates: CronDays, until: datetime, after: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the same periods from a moment back to another, descending."""
    day = cron_days.last_until(dates, (until + 2 * DAY).toordinal())
    while day is not None and (window := _window_of_day(day))[1] > after:
        yield window
        day = cron_days.last_until(dates, day - 1)


def _window_of_day(day: int) -> tuple[datetime, datetime]:
    """Return the period in which it is this day somewhere on earth, with one more day for clocks that skip a whole day."""
    midnight = datetime.combine(date.fromordinal(day), time(), UTC)
    return midnight - 2 * DAY, midnight + 3 * DAY


def _first_wall(rule: _Rule, wall: datetime) -> datetime | None:
    """Return the first matching wall time at or after `wall`, as if clocks never changed; None if there is none."""
    day, minute = wall.toordinal(), 60 * wall.hour + wall.minute
    if rule.dates.include(wall) and minute <= rule.times[-1]:
        return _wall_time(day, rule.times[bisect_left(rule.times, minute)])
    following = cron_days.first_from(rule.dates, day + 1)
    return None if following is None else _wall_time(following, rule.times[0])


def _wall_time(day: int, minute: int) -> datetime:
    return datetime.combine(date.fromordinal(day), time(*divmod(minute, 60)), UTC)


def _counts_in(rule: _Rule, span: _Span, ends: Sequence[datetime]) -> Iterator[int]:
    """Yield how many instants of the span before each of the ends, which ascend, match; the wall times of a gap are one."""
    in_gap = _count_walls(rule, span.first, span.begin + span.offset + MINUTE)
    day, so_far, is_matching = 0, 0, False
    for end in ends:
        wall = min(span.end, end + span.offset)
        if end <= span.begin or wall <= span.first:
            yield 0
            continue
        if (ordinal := wall.toordinal()) != day:  # what is the same for the whole day
            day, is_matching = ordinal, rule.dates.include(wall)
            so_far = _count_walls(rule, span.first, _wall_time(day, 0)) - max(0, in_gap - 1)
        yield so_far + (bisect_left(rule.times, 60 * wall.hour + wall.minute) if is_matching else 0)


def _count_walls(rule: _Rule, first: datetime, end: datetime) -> int:
    """Return how many wall times in [first, end) match; less than none if a midnight before the first one is the end."""
    days = cron_days.count(rule.dates, first.toordinal(), end.toordinal())
    return days * len(rule.times) - _count_earlier(rule, first) + _count_earlier(rule, end)


def _count_earlier(rule: _Rule, wall: datetime) -> int:
    """Return how many matching wall times of the same day are before this one."""
    return bisect_left(rule.times, 60 * wall.hour + wall.minute) if rule.dates.include(wall) else 0


def _spans_between(schedule: Cron, since: datetime, until: datetime) -> Iterator[_Span]:
    """Yield the wall times of the instants from a moment on, one span per UTC offset, up to the span that holds `until`."""
    zone, real_time = zones.zone(schedule.timezone), _parse_rule(schedule.expression).real_time
    begin = since - 2 * DAY  # the moment may be in a repeated hour, and no clock goes back further than this
    offset = _offset_at(zone, begin)
    reached = begin + offset
    for change, following in chain.from_iterable(_offset_changes(zone, step) for step in _steps_between(begin, until)):
        if following == offset and change < until:
            continue
        if begin < since:
            reached = max(reached, min(since, change) + offset)
        if since < change:
            if (start := max(begin, since)) >= until:
                return
            yield _Span(start + offset if real_time else reached, change + offset, offset, start)
        if begin < change:
            reached = max(reached, change + offset)
            begin, offset = change, following


def _steps_between(begin: datetime, end: datetime) -> range:
    """Return the numbers of the steps that cover a period."""
    return range(begin.toordinal() // STEP_DAYS, end.toordinal() // STEP_DAYS + 1)


@lru_cache(maxsize=16384)
def _offset_changes(zone: ZoneInfo, step: int) -> tuple[tuple[datetime, timedelta], ...]:
    """Return the moments within a step at which the offset changes, each with the new one; the step's end closes them."""
    first = datetime.combine(date.fromordinal(step * STEP_DAYS), time(), UTC)
    offsets = [(day := first + n * DAY, _offset_at(zone, day)) for n in range(STEP_DAYS + 1)]
    changes = [(day, old, new) for (day, old), (_, new) in pairwise(offsets) if old != new]
    return *((_find_change(zone, day, old), new) for day, old, new in changes), offsets[-1]


def _find_change(zone: ZoneInfo, day: datetime, old: timedelta) -> datetime:
    """Return the first minute, in the 24 hours from `day`, at which the old offset does not hold any more."""
    return day + MINUTE * bisect_left(range(24 * 60), 1, key=lambda n: _offset_at(zone, day + n * MINUTE) != old)


def _offset_at(zone: ZoneInfo, moment: datetime) -> timedelta:
    """Return how far the clocks of a zone are ahead of UTC, in whole minutes."""
    offset = moment.astimezone(zone).utcoffset() or timedelta()
    return offset - offset % MINUTE


def _minute_after(moment: datetime) -> datetime:
    """Return the first whole minute after the moment. Raise ValueError for a moment without a time zone."""
    if moment.utcoffset() is None:
        raise ValueError(f"a moment needs a time zone: {moment!r}")
    return moment.astimezone(UTC).replace(second=0, microsecond=0) + MINUTE
