"""Whoever sends nothing, too slowly or takes no answers is hung up on, and keeps nobody waiting."""

import time
from contextlib import closing, suppress

import pytest

from domain.bounds.limits import DEFAULT as LIMITS
from tests.waiting import wait_for
from tests.web.abuse.conftest import HastyConnection, HastyServer
from tests.web.raw_http import HOST, read_only_answer, read_until_closed, split_answers


def test_whoever_connects_and_says_nothing_is_hung_up_on(hasty_server: HastyServer):
    assert b"" == hasty_server.exchange()


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
def test_half_a_request_is_waited_for_only_so_long(hasty_server: HastyServer, half: bytes):
    assert (408, "The request did not arrive in time") == read_only_answer(hasty_server.exchange(half))


def test_a_byte_now_and_then_buys_no_time(hasty_server: HastyServer):
    with closing(hasty_server.connect()) as client:
        client.sendall(b"POST /api/companies HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
        client.settimeout(0.02)

        def ended() -> bytes:
            with suppress(TimeoutError):
                return client.recv(65_536)
            client.sendall(b" ")
            return b""

        assert wait_for(ended).startswith(b"HTTP/1.1 408 ")


def test_empty_lines_between_requests_buy_no_time(hasty_server: HastyServer):
    with closing(hasty_server.connect()) as client:
        client.sendall(b"GET /api/health HTTP/1.1\r\n" + HOST + b"\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"\r\n")

        assert b"200 OK" not in read_until_closed(client)


def test_half_requests_do_not_keep_others_waiting(hasty_server: HastyServer):
    held = []
    for number in range(200):
        held.append(hasty_server.connect())
        held[-1].sendall(b"POST /api/companies HTTP/1.1\r\nContent-Length: 9\r\n" + (b"\r\n{" if number % 2 else b""))

    assert 200 == hasty_server.read_health_status()
    assert {b"HTTP/1.1 408"} == {read_until_closed(client)[:12] for client in held}
    for client in held:
        client.close()


def test_whoever_does_not_take_the_answers_is_hung_up_on(hasty_server: HastyServer):
    wait_for(lambda: hasty_server.count_connections() == 0)
    with closing(hasty_server.connect(receive_buffer=4_096)) as client:
        client.sendall((b"GET /api/openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 100)
        wait_for(lambda: hasty_server.count_connections() == 1)

        assert 200 == hasty_server.read_health_status()
        wait_for(lambda: hasty_server.count_connections() == 0)


def test_a_large_body_has_time_in_proportion_to_its_size(hasty_server: HastyServer):
    """At far more than SLOWEST_BYTES_PER_S, and for twice as long as any request may take to arrive."""
    parts = [b" " * 16_384] * 16
    head = b"POST /api/companies HTTP/1.1\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n"
    with closing(hasty_server.connect()) as client:
        client.sendall(head % (hasty_server.authorized_headers(), 16 * 16_384 + 15))
        for part in parts:
            client.sendall(part)
            time.sleep(2 * HastyConnection.receive_s / len(parts))
        client.sendall(b'{"name":"Slow"}')

        assert [201] == [status for status, _, _ in split_answers(read_until_closed(client))]


def test_silence_after_a_refused_body_is_hung_up_on(hasty_server: HastyServer):
    head = b"POST /api/companies HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (HOST, LIMITS.max_large_body_bytes + 1)

    assert [413] == [
        status for status, _, _ in split_answers(hasty_server.exchange(head, b" " * (LIMITS.max_large_body_bytes + 1)))
    ]
