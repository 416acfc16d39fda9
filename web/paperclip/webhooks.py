"""The public address of webhooks, at which others fire a routine: a call is authenticated, read, and fires (contract 6)."""

from functools import cache
from typing import Any

from litestar import Controller, Response
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath

from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import webhooks
from domain.errors import NotFound, Unauthenticated
from domain.recorded import Recorded
from domain.webhooks.verification import WebhookRequest
from projections import responses
from web.http.backend import POSITION_HEADER, Backend
from web.http.rate_limit import WebhookRateLimiter
from web.http.routing import post
from web.http.webhook_refusals import WebhookRefusals
from web.openapi.parameters import WEBHOOK_HEADERS
from web.paperclip.run_answers import REPEATED, run_answer
from web.paperclip.webhook_requests import Handshake, handshake_of, parse_call, size_of

HANDSHAKE = {
    200: ResponseSpec(Handshake, description="The address is right; nothing was started.", generate_examples=False)
}


class Webhooks(Controller):
    """Calls of webhooks."""

    tags = ("triggers",)

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
            commit_result = await backend.on_loop.attempt(decide, size=size_of(webhook_request))
        except Exception as error:
            if isinstance(error, NotFound | Unauthenticated) and not is_counted:
                rate_limiter.count_refusal(sender)
            await sync_to_thread(webhook_refusals.keep_error, public_id, sender, error, webhook_request)
            raise
        if isinstance(commit_result.result, Handshake):
            position = {POSITION_HEADER: str(commit_result.position)}
            greeting: Response[Any] = Response(commit_result.result, status_code=200, headers=position)
            return greeting
        return run_answer(commit_result.result, commit_result, read_call().digest)
