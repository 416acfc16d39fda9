"""
How many calls webhooks take of a sender, and who a sender is: an address, or what stands for all of one customer's.

What is counted by here is chosen by strangers, so it is short (a network, the id of a webhook that there is) and there
are so many counters and no more: the one that was used longest ago makes way, which lets its sender in, not out.
"""

from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Lock
from uuid import UUID

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from web.http.requests import JsonRequest

REFUSALS_FACTOR = 10  # refusals of a sender for each call of one webhook it may make, before it must wait
NETWORK_BITS = 64  # of an IPv6 address: what follows is one customer's to choose


class TooMany(Exception):
    """Too many requests: try again later"""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class WebhookRateLimiter:
    """
    Counts the calls of webhooks by sender; a process counts for itself and in memory. A rate of 0 is no limit.

    A call that has proved that it may counts for its own webhook. One that was turned away, because there is no such
    webhook or it does not know the secret, counts for its sender, apart from all webhooks: senders may share an
    address, behind a proxy for example, and a stranger among them uses up nobody's calls.
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
        """A sender that may call a webhook does. Raises TooMany."""
        self._count(self._calls, webhook.hex, sender)

    def count_refusal(self, sender: str) -> None:
        """A sender was turned away. Raises TooMany."""
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


def network_of(address: str) -> str:
    """Whom an address stands for: itself, or the /64 of an IPv6 one. What is no address is one and the same sender."""
    try:
        ip: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return ""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return str(IPv6Network((int(ip), NETWORK_BITS), strict=False) if isinstance(ip, IPv6Address) else ip)


async def sender(request: JsonRequest) -> str:
    """Whom a request comes from, as far as its connection tells."""
    return network_of(request.client.host) if request.client else ""
