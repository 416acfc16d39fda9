"""How many calls webhooks take: the limit per public address of a webhook and per address of a sender."""

from ipaddress import IPv6Address, ip_address, ip_network

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from web.requests import JsonRequest

ADDRESS_FACTOR = 10  # a sender may make so many times more calls than one webhook takes of it


class TooMany(Exception):
    """Too many requests: try again later"""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Turnstile:
    """
    Lets so many calls a minute through for each webhook and address, and ADDRESS_FACTOR times that for an address.

    A process counts for itself and in memory: of n web processes each lets through as many. 0 is no limit.
    """

    def __init__(self, per_minute: int) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._of_webhook = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._of_address = RateLimitItemPerMinute(per_minute * ADDRESS_FACTOR) if per_minute else None

    def enter(self, public_id: str, address: str) -> None:
        """Raises TooMany."""
        if self._of_webhook is None or self._of_address is None:
            return
        if not self._limiter.hit(self._of_address, address):
            raise TooMany
        if not self._limiter.hit(self._of_webhook, public_id, address):
            raise TooMany


def network_of(address: str) -> str:
    """Whom an address stands for: itself, or the /64 of an IPv6 one, since all of that is one customer's."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((found, 64), strict=False)) if isinstance(found, IPv6Address) else address


async def sender(request: JsonRequest) -> str:
    """Whom a request comes from, as far as its connection tells."""
    return network_of(request.client.host) if request.client else ""
