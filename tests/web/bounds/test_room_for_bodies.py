"""What bodies hold of the memory of a web process is bounded, and shared between senders; others are answered meanwhile."""

import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from select import select
from threading import Event

import httpx
import pytest

from domain.bounds.limits import KIB, MIB
from tests.api import Api
from tests.waiting import wait_for
from tests.web.bounds.connections import ID, PUBLIC, connected_client, limits_with, read_answer, request_head
from tests.web.hooks import JSON, hook
from tests.web.served import serve_further
from web.http import json_body
from web.http.fair_queue import TENANT
from web.http.held_bodies import HeldBodies, Holder, NoRoom


@contextmanager
def slow_reading() -> Iterator[None]:
    """The thread that reads large bodies is at one."""
    over = Event()
    slow = json_body._READER.submit(over.wait)
    try:
        yield
    finally:
        over.set()
        slow.result()


def test_while_large_bodies_are_read_others_are_answered(api: Api, company: str):
    body = b'{"name":"x"%s}' % (b" " * 500_000)

    with connected_client(api) as client:
        with slow_reading():
            client.sendall(
                request_head("POST", "/api/companies", len(body), f"Authorization: Bearer {api.token}") + body
            )
            small = [api.request("POST", f"/companies/{company}/projects", {"name": "y"}) for _ in range(5)]
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
            client.settimeout(20)
        assert client.recv(65_536).startswith(b"HTTP/1.1 201 ")
    assert [201] * 5 == [answer.status_code for answer in small]


def test_bodies_at_the_same_time_are_bounded_and_small_ones_go_on(api: Api, company: str):
    """Whoever comes when too much is held is told to try again before we read what he has."""
    bounds = limits_with(max_held_body_bytes=1536 * KIB, max_held_body_bytes_per_sender=1024 * KIB)
    half, path = b'{"name":"' + b"x" * 600_000, "/api/companies"
    agents = [api.agent(one)[1] for one in (company, api.company())]
    another = api.agent(company, "another")[1]

    def start(client: socket.socket, token: str) -> None:
        client.sendall(request_head("POST", path, MIB, f"Authorization: Bearer {token}") + half)

    with serve_further(api, limits=bounds) as here, ExitStack() as stack:
        clients = {token: stack.enter_context(connected_client(here, address="127.0.0.6")) for token in agents}

        def leaves_no_room_for(token: str, holder: str) -> bool:
            """Whether too much is held for the token; a holder that the last such question was in the way of starts anew."""
            if _is_answered(clients[holder]):
                clients[holder] = stack.enter_context(connected_client(here, address="127.0.0.6"))
                start(clients[holder], holder)
            return _is_refused(here, size=500_000, token=token)

        start(clients[agents[0]], agents[0])
        wait_for(lambda: leaves_no_room_for(another, agents[0]))  # the company's share is used up
        second = stack.enter_context(connected_client(here, address="127.0.0.7"))
        start(second, another)
        assert (503, {"error": "Too many large requests are being processed; try again", "retry": "1"}) == read_answer(
            second
        )
        start(clients[agents[1]], agents[1])
        wait_for(lambda: leaves_no_room_for(api.token, agents[1]))  # and now what there is for all
        small = here.request("POST", f"/companies/{company}/projects", {"name": "x" * 100})
        clients[agents[0]].close()
        wait_for(lambda: not _is_refused(here, size=500_000, token=api.token))

    assert 201 == small.status_code


def _is_answered(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return bool(client.recv(1))
    except BlockingIOError:
        return False


def _is_refused(here: Api, size: int, token: str) -> bool:
    headers = {**JSON, "Authorization": f"Bearer {token}"}
    status = httpx.post(f"{here.url}/api/companies", content=b'"%s"' % (b"x" * size), headers=headers).status_code
    assert status in (400, 401, 403, 503)
    return status == 503


@pytest.mark.parametrize("path", ["/api/companies", f"/api/routines/{ID}/run"])
def test_of_an_unknown_sender_no_more_is_read_than_a_small_body(api: Api, path: str):
    with connected_client(api) as client:
        client.sendall(request_head("POST", path, json_body.SMALL + 1, f"Authorization: Bearer pcp_board_{'0' * 38}"))
        assert (401, {"error": "Unauthorized", "retry": None}) == read_answer(client)


def test_calls_of_webhooks_cannot_fill_the_room_of_known_companies(api: Api, routine: str):
    """Nor has one company more of it than another, from however many addresses its webhooks are called."""
    public_id = hook(api, routine, "none").public_id
    bounds = limits_with(max_held_body_bytes=1200 * KIB, max_held_body_bytes_per_sender=1024 * KIB)

    with serve_further(api, limits=bounds) as here, ExitStack() as stack:
        callers = [stack.enter_context(connected_client(here, address=f"127.0.0.{number}")) for number in (6, 7)]
        for client in callers:
            client.sendall(request_head("POST", f"{PUBLIC}/{public_id}/fire", 900 * KIB) + b" " * 400 * KIB)
        refused = next(one for one in select(callers, [], [], 20)[0])
        assert 503 == read_answer(refused)[0]
        assert not _is_refused(here, size=500_000, token=api.token)


def test_large_bodies_of_tenants_are_read_in_turns():
    order: list[str] = []

    def read(name: str) -> Future[None]:
        token = TENANT.set(name)
        try:
            return json_body._READER.submit(order.append, name)
        finally:
            TENANT.reset(token)

    with slow_reading():
        reads = [read(name) for name in ["hostile"] * 5 + ["neighbour"]]
    for one in reads:
        one.result(5)

    assert ["hostile", "neighbour"] == order[:2]


def test_what_values_take_of_our_memory_is_held_as_well(api: Api):
    values, text = b"[" + b"{}," * 50_000 + b"1]", b'"%s"' % (b"x" * 150_000)

    with serve_further(api, limits=limits_with(max_held_body_bytes=2 * MIB)) as here:
        refusals = [here.request("POST", "/companies", content=one, headers=JSON) for one in (values, text)]

    assert [503, 400] == [answer.status_code for answer in refusals]


def test_what_a_request_held_is_given_back_however_it_ends():
    held, known = HeldBodies(200_000, 150_000), Holder("a", is_known=True)

    with held.hold(known) as body:
        body.grow(100_000)
        with held.hold(known) as another:
            another.grow(60_000)
            with pytest.raises(NoRoom):
                another.grow(60_000)
        with pytest.raises(NoRoom), held.hold(Holder("b")) as stranger:
            stranger.grow(150_000)
    with held.hold(known) as body:
        body.grow(150_000)

    assert {} == held._bytes_by_holder


def test_half_of_the_room_is_for_companies_that_are_known():
    held = HeldBodies(200_000, 150_000)

    with held.hold(Holder("a")) as stranger, held.hold(Holder("b")) as another:
        stranger.grow(90_000)
        with pytest.raises(NoRoom):
            another.grow(90_000)
        with held.hold(Holder("company", is_known=True)) as known:
            known.grow(120_000)
