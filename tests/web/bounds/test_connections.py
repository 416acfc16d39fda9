"""Connections are bounded, in all and for each peer; what comes over one costs no more to read than to send."""

import urllib.parse
from contextlib import ExitStack, suppress

import pytest
from litestar.types import ASGIApp

from tests.api import Api
from tests.web.bounds.connections import TRUSTING, connected_client, limits_with
from tests.web.hooks import sending_from
from tests.web.raw_http import read_only_answer, read_until_closed
from tests.web.served import serve_app


def test_of_too_many_connections_of_a_peer_the_oldest_silent_ones_make_way(api: Api, unserved_app: ASGIApp):
    with serve_app(api, unserved_app, limits=limits_with(max_connections_per_peer=8)) as here, ExitStack() as stack:
        silent = [stack.enter_context(connected_client(here, address="127.0.0.10")) for _ in range(12)]
        with sending_from("127.0.0.10") as same, sending_from("127.0.0.11") as other:
            statuses = [one.get(f"{here.url}/api/health").status_code for one in (same, other, same)]

        assert [200] * 3 == statuses
        assert [b""] * 5 == [read_until_closed(client) for client in silent[:5]]
        for client in silent[5:]:
            client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert read_until_closed(client).startswith(b"HTTP/1.1 200 ")


def test_of_too_many_connections_at_all_the_oldest_silent_ones_make_way(api: Api, unserved_app: ASGIApp):
    addresses = [f"127.0.1.{number}" for number in range(1, 31)]

    with serve_app(api, unserved_app, limits=limits_with(max_connections=20)) as here, ExitStack() as stack:
        silent = [stack.enter_context(connected_client(here, address=address)) for address in addresses]
        for client in silent[15:]:
            client.sendall(b"POST /api/companies HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        with sending_from("127.0.0.12") as other:
            assert [200] * 5 == [other.get(f"{here.url}/api/health").status_code for _ in range(5)]
        assert [b""] * 10 == [read_until_closed(client) for client in silent[:10]]


def test_a_trusted_proxy_may_have_more_connections_than_a_peer(api: Api, unserved_app: ASGIApp):
    bounds = limits_with(max_connections_per_peer=4)

    with serve_app(api, unserved_app, limits=bounds, **TRUSTING) as here, ExitStack() as stack:
        clients = [stack.enter_context(connected_client(here)) for _ in range(30)]
        for client in clients:
            client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        assert [b"HTTP/1.1 200"] * 30 == [read_until_closed(client)[:12] for client in clients]


@pytest.mark.parametrize("filling", [b"%", b"%25", b"a&", b"?"])
def test_a_long_address_is_not_decoded(api: Api, monkeypatch: pytest.MonkeyPatch, filling: bytes):
    """To do so takes far longer than to send it: with all that a head may hold, a tenth of a second."""
    decoded: list[int] = []
    monkeypatch.setattr(urllib.parse, "unquote", lambda text: decoded.append(len(text)) or text)

    with connected_client(api) as client:
        client.sendall(b"GET /" + filling * (60_000 // len(filling)) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (431, "Too many or too large headers") == read_only_answer(read_until_closed(client))

    assert [] == decoded


def test_requests_without_end_on_one_connection_are_not_kept(api: Api):
    with connected_client(api) as client, suppress(ConnectionError):
        client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n" * 5_000)
        with suppress(ConnectionError):
            client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n" * 5_000)
        data = read_until_closed(client)

        assert data.count(b"HTTP/1.1 200") < 1_000
