"""What is due when a schedule is changed: occurrences that are not settled by then are recorded as missed."""

from uuid import UUID

from application.event_store.stream_kinds import TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import occurrences
from domain.routines import settlement, trigger
from domain.routines.routine import Routine
from domain.routines.trigger import Trigger


def record_pending_as_missed(
    work: UnitOfWork, trigger_id: UUID, current: Trigger, routine: Routine, reason: str
) -> None:
    """
    Record the occurrences that are due and not settled as missed. Call it before the change is recorded.

    Does nothing for a schedule that is disabled or deleted, or whose routine is not active.
    """
    plan = trigger.plan_of(current)
    runs = current.settings.enabled and not current.deleted and routine.settings.status == "active"
    if plan is None or current.next_unsettled_at is None or not runs:
        return
    first = occurrences.first_unsettled(work, trigger_id, plan, current.next_unsettled_at)
    if first is not None:
        work.record(trigger_id, settlement.miss_pending(current, plan, first, work.now, reason))


def record_all_pending_as_missed(work: UnitOfWork, routine: Routine, reason: str) -> None:
    """Do the same for each schedule of a routine."""
    work.load(routine.triggers)
    for trigger_id in routine.triggers:
        if (current := work.get(TRIGGER, trigger_id)) is not None:
            record_pending_as_missed(work, trigger_id, current, routine, reason)
