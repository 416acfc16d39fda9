"""
Sends traces to a collector over OTLP/HTTP when the variables of OpenTelemetry name one; otherwise nowhere.

OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER=otlp switch it on. The SDK reads
headers, sampling, batches and resource attributes from its own variables. The exporter is in the extra `telemetry` of
the package: a process without it logs a warning and works on.
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
    """Send the later spans of this process, if the environment asks for it."""
    if not is_wanted(env):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 it is in an extra
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
    """
    Return whether traces are to be sent: the exporter is `otlp`, or none is named and there is an endpoint.

    An exporter that we do not have, or an endpoint that is no URL, is logged, and nothing is sent.
    """
    exporter = env.get(EXPORTER)
    if exporter not in (None, "", "otlp", "none"):
        log.warning("traces_not_sent", why=f"{EXPORTER} must be otlp or none")
    endpoints = {name: env[name] for name in ENDPOINTS if env.get(name)}
    is_asked_for = exporter == "otlp" if exporter else bool(endpoints)
    bad_endpoints = [name for name, url in endpoints.items() if not url.startswith(("http://", "https://"))]
    if is_asked_for and bad_endpoints:
        log.warning("traces_not_sent", why=f"{bad_endpoints[0]} must be an address like http://collector:4318")
    return is_asked_for and not bad_endpoints
