"""
The limit on the calls of webhooks by sender. A sender is an IPv4 address or the /64 network of an IPv6 address.

Strangers choose what is counted here. So the keys are short (a network, the id of a webhook that exists), and the
number of counters is limited: the least recently used one is dropped, which allows its sender more calls, not fewer.
"""

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Lock
from uuid import UUID

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from web.http.requests import JsonRequest

REFUSALS_FACTOR = 10  # the refused calls that a sender may make, as a multiple of its calls of one webhook
NETWORK_BITS = 64  # of an IPv6 address; one customer controls the rest


class TooMany(Exception):
    """A sender has made more calls in a minute than a webhook accepts."""

    def __init__(self) -> None:
        super().__init__("Too many requests: try again later")


class WebhookRateLimiter:
    """
    Counts the calls of webhooks by sender, in memory and per process. A rate of 0 means no limit.

    An authenticated call counts for its webhook. A refused call, for which there is no such webhook or which lacks the
    secret, counts for its sender alone. Senders may share an address, for example behind a proxy, and a stranger among
    them must not use up the calls of the others.
    """

    def __init__(self, per_minute: int, most_counters: int) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._calls = RateLimitItemPerMinute(per_minute, namespace="calls") if per_minute else None
        self._refusals = (
            RateLimitItemPerMinute(per_minute * REFUSALS_FACTOR, namespace="refusals") if per_minute else None
        )
        self._counters: OrderedDict[tuple[RateLimitItemPerMinute, str, str], None] = OrderedDict()
        self._most = most_counters
        self._lock = Lock()

    def count_call(self, webhook: UUID, sender: str) -> None:
        """Count an authenticated call of a webhook by a sender. Raise TooMany."""
        self._count(self._calls, webhook.hex, sender)

    def count_refusal(self, sender: str) -> None:
        """Count a refused call of a sender. Raise TooMany."""
        self._count(self._refusals, "", sender)

    def _count(self, rate: RateLimitItemPerMinute | None, webhook: str, sender: str) -> None:
        if rate is None:
            return
        counter = (rate, webhook, sender)
        with self._lock:
            self._counters[counter] = None
            self._counters.move_to_end(counter)
            if len(self._counters) > self._most:
                (oldest, *names), _ = self._counters.popitem(last=False)
                self._limiter.clear(oldest, *names)
        if not self._limiter.hit(rate, webhook, sender):
            raise TooMany


@lru_cache(maxsize=4_096)
def network_of(address: str) -> str:
    """Return the sender of an address: itself, or the /64 of an IPv6 address. It is empty for what is no address."""
    try:
        ip: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return ""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return str(IPv6Network((int(ip), NETWORK_BITS), strict=False) if isinstance(ip, IPv6Address) else ip)


async def sender(request: JsonRequest) -> str:
    """Return the sender of a request by the address of its connection. It is a dependency."""
    return network_of(request.client.host) if request.client else ""
