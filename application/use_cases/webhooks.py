"""Firing a routine by a call of its webhook (contract 6)."""

import hashlib
from typing import Protocol
from uuid import UUID

from application.event_store.stream_kinds import ROUTINE, RUN
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import references, runs, triggers
from domain.errors import Conflict, NotFound
from domain.identity import run_of_key
from domain.recorded import Recorded
from domain.routines import trigger
from domain.routines.firing import FiringRequest
from domain.routines.routine import Routine
from domain.values import Json, Value
from domain.webhooks import verification
from domain.webhooks.verification import Proof, WebhookRequest


class Message(Protocol):
    """A call as it came; what it says is not read before its sender is known, and may then turn out to be unreadable."""

    @property
    def delivery(self) -> WebhookRequest: ...

    def count(self, webhook: UUID, /) -> None:
        """Its sender may call this webhook. Raises if it does so too often."""

    def payload(self) -> Json | None: ...

    def idempotency_key(self) -> str | None: ...


class AuthenticatedWebhook(Value, frozen=True):
    """A webhook whose caller is known, and which may fire."""

    trigger_id: UUID
    routine_id: UUID
    of: Routine
    key: str | None  # by which the call is told from every other: of a signed one, or of its message id
    counts_once: bool  # whether the same call again is a replay


def fire(work: UnitOfWork, public_id: str, message: Message) -> list[Recorded]:
    """
    The events of the run.

    Nobody without the credential learns more than that there is such an address. A signed call counts once: sent
    again it is a Conflict; a message id or an idempotency key given again gives the same run.
    """
    called = _called(work, public_id, message.delivery)
    message.count(called.trigger_id)
    key = called.key or message.idempotency_key()
    run_id = run_of_key(called.routine_id, "webhook", called.trigger_id, key) if key else runs.new_run(work)
    is_fired = work.get(RUN, run_id) is not None
    if is_fired and called.counts_once:
        raise Conflict("Webhook replay detected")
    settings, payload, company_id = called.of.settings, message.payload(), work.company_of(called.trigger_id)
    references.check_assignee(work, company_id, settings.assignee_agent_id)
    asked = FiringRequest(
        run_id=run_id,
        routine_id=called.routine_id,
        source="webhook",
        assignee_agent_id=settings.assignee_agent_id,
        project_id=settings.project_id,
        texts=runs.texts(work, settings, runs.variables_in(payload), payload or {}),
        trigger_id=called.trigger_id,
        idempotency_key=key,
        payload=payload,
    )
    if not is_fired:
        runs.record(work, company_id, called.of, asked)
    return work.history(run_id)


def _called(work: UnitOfWork, public_id: str, delivery: WebhookRequest) -> AuthenticatedWebhook:
    trigger_id, found = triggers.at_address(work, public_id)
    work.load([found.routine_id])
    mode, window_s = found.settings.signing_mode or "bearer", found.settings.replay_window_sec or 0
    secrets = {} if mode == "none" else work.reveal(trigger.good_secrets_of(found, work.now))
    proof = verification.verify(mode, delivery, list(secrets.values()), window_s, work.now)
    if (of := work.get(ROUTINE, found.routine_id)) is None:
        raise NotFound("Routine trigger not found")
    trigger.must_be_active(found, of.settings.status)
    work.actor = f"trigger:{trigger_id}"
    work.holder = trigger_id
    key, once = _key_of(trigger_id, proof), proof.stamp is not None
    return AuthenticatedWebhook(trigger_id=trigger_id, routine_id=found.routine_id, of=of, key=key, counts_once=once)


def _key_of(trigger_id: UUID, proof: Proof) -> str | None:
    """The replay key of a signed call, or the message id that its sender gave it."""
    if proof.stamp is not None:
        return "webhook-hmac:" + hashlib.sha256(f"{trigger_id}:{proof.stamp}".encode()).hexdigest()
    return None if proof.message_id is None else f"webhook-id:{proof.message_id}"
