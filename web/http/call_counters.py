"""Counters of the calls of webhooks in the last minute, in memory, of which the least recently used ones are dropped."""

from collections import OrderedDict
from threading import Lock

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

REFUSALS_FACTOR = 10  # the refused calls that a sender may make, as a multiple of its calls of one webhook


class CallCounters:
    """Counts calls by webhook and sender, and refused calls by sender; it keeps `most` counters."""

    def __init__(self, per_minute: int, most: int) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._calls = RateLimitItemPerMinute(per_minute, namespace="calls")
        self._refusals = RateLimitItemPerMinute(per_minute * REFUSALS_FACTOR, namespace="refusals")
        self._counters: OrderedDict[tuple[RateLimitItemPerMinute, str, str], None] = OrderedDict()
        self._most = most
        self._lock = Lock()

    def count_call(self, webhook: str, sender: str) -> bool:
        """Count a call of a webhook; return whether it is within the rate."""
        return self._count(self._calls, webhook, sender)

    def count_refusal(self, sender: str) -> bool:
        """Count a refused call; return whether it is within the rate."""
        return self._count(self._refusals, "", sender)

    def _count(self, rate: RateLimitItemPerMinute, webhook: str, sender: str) -> bool:
        counter = (rate, webhook, sender)
        with self._lock:
            self._counters[counter] = None
            self._counters.move_to_end(counter)
            if len(self._counters) > self._most:
                (oldest, *names), _ = self._counters.popitem(last=False)
                self._limiter.clear(oldest, *names)
        return self._limiter.hit(rate, webhook, sender)
