"""
The record of refused requests: a log line and a count for each, and for auditors those without a right. And the answer to an error that nothing foresaw.

A line says who was refused (the id of the key; the tenant if this process knows it, which is the company, or the
user for an instance admin; the address), what (the method and
the operation) and why. It holds no token, no path and no text of the request: paths hold the addresses of webhooks.

Anybody can cause refusals, so the lines of a minute are limited, in all and of one sender. The next line says how many
refusals were left out; the metric counts them all.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as CounterMetric

from application.access import Caller
from projections.audit.refused_attempts import Attempts
from web.apis import api_of
from web.http.backend import Backend
from web.http.errors import ErrorAnswers, RefusalNote, refusal_of
from web.http.rate_limit import network_of
from web.http.requests import bearer_token_of
from web.http.tenants import company_of
from web.monitoring.refused_attempts import RefusedAttemptCounter

PERIOD_S = 60.0
MOST_LINES = 300  # in a period
MOST_LINES_OF_SENDER = 30

log = structlog.get_logger(process="web")


class RefusalLog:
    """Writes the lines of refused requests, at most MOST_LINES in a period and MOST_LINES_OF_SENDER of one sender."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = 0.0
        self._lines = Counter[str]()  # of this period, by sender
        self._unlogged_count = 0

    def write(self, sender: str, **fields: object) -> None:
        """Write a line, or count it. `unlogged` is the number of refusals without a line since the last one."""
        now = self._clock()
        if now >= self._ends_at:
            self._ends_at = now + PERIOD_S
            self._lines.clear()
        if self._lines.total() >= MOST_LINES or self._lines[sender] >= MOST_LINES_OF_SENDER:
            self._unlogged_count += 1
            return
        self._lines[sender] += 1
        log.info("request_refused", unlogged=self._unlogged_count, **fields)
        self._unlogged_count = 0


def record_refusals(
    app: ASGIApp, backend: Backend, registry: CollectorRegistry, error_answers: ErrorAnswers
) -> ASGIApp:
    """Return the application that records what it refuses."""
    lines, attempts = RefusalLog(), RefusedAttemptCounter(backend)
    counts = CounterMetric(
        "routines_http_refusals",
        "Requests that this web process has refused, those included that no operation has seen.",
        ("operation", "status", "reason"),
        registry=registry,
    )

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        status = 0

        def send_and_note(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        try:
            await app(scope, receive, send_and_note)
        except Exception:
            log.exception("request_failed", status=int(HTTPStatus.INTERNAL_SERVER_ERROR))
            if status:
                raise
            await error_answers[api_of(scope)](500, "Internal server error", {}, None)(scope, receive, send)
        if (refusal := refusal_of(scope)) is not None and is_refusal(status):
            counts.labels(refusal.operation, status, refusal.reason).inc()
            address = client[0] if (client := scope.get("client")) else ""
            description = _describe_refusal(scope, refusal, backend)
            lines.write(network_of(address), address=address, status=status, **description)
            caller = (str(description[name] or "") for name in ("key_id", "tenant"))
            attempts.count(
                Attempts(status, refusal.operation, refusal.why or refusal.reason, network_of(address), *caller)
            )

    return handle


def is_refusal(status: int) -> bool:
    """Return whether the status refuses a request; one that could not be carried out by an error of ours does not."""
    return (
        HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.SERVICE_UNAVAILABLE
    )


def _describe_refusal(scope: Any, refusal: RefusalNote, backend: Backend) -> dict[str, object]:
    """Return who was refused, what and why. The key's id follows from the token, and does not give it away."""
    key_id, tenant = Caller(token=bearer_token_of(scope)).key_id, company_of(scope, backend)
    return {
        "key_id": key_id and str(key_id),
        "tenant": tenant and str(tenant),
        "method": scope["method"],
        "operation": refusal.operation,
        "reason": refusal.reason,
        "why": refusal.why,
    }
