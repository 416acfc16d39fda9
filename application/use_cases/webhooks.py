"""Firing a routine by a call of its webhook (contract 6)."""

import hashlib
from uuid import UUID

from application.access import Principal
from application.event_store.stream_kinds import COMPANY, ROUTINE, RUN
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import references, runs, triggers
from domain.board import company
from domain.errors import Conflict, NotFound, RuleViolation, Unauthenticated
from domain.identity import run_of_key
from domain.recorded import Recorded
from domain.routines import trigger
from domain.routines.firing import FiringRequest
from domain.routines.routine import Routine
from domain.routines.trigger import Trigger
from domain.values import Json, SigningMode, Value
from domain.webhooks import verification
from domain.webhooks.verification import Proof, WebhookRequest


class WebhookCall(Value, frozen=True):
    """The content of a call whose sender is known."""

    payload: Json | None  # None when the body is not JSON
    idempotency_key: str | None = None
    digest: str | None = None  # 64 hexadecimal digits that are equal for the same content


class AuthenticatedWebhook(Value, frozen=True):
    """The webhook of a call whose sender may fire it."""

    trigger_id: UUID
    trigger: Trigger
    routine_id: UUID
    routine: Routine
    key: str | None  # identifies the call: it follows from its signature, or from its message id
    counts_once: bool  # whether the same call is refused as a replay when it comes again


def authenticate(work: UnitOfWork, public_id: str, request: WebhookRequest) -> AuthenticatedWebhook:
    """
    Return the webhook at this address, if the request proves that its sender may call it.

    Nobody without the credential learns more than that there is such an address. Raises NotFound for an address without
    a webhook, Unauthenticated for a wrong credential.
    """
    trigger_id, current = triggers.at_address(work, public_id)
    work.load([current.routine_id])
    mode, window_s = _verification_of(current)
    secrets = {} if mode == "none" else work.reveal(trigger.good_secrets_of(current, work.now))
    proof = verification.verify(mode, request, list(secrets.values()), window_s, work.now)
    if (routine := work.get(ROUTINE, current.routine_id)) is None:
        raise NotFound("Routine trigger not found")
    work.actor = f"trigger:{trigger_id}"
    work.holder = trigger_id
    return AuthenticatedWebhook(
        trigger_id=trigger_id,
        trigger=current,
        routine_id=current.routine_id,
        routine=routine,
        key=_key_of(trigger_id, proof),
        counts_once=proof.stamp is not None,
    )


def check_headers(work: UnitOfWork, public_id: str, request: WebhookRequest) -> None:
    """
    Raise Unauthenticated for a call that its headers alone prove not to be genuine, so that its body need not be read.

    Raises NotFound for an address without a webhook.
    """
    _, current = triggers.at_address(work, public_id)
    mode, window_s = _verification_of(current)
    if mode == "bearer":
        secrets = work.reveal(trigger.good_secrets_of(current, work.now))
        verification.verify(mode, request, list(secrets.values()), window_s, work.now)
    elif verification.fault_of_headers(mode, request, window_s, work.now) is not None:
        raise Unauthenticated


def _verification_of(current: Trigger) -> tuple[SigningMode, int]:
    """Return how the calls of a webhook are signed, and by how many seconds their time may differ from now."""
    return current.settings.signing_mode or "bearer", current.settings.replay_window_sec or 0


def why_unproven(work: UnitOfWork, public_id: str, request: WebhookRequest) -> str:
    """Return why a call of the webhook at this address proves nothing. It is for those who may change the trigger."""
    mode, window_s = _verification_of(triggers.at_address(work, public_id)[1])
    return verification.why_unproven(mode, request, window_s, work.now)


def address_of(work: UnitOfWork, principal: Principal, trigger_id: UUID) -> str:
    """
    Return the public id of a webhook for somebody who may fire its routine.

    Raises RuleViolation for a trigger of another kind.
    """
    current, _ = triggers.get_writable_trigger(work, principal, trigger_id, "assign")
    if current.webhook is None:
        raise RuleViolation("Only webhook triggers are called")
    return current.webhook.public_id


def must_be_active(work: UnitOfWork, webhook: AuthenticatedWebhook) -> None:
    """Raise Conflict if the webhook may not fire its routine now: one of them is not active, or the company archived."""
    company.must_not_be_archived(work.get(COMPANY, work.company_of(webhook.trigger_id)))
    trigger.must_be_active(webhook.trigger, webhook.routine.settings.status)


def fire(work: UnitOfWork, webhook: AuthenticatedWebhook, call: WebhookCall) -> list[Recorded]:
    """
    Fire the routine of a webhook that `must_be_active` has let pass, and return the events of the run.

    A signed call counts once: when it is sent again, it raises Conflict. The same message id or idempotency key gives
    the same run.
    """
    key = webhook.key or call.idempotency_key
    run_id = run_of_key(webhook.routine_id, "webhook", webhook.trigger_id, key) if key else runs.new_run(work)
    if key:  # mostly nobody has fired by it before
        runs.assume_new_runs(work, [run_id], [webhook.routine])
    is_fired = work.get(RUN, run_id) is not None
    if is_fired and webhook.counts_once:
        raise Conflict("Webhook replay detected")
    settings, company_id = webhook.routine.settings, work.company_of(webhook.trigger_id)
    references.check_assignee(work, company_id, settings.assignee_agent_id)
    request = FiringRequest(
        run_id=run_id,
        routine_id=webhook.routine_id,
        source="webhook",
        assignee_agent_id=settings.assignee_agent_id,
        project_id=settings.project_id,
        rendered=runs.render(work, settings, call.payload, runs.variables_in(call.payload), call.payload or {}),
        trigger_id=webhook.trigger_id,
        idempotency_key=key,
        request_digest=None if webhook.counts_once else call.digest,
        payload=call.payload,
    )
    if not is_fired:
        runs.record(work, company_id, webhook.routine, request)
    return work.history(run_id)


def _key_of(trigger_id: UUID, proof: Proof) -> str | None:
    """Return the replay key of a signed call, or the message id of its sender; None for a call with neither."""
    if proof.stamp is not None:
        return "webhook-hmac:" + hashlib.sha256(f"{trigger_id}:{proof.stamp}".encode()).hexdigest()
    return None if proof.message_id is None else f"webhook-id:{proof.message_id}"
