"""
Spans: what was done within what, for whoever follows a run through the processes.

Nothing is kept of them until the process says where they go (routines/telemetry.py). A span holds ids, counts,
statuses and the name of an error, never a message, a payload or a secret.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode

tracer = trace.get_tracer("routines")


@contextmanager
def span(name: str, *, kind: SpanKind = SpanKind.INTERNAL, within: Context | None = None) -> Iterator[Span]:
    """The span of what is done meanwhile; part of the span around it, or of another process's if `within` is given."""
    current = tracer.start_span(name, within, kind)
    if not current.get_span_context().is_valid:  # nobody keeps spans
        yield current
        return
    with trace.use_span(current, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield current
        except Exception as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(StatusCode.ERROR)
            raise
