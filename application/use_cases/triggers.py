"""Triggers of routines, and the secrets of webhooks (contract 4)."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from application.access import Action, Principal, Resource, authorize
from application.event_store.stream_kinds import CLAIM, ROUTINE, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.routines import RoutineDraft
from application.request_bodies.triggers import ChainDraft, ScheduleDraft, TriggerDraft, TriggerPatch, WebhookDraft
from application.use_cases import chains, routines, schedule_changes, signing_secrets
from application.use_cases.references import merge_patch
from domain.errors import InvalidField, NotFound, RuleViolation
from domain.events import (
    NameClaimed,
    RoutineSecretRotated,
    RoutineTriggerAdded,
    RoutineTriggerChanged,
    RoutineTriggerRemoved,
)
from domain.identity import cadence_of, claim_of
from domain.recorded import Recorded
from domain.routines import routine, trigger
from domain.routines.routine import Routine
from domain.routines.trigger import Trigger
from domain.values import SigningMode, TriggerKind, TriggerSettings, Value, Webhook
from domain.webhooks import verification
from domain.webhooks.secret import NO_SECRET, Secret

ADDRESS_SCOPE = "webhook address"
PURPOSE = "webhook"


class NewSecret(Value, frozen=True):
    """The address of a webhook and its new secret, which is shown in one reply and never again."""

    trigger_id: UUID
    public_id: str
    secret: str | None  # None where the signing mode asks for none

    def __repr__(self) -> str:
        return f"NewSecret({self.trigger_id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("trigger_id", self.trigger_id)]


class TriggerResult(Value, frozen=True):
    """A trigger that was made or changed, the events of its routine with this one, and its new secret if there is one."""

    trigger_id: UUID
    history: Sequence[Recorded]
    new_secret: NewSecret | None = None


class NewRoutine(Value, frozen=True):
    """A routine that was created, and the new secrets of its webhooks."""

    routine_id: UUID
    new_secrets: tuple[NewSecret, ...] = ()


def create_routine(work: UnitOfWork, principal: Principal, company_id: UUID, draft: RoutineDraft) -> NewRoutine:
    """
    Create a routine and its triggers.

    Raises as `routines.create` and `create` do; the error names the trigger and, where it can, the field.
    """
    routine_id = routines.create(work, principal, company_id, draft)
    results = [
        _create_at(work, principal, routine_id, index, trigger_draft)
        for index, trigger_draft in enumerate(draft.triggers or ())
    ]
    new_secrets = tuple(result.new_secret for result in results if result.new_secret is not None)
    return NewRoutine(routine_id=routine_id, new_secrets=new_secrets)


def _create_at(
    work: UnitOfWork, principal: Principal, routine_id: UUID, index: int, draft: TriggerDraft
) -> TriggerResult:
    try:
        return create(work, principal, routine_id, draft)
    except RuleViolation as refusal:
        field = trigger.field_of(refusal)
        field_path = f"triggers[{index}].{field}" if field else f"triggers[{index}]"
        path = f"triggers.{index}.{field}" if field else f"triggers.{index}"
        raise InvalidField(f"{field_path}: {refusal.message}", path) from refusal


def create(work: UnitOfWork, principal: Principal, routine_id: UUID, draft: TriggerDraft) -> TriggerResult:
    """
    Add a trigger to a routine; a webhook gets an address and a secret.

    Raises RuleViolation for one trigger too many, for an enabled schedule of a routine whose required variables have no
    defaults, and for a chain that would be a cycle.
    """
    current = routines.get_writable_routine(work, principal, routine_id, "assign")
    if len(current.triggers) >= (most := work.limits.max_routine_triggers):
        raise RuleViolation(f"A routine has at most {most} triggers: delete one first")
    kind, settings = _settings_of_draft(draft)
    chains.must_be_linkable(work, routine_id, settings)
    if kind == "schedule" and settings.enabled:
        routine.must_be_schedulable(current.settings)
    trigger_id, company_id = work.new_id(), work.company_of(routine_id)
    webhook, new_secret = open_webhook(work, trigger_id, settings.signing_mode, company_id)
    work.record(trigger_id, trigger.create(routine_id, kind, settings, work.now, webhook), company_id)
    event = RoutineTriggerAdded(trigger_id=trigger_id, kind=kind, state=trigger.state_of(get_trigger(work, trigger_id)))
    work.record(routine_id, [event])
    return _trigger_result(work, trigger_id, routine_id, new_secret)


def update(work: UnitOfWork, principal: Principal, trigger_id: UUID, patch: TriggerPatch) -> TriggerResult:
    """
    Change the settings that the patch sets; another signing mode of a webhook may need a new secret.

    Nothing is recorded when they are the same. What waits of a schedule stays or is missed, as `go_on` says. Raises
    RuleViolation as `create` does.
    """
    current, parent = get_writable_trigger(work, principal, trigger_id, "assign")
    settings = merge_patch(current.settings, patch)
    chains.must_be_linkable(work, current.routine_id, settings)
    if current.kind == "schedule" and settings.enabled:
        routine.must_be_schedulable(parent.settings)
    webhook, new_secret = fit_secret(work, trigger_id, current, settings.signing_mode)
    if schedule_changes.change_settings(work, trigger_id, current, parent, settings, webhook):
        state = trigger.state_of(get_trigger(work, trigger_id))
        work.record(current.routine_id, [RoutineTriggerChanged(trigger_id=trigger_id, kind=current.kind, state=state)])
    return _trigger_result(work, trigger_id, current.routine_id, new_secret)


def delete(work: UnitOfWork, principal: Principal, trigger_id: UUID) -> UUID:
    """Delete a trigger; occurrences of a schedule that wait are recorded as missed."""
    current, _ = get_writable_trigger(work, principal, trigger_id, "own")
    remove(work, trigger_id, current)
    work.record(current.routine_id, [RoutineTriggerRemoved(trigger_id=trigger_id, kind=current.kind)])
    return trigger_id


def rotate_secret(work: UnitOfWork, principal: Principal, trigger_id: UUID, overlap_s: int) -> TriggerResult:
    """Give the webhook a new secret; the old one is good for `overlap_s` more seconds, which may be 0."""
    current, _ = get_writable_trigger(work, principal, trigger_id, "assign")
    webhook, old = trigger.webhook_of(current), trigger.signing_of(current)
    mode = _mode_or_default(current.settings.signing_mode)
    secret = None if mode == "none" else verification.mint(mode)
    secret_id = _keep_secret(work, trigger_id, mode, secret)
    until = signing_secrets.retire(work, old, overlap_s)
    work.record(trigger_id, trigger.rotate(current, replace(webhook, secret_id=secret_id), until))
    work.record(current.routine_id, [RoutineSecretRotated(trigger_id=trigger_id)])
    new_secret = NewSecret(trigger_id=trigger_id, public_id=webhook.public_id, secret=secret)
    return _trigger_result(work, trigger_id, current.routine_id, new_secret)


def find_trigger(work: UnitOfWork, trigger_id: UUID) -> Trigger | None:
    """Return the trigger; None when it is unknown or deleted."""
    current = work.get(TRIGGER, trigger_id)
    return None if current is None or current.deleted else current


def get_trigger(work: UnitOfWork, trigger_id: UUID) -> Trigger:
    """Return the trigger; raise NotFound when it is unknown or deleted."""
    if (current := find_trigger(work, trigger_id)) is None:
        raise NotFound("Routine trigger not found")
    return current


def open_webhook(
    work: UnitOfWork, trigger_id: UUID, mode: SigningMode | None, company_id: UUID
) -> tuple[Webhook | None, NewSecret | None]:
    """Return a webhook with a new address and secret; None for both for other triggers, which have no signing mode."""
    if mode is None:
        return None, None
    public_id, secret = verification.mint_public_id(), None if mode == "none" else verification.mint(mode)
    event = NameClaimed(scope=ADDRESS_SCOPE, name=public_id, holder_id=trigger_id)
    work.record(claim_of(ADDRESS_SCOPE, public_id), [event], company_id)
    secret_id = work.keep(trigger_id, PURPOSE, _kept_as(mode, secret), company_id)
    new_secret = NewSecret(trigger_id=trigger_id, public_id=public_id, secret=secret)
    return Webhook(public_id=public_id, secret_id=secret_id), new_secret


def at_address(work: UnitOfWork, public_id: str) -> tuple[UUID, Trigger]:
    """Return the webhook trigger that is called at this address; raise NotFound."""
    trigger_id = work.get(CLAIM, claim_of(ADDRESS_SCOPE, public_id))
    if trigger_id is None:
        raise NotFound("Routine trigger not found")
    current = get_trigger(work, trigger_id)
    if current.webhook is None or current.webhook.public_id != public_id:
        raise NotFound("Routine trigger not found")
    return trigger_id, current


def remove(work: UnitOfWork, trigger_id: UUID, current: Trigger) -> None:
    """Delete the trigger and its secrets; occurrences that wait are missed. The caller records it in the routine."""
    schedule_changes.record_waiting_as_missed(work, trigger_id, current, "deleted")
    if current.webhook is not None:
        work.drop(trigger.secrets_of(current))
    work.record(trigger_id, trigger.delete(current))


def fit_secret(
    work: UnitOfWork, trigger_id: UUID, current: Trigger, mode: SigningMode | None
) -> tuple[Webhook | None, NewSecret | None]:
    """
    Return the webhook with the secret that another signing mode needs; nothing when the secret can stay as it is.

    Of a bearer secret only the digest is kept. A mode that signs needs the secret itself, so it gets a new one, and so
    does a webhook that never had one.
    """
    if current.webhook is None or mode in (None, "none", current.settings.signing_mode):
        return None, None
    secret = work.reveal([current.webhook.secret_id]).get(current.webhook.secret_id, NO_SECRET)
    new_secret, text = None, None if secret.value is None else secret.value.decode()
    if secret.is_none or (text is None and mode != "bearer"):
        text = verification.mint(mode)
        new_secret = NewSecret(trigger_id=trigger_id, public_id=current.webhook.public_id, secret=text)
    elif text is None or mode != "bearer":
        return None, None
    work.drop(trigger.secrets_of(current))
    return replace(current.webhook, secret_id=_keep_secret(work, trigger_id, mode, text)), new_secret


def _trigger_result(
    work: UnitOfWork, trigger_id: UUID, routine_id: UUID, new_secret: NewSecret | None
) -> TriggerResult:
    return TriggerResult(trigger_id=trigger_id, history=work.history(routine_id), new_secret=new_secret)


def _keep_secret(work: UnitOfWork, trigger_id: UUID, mode: SigningMode, secret: str | None) -> UUID:
    return work.keep(trigger_id, PURPOSE, _kept_as(mode, secret), work.company_of(trigger_id))


def _kept_as(mode: SigningMode, text: str | None) -> Secret:
    """Return what the vault keeps: a digest where it suffices to recognise the secret, else the secret itself."""
    if text is None:
        return NO_SECRET
    secret = Secret(text.encode())
    return Secret(digest=secret.digest) if mode == "bearer" else secret


def _mode_or_default(mode: SigningMode | None) -> SigningMode:
    return mode or "bearer"


def _settings_of_draft(draft: TriggerDraft) -> tuple[TriggerKind, TriggerSettings]:
    settings = TriggerSettings(label=draft.label, enabled=draft.enabled)
    if isinstance(draft, ScheduleDraft):
        return "schedule", merge_patch(settings, draft)
    if isinstance(draft, WebhookDraft):
        window = draft.replay_window_sec
        return "webhook", replace(settings, signing_mode=draft.signing_mode, replay_window_sec=window)
    if isinstance(draft, ChainDraft):
        return "chain", merge_patch(settings, draft)
    return "api", settings


def get_writable_trigger(
    work: UnitOfWork, principal: Principal, trigger_id: UUID, action: Action
) -> tuple[Trigger, Routine]:
    """Return a trigger that the caller may change, and its routine. Raises NotFound and Forbidden."""
    current = get_trigger(work, trigger_id)
    routine_resource = routines.resource(work, current.routine_id)
    resource = Resource(company_id=routine_resource.company_id, kind="Routine trigger", owner=routine_resource.owner)
    authorize(work, principal, action, resource)
    if (parent := work.get(ROUTINE, current.routine_id)) is None:
        raise NotFound("Routine trigger not found")
    if trigger_id == cadence_of(current.routine_id):
        routine.must_not_call_a_task(parent)
    return current, parent
