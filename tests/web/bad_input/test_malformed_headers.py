"""Headers that are malformed or too many, above all those that say who sends."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.api import Api
from tests.web.bad_input.requests_by_hand import ID, issue_paths
from web.http.guard import MAX_HEADER_BYTES, MAX_HEADERS


def get_raw(api: Api, path: str, headers: list[tuple[str, str | bytes]]) -> tuple[int, bytes]:
    """Without a client that knows better."""
    address = urlsplit(api.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    connection.putrequest("GET", f"/api{path}", skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_more_headers_than_anybody_needs_are_refused(api: Api):
    assert 200 == get_raw(api, "/health", [(f"X-{n}", "1") for n in range(MAX_HEADERS - 1)])[0]
    status, body = get_raw(api, "/health", [(f"X-{n}", "1") for n in range(MAX_HEADERS)])
    assert (431, "Too many or too large headers") == (status, json.loads(body)["error"])
    assert 431 == get_raw(api, "/health", [("X-A", "x" * MAX_HEADER_BYTES)])[0]


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b" ",
        b"Bearer",
        b"Bearer ",
        b"Bearer  ",
        b"Bearer a b",
        b"Bearer \xc3\xa9",
        b"Bearer \xff\xfe",
        b"Bearer pcp_",
    ],
    ids=repr,
)
def test_a_token_that_is_none_is_an_unknown_one(api: Api, token: bytes):
    assert 401 == get_raw(api, "/companies", [("Authorization", token)])[0]


def test_an_altered_or_overlong_token_is_an_unknown_one(api: Api):
    flipped = api.token[:-1] + ("0" if api.token[-1] != "0" else "1")
    altered = [
        flipped,
        api.token + "x",
        api.token.upper(),
        api.token * 2,
        "x" * 20_000,
        f'"{api.token}"',
        api.token[4:],
    ]

    answers = {get_raw(api, "/companies", [("Authorization", f"Bearer {token}")])[0] for token in altered}

    assert {401} == answers
    assert 200 == get_raw(api, "/companies", [("Authorization", f"Bearer {api.token}")])[0]


def test_two_authorization_headers_are_none(api: Api):
    good = ("Authorization", f"Bearer {api.token}")

    assert 401 == get_raw(api, "/companies", [good, good])[0]
    assert 401 == get_raw(api, "/companies", [good, ("authorization", "Bearer x")])[0]
    assert 401 == get_raw(api, "/companies", [("Authorization", f"Bearer {api.token}, Bearer {api.token}")])[0]


@pytest.mark.parametrize("session", ["nonsense", ID[:-1], f"{ID},{ID}", "\u00e9"])
def test_a_malformed_work_session_is_named(api: Api, session: str):
    answer = api.request("GET", "/companies", headers={"X-Paperclip-Run-Id": session.encode("latin-1")})

    assert 400 == answer.status_code
    assert [["X-Paperclip-Run-Id"]] == issue_paths(answer)


DAY = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize("value", ["schl\u00fcssel".encode(), b"schl\xfcssel"])
@pytest.mark.parametrize(
    ("header", "request_line", "content"),
    [
        ("Idempotency-Key", f"POST /routines/{ID}/run", {"json": {}}),
        ("Idempotency-Key", f"POST /routine-triggers/{ID}/backfills", {"json": DAY}),
        ("X-Paperclip-Run-Id", f"POST /issues/{ID}/release", {"json": {}}),
        ("X-Routines-Consistency", f"GET /routines/{ID}", {}),
        ("Last-Event-ID", f"GET /companies/{ID}/events", {}),
    ],
)
def test_a_header_that_is_kept_or_compared_is_ascii(
    api: Api, header: str, request_line: str, content: dict[str, Any], value: bytes
):
    method, path = request_line.split(" ")

    answer = api.request(method, path, headers={header: value}, **content)

    assert (400, [[header]]) == (answer.status_code, issue_paths(answer))
