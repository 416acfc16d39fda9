"""The routes of triggers (contract 4). The public address of webhooks is in webhooks.py."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, UnsetType

from application.access import Caller
from application.request_bodies.triggers import SecretRotation, TriggerDraft, TriggerPatch, WebhookSample
from application.use_cases import triggers
from application.use_cases.triggers import NewSecret, TriggerResult
from projections import responses
from projections.engine.table import Connection
from projections.responses import ResponseBody
from projections.routines import revisions, routines
from web.http.backend import Backend, Changed
from web.http.path_ids import RoutineId, TriggerId
from web.http.routing import delete, patch, post
from web.paperclip.webhook_samples import SampleResult, sample_request, try_sample

MODELS = ("routines",)


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
    """Triggers of routines."""

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
        return _answer_trigger(changed, public_url, 201)

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
        return changed.answer(lambda conn: _edited_trigger(conn, changed.result, public_url))

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
        return _answer_trigger(rotated, public_url, 200)

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


def secrets_of(new_secrets: Sequence[NewSecret], public_url: str) -> list[TriggerSecret]:
    """Return the new addresses and secrets of several webhooks as clients get them."""
    return [
        TriggerSecret(**msgspec.structs.asdict(secret_material(one, public_url)), trigger_id=one.trigger_id)
        for one in new_secrets
    ]


def secret_material(new_secret: NewSecret, public_url: str) -> SecretMaterial:
    """Return the address and the secret that the sender of a webhook needs."""
    url = f"{public_url}/api/routine-triggers/public/{new_secret.public_id}/fire"
    return SecretMaterial(webhook_url=url, webhook_secret=new_secret.secret)


def _answer_trigger(changed: Changed, public_url: str, status: int) -> Response[TriggerAnswer]:
    result: TriggerResult = changed.result
    secret = secret_material(result.new_secret, public_url) if result.new_secret else None

    def read(conn: Connection) -> TriggerAnswer | None:
        if (trigger := routines.trigger(conn, result.trigger_id)) is None:
            return None
        return TriggerAnswer(
            trigger=trigger, secret_material=secret, revision=revisions.newest_revision(result.history)
        )

    return changed.answer(read, status)


def _edited_trigger(conn: Connection, result: TriggerResult, public_url: str) -> EditedTrigger | None:
    if (trigger := routines.trigger(conn, result.trigger_id)) is None:
        return None
    fields: dict[str, Any] = {name: getattr(trigger, name) for name in responses.Trigger.__struct_fields__}
    return EditedTrigger(
        **fields, secret_material=secret_material(result.new_secret, public_url) if result.new_secret else UNSET
    )
