"""The limits on the connections of a web process, in all and of one peer, and which one is closed beyond them."""

from collections import Counter, OrderedDict
from collections.abc import Hashable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol

from web.http.rare_log import RareLine
from web.http.rate_limit import network_of


class Client(Hashable, Protocol):
    """A connection of a client."""

    def hang_up(self) -> None:
        """Close the connection at once."""
        ...


class Peers:
    """
    Counts connections by peer, in the event loop only.

    A peer is an address, or the /64 of an IPv6 address. A trusted proxy may have all connections.

    Beyond a limit, the connection is closed that has waited longest for its client, silent or in the middle of a
    request: one of the same peer if that has too many, else any. If all connections wait for an answer of ours, the new
    one is refused.
    """

    def __init__(
        self, most: int, most_of_peer: int, trusted: Sequence[IPv4Network | IPv6Network] = (), *, cache_size: int = 1024
    ) -> None:
        self._most = most
        self._most_of_peer = most_of_peer
        self._trusted = trusted
        self._peers: dict[Client, str] = {}
        self._count_by_peer: Counter[str] = Counter()
        self._waiting: OrderedDict[Client, None] = OrderedDict()  # those that wait for their client, the longest first
        self._waiting_by_peer: dict[str, OrderedDict[Client, None]] = {}
        self._line = RareLine("too_many_connections")
        self._peer_of = lru_cache(cache_size)(self._name_peer)

    def admit(self, client: Client, address: str) -> bool:
        """Return whether there is room for a connection. If so, it now waits for its first request."""
        peer = self._peer_of(address)
        crowded = peer != "" and self._count_by_peer[peer] >= self._most_of_peer
        if crowded or len(self._peers) >= self._most:
            self._line.write(connections=len(self._peers), most=self._most, most_of_peer=self._most_of_peer)
            waiting = self._waiting_by_peer.get(peer, OrderedDict()) if crowded else self._waiting
            if (oldest := next(iter(waiting), None)) is None:
                return False
            self.leave(oldest)
            oldest.hang_up()
        self._peers[client] = peer
        self._count_by_peer[peer] += 1
        self.wait(client)
        return True

    def wait(self, client: Client) -> None:
        """Note that a connection waits for its client, so that it may be closed for another one."""
        if client in self._peers and client not in self._waiting:
            self._waiting[client] = None
            self._waiting_by_peer.setdefault(self._peers[client], OrderedDict())[client] = None

    def work(self, client: Client) -> None:
        """Note that a whole request of a connection is being answered, so that the connection must stay."""
        if client in self._waiting:
            del self._waiting[client]
            peer = self._peers[client]
            del self._waiting_by_peer[peer][client]
            if not self._waiting_by_peer[peer]:
                del self._waiting_by_peer[peer]

    def leave(self, client: Client) -> None:
        """Forget a connection that is closed. It does nothing for an unknown one."""
        self.work(client)
        if (peer := self._peers.pop(client, None)) is not None:
            self._count_by_peer[peer] -= 1
            if not self._count_by_peer[peer]:
                del self._count_by_peer[peer]

    def _name_peer(self, address: str) -> str:
        """Return the peer of an address; it is empty for those without a limit: trusted proxies, no address."""
        try:
            ip = ip_address(address)
        except ValueError:
            return ""
        return "" if any(ip in network for network in self._trusted) else network_of(address)
