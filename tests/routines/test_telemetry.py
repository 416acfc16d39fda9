"""Traces are sent where the variables of OpenTelemetry say, and nowhere without them."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from opentelemetry import trace
from structlog.testing import capture_logs

from routines import telemetry

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def providers(monkeypatch):
    """The providers that a configuration sets, instead of setting them for the whole run."""
    spans = []
    monkeypatch.setattr(trace, "set_tracer_provider", spans.append)
    yield spans
    for provider in spans:
        provider.shutdown()


@pytest.fixture
def collector(monkeypatch):
    """A collector on a free port, and the paths and types of what it was sent."""
    posts = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((self.path, self.headers["Content-Type"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{server.server_port}")
        yield f"http://127.0.0.1:{server.server_port}", posts
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "env",
    [
        {},
        {ENDPOINT: ""},
        {"OTEL_TRACES_EXPORTER": "none", ENDPOINT: "http://collector:4318"},
        {"OTEL_SERVICE_NAME": "routines"},
    ],
)
def test_nothing_is_sent_unless_it_is_asked_for(providers, env):
    with capture_logs() as lines:
        telemetry.configure("web", env)

    assert [] == providers == lines


@pytest.mark.parametrize(
    "env",
    [
        {ENDPOINT: "http://collector:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"},
        {"OTEL_TRACES_EXPORTER": "otlp"},
    ],
)
def test_a_variable_switches_it_on(env):
    assert telemetry.is_wanted(env)


def test_spans_reach_the_collector_under_the_name_of_the_process(providers, collector):
    url, posts = collector
    telemetry.configure("scheduler", {ENDPOINT: url})

    [provider] = providers
    provider.get_tracer("test").start_span("tick").end()
    provider.force_flush()

    assert [("/v1/traces", "application/x-protobuf")] == posts
    assert "routines-scheduler" == provider.resource.attributes["service.name"]


def test_another_name_may_be_given(providers, collector):
    telemetry.configure("scheduler", {ENDPOINT: collector[0], "OTEL_SERVICE_NAME": "night shift"})

    assert "night shift" == providers[0].resource.attributes["service.name"]


def test_an_exporter_that_is_not_there_is_said_and_not_sent_to(providers):
    with capture_logs() as lines:
        telemetry.configure("web", {"OTEL_TRACES_EXPORTER": "zipkin", ENDPOINT: "http://collector:4318"})

    assert [] == providers
    assert [("traces_not_sent", "warning")] == [(line["event"], line["log_level"]) for line in lines]


def test_an_endpoint_that_is_no_url_is_said_by_its_variable(providers):
    with capture_logs() as lines:
        telemetry.configure("web", {ENDPOINT: "collector:4318"})

    assert [] == providers
    assert [f"{ENDPOINT} must be an address like http://collector:4318"] == [line["why"] for line in lines]


def test_without_the_extra_a_process_says_so_and_works_on(providers, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with capture_logs() as lines:
        telemetry.configure("web", {ENDPOINT: "http://collector:4318"})

    assert [] == providers
    assert "routines[telemetry]" in lines[0]["why"]
