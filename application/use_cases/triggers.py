"""Triggers (contract 4). Each change is a revision of the routine too."""

from uuid import UUID

from msgspec import UNSET

from application.access import Action, Principal, Resource, authorize
from application.commands import TriggerDraft, TriggerPatch
from application.streams import ROUTINE, TRIGGER
from application.use_cases import routines
from application.use_cases.references import merged
from application.work import Work
from domain import routine, trigger
from domain.errors import NotFound
from domain.events import RoutineTriggerAdded, RoutineTriggerChanged, RoutineTriggerRemoved
from domain.routine import Routine
from domain.trigger import Trigger
from domain.values import TriggerSettings


def create(work: Work, principal: Principal, routine_id: UUID, draft: TriggerDraft) -> UUID:
    found = routines.writable(work, principal, routine_id, "assign")
    settings = TriggerSettings(
        label=draft.label,
        enabled=draft.enabled,
        cron_expression=None if draft.cron_expression is UNSET else draft.cron_expression,
        timezone=draft.timezone,
    )
    if draft.kind == "schedule" and draft.enabled:
        routine.must_be_schedulable(found.settings)
    trigger_id = work.new_id()
    events = trigger.create(routine_id, draft.kind, settings, work.now)
    work.record(trigger_id, events, work.company_of(routine_id))
    work.record(routine_id, [RoutineTriggerAdded(trigger_id=trigger_id, kind=draft.kind)])
    return trigger_id


def update(work: Work, principal: Principal, trigger_id: UUID, patch: TriggerPatch) -> UUID:
    found, of = _writable(work, principal, trigger_id, "assign")
    settings = merged(found.settings, patch)
    if found.kind == "schedule" and settings.enabled:
        routine.must_be_schedulable(of.settings)
    work.record(trigger_id, trigger.update(found, settings, work.now))
    work.record(found.routine_id, [RoutineTriggerChanged(trigger_id=trigger_id, kind=found.kind)])
    return trigger_id


def delete(work: Work, principal: Principal, trigger_id: UUID) -> UUID:
    found, _ = _writable(work, principal, trigger_id, "own")
    work.record(trigger_id, trigger.delete(found))
    work.record(found.routine_id, [RoutineTriggerRemoved(trigger_id=trigger_id, kind=found.kind)])
    return trigger_id


def _writable(work: Work, principal: Principal, trigger_id: UUID, action: Action) -> tuple[Trigger, Routine]:
    found = work.get(TRIGGER, trigger_id)
    if found is None or found.deleted:
        raise NotFound("Routine trigger not found")
    of = routines.resource(work, found.routine_id)
    resource = Resource(company_id=of.company_id, kind="Routine trigger", owner=of.owner)
    authorize(work, principal, action, resource)
    if (parent := work.get(ROUTINE, found.routine_id)) is None:
        raise NotFound("Routine trigger not found")
    return found, parent
