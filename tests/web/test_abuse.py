"""
Clients that mean no good: what never ends, what is too much, what is malformed, and what every answer says besides.

Limits of single fields by type are tests/web/test_bad_input.py's; here each operation of the served description is
tried at its limits and past them. Whatever is sent, nothing answers 5xx (contract 1).
"""

import gc
import json
import socket
import struct
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, suppress
from threading import Thread
from typing import Any

import httpx
import pytest

from domain.bounds.limits import DEFAULT as LIMITS
from routines.web_server import server
from tests.api import Api
from tests.waiting import wait_for
from web.app import create_app
from web.events import live
from web.http.backend import Backend
from web.http.json_body import MAX_DEPTH, MAX_VALUES
from web.http.protocol import CONTINUE, MAX_HEAD_BYTES, Connection

ID = "11111111-1111-4111-8111-111111111111"
JSON = {"Content-Type": "application/json"}
HOST = b"Host: routines.example\r\n"
FIRE = "fireWebhook"


@pytest.fixture(scope="module")
def served(api: Api) -> Any:
    return api.get("/openapi.json")


@pytest.fixture(scope="module")
def taking_bodies(served: Any) -> list[tuple[str, str]]:
    """Method and path of every operation that takes a JSON body; what webhook senders send is not ours to shape."""
    return [
        (method.upper(), path.removeprefix("/api").replace("{", "").replace("}", ""))
        for path, operations in served["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation and operation["operationId"] != FIRE
    ]


def of_nobody(path: str) -> str:
    """The path with ids of things that are not there."""
    return "/".join(ID if part.endswith("_id") else part for part in path.split("/"))


class Hasty(Connection):
    """With little patience, so that tests need none."""

    receive_s = 0.4


class Served:
    """The application in a server of the product's own make."""

    def __init__(self, api: Api) -> None:
        backend = Backend(api.system.executor, api.system.pool, api.system.settings.patience_s)
        app = create_app(backend, "https://routines.example")
        self.token = api.token
        self.server = server(app, api.system.settings, "127.0.0.1", 0, Hasty)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()
        wait_for(lambda: self.server.started)

    def connect(self, *, receive_buffer: int = 0) -> socket.socket:
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(20)
        client.connect(("127.0.0.1", self.port))
        return client

    def said(self, *parts: bytes) -> bytes:
        """All that a connection says after these bytes, until it is closed."""
        with closing(self.connect()) as client:
            for part in parts:
                client.sendall(part)
            return all_of(client)

    def authorized(self) -> bytes:
        return HOST + f"Authorization: Bearer {self.token}\r\nContent-Type: application/json\r\n".encode()

    def health(self) -> int:
        return httpx.get(f"http://127.0.0.1:{self.port}/api/health", timeout=20, trust_env=False).status_code

    def open_connections(self) -> int:
        return len(self.server.server_state.connections)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()


@pytest.fixture(scope="module")
def hasty_server(api: Api) -> Iterator[Served]:
    running = Served(api)
    yield running
    running.stop()


def all_of(client: socket.socket) -> bytes:
    """Until the other end closes; a reset is an end, too."""
    said = b""
    with suppress(ConnectionResetError):
        while part := client.recv(65_536):
            said += part
    return said


def answers(said: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of each answer of a connection; all of ours announce their length."""
    statuses = []
    while said:
        head, _, said = said.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(one.lower().split(": ", 1) for one in lines)
        length = int(headers.get("content-length", 0))
        statuses.append((int(line.split()[1]), headers, said[:length]))
        said = said[length:]
    return statuses


def only_answer(said: bytes) -> tuple[int, Any]:
    ((status, _, body),) = answers(said)
    return status, json.loads(body)["error"]


def test_whoever_connects_and_says_nothing_is_hung_up_on(hasty_server: Served):
    assert b"" == hasty_server.said()


@pytest.mark.parametrize(
    "half",
    [
        b"G",
        b"GET /api/health HTTP/1.1\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-A: ",
        b"POST /api/companies HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n",
        b'POST /api/companies HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"name":',
        b'POST /api/companies HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"name":\r\n',
    ],
)
def test_half_a_request_is_waited_for_only_so_long(hasty_server: Served, half: bytes):
    assert (408, "The request did not arrive in time") == only_answer(hasty_server.said(half))


def test_a_byte_now_and_then_buys_no_time(hasty_server: Served):
    with closing(hasty_server.connect()) as client:
        client.sendall(b"POST /api/companies HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
        client.settimeout(0.02)

        def ended() -> bytes:
            with suppress(TimeoutError):
                return client.recv(65_536)
            client.sendall(b" ")
            return b""

        assert wait_for(ended).startswith(b"HTTP/1.1 408 ")


def test_empty_lines_between_requests_buy_no_time(hasty_server: Served):
    with closing(hasty_server.connect()) as client:
        client.sendall(b"GET /api/health HTTP/1.1\r\n" + HOST + b"\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"\r\n")

        assert b"200 OK" not in all_of(client)


def test_half_requests_do_not_keep_others_waiting(hasty_server: Served):
    held = []
    for number in range(200):
        held.append(hasty_server.connect())
        held[-1].sendall(b"POST /api/companies HTTP/1.1\r\nContent-Length: 9\r\n" + (b"\r\n{" if number % 2 else b""))

    assert 200 == hasty_server.health()
    assert {b"HTTP/1.1 408"} == {all_of(client)[:12] for client in held}
    for client in held:
        client.close()


def test_whoever_does_not_take_the_answers_is_hung_up_on(hasty_server: Served):
    wait_for(lambda: hasty_server.open_connections() == 0)
    with closing(hasty_server.connect(receive_buffer=4_096)) as client:
        client.sendall((b"GET /api/openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 100)
        wait_for(lambda: hasty_server.open_connections() == 1)

        assert 200 == hasty_server.health()
        wait_for(lambda: hasty_server.open_connections() == 0)


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES + 1, 5_000_000])
@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX-A: ", b"GET / HTTP/1.1\r\n"])
def test_a_head_without_an_end_is_not_kept(hasty_server: Served, start: bytes, size: int):
    filling = b"X-B: y\r\n" * (size // 8 + 1) if start.endswith(b"\n") else b"x" * size
    with closing(hasty_server.connect()) as client, suppress(ConnectionError):
        client.sendall(start + filling)
        said = all_of(client)
        assert not said or (431, "Too many or too large headers") == only_answer(said)
    wait_for(lambda: hasty_server.open_connections() == 0)


@pytest.mark.parametrize("field", [b"X-A: " + b"x" * 9_000_000, b"X-A: y\r\n" * 1_000_000])
def test_what_follows_a_body_without_an_end_is_not_kept(hasty_server: Served, field: bytes):
    with closing(hasty_server.connect()) as client, suppress(ConnectionError):
        client.sendall(b"POST /api/companies HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + field)
        said = all_of(client)
        assert not said or (431, "Too many or too large headers") == only_answer(said)
    wait_for(lambda: hasty_server.open_connections() == 0)


def test_a_body_in_crumbs_is_not_taken(hasty_server: Served):
    with closing(hasty_server.connect()) as client, suppress(ConnectionError):
        client.sendall(
            b"POST /api/companies HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 1_000_000
        )
        said = all_of(client)
        assert not said or (431, "Too many or too large headers") == only_answer(said)


def test_fields_after_the_body_are_no_headers(hasty_server: Served):
    body = b'{"name":"Trailing"}'
    request = b"POST /api/companies HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (
        HOST,
        len(body),
        body,
    )
    last = b"GET /api/health HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"

    said = hasty_server.said(request, hasty_server.authorized(), b"\r\n", last)

    assert [401, 200] == [status for status, _, _ in answers(said)]


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_comes(hasty_server: Served):
    head = b"POST /api/companies HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (HOST, LIMITS.max_body_bytes + 1)

    assert (413, f"The body must have at most {LIMITS.max_body_bytes} bytes") == only_answer(hasty_server.said(head))


def test_a_body_that_goes_on_after_its_refusal_is_not_taken_for_ever(hasty_server: Served):
    chunk = b"%x\r\n%s\r\n" % (500_000, b" " * 500_000)
    with closing(hasty_server.connect()) as client:
        client.sendall(b"POST /api/companies HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")

        def ended() -> bool:
            try:
                client.sendall(chunk)
            except ConnectionError:
                return True
            return False

        wait_for(ended)
    wait_for(lambda: hasty_server.open_connections() == 0)


def test_who_only_stops_sending_gets_the_answer(hasty_server: Served):
    body = b'{"name":"Half"}'
    request = b"POST /api/companies HTTP/1.%d\r\n%sContent-Length: %d\r\n\r\n%s"
    for minor in (0, 1):
        with closing(hasty_server.connect()) as client:
            client.sendall(request % (minor, hasty_server.authorized(), len(body), body))
            client.shutdown(socket.SHUT_WR)

            statuses = answers(all_of(client).removeprefix(CONTINUE))

        assert [(201, "Half")] == [(status, json.loads(text)["name"]) for status, _, text in statuses]
    wait_for(lambda: hasty_server.open_connections() == 0)


@pytest.mark.parametrize("more", [b"GET /api/health HTTP/1.1\r\n" + HOST + b"\r\n", b"garbage\r\n\r\n"])
def test_a_live_feed_ends_without_an_error_when_its_client_leaves_whatever_it_has_sent_meanwhile(
    hasty_server: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, more: bytes
):
    """While a further request waits nothing is read, so only what is sent shows that nobody is there."""
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    feed = b"GET /api/events HTTP/1.1\r\nAccept: text/event-stream\r\n%s\r\n" % hasty_server.authorized()
    with closing(hasty_server.connect()) as client:
        client.sendall(feed)
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        client.sendall(more)

    wait_for(lambda: not any(tail._readers for tail in live._TAILS))
    wait_for(lambda: not hasty_server.server.server_state.tasks)
    assert "Exception in ASGI application" not in caplog.text


def test_a_large_body_has_time_in_proportion_to_its_size(hasty_server: Served):
    """At far more than SLOWEST_BYTES_PER_S, and for twice as long as any request may take to arrive."""
    parts = [b" " * 16_384] * 16
    head = b"POST /api/companies HTTP/1.1\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n"
    with closing(hasty_server.connect()) as client:
        client.sendall(head % (hasty_server.authorized(), 16 * 16_384 + 15))
        for part in parts:
            client.sendall(part)
            time.sleep(2 * Hasty.receive_s / len(parts))
        client.sendall(b'{"name":"Slow"}')

        assert [201] == [status for status, _, _ in answers(all_of(client))]


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_who_writes_all_of_a_refused_body_before_it_reads_sees_why(hasty_server: Served, version: bytes):
    """Even on a connection that ends with the answer: what comes after it is dropped, not answered with a reset."""
    too_large = b" " * (3 * LIMITS.max_large_body_bytes)
    head = b"POST /api/companies HTTP/%s\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n"
    garbage = b"GET / HTTP/%s\r\nX-A: %s\r\n\r\n" % (version, b"x" * 1_000_000)

    refused, malformed = (
        hasty_server.said(head % (version, hasty_server.authorized(), len(too_large)), too_large),
        hasty_server.said(garbage),
    )

    assert [413] == [status for status, _, _ in answers(refused)]
    assert [431] == [status for status, _, _ in answers(malformed)]
    wait_for(lambda: hasty_server.open_connections() == 0)


def test_the_connection_serves_on_after_a_refused_body(hasty_server: Served):
    head = b"POST /api/companies HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (HOST, LIMITS.max_large_body_bytes + 1)
    health = b"GET /api/health HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"

    said = hasty_server.said(head, b" " * (LIMITS.max_large_body_bytes + 1), health)

    assert [413, 200] == [status for status, _, _ in answers(said)]


def test_silence_after_a_refused_body_is_hung_up_on(hasty_server: Served):
    head = b"POST /api/companies HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (HOST, LIMITS.max_large_body_bytes + 1)

    assert [413] == [
        status for status, _, _ in answers(hasty_server.said(head, b" " * (LIMITS.max_large_body_bytes + 1)))
    ]


def test_requests_that_come_at_once_are_answered_in_their_order(hasty_server: Served):
    requests = [b"GET /api/health HTTP/1.1\r\n", b"GET /api/nothing HTTP/1.1\r\n", b"GET /api/companies HTTP/1.1\r\n"]
    last = b"GET /api/health HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"

    said = hasty_server.said(b"".join(request + HOST + b"\r\n" for request in requests) + last)

    assert [200, 404, 401, 200] == [status for status, _, _ in answers(said)]


@pytest.mark.parametrize("cut", [0, 1, 60, 200])
def test_a_wish_for_another_protocol_is_ignored_and_the_body_is_read(hasty_server: Served, cut: int):
    """As the HTTP client of Java sends every first request (RFC 9110, 7.8)."""
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    body = b'{"name":"Wishful"}'
    request = b"POST /api/companies HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s" % (
        hasty_server.authorized(),
        wish,
        len(body),
        body,
    )
    last = b"GET /api/health HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"

    said = hasty_server.said(request[:cut], request[cut:], last)

    assert [201, 200] == [status for status, _, _ in answers(said)]
    assert "Wishful" == json.loads(answers(said)[0][2])["name"]


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET /api/\xff HTTP/1.1\r\n\r\n",
        b"CONNECT routines.example:80 HTTP/1.1\r\n\r\n",
        b"CONNECT /api/health HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nX-A: a\r\n folded\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nX-A : a\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nX-A: \x00\r\n\r\n",
        b"POST /api/companies HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/companies HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /api/companies HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/companies HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
        b"POST /api/companies HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_in_json(hasty_server: Served, request_: bytes):
    ((status, headers, body),) = answers(hasty_server.said(request_))

    assert (400, "application/json") == (status, headers["content-type"])
    assert "Invalid HTTP request" == json.loads(body)["error"]
    assert ("close", "nosniff", "no-store") == tuple(
        headers[name] for name in ("connection", "x-content-type-options", "cache-control")
    )


BODIES = {
    "too deep": (
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
        f"The body is nested deeper than {MAX_DEPTH} levels",
    ),
    "arrays without end": (b"[" * 100_000, "Invalid JSON body"),
    "too many values": (b"[" + b"0," * MAX_VALUES + b"0]", f"The body must have at most {MAX_VALUES} values"),
    "too many objects": (b"[" + b"{}," * MAX_VALUES + b"0]", f"The body must have at most {MAX_VALUES} values"),
    "nul": (b'{"a":"\\u0000"}', "The character U+0000 is not allowed (in a)"),
    "surrogate in UTF-8": (b'{"a":"\xed\xa0\x80"}', "Invalid JSON body"),
    "not UTF-8": (b'{"a":"\xff"}', "Invalid JSON body"),
    "a number of a million digits": (b'{"a":' + b"9" * 1_000_000 + b"}", "Invalid JSON body"),
    "no number": (b'{"a":NaN}', "Invalid JSON body"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_no_operation_takes_a_body_that_is_too_much_or_malformed(
    api: Api, taking_bodies: list[tuple[str, str]], kind: str
):
    body, error = BODIES[kind]
    for method, path in taking_bodies:
        answer = api.request(method, of_nobody(path), content=body, headers=JSON)

        assert (400, error) == (answer.status_code, answer.json()["error"]), (method, path)


def test_many_values_within_texts_are_none(api: Api):
    company = api.company()

    issue = api.post(f"/companies/{company}/issues", {"title": ",{" * 99, "description": ',["\\' * 25_000})

    assert ',["\\' * 25_000 == issue["description"]


@pytest.mark.parametrize("announced", [True, False])
def test_no_operation_takes_a_body_of_more_than_ten_megabytes(
    api: Api, taking_bodies: list[tuple[str, str]], announced: bool
):
    body = b'{"a":"' + b"x" * LIMITS.max_large_body_bytes + b'"}'
    for method, path in taking_bodies:
        content = body if announced else (body[at : at + 2_000_000] for at in range(0, len(body), 2_000_000))
        answer = api.request(method, of_nobody(path), content=content, headers=JSON)

        assert (413, "no-store") == (answer.status_code, answer.headers["cache-control"]), (method, path)


def limits(served: Any, schema: Any) -> Iterator[tuple[list[Any], dict[str, Any], list[dict[str, str]]]]:
    """Where in a body something is limited, how, and what else each object on the way there must hold."""
    while "$ref" in schema:
        schema = served["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    for member in schema.get("anyOf", []) + schema.get("oneOf", []):
        yield from limits(served, member)
    bounds = {name: schema[name] for name in ("maxLength", "maxItems", "minimum", "maximum") if name in schema}
    if bounds:
        yield [], bounds | {"pattern": schema.get("pattern")}, []
    kinds = schema.get("properties", {}).get("kind", {}).get("enum", [])
    tag = {"kind": kinds[0]} if len(kinds) == 1 else {}
    for name, inner in schema.get("properties", {}).items():
        for path, schema_limits, tags in limits(served, inner):
            yield [name, *path], schema_limits, [tag, *tags]
    if "items" in schema:
        for path, schema_limits, tags in limits(served, schema["items"]):
            yield [0, *path], schema_limits, [{}, *tags]


def at(path: list[Any], value: object, tags: list[dict[str, str]]) -> Any:
    for step, tag in zip(reversed(path), reversed(tags), strict=True):
        value = [value] if step == 0 else {**tag, step: value}
    return value


def edges(bounds: dict[str, Any]) -> Iterator[tuple[object, str | None]]:
    """Values at the limits and just past them, and what is then found: too_big, too_small or nothing."""
    if most := bounds.get("maxLength"):
        fill = {r"^[^@\s]+@[^@\s]+$": "a@b"}.get(bounds["pattern"] or "", "")
        yield fill + "x" * (most - len(fill)), None
        yield fill + "x" * (most - len(fill) + 1), "too_big"
        yield fill + "\U0001f600" * (most - len(fill)), None
    if most := bounds.get("maxItems"):
        yield [None] * most, None
        yield [None] * (most + 1), "too_big"
    if (most := bounds.get("maximum")) is not None:
        yield most, None
        yield most + 1, "too_big"
        yield 10**400, "too_big"
    if (least := bounds.get("minimum")) is not None:
        yield least, None
        yield least - 1, "too_small"
        yield -(10**400), "too_small"


def test_every_described_limit_holds_at_its_edge_and_not_one_further(api: Api, served: Any):
    tried = 0
    for path, operations in served["paths"].items():
        for method, operation in operations.items():
            if operation["operationId"] == FIRE or "requestBody" not in operation:
                continue
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            for where, bounds, tags in limits(served, schema):
                for value, expected in edges(bounds):
                    target = of_nobody(path.removeprefix("/api").replace("{", "").replace("}", ""))
                    answer = api.request(method.upper(), target, at(where, value, tags))
                    issues = answer.json().get("details") or [] if answer.status_code == 400 else []
                    sized = [one["code"] for one in issues if one["path"] == where and one["code"].startswith("too_")]

                    assert answer.status_code < 500, (operation["operationId"], where)
                    assert ([expected] if expected else []) == sized, (operation["operationId"], where, str(value)[:80])
                    tried += 1
    assert tried > 200


def of_query(operation: Any) -> list[Any]:
    return [one for one in operation.get("parameters", []) if one["in"] == "query"]


def test_two_authorization_headers_are_none_at_any_operation(api: Api, served: Any):
    both = [("Authorization", f"Bearer {api.token}"), ("Authorization", "Bearer x")]
    with httpx.Client(base_url=api.url, headers=both, timeout=20, trust_env=False) as client:
        for path, operations in served["paths"].items():
            for method, operation in operations.items():
                if operation["operationId"] not in (FIRE, "getHealth"):
                    status = client.request(method, of_nobody(path.replace("{", "").replace("}", ""))).status_code

                    needs = "requestBody" in operation or any(one["required"] for one in of_query(operation))
                    assert status == 401 or (status == 400 and needs), (method, path)


def test_every_answer_is_what_it_says_and_is_not_stored_for_others(api: Api, hasty_server: Served, served: Any):
    """Errors, what no route answers, and every operation of the description with and without a token."""
    api = Api(url=f"http://127.0.0.1:{hasty_server.port}", token=api.token, system=api.system)
    seen = [
        api.request("GET", "/nothing"),
        api.request("OPTIONS", "/companies"),
        api.request("HEAD", "/health"),
        api.request("GET", "/docs", token=None),
        api.request("GET", "/health", headers={"X-A": "x" * 40_000}),
        api.request("GET", "/companies?x=%00"),
        api.request("POST", "/companies", content=b"{", headers=JSON),
        api.request("POST", "/companies", content=b"{}", headers={"Content-Type": "text/plain"}),
    ]
    for path, operations in served["paths"].items():
        for method in operations:
            target = of_nobody(path.removeprefix("/api").replace("{", "").replace("}", ""))
            seen += [api.request(method.upper(), target, token=token) for token in ("", None)]
    api.close()

    for answer in seen:
        what = (answer.request.method, str(answer.request.url), answer.status_code)
        assert "nosniff" == answer.headers["x-content-type-options"], what
        assert answer.headers["cache-control"] in ("no-store", "private, no-cache"), what
        assert answer.status_code == 200 or answer.headers["cache-control"] == "no-store", what
        assert "server" not in answer.headers, what
        if answer.content:
            assert answer.headers["content-type"].split(";")[0] in (
                "application/json",
                "application/vnd.oai.openapi+json",
                "text/html",
            ), what


def test_answers_that_show_a_secret_are_stored_by_nobody(api: Api):
    company = api.company()
    agent, _ = api.agent(company)
    routine = api.routine(company, agent)
    answer_body = api.request("POST", f"/routines/{routine}/triggers", {"kind": "webhook"})
    trigger = answer_body.json()["trigger"]["id"]
    showing = [
        answer_body,
        api.request("POST", f"/routine-triggers/{trigger}/rotate-secret", {}),
        api.request("PATCH", f"/routine-triggers/{trigger}", {"signingMode": "hmac_sha256"}),
        api.request("POST", "/board-api-keys", {}),
        api.request("POST", f"/agents/{agent}/keys", {}),
        api.request("POST", f"/companies/{company}/members", {"name": "Robin"}),
    ]

    assert ["no-store"] * 6 == [answer.headers["cache-control"] for answer in showing]
    assert all(answer.is_success and ("token" in answer.text or "webhookSecret" in answer.text) for answer in showing)


def test_nothing_is_kept_of_a_connection_that_is_reset_after_its_answer(
    hasty_server: Served, monkeypatch: pytest.MonkeyPatch
):
    lost: list[weakref.ref[Connection]] = []
    connection_lost = Connection.connection_lost

    def noted(connection: Connection, error: Exception | None) -> None:
        lost.append(weakref.ref(connection))
        connection_lost(connection, error)

    monkeypatch.setattr(Connection, "connection_lost", noted)
    gc.collect()
    gc.freeze()  # to look for cycles again and again takes no longer than the few new objects
    with hasty_server.connect() as client:
        client.sendall(b"GET /api/health HTTP/1.1\r\n" + HOST + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    wait_for(lambda: lost)
    wait_for(lambda: gc.collect() >= 0 and lost[0]() is None)
