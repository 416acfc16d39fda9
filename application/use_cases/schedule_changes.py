"""Occurrences whose time has come when their schedule is changed: what is not settled yet is recorded as missed."""

from uuid import UUID

from application.event_store.stream_kinds import TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import occurrences
from domain.routines import trigger
from domain.routines.routine import Routine
from domain.routines.trigger import Trigger


def record_pending_as_missed(
    work: UnitOfWork, trigger_id: UUID, current: Trigger, routine: Routine, reason: str
) -> None:
    """Closes the account of a schedule up to now. To be called before the change is recorded."""
    plan = trigger.plan_of(current)
    runs = current.settings.enabled and not current.deleted and routine.settings.status == "active"
    if plan is None or current.next_unsettled_at is None or not runs:
        return
    first = occurrences.first_unsettled(work, trigger_id, plan, current.next_unsettled_at)
    if first is not None:
        work.record(trigger_id, trigger.miss_pending(current, plan, first, work.now, reason))


def record_all_pending_as_missed(work: UnitOfWork, routine: Routine, reason: str) -> None:
    """The same for all schedules of a routine."""
    work.load(routine.triggers)
    for trigger_id in routine.triggers:
        if (current := work.get(TRIGGER, trigger_id)) is not None:
            record_pending_as_missed(work, trigger_id, current, routine, reason)
