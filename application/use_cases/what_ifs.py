"""What a replay of a routine's past rests on: its streams, and a change that could be made. Nothing is recorded."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET

from application.access import Principal
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.what_ifs import CompanyWhatIf, PastWithChanges, WhatIf
from application.use_cases import routines
from domain.errors import InvalidField, RuleViolation
from domain.events import RoutineCreated, RoutineRestored, RoutineTriggerAdded, RoutineUpdated, RunFired
from domain.identity import probe_of_occurrence
from domain.recorded import Recorded
from domain.routines import trigger as triggers
from domain.values import TriggerSettings
from domain.what_if.change import Change
from domain.what_if.past import Past, past_of

OF_SCHEDULES = {"cron_expression": "cronExpression", "timezone": "timezone", "jitter_sec": "jitterSec"}


def read_past(
    work: UnitOfWork, principal: Principal, routine_id: UUID, run_ids: Sequence[UUID], slot: Sequence[Recorded]
) -> Past:
    """
    Return the past of a routine: with these runs, and with these events of its slot.

    Raises Oversized when that is more than may be read at once.
    """
    routines.may_read(work, principal, routine_id)
    history = work.history(routine_id)
    stream_ids = [*_triggers_of(history), *run_ids]
    for recorded in history:
        match recorded.event:
            case (
                RoutineCreated(settings=settings)
                | RoutineUpdated(settings=settings)
                | RoutineRestored(settings=settings)
            ):
                stream_ids += [id_ for id_ in (settings.assignee_agent_id, settings.project_id) if id_ is not None]
    stream_ids = list(dict.fromkeys(stream_ids))
    work.load(stream_ids)
    events = [*history, *slot, *(recorded for id_ in stream_ids for recorded in work.history(id_))]
    past = past_of(events)
    if not (probe_ids := _asked_probes(past)):
        return past
    work.load(probe_ids)
    return past_of([*events, *(recorded for id_ in probe_ids for recorded in work.history(id_))])


def change(work: UnitOfWork, principal: Principal, routine_id: UUID, request: WhatIf) -> Change:
    """
    Return the change that is asked for, as it would be stored. Raises InvalidField.

    A cron expression is for one schedule: with several, the request has to say for which. What would change nothing, since
    there is no schedule or no setting of it, is refused.
    """
    routines.may_read(work, principal, routine_id)
    schedules = {id_: settings for id_ in _triggers_of(work.history(routine_id)) if (settings := _schedule(work, id_))}
    trigger_id = request.trigger_id if isinstance(request.trigger_id, UUID) else None
    if trigger_id is not None and trigger_id not in schedules:
        raise InvalidField("The routine has no such schedule with a cron expression", "triggerId")
    if request.cron_expression is not UNSET and trigger_id is None and len(schedules) != 1:
        raise InvalidField(f"The routine has {len(schedules)} schedules: say which of them is meant", "triggerId")
    of_schedules = [name for name in OF_SCHEDULES if getattr(request, name) is not UNSET]
    if trigger_id is not None and not of_schedules:
        raise InvalidField(
            "triggerId says which schedule is changed: give cronExpression, timezone or jitterSec", "triggerId"
        )
    if of_schedules and not schedules:
        raise InvalidField(
            "The routine has no schedule with a cron expression to change", OF_SCHEDULES[of_schedules[0]]
        )
    change = Change(trigger_id=trigger_id, cron_expression=request.cron_expression, **_common_changes(request))
    for settings in schedules.values() if trigger_id is None else [schedules[trigger_id]]:
        change = _check_change(change, settings)
    return change


def change_of_company(request: CompanyWhatIf) -> Change:
    """Return the change that is asked for of all routines. Raises InvalidField."""
    return _check_change(
        Change(**_common_changes(request)), TriggerSettings(cron_expression="0 0 * * *", timezone="UTC")
    )


def _common_changes(request: PastWithChanges) -> dict[str, Any]:
    return {
        "timezone": request.timezone,
        "jitter_s": request.jitter_sec,
        "concurrency_policy": request.concurrency_policy,
        "catch_up_policy": request.catch_up_policy,
        "max_run_duration_s": request.max_run_duration_sec,
    }


def _check_change(change: Change, settings: TriggerSettings) -> Change:
    try:
        return change.check(settings)
    except RuleViolation as refusal:
        raise InvalidField(refusal.message, triggers.field_of(refusal) or "cronExpression") from refusal


def _triggers_of(history: Sequence[Recorded]) -> list[UUID]:
    """Return the triggers that the routine ever had."""
    added_events = (recorded.event for recorded in history if isinstance(recorded.event, RoutineTriggerAdded))
    return list(dict.fromkeys(event.trigger_id for event in added_events))


def _asked_probes(past: Past) -> list[UUID]:
    """Return the probes that were asked before firings of this past."""
    looks = (look for look in past.looks.values() if look is not None)
    return [
        probe_of_occurrence(look.trigger_id, look.first)
        for look in looks
        if any(isinstance(one.event, RunFired) and one.event.probe is not None for one in look.events)
    ]


def _schedule(work: UnitOfWork, trigger_id: UUID) -> TriggerSettings | None:
    """Return the settings of a trigger that has a cron expression, even if it is deleted; None for any other."""
    state: triggers.Trigger | None = None
    for recorded in work.history(trigger_id):
        state = triggers.evolve(state, recorded.event)  # type: ignore[arg-type]
    return state.settings if state is not None and state.settings.cron_expression is not None else None


def end_of(request: PastWithChanges, now: datetime) -> datetime:
    """Return the end of the range that is asked about. Raises InvalidField unless the range lies in the past."""
    end = now if request.to is None else request.to
    if end > now:
        raise InvalidField("to must not be in the future: only what has happened is replayed", "to")
    if request.from_ >= end:
        raise InvalidField("from must be before to, and not in the future", "from")
    return end
