"""Answers that need no body: what the client has already (304), and HEAD."""

import asyncio
import threading
from typing import Any
from uuid import uuid4

import pytest

from tests.api import Api
from web.http import etag
from web.http.etag import LIGHT_BYTES, add_conditional_reads, tag_of

PATHS = ("/companies/{}", "/companies/{}/agents", "/companies/{}/routines", "/companies/{}/issues", "/companies")


def if_none_match(tag: str) -> dict[str, str]:
    return {"If-None-Match": tag}


@pytest.mark.parametrize("path", PATHS)
def test_who_has_an_answer_already_is_told_so_without_a_body(api: Api, company: str, path: str):
    first = api.request("GET", path.format(company))
    again = api.request("GET", path.format(company), headers=if_none_match(first.headers["ETag"]))

    assert (200, 304) == (first.status_code, again.status_code)
    assert b"" == again.content
    assert first.headers["ETag"] == again.headers["ETag"]
    assert {"private, no-cache"} == {answer.headers["Cache-Control"] for answer in (first, again)}
    assert "content-type" not in again.headers


def test_the_tag_changes_with_the_answer(api: Api, company: str):
    path = f"/companies/{company}/agents"
    empty = api.request("GET", path)
    api.agent(company)

    answer = api.request("GET", path, headers=if_none_match(empty.headers["ETag"]))

    assert 200 == answer.status_code
    assert empty.headers["ETag"] != answer.headers["ETag"]
    assert ["Scout"] == [agent["name"] for agent in answer.json()]


def test_the_description_of_the_api_has_a_tag_too(api: Api):
    first = api.request("GET", "/openapi.json", token=None)

    assert (
        304 == api.request("GET", "/openapi.json", token=None, headers=if_none_match(first.headers["ETag"])).status_code
    )


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("*", 304),
        ("{}", 304),
        ("W/{}", 304),
        ('"a", {}', 304),
        ('"a,b",W/"c" , W/{} ,"d"', 304),
        ('"a"', 200),
        ('"*"', 200),
        ('"", *', 200),
        ("", 200),
        ('"', 200),
        ("nonsense", 200),
    ],
)
def test_the_client_may_name_many_tags_or_any(api: Api, company: str, given: str, status: int):
    tag = api.request("GET", f"/companies/{company}").headers["ETag"]

    assert status == api.request("GET", f"/companies/{company}", headers=if_none_match(given.format(tag))).status_code


def test_a_tag_without_its_quotes_is_none(api: Api, company: str):
    tag = api.request("GET", f"/companies/{company}").headers["ETag"]

    assert 200 == api.request("GET", f"/companies/{company}", headers=if_none_match(tag.strip('"'))).status_code


def test_who_may_not_see_an_answer_is_refused_whatever_they_have(api: Api, company: str):
    _, token = api.agent(company)
    tag = api.request("GET", f"/companies/{company}/agents").headers["ETag"]
    elsewhere = f"/companies/{api.company()}/agents"

    for headers in (if_none_match(tag), if_none_match("*")):
        assert 401 == api.request("GET", f"/companies/{company}/agents", token=None, headers=headers).status_code
        assert 403 == api.request("GET", elsewhere, token=token, headers=headers).status_code
        assert 404 == api.request("GET", f"/routines/{uuid4()}", headers=headers).status_code


def test_changes_errors_and_pages_have_no_tag(api: Api, company: str):
    routine = api.routine(company, None)
    answers = [
        api.request("POST", f"/companies/{company}/routines", {"title": "x"}, headers=if_none_match("*")),
        api.request("PATCH", f"/routines/{routine}", {"title": "y"}, headers=if_none_match("*")),
        api.request("GET", f"/routines/{uuid4()}"),
        api.request("GET", "/docs", headers=if_none_match("*")),
    ]

    assert [201, 200, 404, 200] == [answer.status_code for answer in answers]
    assert {None} == {answer.headers.get("ETag") for answer in answers}
    assert not [answer for answer in answers if "private" in answer.headers.get("Cache-Control", "")]


def test_a_page_that_is_known_still_leads_to_the_next_one(api: Api, company: str):
    for title in "ab":
        api.routine(company, None, title=title)
    path = f"/companies/{company}/routines?limit=1"
    first = api.request("GET", path)

    again = api.request("GET", path, headers=if_none_match(first.headers["ETag"]))

    assert 304 == again.status_code
    for name in ("X-Next-Cursor", "Link"):
        assert first.headers[name] == again.headers[name]


def test_head_is_get_without_the_body(api: Api, company: str):
    for path in ("/health", "/docs", *(path.format(company) for path in PATHS)):
        assert (200, b"") == ((answer := api.request("HEAD", path)).status_code, answer.content), path
    full, bare = (api.request(method, f"/companies/{company}") for method in ("GET", "HEAD"))
    for name in ("ETag", "Content-Type", "Content-Length", "Cache-Control"):
        assert full.headers[name] == bare.headers[name]
    assert 304 == api.request("HEAD", f"/companies/{company}", headers=if_none_match(full.headers["ETag"])).status_code


def test_head_of_what_nobody_can_get_is_404(api: Api, company: str):
    for path in ("/nothing", f"/routines/{uuid4()}", f"/routines/{uuid4()}/run"):
        assert (404, b"") == ((answer := api.request("HEAD", path)).status_code, answer.content), path
    assert 401 == api.request("HEAD", f"/companies/{company}", token=None).status_code


def messages_sent(messages: list[dict[str, Any]], method: str = "GET", headers: Any = ()) -> list[Any]:
    """What a client is sent of an application that sends these messages."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "GET" == scope["method"]
        for message in messages:
            await send(message)

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    asyncio.run(add_conditional_reads(app)({"type": "http", "method": method, "headers": list(headers)}, receive, send))  # type: ignore[arg-type]
    return sent


def response_start(status: int = 200, **headers: str) -> dict[str, Any]:
    pairs = {"content_type": "application/json", "content_length": "2", **headers}
    raw_headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in pairs.items()]
    return {"type": "http.response.start", "status": status, "headers": raw_headers}


def body(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


def test_an_answer_in_parts_is_passed_on_part_by_part():
    parts = [response_start(), body(b"[", more=True), body(b"1", more=True), body(b"]")]

    assert parts == messages_sent(parts, headers=[(b"if-none-match", b"*")])
    assert [parts[0], body(b"", more=True), body(b"", more=True), body(b"")] == messages_sent(parts, "HEAD")


def test_a_304_keeps_all_headers_but_those_of_the_body():
    first, empty = messages_sent(
        [response_start(x_routines_position="7"), body(b"{}")], headers=[(b"if-none-match", b"*")]
    )

    headers = dict(first["headers"])
    assert (304, body(b"")) == (first["status"], empty)
    assert {b"x-routines-position", b"etag", b"cache-control"} == headers.keys()


@pytest.mark.parametrize(
    ("status", "kind", "tagged"),
    [
        (200, "application/json; charset=utf-8", True),
        (200, "application/vnd.oai.openapi+json", True),
        (200, "application/x-ndjson", False),
        (200, "text/html", False),
        (202, "application/json", False),
        (503, "application/json", False),
    ],
)
def test_only_json_that_was_found_gets_a_tag(status: int, kind: str, tagged: bool):
    first, _ = messages_sent([response_start(status, content_type=kind), body(b"{}")])

    assert tagged == (b"etag" in dict(first["headers"]))


def test_the_tag_of_a_large_answer_is_made_in_a_thread_while_the_event_loop_goes_on(monkeypatch: pytest.MonkeyPatch):
    makers: list[tuple[int, bool]] = []

    def noted(content: bytes) -> bytes:
        makers.append((len(content), threading.current_thread() is threading.main_thread()))
        return tag_of(content)

    monkeypatch.setattr(etag, "tag_of", noted)
    for size in (LIGHT_BYTES, LIGHT_BYTES + 1):
        first, _ = messages_sent([response_start(), body(b"1" * size)])
        assert tag_of(b"1" * size) == dict(first["headers"])[b"etag"]

    assert [(LIGHT_BYTES, True), (LIGHT_BYTES + 1, False)] == makers
