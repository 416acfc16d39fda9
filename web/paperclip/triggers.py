"""The routes of triggers, and the public address of webhooks (contract 4, 6)."""

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Response
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, UnsetType

from application.access import Caller
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.triggers import SecretRotation, TriggerDraft, TriggerPatch, WebhookSample
from application.use_cases import triggers, webhooks
from application.use_cases.triggers import NewSecret, TriggerResult
from domain.errors import NotFound, Unauthenticated
from domain.recorded import Recorded
from domain.webhooks.verification import WebhookRequest
from projections import responses
from projections.engine.read_model import Connection
from projections.responses import ResponseBody
from projections.routines import revisions, routines
from web.http.backend import POSITION_HEADER, Backend, Changed
from web.http.path_ids import RoutineId, TriggerId
from web.http.rate_limit import WebhookRateLimiter
from web.http.routing import delete, patch, post
from web.http.webhook_refusals import WebhookRefusals
from web.openapi.parameters import WEBHOOK_HEADERS
from web.paperclip.run_answers import REPEATED, run_answer
from web.paperclip.webhook_requests import Handshake, handshake_of, parse_call, size_of
from web.paperclip.webhook_samples import SampleResult, sample_request, try_sample

HANDSHAKE = {
    200: ResponseSpec(Handshake, description="The address is right; nothing was started.", generate_examples=False)
}
MODELS = ("routines", "revisions")


class SecretMaterial(ResponseBody, frozen=True, kw_only=True):
    """
    The address at which a webhook trigger is called, and its secret, which is shown only here. With the signing mode
    `none` there is none: who knows the address may call it.
    """

    webhook_url: str
    webhook_secret: str | None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.webhook_url!r})"


class TriggerSecret(SecretMaterial, frozen=True, kw_only=True):
    """The new address and secret of one of several webhook triggers."""

    trigger_id: UUID


class TriggerAnswer(ResponseBody, frozen=True, kw_only=True):
    """A trigger, its new secret (`secretMaterial` is null if it needs none), and the revision that this made."""

    trigger: responses.Trigger
    secret_material: SecretMaterial | None
    revision: responses.Revision


class EditedTrigger(responses.Trigger, frozen=True, kw_only=True):
    """A changed trigger. `secretMaterial` (our addition) is there if another signing mode required a new secret."""

    secret_material: SecretMaterial | UnsetType = UNSET


class Triggers(Controller):
    """Triggers of routines, and the calls of webhooks."""

    tags = ("triggers",)

    @post("/routines/{routine_id:str}/triggers", operation_id="createTrigger", refuses=(403, 422))
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        public_url: NamedDependency[str],
        routine_id: FromPath[RoutineId],
        data: JSONBody[TriggerDraft],
    ) -> Response[TriggerAnswer]:
        """Adds a trigger to the routine. The secret of a webhook trigger is shown in this answer and never again."""
        changed = backend.change(caller, MODELS, triggers.create, routine_id, data)
        return _answer(changed, public_url, 201)

    @patch("/routine-triggers/{trigger_id:str}", operation_id="updateTrigger", refuses=(403, 409, 422))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        public_url: NamedDependency[str],
        trigger_id: FromPath[TriggerId],
        data: JSONBody[TriggerPatch],
    ) -> Response[EditedTrigger]:
        """
        Changes the fields that are given. An occurrence that is planned and not due yet stays, as long as the new
        schedule has it too. The secret of a bearer webhook cannot sign, so a change to a signing mode makes a new one.
        """
        changed = backend.change(caller, MODELS, triggers.update, trigger_id, data)
        return changed.answer(lambda conn: _edited(conn, changed.result, public_url))

    @delete("/routine-triggers/{trigger_id:str}", operation_id="deleteTrigger", refuses=(403, 409))
    def delete(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], trigger_id: FromPath[TriggerId]
    ) -> None:
        """Deletes the trigger."""
        backend.executor.execute(caller, triggers.delete, trigger_id)

    @post(
        "/routine-triggers/{trigger_id:str}/rotate-secret",
        operation_id="rotateTriggerSecret",
        refuses=(403, 409, 422),
        status_code=200,
    )
    def rotate_secret(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        public_url: NamedDependency[str],
        trigger_id: FromPath[TriggerId],
        data: JSONBody[SecretRotation],
    ) -> Response[TriggerAnswer]:
        """
        Makes a new secret, which is shown in this answer and never again. The old one ends at once, or after
        `overlapSec`. A webhook whose signing mode is `none` has none, and keeps its address.
        """
        rotated = backend.change(caller, MODELS, triggers.rotate_secret, trigger_id, data.overlap_sec)
        return _answer(rotated, public_url, 200)

    @post("/routine-triggers/{trigger_id:str}/test", operation_id="testTrigger", refuses=(403, 422), status_code=200)
    def test(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        trigger_id: FromPath[TriggerId],
        data: JSONBody[WebhookSample],
    ) -> SampleResult:
        """
        Says what would become of a call of the webhook, with the signature and the body of a sample, and starts no
        work. A sample that is signed with a timestamp has to be sent within the trigger's `replayWindowSec`.
        """
        return backend.authorize(caller, try_sample, trigger_id, sample_request(data))

    @post(
        "/routine-triggers/public/{public_id:str}/fire",
        operation_id="fireWebhook",
        refuses=(401, 409, 422, 429),
        answers=HANDSHAKE,
        status_code=202,
        response_headers=REPEATED,
        opt={"body": object, "headers": WEBHOOK_HEADERS},
    )
    async def fire(  # noqa: PLR0913, PLR0917 who calls, and what counts the calls
        self,
        backend: NamedDependency[Backend],
        webhook_request: NamedDependency[WebhookRequest],
        rate_limiter: NamedDependency[WebhookRateLimiter],
        sender: NamedDependency[str],
        webhook_refusals: NamedDependency[WebhookRefusals],
        public_id: FromPath[str],
    ) -> Response[responses.Run]:
        """
        Fires the routine. This is the address that webhook senders call. The trigger's signing mode says how they
        prove that they may: `bearer` takes `Authorization: Bearer <secret>`, `none` takes nothing, any other mode takes
        a signature.

        A JSON object is the payload; any other JSON value becomes `{"body": value}`. It is read from the field
        `payload` of a form and from text as well; a body of another kind is no payload. With an `Idempotency-Key`, or
        the sender's id of the message, the same call gives the same run; a signed and timestamped call counts once.
        The body may be compressed by gzip; a signature covers it as it is sent. GitHub's `ping` and Slack's `url_verification` start no work.
        """
        is_counted, most = False, backend.limits.max_webhook_bytes
        read_call = cache(lambda: parse_call(webhook_request, most))  # once, however often the decision is repeated

        def decide(work: UnitOfWork) -> list[Recorded] | Handshake:
            nonlocal is_counted
            webhook = webhooks.authenticate(work, public_id, webhook_request)
            if not is_counted:  # count a call once, however often its decision is repeated
                rate_limiter.count_call(webhook.trigger_id, sender)
                is_counted = True
            if (handshake := handshake_of(webhook_request)) is not None:
                return handshake
            webhooks.must_be_active(work, webhook)
            return webhooks.fire(work, webhook, read_call())

        try:
            done = await backend.on_loop.attempt(decide, size=size_of(webhook_request))
        except Exception as error:
            if isinstance(error, NotFound | Unauthenticated) and not is_counted:
                rate_limiter.count_refusal(sender)
            await sync_to_thread(webhook_refusals.keep_error, public_id, sender, error, webhook_request)
            raise
        if isinstance(done.result, Handshake):
            position = {POSITION_HEADER: str(done.position)}
            greeting: Response[Any] = Response(done.result, status_code=200, headers=position)
            return greeting
        return run_answer(done.result, done, read_call().digest)


def secrets_of(minted: Sequence[NewSecret], public_url: str) -> list[TriggerSecret]:
    """Return the new addresses and secrets of several webhooks as clients get them."""
    return [
        TriggerSecret(**msgspec.structs.asdict(secret_material(one, public_url)), trigger_id=one.trigger_id)
        for one in minted
    ]


def secret_material(minted: NewSecret, public_url: str) -> SecretMaterial:
    """Return the address and the secret that the sender of a webhook needs."""
    url = f"{public_url}/api/routine-triggers/public/{minted.public_id}/fire"
    return SecretMaterial(webhook_url=url, webhook_secret=minted.secret)


def _answer(changed: Changed, public_url: str, status: int) -> Response[TriggerAnswer]:
    result: TriggerResult = changed.result
    secret = secret_material(result.minted, public_url) if result.minted else None

    def read(conn: Connection) -> TriggerAnswer | None:
        trigger = routines.trigger(conn, result.trigger_id)
        revision = revisions.revision(conn, result.routine_id, result.revision)
        if trigger is None or revision is None:
            return None
        return TriggerAnswer(trigger=trigger, secret_material=secret, revision=revision)

    return changed.answer(read, status)


def _edited(conn: Connection, result: TriggerResult, public_url: str) -> EditedTrigger | None:
    if (trigger := routines.trigger(conn, result.trigger_id)) is None:
        return None
    fields: dict[str, Any] = {name: getattr(trigger, name) for name in responses.Trigger.__struct_fields__}
    return EditedTrigger(
        **fields, secret_material=secret_material(result.minted, public_url) if result.minted else UNSET
    )
