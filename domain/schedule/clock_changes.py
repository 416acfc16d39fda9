"""
Which clock changes affect a schedule, and what becomes of its occurrences then (`cron_schedule` has the rules).

A change that leaves a schedule as even as it was does not affect it: an hourly one runs every real hour.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from domain.schedule import cron_fields, cron_words, zones
from domain.schedule import plan as plans
from domain.schedule.cron_schedule import Cron
from domain.schedule.plan import DAY, INSTANT, MINUTE, Plan
from domain.schedule.time_words import clock, day, local
from domain.values import Value

MOST_NAMED = 4  # wall times that a text lists one by one

Effect = Literal[
    "moved",  # the wall time does not exist, and it runs at the first instant after it
    "merged",  # several wall times do not exist, or one that exists is at the same instant: it runs once
    "left_out",  # the wall time does not exist, and it does not run
    "once",  # the wall time comes twice, and it runs the first time
    "twice",  # the wall time comes twice, and it runs both times
]


class AffectedOccurrences(Value, frozen=True):
    """What a clock change does to a schedule."""

    at: datetime  # the instant of the change
    shift: timedelta  # ahead, or back when negative
    effect: Effect
    wall_times: tuple[datetime, ...]  # planned wall times that do not exist or come twice; naive
    occurrences: tuple[datetime, ...]  # what runs in their place
    text: str


class _Change(NamedTuple):
    """A moment from which on another UTC offset holds."""

    at: datetime
    old: timedelta
    new: timedelta

    @property
    def wall_times(self) -> tuple[datetime, datetime]:
        """The wall times [first, end) that do not exist or come twice, as if they were UTC."""
        return self.at + min(self.old, self.new), self.at + max(self.old, self.new)


def find_affected_occurrences(plan: Plan, begin: datetime, until: datetime) -> Iterator[AffectedOccurrences]:
    """Yield the clock changes in the period at which the plan does something else than on every other day, ascending."""
    if plan.cron is None:
        return
    texts, (minutes, hours, *_) = cron_fields.read(plan.cron.expression)
    real_time = cron_fields.is_real_time(texts)
    for change in _clock_changes_in(zones.zone(plan.cron.timezone), begin, until):
        shift = (change.new - change.old) // MINUTE
        stays_even = len(hours) == 24 and {(minute + shift) % 60 for minute in minutes} == minutes  # noqa: PLR2004
        if not (real_time and stays_even) and (
            affected := _find_affected(plan, plan.cron, change, real_time=real_time)
        ):
            yield affected


def _find_affected(plan: Plan, cron: Cron, change: _Change, *, real_time: bool) -> AffectedOccurrences | None:
    first, end = change.wall_times
    as_written = replace(plan, cron=Cron(cron.expression), starts_at=None, ends_at=None, jitter_s=0)  # in UTC
    wall_times = tuple(plans.occurrences(as_written, first - INSTANT, end - INSTANT))
    if not wall_times or not _is_within(plan, change.at):
        return None
    is_forward = change.new > change.old
    if is_forward and real_time:
        effect: Effect = "left_out"
        runs: list[datetime] = []
    elif is_forward:
        runs = list(plans.occurrences(plan, change.at - INSTANT, change.at))
        runs_anyway = bool(list(plans.occurrences(as_written, end - INSTANT, end)))
        effect = "merged" if len(wall_times) > 1 or runs_anyway else "moved"
    else:
        passes = (change.old, change.new) if real_time else (change.old,)
        planned_moments = [wall_time - offset for offset in passes for wall_time in wall_times]
        runs = [
            moment
            for moment in planned_moments
            if next(plans.occurrences(plan, moment - INSTANT, moment), None) is not None
        ]
        effect = "twice" if real_time else "once"
    if not runs and effect != "left_out":
        return None
    return AffectedOccurrences(
        at=change.at,
        shift=change.new - change.old,
        effect=effect,
        wall_times=tuple(wall_time.replace(tzinfo=None) for wall_time in wall_times),
        occurrences=tuple(runs),
        text=_describe_change(cron.timezone, change, effect, wall_times, runs),
    )


def _is_within(plan: Plan, moment: datetime) -> bool:
    return (plan.starts_at is None or plan.starts_at <= moment) and (plan.ends_at is None or moment <= plan.ends_at)


def _describe_change(
    zone: str, change: _Change, effect: Effect, wall_times: tuple[datetime, ...], runs: list[datetime]
) -> str:
    before, after = change.at + change.old, change.at + change.new
    turn = "forward" if change.new > change.old else "back"
    beginning = f"On {day(before)} the clocks of {zone} go {turn} from {clock(before)} to {clock(after)}: "
    times = _name_times(wall_times)
    many = len(wall_times) > 1
    run_time = f"{clock(local(runs[0], zone))} ({clock(runs[0].astimezone(UTC))} UTC)" if runs else ""
    return (
        beginning
        + {
            "moved": f"{times} does not exist, and the schedule runs at {run_time} instead.",
            "merged": f"{times} {'do' if many else 'does'} not exist, and the schedule runs once for all, at {run_time}.",
            "left_out": f"{times} {'do' if many else 'does'} not exist, and the schedule does not run then.",
            "once": f"{times} {'come' if many else 'comes'} twice, and the schedule runs the first time only, at {run_time}.",
            "twice": f"{times} {'come' if many else 'comes'} twice, and the schedule runs both times.",
        }[effect]
    )


def _name_times(wall_times: tuple[datetime, ...]) -> str:
    if len(wall_times) <= MOST_NAMED:
        return cron_words.join_in_words([clock(wall_time) for wall_time in wall_times])
    return f"{len(wall_times)} times from {clock(wall_times[0])} to {clock(wall_times[-1])}"


def _clock_changes_in(zone: ZoneInfo, begin: datetime, until: datetime) -> Iterator[_Change]:
    """Yield the clock changes in the period, ascending; of several within 24 hours only the first."""
    step_begin = begin.astimezone(UTC).replace(second=0, microsecond=0)
    old = _offset_at(zone, step_begin)
    while step_begin < until:
        if (new := _offset_at(zone, step_begin + DAY)) != old:
            low, high = 0, DAY // MINUTE  # minutes after `step_begin`: the old offset still holds, it does not
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset_at(zone, step_begin + middle * MINUTE) == old else (low, middle)
            moment = step_begin + high * MINUTE
            if moment <= until:
                yield _Change(moment, old, _offset_at(zone, moment))
            old = new
        step_begin += DAY


def _offset_at(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
