"""
When a schedule runs, found by walking the clock of its zone a quarter of an hour at a time.

Knows nothing of domain/: five cron fields, read here, and zoneinfo. No clock changes within a quarter of an hour.
"""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
QUARTER = timedelta(minutes=15)
NAMES = {name: str(n) for n, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}
LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


class Terms(NamedTuple):
    """What a schedule says: a cron expression in a zone, or one moment, within limits."""

    cron: str | None
    zone: str
    once: datetime | None = None
    starts: datetime | None = None
    ends: datetime | None = None
    excluded: tuple[date, ...] = ()
    jitter: timedelta = timedelta()

    def occurrences_between(self, after: datetime, until: datetime) -> list[datetime]:
        """Return the occurrences in (after, until], ascending."""
        if self.cron is None:
            return [self.once] if self.once is not None and after < self.once <= until else []
        if self.starts is not None:
            after = max(after, self.starts - timedelta(microseconds=1))
        if self.ends is not None:
            until = min(until, self.ends)
        moments: list[datetime] = []
        first = (after.year, after.month)
        while first <= (until.year, until.month) and after < until:
            days = occurrences_in_month(self.cron, self.zone, *first)
            moments += days[bisect_right(days, after) : bisect_right(days, until)]
            first = (first[0] + first[1] // 12, first[1] % 12 + 1)
        if self.excluded:
            zone, excluded = ZoneInfo(self.zone), set(self.excluded)
            moments = [moment for moment in moments if moment.astimezone(zone).date() not in excluded]
        return moments

    def has(self, moment: datetime) -> bool:
        if self.cron is None or moment not in _moments_of_month(self.cron, self.zone, moment.year, moment.month):
            return moment == self.once
        too_early = self.starts is not None and moment < self.starts
        too_late = self.ends is not None and moment > self.ends
        return not (too_early or too_late or moment.astimezone(ZoneInfo(self.zone)).date() in self.excluded)


class Quarter(NamedTuple):
    """The wall time of a quarter of an hour; `skipped` are wall minutes that a clock change left out before it."""

    begin: datetime
    minute: int
    hour: int
    day: int
    month: int
    weekday: int
    skipped: tuple[datetime, ...]
    repeated: bool


@cache
def occurrences_in_month(cron: str, zone: str, year: int, number: int) -> list[datetime]:
    """Return every occurrence in a month of UTC."""
    minutes, hours, days, months, weekdays = fields = [
        _parse_values(*pair) for pair in zip(cron.split(), LIMITS, strict=True)
    ]
    texts = cron.split()
    by_clock = texts[0][0] == "*" or texts[1][0] == "*"  # runs in real time, whatever the clocks do
    is_either_day = texts[2][0] != "*" and texts[4][0] != "*"
    moments = []
    for quarter in _quarters_of_month(zone, year, number):
        has_gap = False
        if (
            quarter.skipped
            and not by_clock
            and any(_matches_wall_time(fields, wall_time, is_either_day=is_either_day) for wall_time in quarter.skipped)
        ):
            has_gap = True
            moments.append(quarter.begin)
        if quarter.hour not in hours or quarter.month not in months or (quarter.repeated and not by_clock):
            continue
        day, weekday = quarter.day in days, quarter.weekday in weekdays
        if (day or weekday) if is_either_day else (day and weekday):
            matching = [n for n in range(15) if quarter.minute + n in minutes]
            moments += [quarter.begin + n * MINUTE for n in matching if n or not has_gap]
    return moments


@cache
def _moments_of_month(cron: str, zone: str, year: int, number: int) -> frozenset[datetime]:
    return frozenset(occurrences_in_month(cron, zone, year, number))


@cache
def _quarters_of_month(zone: str, year: int, number: int) -> list[Quarter]:
    tz = ZoneInfo(zone)
    moment = datetime(year, number, 1, tzinfo=UTC)
    last_wall_time = (moment - QUARTER).astimezone(tz).replace(tzinfo=None)
    quarters = []
    while moment.month == number:
        local = moment.astimezone(tz)
        wall_time = local.replace(tzinfo=None, fold=0)
        skipped_time = wall_time - last_wall_time - QUARTER
        skipped_minutes = (
            tuple(wall_time - n * MINUTE for n in range(1, skipped_time // MINUTE + 1)) if skipped_time else ()
        )
        numbers = (wall_time.minute, wall_time.hour, wall_time.day, wall_time.month, wall_time.isoweekday() % 7)
        quarters.append(Quarter(moment, *numbers, skipped_minutes, local.fold == 1))
        moment, last_wall_time = moment + QUARTER, wall_time
    return quarters


def _matches_wall_time(fields: list[set[int]], wall_time: datetime, *, is_either_day: bool) -> bool:
    minutes, hours, days, months, weekdays = fields
    day, weekday = wall_time.day in days, wall_time.isoweekday() % 7 in weekdays
    in_time = wall_time.minute in minutes and wall_time.hour in hours and wall_time.month in months
    return in_time and ((day or weekday) if is_either_day else (day and weekday))


def _parse_values(text: str, limits: tuple[int, int]) -> set[int]:
    values: set[int] = set()
    for part in text.upper().split(","):
        span, _, step = part.partition("/")
        low, high = limits
        if span != "*":
            bounds = [int(NAMES.get(bound, bound)) for bound in span.split("-")]
            low, high = bounds[0], bounds[-1] if len(bounds) > 1 or not step else high
        values |= set(range(low, high + 1, int(step or 1)))
    return values | {0} if limits == LIMITS[4] and 7 in values else values
