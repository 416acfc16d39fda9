"""Heads and bodies that never end or are too large are refused, and not kept."""

from contextlib import closing, suppress

import pytest

from domain.bounds.limits import DEFAULT as LIMITS
from tests.waiting import wait_for
from tests.web.abuse.conftest import HastyServer
from tests.web.raw_http import HOST, read_only_answer, read_until_closed, split_answers
from web.http.protocol import MAX_HEAD_BYTES


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES + 1, 5_000_000])
@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX-A: ", b"GET / HTTP/1.1\r\n"])
def test_a_head_without_an_end_is_not_kept(hasty_server: HastyServer, start: bytes, size: int):
    filling = b"X-B: y\r\n" * (size // 8 + 1) if start.endswith(b"\n") else b"x" * size
    with closing(hasty_server.connect()) as client, suppress(ConnectionError):
        client.sendall(start + filling)
        said = read_until_closed(client)
        assert not said or (431, "Too many or too large headers") == read_only_answer(said)
    wait_for(lambda: hasty_server.count_connections() == 0)


@pytest.mark.parametrize("field", [b"X-A: " + b"x" * 9_000_000, b"X-A: y\r\n" * 1_000_000])
def test_what_follows_a_body_without_an_end_is_not_kept(hasty_server: HastyServer, field: bytes):
    with closing(hasty_server.connect()) as client, suppress(ConnectionError):
        client.sendall(b"POST /api/companies HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + field)
        said = read_until_closed(client)
        assert not said or (431, "Too many or too large headers") == read_only_answer(said)
    wait_for(lambda: hasty_server.count_connections() == 0)


def test_a_body_in_crumbs_is_not_taken(hasty_server: HastyServer):
    with closing(hasty_server.connect()) as client, suppress(ConnectionError):
        client.sendall(
            b"POST /api/companies HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 1_000_000
        )
        said = read_until_closed(client)
        assert not said or (431, "Too many or too large headers") == read_only_answer(said)


def test_fields_after_the_body_are_no_headers(hasty_server: HastyServer):
    body = b'{"name":"Trailing"}'
    request = b"POST /api/companies HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (
        HOST,
        len(body),
        body,
    )
    last = b"GET /api/health HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"

    said = hasty_server.exchange(request, hasty_server.authorized_headers(), b"\r\n", last)

    assert [401, 200] == [status for status, _, _ in split_answers(said)]


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_comes(hasty_server: HastyServer):
    head = b"POST /api/companies HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (HOST, LIMITS.max_body_bytes + 1)

    assert (413, f"The body must have at most {LIMITS.max_body_bytes} bytes") == read_only_answer(
        hasty_server.exchange(head)
    )


def test_a_body_that_goes_on_after_its_refusal_is_not_taken_for_ever(hasty_server: HastyServer):
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
    wait_for(lambda: hasty_server.count_connections() == 0)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_who_writes_all_of_a_refused_body_before_it_reads_sees_why(hasty_server: HastyServer, version: bytes):
    """Even on a connection that ends with the answer: what comes after it is dropped, not answered with a reset."""
    too_large = b" " * (3 * LIMITS.max_large_body_bytes)
    head = b"POST /api/companies HTTP/%s\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n"
    garbage = b"GET / HTTP/%s\r\nX-A: %s\r\n\r\n" % (version, b"x" * 1_000_000)

    refused, malformed = (
        hasty_server.exchange(head % (version, hasty_server.authorized_headers(), len(too_large)), too_large),
        hasty_server.exchange(garbage),
    )

    assert [413] == [status for status, _, _ in split_answers(refused)]
    assert [431] == [status for status, _, _ in split_answers(malformed)]
    wait_for(lambda: hasty_server.count_connections() == 0)


def test_the_connection_serves_on_after_a_refused_body(hasty_server: HastyServer):
    head = b"POST /api/companies HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (HOST, LIMITS.max_large_body_bytes + 1)
    health = b"GET /api/health HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"

    said = hasty_server.exchange(head, b" " * (LIMITS.max_large_body_bytes + 1), health)

    assert [413, 200] == [status for status, _, _ in split_answers(said)]
