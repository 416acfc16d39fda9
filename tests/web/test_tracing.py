"""The trace of a request: its operation, status and unit of work, within the caller's trace; no path, token or body."""

import pytest
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from tests import waiting
from tests.api import Api
from tests.spans import Spans

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.fixture
def spans(api: Api, monkeypatch: pytest.MonkeyPatch) -> Spans:
    return Spans(monkeypatch)


def ended_span(spans: Spans, operation: str):
    """The span of the one request of an operation; it ends a moment after the answer."""
    return waiting.wait_for(lambda: spans.named(operation))[0]


def test_a_change_is_a_request_with_its_unit_of_work(api: Api, spans: Spans):
    answer = api.request("POST", "/companies", {"name": "Acme"})

    request = ended_span(spans, "createCompany")
    (work,) = spans.named("unit of work")
    assert SpanKind.SERVER == request.kind
    assert {"http.request.method": "POST", "http.response.status_code": 201} == dict(request.attributes)
    assert ["createCompany"] == spans.parents(work)
    assert {"routines.events", "routines.position"} == work.attributes.keys()
    assert int(answer.headers["X-Routines-Position"]) >= int(str(work.attributes["routines.position"]))


def test_a_request_is_part_of_its_callers_trace(api: Api, spans: Spans):
    api.get("/companies", headers={"traceparent": TRACEPARENT})

    request = ended_span(spans, "listCompanies")
    assert TRACE_ID == format_trace_id(request.context.trace_id)
    assert SPAN_ID == format_span_id(request.parent.span_id)


@pytest.mark.parametrize(
    "given", ["nonsense", "", f"00-{'0' * 32}-{SPAN_ID}-01", f"ff-{TRACE_ID}-{SPAN_ID}-01", "00-é"]
)
def test_a_malformed_trace_header_is_not_heeded(api: Api, spans: Spans, given: str):
    headers = {"traceparent": given.encode("latin-1"), "tracestate": b"\xff=;,,="}
    answer = api.request("GET", "/companies", headers=headers)

    assert 200 == answer.status_code
    assert ended_span(spans, "listCompanies").parent is None


def test_a_refusal_is_told_by_its_status_and_kind(api: Api, spans: Spans):
    company = api.company()
    assert 400 == api.request("POST", f"/companies/{company}/agents", {"name": 7}).status_code
    assert 401 == api.request("POST", "/companies", {"name": "Acme"}, token="pcp_board_wrong").status_code

    assert 400 == ended_span(spans, "createAgent").attributes["http.response.status_code"]
    refused = ended_span(spans, "createCompany")
    work = next(one for one in spans.named("unit of work") if one.status.status_code is StatusCode.ERROR)
    assert (401, StatusCode.UNSET) == (refused.attributes["http.response.status_code"], refused.status.status_code)
    assert ("Unauthenticated", None, ()) == (work.attributes["error.type"], work.status.description, work.events)


def test_no_span_holds_a_token_an_address_or_a_body(api: Api, spans: Spans):
    company = api.company("Hush and Sons")
    agent, _ = api.agent(company)
    token = api.post(f"/agents/{agent}/keys", {})["token"]
    routine = api.routine(company, agent)
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "bearer"})["secretMaterial"]
    path = trigger["webhookUrl"].partition("/api")[2]
    api.post(path, {"secret": "sesame"}, token=trigger["webhookSecret"])
    api.get("/agents/me", token=token)
    ended_span(spans, "getMe")

    span_texts = " ".join(f"{span.name} {dict(span.attributes)} {span.status.description}" for span in spans.all)
    for secret in (api.token, token, trigger["webhookSecret"], path, "sesame", "Hush", company):
        assert secret not in span_texts
