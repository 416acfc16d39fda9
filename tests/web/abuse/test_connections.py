"""Whatever comes over a connection, and however it ends, it is answered in order and nothing of it stays."""

import gc
import json
import socket
import struct
import weakref
from contextlib import closing

import pytest

from tests.waiting import wait_for
from tests.web.abuse.conftest import HastyServer
from tests.web.raw_http import HOST, read_until_closed, split_answers
from web.events import live
from web.http.protocol import CONTINUE, Connection


def test_who_only_stops_sending_gets_the_answer(hasty_server: HastyServer):
    body = b'{"name":"Half"}'
    request = b"POST /api/companies HTTP/1.%d\r\n%sContent-Length: %d\r\n\r\n%s"
    for minor in (0, 1):
        with closing(hasty_server.connect()) as client:
            client.sendall(request % (minor, hasty_server.authorized_headers(), len(body), body))
            client.shutdown(socket.SHUT_WR)

            statuses = split_answers(read_until_closed(client).removeprefix(CONTINUE))

        assert [(201, "Half")] == [(status, json.loads(text)["name"]) for status, _, text in statuses]
    wait_for(lambda: hasty_server.count_connections() == 0)


@pytest.mark.parametrize("more", [b"GET /api/health HTTP/1.1\r\n" + HOST + b"\r\n", b"garbage\r\n\r\n"])
def test_a_live_feed_ends_without_an_error_when_its_client_leaves_whatever_it_has_sent_meanwhile(
    hasty_server: HastyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, more: bytes
):
    """While a further request waits nothing is read, so only what is sent shows that nobody is there."""
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    feed = b"GET /api/events HTTP/1.1\r\nAccept: text/event-stream\r\n%s\r\n" % hasty_server.authorized_headers()
    with closing(hasty_server.connect()) as client:
        client.sendall(feed)
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        client.sendall(more)

    wait_for(lambda: not any(tail._readers for tail in live._TAILS))
    wait_for(lambda: not hasty_server.server.server_state.tasks)
    assert "Exception in ASGI application" not in caplog.text


def test_requests_that_come_at_once_are_answered_in_their_order(hasty_server: HastyServer):
    requests = [b"GET /api/health HTTP/1.1\r\n", b"GET /api/nothing HTTP/1.1\r\n", b"GET /api/companies HTTP/1.1\r\n"]
    last = b"GET /api/health HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"

    said = hasty_server.exchange(b"".join(request + HOST + b"\r\n" for request in requests) + last)

    assert [200, 404, 401, 200] == [status for status, _, _ in split_answers(said)]


@pytest.mark.parametrize("cut", [0, 1, 60, 200])
def test_a_wish_for_another_protocol_is_ignored_and_the_body_is_read(hasty_server: HastyServer, cut: int):
    """As the HTTP client of Java sends every first request (RFC 9110, 7.8)."""
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    body = b'{"name":"Wishful"}'
    request = b"POST /api/companies HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s" % (
        hasty_server.authorized_headers(),
        wish,
        len(body),
        body,
    )
    last = b"GET /api/health HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"

    said = hasty_server.exchange(request[:cut], request[cut:], last)

    assert [201, 200] == [status for status, _, _ in split_answers(said)]
    assert "Wishful" == json.loads(split_answers(said)[0][2])["name"]


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
def test_what_is_not_http_is_refused_in_json(hasty_server: HastyServer, request_: bytes):
    ((status, headers, body),) = split_answers(hasty_server.exchange(request_))

    assert (400, "application/json") == (status, headers["content-type"])
    assert "Invalid HTTP request" == json.loads(body)["error"]
    assert ("close", "nosniff", "no-store") == tuple(
        headers[name] for name in ("connection", "x-content-type-options", "cache-control")
    )


def test_nothing_is_kept_of_a_connection_that_is_reset_after_its_answer(
    hasty_server: HastyServer, monkeypatch: pytest.MonkeyPatch
):
    lost: list[weakref.ref[Connection]] = []
    connection_lost = Connection.connection_lost

    def note_loss(connection: Connection, error: Exception | None) -> None:
        lost.append(weakref.ref(connection))
        connection_lost(connection, error)

    wait_for(lambda: hasty_server.count_connections() == 0)  # those of earlier tests are not meant
    monkeypatch.setattr(Connection, "connection_lost", note_loss)
    gc.freeze()  # to look for cycles again and again takes no longer than the few new objects
    with hasty_server.connect() as client:
        client.sendall(b"GET /api/health HTTP/1.1\r\n" + HOST + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    wait_for(lambda: lost)
    wait_for(lambda: gc.collect() >= 0 and lost[0]() is None)
