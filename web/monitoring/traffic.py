"""
The traffic of this process: requests counted by operation and status, their durations, and a trace span for each.

Metrics and spans name operations, never paths: paths are many, and contain ids and the addresses of webhooks.
"""

import time
from collections.abc import Awaitable, Iterable
from functools import cache
from http import HTTPStatus

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics

from application import tracing
from web.http.errors import operation_of

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
UNANSWERED = "none"  # the status of a request whose client left before the answer
PROPAGATOR = TraceContextTextMapPropagator()
TRACE_HEADERS = (b"traceparent", b"tracestate")
MAX_TRACE_BYTES = 2_048  # of a header; the library logs a line about each longer one

disable_created_metrics()  # type: ignore[no-untyped-call]  # it would add a series for the creation time of each


class Traffic:
    """Counts and traces the requests of this process; `registry` holds its metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._answers = Counter(
            "routines_http_requests",
            "Requests that this web process has answered.",
            ("operation", "status"),
            registry=self.registry,
        )
        self._took = Histogram(
            "routines_http_request_duration_seconds",
            "How long this web process took for them, from the whole request to the whole answer.",
            ("operation",),
            registry=self.registry,
            buckets=BOUNDS_S,
        )

    def watch(self, app: ASGIApp) -> ASGIApp:
        """Return the application with counting and tracing. It must set the route handler in the scope of a request."""
        answers = cache(self._answers.labels)  # there are few operations and statuses, and looking one up takes a lock
        took = cache(self._took.labels)

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP:
                await app(scope, receive, send)
                return
            status, began = 0, time.perf_counter()

            def send_and_note(message: Message) -> Awaitable[None]:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                return send(message)

            with tracing.span("request", kind=SpanKind.SERVER, parent=_callers_trace(scope["headers"])) as span:
                try:
                    await app(scope, receive, send_and_note)
                finally:
                    operation = operation_of(scope)
                    answers(operation, status or UNANSWERED).inc()
                    took(operation).observe(time.perf_counter() - began)
                    _describe(span, operation, scope["method"], status)

        return handle


def _describe(span: Span, operation: str, method: str, status: int) -> None:
    if not span.is_recording():
        return
    span.update_name(operation)
    span.set_attributes({"http.request.method": method, "http.response.status_code": status})
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.set_status(StatusCode.ERROR)


def _callers_trace(headers: Iterable[tuple[bytes, bytes]]) -> Context | None:
    """Return the trace of the caller, or None if it sends none (W3C Trace Context)."""
    trace_headers = {
        name.decode(): value.decode("latin-1")
        for name, value in headers
        if name in TRACE_HEADERS and len(value) <= MAX_TRACE_BYTES
    }
    return PROPAGATOR.extract(trace_headers) if trace_headers else None
