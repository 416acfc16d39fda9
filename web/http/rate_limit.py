"""
The limit on the calls of webhooks by sender. A sender is an IPv4 address or the /64 network of an IPv6 address.

Strangers choose what is counted here. So the keys are short (a network, the id of a webhook that exists), and the
number of counters is limited: the least recently used one is dropped, which allows its sender more calls, not fewer.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from uuid import UUID

from web.http.requests import JsonRequest

NETWORK_BITS = 64  # of an IPv6 address; one customer controls the rest


class TooManyCalls(Exception):
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
        self._counters = None
        if per_minute:
            from web.http.call_counters import CallCounters  # noqa: PLC0415 its library takes long, and few set a rate

            self._counters = CallCounters(per_minute, most_counters)

    def count_call(self, webhook: UUID, sender: str) -> None:
        """Count an authenticated call of a webhook by a sender. Raise TooManyCalls."""
        if self._counters is not None and not self._counters.count_call(webhook.hex, sender):
            raise TooManyCalls

    def count_refusal(self, sender: str) -> None:
        """Count a refused call of a sender. Raise TooManyCalls."""
        if self._counters is not None and not self._counters.count_refusal(sender):
            raise TooManyCalls


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
