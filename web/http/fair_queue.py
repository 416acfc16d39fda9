"""
A queue in which tenants take turns, and none has everything at once. It is not safe for threads by itself.

A tenant that is not alone has less of it still: what one tenant keeps busy makes the requests of all others slower.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from typing import Generic, TypeVar

PRESENT_S = 2.0  # a tenant counts as present for so long after a request

TENANT: ContextVar[str] = ContextVar("tenant", default="")  # of the request of this context

T = TypeVar("T", bound=Hashable)


class FairQueue(Generic[T]):
    """
    What waits of each tenant, and how much of each is under way.

    One tenant has at most `most_of_tenant` under way at once, and while others are present `most_beside_others`, which
    is the same unless given.
    """

    def __init__(
        self,
        most_of_tenant: int,
        most_beside_others: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_of_tenant = most_of_tenant
        self._most_beside_others = most_of_tenant if most_beside_others is None else most_beside_others
        self._clock = clock
        self._present: OrderedDict[str, float] = OrderedDict()  # when each tenant last asked, longest ago first
        self._waiting: OrderedDict[str, dict[T, None]] = OrderedDict()  # by tenant, in the order of turns
        self._running = Counter[str]()  # how much is under way, by tenant

    def begin(self, tenant: str) -> bool:
        """Return whether something of the tenant may be under way at once, since nothing waits. Then it must `end`."""
        self._note_presence(tenant)
        if self._waiting or self._running[tenant] >= self._max_under_way():
            return False
        self._running[tenant] += 1
        return True

    def put(self, tenant: str, item: T) -> None:
        """Let an item of the tenant wait."""
        self._note_presence(tenant)
        self._waiting.setdefault(tenant, {})[item] = None

    def take(self) -> tuple[str, T] | None:
        """Return the next item that may be under way now, and its tenant, who must `end` it; None if there is none."""
        if not self._waiting:
            return None
        most = self._max_under_way()
        for tenant, items in self._waiting.items():
            if self._running[tenant] < most:
                item = next(iter(items))
                self._running[tenant] += 1
                self._waiting.move_to_end(tenant)
                self.leave_out(tenant, item)
                return tenant, item
        return None

    def end(self, tenant: str) -> None:
        """Note that something that was taken is no longer under way."""
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]

    def leave_out(self, tenant: str, item: T) -> None:
        """Forget an item that waits, if it does."""
        items = self._waiting.get(tenant, {})
        if item in items:
            del items[item]
            if not items:
                del self._waiting[tenant]

    def _note_presence(self, tenant: str) -> None:
        self._present[tenant] = self._clock()
        self._present.move_to_end(tenant)

    def _max_under_way(self) -> int:
        """Return how much of one tenant may be under way now."""
        before = self._clock() - PRESENT_S
        while self._present and next(iter(self._present.values())) < before:
            self._present.popitem(last=False)
        return self._most_of_tenant if len(self._present) <= 1 else self._most_beside_others
