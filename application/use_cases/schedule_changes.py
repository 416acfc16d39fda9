"""
What becomes of the occurrences that wait when a schedule is changed, stopped, or runs again.

A schedule runs while it is enabled and its routine is active. What waits stays until the schedule runs again, and is
missed when it can run no more (`settlement.go_on`).
"""

from collections.abc import Iterable
from datetime import datetime
from heapq import merge
from operator import attrgetter
from uuid import UUID

from msgspec.structs import replace

from application.event_store.stream_kinds import TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import occurrences
from domain.events import (
    RoutineCreated,
    RoutineRestored,
    RoutineUpdated,
    TriggerCreated,
    TriggerDeleted,
    TriggerEvent,
    TriggerRestored,
    TriggerUpdated,
)
from domain.recorded import Recorded
from domain.routines import settlement, trigger
from domain.routines.routine import Routine
from domain.routines.trigger import Trigger
from domain.schedule.plan import Plan
from domain.values import RoutineStatus, TriggerSettings, Webhook


def change_settings(  # noqa: PLR0913, PLR0917 the trigger and what is new about it
    work: UnitOfWork,
    trigger_id: UUID,
    current: Trigger,
    routine: Routine,
    settings: TriggerSettings,
    webhook: Webhook | None = None,
    status: RoutineStatus | None = None,
    *,
    may_be_over: bool = False,
) -> bool:
    """
    Record the trigger's new settings and return whether they differ. A schedule keeps what waits, where it can.

    `status` is the one that its routine is about to get, if that is another one. Call it before that is recorded. With
    `may_be_over` a schedule that differs may have no occurrence left. Raises RuleViolation or BadSchedule for a schedule that cannot be followed.
    """
    status = status or routine.settings.status
    is_resuming = status == "active" and routine.settings.status != "active"
    updates = trigger.update(current, settings, work.now, webhook, may_be_over=may_be_over)
    new_settings = updates[0].settings if updates else current.settings  # type: ignore[union-attr]
    plan = trigger.plan_of(replace(current, settings=new_settings))
    if plan is None:
        work.record(trigger_id, updates)
    elif updates or is_resuming:
        runs = new_settings.enabled and status == "active"
        stopped_at = _stopped_at(work, trigger_id, current)
        first = _first_waiting(work, trigger_id, current, stopped_at)
        reason = "edited" if updates else "paused"
        going_on = settlement.go_on(current, plan, first, stopped_at, work.now, reason, runs=runs)
        work.record(trigger_id, going_on.missed)
        work.record(trigger_id, _going_on_at(current, updates, plan, going_on.next_at))
    return bool(updates)


def resume_all(work: UnitOfWork, routine: Routine) -> None:
    """Let each schedule of a routine that becomes active go on. Call it before that is recorded."""
    for trigger_id, current in _triggers_of(work, routine):
        change_settings(work, trigger_id, current, routine, current.settings, status="active")


def record_waiting_as_missed(work: UnitOfWork, trigger_id: UUID, current: Trigger, reason: str) -> None:
    """Record what waits of a schedule as missed, since it runs no more. Call it before the change is recorded."""
    plan = trigger.plan_of(current)
    stopped_at = _stopped_at(work, trigger_id, current)
    first = _first_waiting(work, trigger_id, current, stopped_at)
    if plan is not None and first is not None:
        work.record(trigger_id, settlement.miss_until(current, plan, first, stopped_at, work.now, reason))


def record_all_waiting_as_missed(work: UnitOfWork, routine: Routine) -> None:
    """Do the same for each schedule of a routine that is archived."""
    for trigger_id, current in _triggers_of(work, routine):
        record_waiting_as_missed(work, trigger_id, current, "archived")


def waiting_period(work: UnitOfWork, trigger_id: UUID, current: Trigger) -> tuple[datetime, datetime] | None:
    """
    Return the first occurrence that waits, and when the schedule stopped, or now if it runs; None if none waits.

    The schedule itself settles what is in this period, when it runs again.
    """
    stopped_at = _stopped_at(work, trigger_id, current)
    first = _first_waiting(work, trigger_id, current, stopped_at)
    return None if first is None else (first, stopped_at)


def _triggers_of(work: UnitOfWork, routine: Routine) -> Iterable[tuple[UUID, Trigger]]:
    work.load(routine.triggers)
    for trigger_id in routine.triggers:
        if (current := work.get(TRIGGER, trigger_id)) is not None:
            yield trigger_id, current


def _going_on_at(
    current: Trigger, updates: list[TriggerEvent], plan: Plan, next_at: datetime | None
) -> list[TriggerEvent]:
    if not updates:
        return trigger.reschedule(current, next_at)
    due_at = trigger.due_at_or_none(plan, next_at)
    return [replace(update, next_at=next_at, due_at=due_at) for update in updates]


def _first_waiting(work: UnitOfWork, trigger_id: UUID, current: Trigger, until: datetime) -> datetime | None:
    plan = trigger.plan_of(current)
    if plan is None or current.next_unsettled_at is None or current.deleted:
        return None
    return occurrences.first_unsettled(work, trigger_id, plan, current.next_unsettled_at, until)


def _stopped_at(work: UnitOfWork, trigger_id: UUID, current: Trigger) -> datetime:
    """Return when the schedule ceased to run, or was created if it never ran; now if it runs."""
    is_active = is_enabled = False
    of_trigger = work.history(trigger_id)
    stopped_at = of_trigger[0].at
    history: Iterable[Recorded] = merge(work.history(current.routine_id), of_trigger, key=attrgetter("at"))
    for recorded in history:
        was_running = is_active and is_enabled
        match recorded.event:
            case (
                RoutineCreated(settings=routine) | RoutineUpdated(settings=routine) | RoutineRestored(settings=routine)
            ):
                is_active = routine.status == "active"
            case (
                TriggerCreated(settings=settings)
                | TriggerUpdated(settings=settings)
                | TriggerRestored(settings=settings)
            ):
                is_enabled = settings.enabled
            case TriggerDeleted():
                is_enabled = False
        if was_running and not (is_active and is_enabled):
            stopped_at = recorded.at
    return work.now if is_active and is_enabled else stopped_at
