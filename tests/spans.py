"""The spans that a test is about, kept in memory."""

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from application import tracing


class Spans:
    """What ended so far, oldest first, once `tracing` keeps spans here."""

    def __init__(self, monkeypatch):
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        monkeypatch.setattr(tracing, "tracer", provider.get_tracer("routines"))

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all if span.name == name]

    def parents(self, span: ReadableSpan) -> list[str]:
        """The names of the spans around it, from the innermost outwards."""
        by_id = {one.context.span_id: one for one in self.all}
        matching = []
        while span.parent is not None and span.parent.span_id in by_id:
            span = by_id[span.parent.span_id]
            matching.append(span.name)
        return matching
