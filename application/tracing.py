"""
Spans of traces, by which an operator can follow a run through the processes.

Spans are dropped unless the process has set up where to send them (routines/telemetry.py). A span holds ids, counts,
statuses and the name of an error, never a message, a payload or a secret.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode

tracer = trace.get_tracer("routines")


def span(
    name: str, *, kind: SpanKind = SpanKind.INTERNAL, parent: Context | None = None
) -> AbstractContextManager[Span]:
    """
    Open a span around the body of a `with` statement, and mark it as an error when an exception leaves the body.

    Its parent is the current span, or the one in `parent`, which may be of another process.
    """
    current = tracer.start_span(name, parent, kind)
    is_recorded = current.get_span_context().is_valid  # unless no exporter is set up
    return _recorded(current) if is_recorded else nullcontext(current)


@contextmanager
def _recorded(current: Span) -> Iterator[Span]:
    with trace.use_span(current, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield current
        except Exception as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(StatusCode.ERROR)
            raise
