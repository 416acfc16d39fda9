"""Each refused request has a log line and is counted; the lines are bounded; nothing of the request is in them."""

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.api import Api
from tests.waiting import wait_for
from tests.web.monitoring.test_metrics import scrape
from tests.web.served import serve_further
from web.http.errors import error_response
from web.monitoring.refusals import MOST_LINES, MOST_LINES_OF_SENDER, PERIOD_S, RefusalLog, record_refusals

SECRET = "something-that-nobody-may-see"
REFUSED = 8


def refused_lines(lines: list[Any]) -> list[Any]:
    return [line for line in lines if line["event"] == "request_refused"]


@pytest.fixture
def fresh_api(api: Api) -> Iterator[Api]:
    """A web process that has refused nothing yet, so that all lines are free."""
    with serve_further(api) as served:
        yield served


def test_a_line_says_who_was_refused_what_why_and_from_where(fresh_api: Api):
    company = fresh_api.company()
    agent, token = fresh_api.agent(company)
    before = scrape(fresh_api)

    with capture_logs() as lines:
        fresh_api.request("GET", f"/companies/{company}/agents", token=None)
        fresh_api.request("POST", "/companies", json={"name": "x"}, token=token)
        fresh_api.request("POST", "/companies", json={"name": 5, SECRET: 1})
        fresh_api.request("POST", "/companies", json={"name": "x" * 9_000_000})
        fresh_api.request("POST", f"/agents/{agent}/resume", json={})
        fresh_api.request("POST", f"/agents/{agent}/terminate", json={})
        fresh_api.request("POST", f"/agents/{agent}/resume", json={})
        fresh_api.request("GET", f"/nothing/{SECRET}?{SECRET}=1")
        fresh_api.request("POST", f"/routine-triggers/public/{SECRET}/fire", json={})
        httpx.get(f"{fresh_api.url}/api/v1/collections/{SECRET}", headers={"Authorization": f"Bearer {SECRET}"})
        wait_for(lambda: len(refused_lines(lines)) == REFUSED)  # a line comes after the answer

    rows = [(line["status"], line["operation"], line["reason"], line["why"]) for line in refused_lines(lines)]
    assert [
        (401, "listAgents", "Unauthenticated", "Unauthorized"),
        (403, "createCompany", "Forbidden", "Board access required"),
        (400, "createCompany", "Invalid", "?, name"),
        (413, "other", "Refused", "The body must have at most 1048576 bytes"),
        (409, "resumeAgent", "Conflict", None),
        (404, "other", "NotFoundException", "API route not found"),
        (404, "other", "Refused", "Routine trigger not found"),
        (401, "getCollection", "Unauthenticated", "Invalid API key or JWT token"),
    ] == rows
    assert {"127.0.0.1"} == {line["address"] for line in refused_lines(lines)}
    assert refused_lines(lines)[0]["key_id"] is None
    assert refused_lines(lines)[1]["key_id"] is not None
    assert company == refused_lines(lines)[1]["tenant"]
    assert SECRET not in str(lines)
    assert token not in str(lines)
    labels = {"operation": "createCompany", "status": "403", "reason": "Forbidden"}
    assert 1 == scrape(fresh_api)("routines_http_refusals_total", **labels) - before(
        "routines_http_refusals_total", **labels
    )


def test_what_is_answered_with_success_has_no_line(api: Api):
    with capture_logs() as lines:
        api.get("/companies")

    assert not refused_lines(lines)


def test_a_flood_has_few_lines_and_hides_nobody():
    now = 0.0
    log = RefusalLog(lambda: now)
    with capture_logs() as lines:
        for _ in range(10_000):
            log.write("flood", of="flood")
        log.write("another", of="another")

        assert MOST_LINES_OF_SENDER + 1 == len(lines)
        assert ("another", 10_000 - MOST_LINES_OF_SENDER) == (lines[-1]["of"], lines[-1]["unlogged"])
        for sender in range(10_000):
            log.write(str(sender))
        assert MOST_LINES == len(lines)

        now = PERIOD_S
        log.write("flood", of="later")
        assert "later" == lines[-1]["of"]


@pytest.mark.parametrize("has_begun", [False, True])
def test_an_error_that_nothing_foresaw_is_answered_in_the_form_of_the_api_and_logged(has_begun: bool):
    sent: list[Any] = []

    async def broken(_scope: Any, _receive: Any, send: Any) -> None:
        if has_begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "http", "path": "/api/companies", "method": "GET", "headers": [], "client": None}
    app = record_refusals(
        broken, cast("Any", None), CollectorRegistry(), {"paperclip": error_response, "jetty": error_response}
    )
    with capture_logs() as lines:
        if has_begun:  # the server closes the connection
            with pytest.raises(ZeroDivisionError):
                asyncio.run(cast("Any", app(scope, cast("Any", None), send)))
        else:
            asyncio.run(cast("Any", app(scope, cast("Any", None), send)))
            assert (500, b'{"error":"Internal server error"') == (sent[0]["status"], sent[1]["body"][:32])

    assert ["request_failed"] == [line["event"] for line in lines]
