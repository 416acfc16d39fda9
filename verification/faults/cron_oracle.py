"""
Which minutes a cron schedule means, found by walking them one by one in zoneinfo: slow, plain, and none of domain/.

The rules are those of docs (domain/schedule/cron_schedule.py says them, too): with a `*` at the front of the minute or the hour,
every real minute whose wall time matches; otherwise a wall time that a clock change leaves out counts at the first
minute after it, and one that comes twice counts the first time.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


@lru_cache(maxsize=100_000)
def expected_occurrences(expression: str, zone_name: str, after: datetime, until: datetime) -> tuple[datetime, ...]:
    """Return the moments in (after, until], in UTC."""
    matches = _make_matcher(expression)
    real_time = any(text.startswith("*") for text in expression.split()[:2])
    zone = ZoneInfo(zone_name)
    minute = after.astimezone(UTC).replace(second=0, microsecond=0)
    minutes = []
    while minute <= until:
        if minute > after and any(matches(wall) for wall in _wall_times(minute, zone, real_time=real_time)):
            minutes.append(minute)
        minute += MINUTE
    return tuple(minutes)


def _wall_times(minute: datetime, zone: ZoneInfo, *, real_time: bool) -> Iterator[datetime]:
    """Return the wall times that count at this minute."""
    wall = minute.astimezone(zone)
    if real_time or not wall.fold:
        yield wall.replace(tzinfo=None)
    before = (minute - MINUTE).astimezone(zone).replace(tzinfo=None) + MINUTE
    while not real_time and before < wall.replace(tzinfo=None):
        yield before
        before += MINUTE


def _make_matcher(expression: str) -> Callable[[datetime], bool]:
    texts = expression.split()
    minutes, hours, days, months, weekdays = (
        _parse_values(text, *limits) for text, limits in zip(texts, RANGES, strict=True)
    )
    either = not texts[2].startswith("*") and not texts[4].startswith("*")

    def matches(wall: datetime) -> bool:
        on_day = wall.day in days, wall.isoweekday() % 7 in {day % 7 for day in weekdays}
        return (
            wall.minute in minutes
            and wall.hour in hours
            and wall.month in months
            and (any(on_day) if either else all(on_day))
        )

    return matches


def _parse_values(text: str, low: int, high: int) -> set[int]:
    values: set[int] = set()
    for element in text.split(","):
        base, _, step = element.partition("/")
        first, dash, last = base.partition("-")
        start = low if first == "*" else int(first)
        end = int(last) if dash else high if first == "*" or step else start
        values.update(range(start, end + 1, int(step or 1)))
    return values
