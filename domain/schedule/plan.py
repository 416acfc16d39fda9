"""
When a trigger is to fire: a cron schedule or one moment, within limits.

* Limits      no occurrence before `starts_at`, after `ends_at`, or on an excluded date of the schedule's zone.
* Jitter      an occurrence keeps its planned moment, which identifies it, and comes due a little later: by as many
              seconds as follow from the routine and the moment, always before the next occurrence, not after `ends_at`
              and not on an excluded date.

Moments are aware and come back in UTC; periods are open at `after` and closed at `until`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from uuid import UUID

from msgspec.structs import replace

from domain.errors import BadSchedule
from domain.schedule import cron_schedule, zones
from domain.schedule.cron_schedule import Cron
from domain.values import Value

MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


class Plan(Value, frozen=True):
    """
    When a schedule fires: exactly one of `cron` and `once` is set. The jitter is computed from `seed` and the
    occurrence.
    """

    seed: UUID
    cron: Cron | None = None
    once: datetime | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    excluded: tuple[date, ...] = ()  # ascending
    jitter_s: int = 0


def plan_before(plan: Plan, moment: datetime) -> Plan:
    """Return the part of a plan that lies before a moment."""
    last = moment - INSTANT
    return replace(plan, ends_at=last if plan.ends_at is None else min(last, plan.ends_at))


def next_after(plan: Plan, moment: datetime) -> datetime | None:
    """Return the first occurrence strictly after the moment; None if there is none any more."""
    if plan.once is not None:
        return plan.once if plan.once > moment and _is_allowed(plan, plan.once) else None
    if plan.starts_at is not None and plan.starts_at > moment:
        moment = plan.starts_at - INSTANT
    occurrence = _next_allowed(plan, moment)
    return None if occurrence is None or (plan.ends_at is not None and occurrence > plan.ends_at) else occurrence


def occurrences(plan: Plan, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the occurrences in (after, until], ascending; each is computed only when it is requested."""
    moment = next_after(plan, after)
    while moment is not None and moment <= until:
        yield moment
        moment = next_after(plan, moment)


def count(plan: Plan, after: datetime, until: datetime) -> int:
    """Return how many occurrences there are in (after, until], without walking through them."""
    if plan.once is not None:
        return int(after < plan.once <= until and _is_allowed(plan, plan.once))
    after, until = _clip_period(plan, after, until)
    cron = _require_cron(plan)
    if after >= until:
        return 0
    first, last = (moment.astimezone(zones.zone(cron.timezone)).date() for moment in (after, until))
    excluded_days = (day for day in plan.excluded if first <= day <= last)
    return cron_schedule.count(cron, after, until) - sum(_count_on(cron, day, after, until) for day in excluded_days)


def counts(plan: Plan, bounds: Sequence[datetime]) -> list[int]:
    """Return how many occurrences there are between each of the bounds, which ascend, and the next one."""
    if plan.once is not None:
        return [count(plan, after, until) for after, until in pairwise(bounds)]
    cron, zone = _require_cron(plan), zones.zone(_require_cron(plan).timezone)
    period = [_clip_moment(plan, moment) for moment in bounds]
    counts = cron_schedule.counts(cron, period)
    first, last = (moment.astimezone(zone).date() for moment in (bounds[0], bounds[-1]))
    for day in plan.excluded:
        if first <= day <= last:
            excluded_counts = (_count_on(cron, day, after, until) for after, until in pairwise(period))
            counts = [number - less for number, less in zip(counts, excluded_counts, strict=True)]
    return counts


def last_until(plan: Plan, until: datetime, after: datetime) -> datetime | None:
    """Return the latest occurrence in (after, until]; None if there is none."""
    if plan.once is not None or not plan.excluded:
        after, until = _clip_period(plan, after, until)
        if plan.once is not None:
            return plan.once if after < plan.once <= until else None
        return cron_schedule.last_until(_require_cron(plan), until, after) if after < until else None
    low, high = after, until
    latest = last_until(replace(plan, excluded=()), until, after)
    if latest is None or latest.astimezone(zones.zone(_require_cron(plan).timezone)).date() not in plan.excluded:
        return latest
    if not count(plan, low, high):
        return None
    while high - low > MINUTE:
        middle = low + (high - low) / 2
        low, high = (middle, high) if count(plan, middle, high) else (low, middle)
    return next_after(plan, low)


def due_at(plan: Plan, occurrence: datetime) -> datetime:
    """
    Return when an occurrence comes due: at its moment, or with jitter a little later.

    That is before the next occurrence, not after the end, and on no excluded date.
    """
    if not plan.jitter_s:
        return occurrence
    room = max(min((timedelta(seconds=plan.jitter_s), *_limits_of_jitter(plan, occurrence))), timedelta())
    digest = hashlib.sha256(plan.seed.bytes + occurrence.astimezone(UTC).isoformat().encode()).digest()
    return occurrence + SECOND * (int.from_bytes(digest[:8], "big") % (room // SECOND + 1))


def next_due_after(plan: Plan, moment: datetime) -> datetime | None:
    """Return the first occurrence that comes due strictly after the moment, though it may be planned before; None if none."""
    planned_at = last_until(plan, moment, moment - SECOND * plan.jitter_s) if plan.jitter_s else None
    return planned_at if planned_at is not None and due_at(plan, planned_at) > moment else next_after(plan, moment)


def comes_due_within(plan: Plan, after: datetime, until: datetime) -> bool:
    """Return whether an occurrence comes due in (after, until]."""
    first = next_due_after(plan, after)
    return first is not None and due_at(plan, first) <= until


def _limits_of_jitter(plan: Plan, occurrence: datetime) -> Iterator[timedelta]:
    """Yield how much later than planned an occurrence may come due at most, by each limit of its plan."""
    if (following := next_after(plan, occurrence)) is not None:
        yield following - occurrence - SECOND
    if plan.ends_at is not None:
        yield plan.ends_at - occurrence
    if plan.cron is not None and plan.excluded:
        latest = occurrence + SECOND * plan.jitter_s
        first, last = (moment.astimezone(zones.zone(plan.cron.timezone)).date() for moment in (occurrence, latest))
        for day in plan.excluded:
            if first < day <= last:
                yield _period_of_day(plan.cron, day)[0] + INSTANT - occurrence - SECOND


def must_have_an_occurrence(plan: Plan, after: datetime) -> None:
    """Raise BadSchedule if no occurrence is left: a plan with nothing to do is a mistake."""
    if plan.cron is not None and cron_schedule.next_after(plan.cron, after) is None:
        raise BadSchedule(
            f"Cron expression never comes in {plan.cron.timezone}, where the clocks always leave out its times: "
            f'"{plan.cron.expression}"'
        )
    if next_after(plan, after) is None:
        raise BadSchedule("The schedule has no occurrence left: look at its time, its end and its excluded dates")


def _require_cron(plan: Plan) -> Cron:
    if plan.cron is None:
        raise ValueError(plan)
    return plan.cron


def _next_allowed(plan: Plan, moment: datetime) -> datetime | None:
    """Return the next occurrence of the schedule on a date that is not excluded; None if none ever comes."""
    cron = _require_cron(plan)
    occurrence = cron_schedule.next_after(cron, moment)
    excluded_days = set(plan.excluded)
    while (
        excluded_days
        and occurrence
        and (day := occurrence.astimezone(zones.zone(cron.timezone)).date()) in excluded_days
    ):
        occurrence = cron_schedule.next_after(cron, max(_period_of_day(cron, day)[1], occurrence))
    return occurrence


def _is_allowed(plan: Plan, moment: datetime) -> bool:
    starts, ends = plan.starts_at, plan.ends_at
    return (starts is None or moment >= starts) and (ends is None or moment <= ends)


def _clip_period(plan: Plan, after: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Return the part of the period that lies within the limits."""
    if plan.starts_at is not None and plan.starts_at > after:
        after = plan.starts_at - INSTANT
    return after, until if plan.ends_at is None else min(until, plan.ends_at)


def _clip_moment(plan: Plan, moment: datetime) -> datetime:
    """Return the moment, or the limit of the plan that it lies beyond."""
    starts, ends = plan.starts_at, plan.ends_at
    moment = moment if starts is None else max(moment, starts - INSTANT)
    return moment if ends is None else min(moment, ends)


def _count_on(cron: Cron, day: date, after: datetime, until: datetime) -> int:
    """Return how many occurrences of the schedule there are on a date, within a period."""
    low, high = _period_of_day(cron, day)
    if after <= low and high <= until:
        return _count_on_day(cron, day)
    return cron_schedule.count(cron, max(after, low), min(until, high)) if low < until and after < high else 0


@lru_cache(maxsize=4096)  # a binary search needs the same days again
def _count_on_day(cron: Cron, day: date) -> int:
    return cron_schedule.count(cron, *_period_of_day(cron, day))


@lru_cache(maxsize=4096)
def _period_of_day(cron: Cron, day: date) -> tuple[datetime, datetime]:
    """Return the period of a date in the schedule's zone, open at its beginning."""
    zone = zones.zone(cron.timezone)
    begin, end = (datetime.combine(d, time(), zone).astimezone(UTC) for d in (day, day + DAY))
    return begin - INSTANT, end - INSTANT
