"""How many connections there are, who makes way, and what the log says of it."""

from ipaddress import ip_network

import pytest
from structlog.testing import capture_logs

from web.http.peers import Peers
from web.http.rare_log import RareLine


class Client:
    """A connection that only knows whether it was hung up on."""

    def __init__(self) -> None:
        self.is_open = True

    def hang_up(self) -> None:
        self.is_open = False


def clients(peers: Peers, *addresses: str) -> list[Client]:
    """One for each address, all admitted."""
    clients_of = [Client() for _ in addresses]
    for one, address in zip(clients_of, addresses, strict=True):
        assert peers.admit(one, address)
    return clients_of


def test_who_is_at_work_is_not_hung_up_on_and_a_new_one_is_turned_away():
    peers = Peers(3, 2)
    mine, other, more = clients(peers, "192.0.2.1", "192.0.2.2", "192.0.2.1")
    for one in (mine, more, other):
        peers.work(one)

    assert not peers.admit(Client(), "192.0.2.1")
    assert not peers.admit(Client(), "192.0.2.3")
    assert all(one.is_open for one in (mine, other, more))
    peers.wait(mine)
    assert peers.admit(Client(), "192.0.2.1")
    assert not mine.is_open


def test_who_was_answered_is_newer_than_who_never_asked():
    peers = Peers(10, 2)
    asking, silent = clients(peers, "192.0.2.1", "192.0.2.1")
    peers.work(asking)
    peers.wait(asking)

    clients(peers, "192.0.2.1")

    assert (True, False) == (asking.is_open, silent.is_open)


def test_a_crowd_makes_way_for_itself_and_not_for_others():
    peers = Peers(10, 3)
    old, *crowd = clients(peers, "192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2")

    clients(peers, "192.0.2.2", "192.0.2.2")

    assert [True, False, False, True] == [one.is_open for one in (old, *crowd)]


@pytest.mark.parametrize("address", ["2001:db8::1", "2001:db8::ffff:1"])
def test_a_peer_is_the_network_of_one_customer(address: str):
    peers = Peers(10, 1)
    (first,) = clients(peers, "2001:db8::2")

    clients(peers, address, "2001:db8:0:1::1")

    assert not first.is_open


@pytest.mark.parametrize(("trusted", "address"), [("10.0.0.0/8", "10.1.2.3"), ("10.0.0.7", "10.0.0.7"), ("::1", "")])
def test_a_trusted_proxy_and_a_socket_without_an_address_are_limited_by_the_whole_alone(trusted: str, address: str):
    peers = Peers(5, 1, [ip_network(trusted)])

    accepted = clients(peers, *[address] * 6)

    assert [False] + [True] * 5 == [one.is_open for one in accepted]


def test_who_has_left_is_forgotten():
    peers = Peers(2, 2)
    for one in clients(peers, "192.0.2.1", "192.0.2.1"):
        peers.leave(one)
        peers.leave(one)
        peers.wait(one)

    accepted = clients(peers, "192.0.2.1", "192.0.2.2")

    assert all(one.is_open for one in accepted)


def test_the_log_says_so_once_a_minute_and_how_often_it_was():
    now = [0.0]
    line = RareLine("too_many", clock=lambda: now[0])

    with capture_logs() as logs:
        for now[0] in (0.0, 1.0, 59.0, 60.0, 61.0, 130.0):
            line.write(most=1)

    assert [("too_many", 1, 1), ("too_many", 3, 1), ("too_many", 2, 1)] == [
        (one["event"], one["times"], one["most"]) for one in logs
    ]
