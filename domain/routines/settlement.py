"""What becomes of the occurrences of a schedule: which run on time, which run late, and which are missed."""

from datetime import datetime, timedelta
from itertools import islice

from msgspec.structs import replace

from domain.events import (
    TriggerEvent,
    TriggerMissed,
    TriggerReplanned,
)
from domain.routines.trigger import Trigger, due_at_or_none, plan_of
from domain.schedule import plan as plans
from domain.schedule.plan import INSTANT, Plan
from domain.values import (
    CatchUpPolicy,
    Value,
)

GRACE = timedelta(seconds=60)  # how long an occurrence that was not settled in time is late rather than missed
MISSED_BECAUSE: dict[CatchUpPolicy, str] = {"skip_missed": "skip_missed", "enqueue_missed_with_cap": "catch_up_cap"}
COMPANY_ARCHIVED = "company_archived"  # the reason why an occurrence is missed when its company is archived
OVER_QUOTA = "over_quota"  # the reason why an occurrence is missed when its company is over one of its quotas
LONGEST_SHIFT = timedelta(hours=3)  # new zone rules move clocks by at most so much
LONGEST_REST = timedelta(hours=1)  # how long a schedule rests at most when its company is over one of its quotas
CATCH_UP_CAP = 25  # missed occurrences that run late after one outage


class Due(Value, frozen=True):
    """What to do about a schedule now: the occurrences to run, oldest first, and those to drop."""

    fire: tuple[datetime, ...]
    missed: TriggerMissed | None
    next_at: datetime | None
    due_at: datetime | None = None


def due(plan: Plan, since: datetime, now: datetime, policy: CatchUpPolicy) -> Due | None:
    """
    Return what is due of the occurrences from `since` (itself one) until now; None if nothing is.

    Occurrences that are at most GRACE late run. Of the later ones `skip_missed` drops all, and
    `enqueue_missed_with_cap` runs the oldest CATCH_UP_CAP and drops the rest (contract 4.2).
    """
    if plans.due_at(plan, since) > now:
        return None
    before = since - INSTANT
    long_ago = max(before, now - GRACE - timedelta(seconds=plan.jitter_s) - INSTANT)  # with any jitter this is too late
    cap = CATCH_UP_CAP if policy == "enqueue_missed_with_cap" else 0
    caught_up = list(islice(plans.occurrences(plan, before, long_ago), cap))
    late: list[datetime] = []
    on_time: list[datetime] = []
    next_at = since if since > long_ago else plans.next_after(plan, long_ago)
    while next_at is not None and (moment := plans.due_at(plan, next_at)) <= now:
        (on_time if moment >= now - GRACE else late).append(next_at)
        next_at = plans.next_after(plan, next_at)
    caught_up += late[: cap - len(caught_up)]
    dropped_after = caught_up[-1] if caught_up else before
    missed_event = missed_of(plan, dropped_after, late[-1] if late else long_ago, MISSED_BECAUSE[policy])
    if missed_event is None and not caught_up and not on_time:
        # The zone's rules have changed, and `since` is no occurrence now.
        missed_event = TriggerMissed(first=since, last=since, count=1, reason=MISSED_BECAUSE[policy], next_at=None)
    due_at = due_at_or_none(plan, next_at)
    return Due(
        fire=(*caught_up, *on_time),
        missed=missed_event and replace(missed_event, next_at=next_at, due_at=due_at),
        next_at=next_at,
        due_at=due_at,
    )


def replan(plan: Plan, since: datetime, now: datetime, zone_data: str) -> list[TriggerEvent]:
    """
    Record with which occurrence a schedule goes on, if by the present rules of its zone that is not `since`, the next one.

    What is due is settled as it was planned, and so is what is over by the present rules and to come by the former ones:
    it runs late. Nothing else that is over by the present rules is made up for.
    """
    counterpart = _nearest_occurrence(plan, since)
    if since <= now or (counterpart is not None and counterpart <= now):
        return []
    next_at = plans.next_after(plan, max(now, since - LONGEST_SHIFT))
    if next_at == since:
        return []
    return [TriggerReplanned(zone_data=zone_data, next_at=next_at, due_at=due_at_or_none(plan, next_at))]


def _nearest_occurrence(plan: Plan, moment: datetime) -> datetime | None:
    """Return the occurrence nearest to the moment, LONGEST_SHIFT away at most; None if there is none."""
    candidates = (
        plans.last_until(plan, moment, moment - LONGEST_SHIFT),
        next(plans.occurrences(plan, moment, moment + LONGEST_SHIFT), None),
    )
    return min((one for one in candidates if one is not None), key=lambda one: abs(one - moment), default=None)


def give_up(plan: Plan, occurrence: datetime, now: datetime, policy: CatchUpPolicy) -> Due:
    """
    Return what to do about a schedule when an occurrence cannot be carried out, however often it is tried.

    The occurrence and what is due after it by the policy are to be recorded as failed runs; the rest is missed. So every
    occurrence has its outcome, and the schedule goes on after `now`.
    """
    following = plans.next_after(plan, occurrence)
    pending = None if following is None else due(plan, following, now, policy)
    if pending is None:
        return Due(fire=(occurrence,), missed=None, next_at=following, due_at=due_at_or_none(plan, following))
    return replace(pending, fire=(occurrence, *pending.fire))


def rest(trigger: Trigger, plan: Plan, since: datetime, pending: Due, now: datetime) -> list[TriggerEvent]:
    """
    Record that nothing of what is due runs, since the company is over a quota, and that the schedule rests.

    It rests for as long as nothing has run so far, but at most LONGEST_REST: there is one event for each rest, not one
    for each occurrence.
    """
    missed_event = miss(plan, since, pending, OVER_QUOTA)
    going_on = trigger.over_since is not None and trigger.next_unsettled_at == missed_event.first
    over_since = trigger.over_since if going_on and trigger.over_since else missed_event.first
    return [replace(missed_event, rests_until=now + min(max(now - over_since, timedelta()), LONGEST_REST))]


def record_rest_as_missed(trigger: Trigger, plan: Plan, since: datetime, now: datetime) -> TriggerMissed | None:
    """
    Return what came due while the schedule rested and is too late to run now that its company is within its quotas.

    None if the schedule does not rest, or if nothing is too late.
    """
    if trigger.rests_until is None or since != trigger.next_unsettled_at:
        return None
    pending = due(plan, since, now, "skip_missed")
    if pending is None or pending.missed is None:
        return None
    return _in_rest(plan, since, min(pending.missed.last, trigger.rests_until))


def _in_rest(plan: Plan, since: datetime, until: datetime) -> TriggerMissed | None:
    missed_event = missed_of(plan, since - INSTANT, until, OVER_QUOTA)
    if missed_event is None:
        return None
    next_at = plans.next_after(plan, missed_event.last)
    return replace(missed_event, next_at=next_at, due_at=due_at_or_none(plan, next_at))


def miss(plan: Plan, since: datetime, pending: Due, reason: str) -> TriggerMissed:
    """Return the event that nothing of what is due runs; occurrences that come due later are not part of it."""
    before = since - INSTANT
    last = max([*pending.fire, *([pending.missed.last] if pending.missed is not None else [])])
    missed_event = missed_of(plan, before, last, reason)
    if missed_event is None:  # the zone's rules changed, as in `due`
        missed_event = TriggerMissed(first=since, last=since, count=1, reason=reason, next_at=None)
    return replace(missed_event, next_at=pending.next_at, due_at=pending.due_at)


def retire(plan: Plan, since: datetime, now: datetime) -> list[TriggerEvent]:
    """Record that nothing of what is due runs, since the company is archived, and that nothing comes due any more."""
    if (pending := due(plan, since, now, "skip_missed")) is None:
        return []
    return [replace(miss(plan, since, pending, COMPANY_ARCHIVED), next_at=None, due_at=None)]


class Continuation(Value, frozen=True):
    """How a schedule goes on after a change: what is missed on account of it, and the first occurrence that is not."""

    missed: tuple[TriggerMissed, ...]
    next_at: datetime | None


def go_on(  # noqa: PLR0913, PLR0917 what the past and the change are
    trigger: Trigger,
    plan: Plan,
    first: datetime | None,
    stopped_at: datetime,
    now: datetime,
    reason: str,
    *,
    runs: bool,
) -> Continuation:
    """
    Return how a schedule goes on when it is changed, paused or resumed; `plan` is the new one, `runs` whether it is to run.

    `stopped_at` is when it ceased to run, or now if it ran so far, and `first` the first occurrence until then that has
    no outcome. With the same plan all that waits stays, unless more came due while the schedule stood still and it is to
    run again: then that is not made up for, and what waited is missed. With another plan only an occurrence stays that
    is planned and not due yet, and that the new plan has as well.
    """
    old = plan_of(trigger)
    if old is None:
        return Continuation(missed=(), next_at=plans.next_after(plan, now))
    stood_still = runs and plans.comes_due_within(plan, stopped_at, now)
    if plan == old and first is not None and not stood_still:
        return Continuation(missed=(), next_at=first)
    if plan == old:
        first_unsettled, next_at = trigger.next_unsettled_at, plans.next_due_after(plan, now)
        is_early = next_at is not None and first_unsettled is not None and next_at < first_unsettled
        next_at = first_unsettled if is_early else next_at
    else:
        next_at = _kept_by(plan, old, first, now) if stopped_at == now else None
        next_at = next_at or plans.next_after(plan, now)
    until = stopped_at if next_at is None else min(stopped_at, next_at - INSTANT)
    missed = () if first is None else miss_until(trigger, old, first, until, now, reason)
    return Continuation(missed=tuple(missed), next_at=next_at)


def _kept_by(plan: Plan, old: Plan, first: datetime | None, now: datetime) -> datetime | None:
    """Return the occurrence of the old plan that is planned and not due yet, if the new plan has it as well."""
    pending = plans.next_due_after(old, now)
    if first is None or pending is None or not first <= pending <= now:
        return None
    return pending if plans.next_after(plan, pending - INSTANT) == pending else None


def miss_until(  # noqa: PLR0913, PLR0917 the range and what follows
    trigger: Trigger, plan: Plan, first: datetime, until: datetime, now: datetime, reason: str
) -> list[TriggerMissed]:
    """
    Return the events that the occurrences from `first` until a moment did not run; the schedule goes on from now.

    Those that came due while the schedule rested get the quota as their reason.
    """
    is_resting = trigger.rests_until is not None and first == trigger.next_unsettled_at
    missed_in_rest = (
        _in_rest(plan, first, min(until, trigger.rests_until)) if is_resting and trigger.rests_until else None
    )
    missed_event = missed_of(plan, missed_in_rest.last if missed_in_rest else first - INSTANT, until, reason)
    next_at = plans.next_after(plan, now)
    missed_after = (
        [replace(missed_event, next_at=next_at, due_at=due_at_or_none(plan, next_at))] if missed_event else []
    )
    return [*([missed_in_rest] if missed_in_rest else []), *missed_after]


def missed_of(plan: Plan, after: datetime, until: datetime, reason: str) -> TriggerMissed | None:
    """Return the event that the occurrences in (after, until] did not run; None if there are none."""
    if after >= until:
        return None
    first, last = plans.next_after(plan, after), plans.last_until(plan, until, after)
    if first is None or last is None:
        return None
    return TriggerMissed(first=first, last=last, count=plans.count(plan, after, until), reason=reason, next_at=None)
