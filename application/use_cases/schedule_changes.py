"""Occurrences whose time has come when their schedule is changed: what is not settled yet is recorded as missed."""

from datetime import datetime
from uuid import UUID

from application.event_store.stream_kinds import RUN, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from domain.identity import run_of_occurrence
from domain.routines import trigger
from domain.routines.routine import Routine
from domain.routines.trigger import Trigger
from domain.schedule import plan as plans
from domain.schedule.plan import INSTANT, MINUTE, Plan


def record_pending_as_missed(
    work: UnitOfWork, trigger_id: UUID, current: Trigger, routine: Routine, reason: str
) -> None:
    """Closes the account of a schedule up to now. To be called before the change is recorded."""
    plan = trigger.plan_of(current)
    runs = current.settings.enabled and not current.deleted and routine.settings.status == "active"
    if plan is None or current.next_unsettled_at is None or not runs:
        return
    first = _first_unsettled(work, trigger_id, plan, current.next_unsettled_at)
    if first is not None:
        work.record(trigger_id, trigger.miss_pending(current, plan, first, work.now, reason))


def record_all_pending_as_missed(work: UnitOfWork, routine: Routine, reason: str) -> None:
    """The same for all schedules of a routine."""
    work.load(routine.triggers)
    for trigger_id in routine.triggers:
        if (current := work.get(TRIGGER, trigger_id)) is not None:
            record_pending_as_missed(work, trigger_id, current, routine, reason)


def _first_unsettled(work: UnitOfWork, trigger_id: UUID, plan: Plan, since: datetime) -> datetime | None:
    """Occurrences are settled in order, so the first without a run is found by halving the time."""
    low, high = since - INSTANT, plans.last_until(plan, work.now, since - INSTANT)
    if high is None or _is_settled(work, trigger_id, high):
        return None
    while high - low > MINUTE:
        middle = low + (high - low) / 2
        latest = plans.last_until(plan, middle, low)
        if latest is None:
            low = middle
        elif _is_settled(work, trigger_id, latest):
            low = latest
        else:
            high = latest
    return plans.next_after(plan, low)


def _is_settled(work: UnitOfWork, trigger_id: UUID, occurrence: datetime) -> bool:
    return work.get(RUN, run_of_occurrence(trigger_id, occurrence)) is not None
