"""
Where traces go: to a collector over OTLP/HTTP, when the variables of OpenTelemetry name one; else nowhere.

OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER=otlp switch it on; what else
there is to say (headers, sampling, batches, resource attributes) the SDK reads from its own variables. It is the
extra `telemetry` of the package: a process without it says so and works on.
"""

from collections.abc import Mapping
from importlib.metadata import version

import structlog
from opentelemetry import trace

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXPORTER = "OTEL_TRACES_EXPORTER"
NAME = "OTEL_SERVICE_NAME"

log = structlog.get_logger()


def configure(process: str, env: Mapping[str, str]) -> None:
    """Spans of this process are kept and sent from here on, if the environment asks for it."""
    if not is_wanted(env):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        log.warning("traces_not_sent", why="the extra is not installed: pip install 'routines[telemetry]'")
        return
    names = {"service.name": env.get(NAME) or f"routines-{process}", "service.version": version("routines")}
    provider = TracerProvider(resource=Resource.create(names))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def is_wanted(env: Mapping[str, str]) -> bool:
    """An exporter is named, `none` or one that we have not is not wanted; without a name any endpoint will do."""
    exporter = env.get(EXPORTER)
    if exporter not in (None, "", "otlp", "none"):
        log.warning("traces_not_sent", why=f"{EXPORTER} must be otlp or none")
    return exporter == "otlp" if exporter else any(env.get(name) for name in ENDPOINTS)
