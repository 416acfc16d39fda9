"""What would become of a call of a webhook: it is verified, read and decided as a call is, and nothing is recorded."""

from base64 import b64decode
from uuid import UUID

from litestar.exceptions import HTTPException

from application.access import Principal
from application.event_store.stream_kinds import ISSUE
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.triggers import WebhookSample
from application.use_cases import webhooks
from domain.errors import DomainError, Unauthenticated
from domain.identity import issue_of_run
from domain.values import Json
from domain.webhooks.verification import WebhookRequest
from projections.firing.run_documents import run_of
from projections.responses import ResponseBody, RunStatus
from web.http.errors import describe_error
from web.http.validation import Invalid
from web.paperclip.webhook_requests import handshake_of, parse_call


class SampleResult(ResponseBody, frozen=True, kw_only=True):
    """
    What would become of a call: the status of its answer, and why it is refused; or the outcome of the run, its payload
    its key, and the title and description of the issue that it would open. `repeatsRunId` is the run that it would repeat.
    """

    status: int
    reason: str | None = None
    outcome: RunStatus | None = None
    payload: Json | None = None
    idempotency_key: str | None = None
    title: str | None = None
    description: str | None = None
    repeats_run_id: UUID | None = None


def sample_request(sample: WebhookSample) -> WebhookRequest:
    """Return the call that a sample stands for."""
    body = b64decode(sample.body) if sample.encoding == "base64" else sample.body.encode()
    return WebhookRequest(headers=tuple((name.lower(), value) for name, value in sample.headers.items()), body=body)


def try_sample(work: UnitOfWork, principal: Principal, trigger_id: UUID, request: WebhookRequest) -> SampleResult:
    """
    Return what would become of a call. The unit of work must not be committed.

    Raises NotFound and Forbidden as a change of the trigger does, and RuleViolation for one that is no webhook.
    """
    public_id = webhooks.address_of(work, principal, trigger_id)
    try:
        webhook = webhooks.authenticate(work, public_id, request)
        if handshake_of(request) is not None:
            return SampleResult(status=200, reason="The sender only tries out the address: no work is started")
        webhooks.must_be_active(work, webhook)
        call = parse_call(request, work.limits.max_webhook_bytes)
        events = webhooks.fire(work, webhook, call)
    except Unauthenticated:
        return SampleResult(status=401, reason=webhooks.why_unproven(work, public_id, request))
    except (DomainError, Invalid, HTTPException) as error:
        status, message, _ = describe_error(error)
        return SampleResult(status=status, reason=message)
    run = run_of(events)
    opened = None if run.linked_issue_id != issue_of_run(run.id) else work.get(ISSUE, run.linked_issue_id)
    return SampleResult(
        status=202,
        reason=run.failure_reason,
        outcome=run.status,
        payload=run.trigger_payload,
        idempotency_key=run.idempotency_key,
        title=opened.details.title if opened else None,
        description=opened.details.description if opened else None,
        repeats_run_id=run.id if events[0].position else None,
    )
