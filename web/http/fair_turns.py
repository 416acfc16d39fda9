"""
The requests that the event loop works on, shared fairly as the threads are (web/http/fair_threads.py).

A request takes its turn before it decides or asks the database anything. So one tenant's requests that have come before
those of another do not all come before them, and a tenant that sends many has only some of them in the next commit.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from web.http.fair_queue import TENANT, FairQueue

MOST = 128  # requests under way at once
MOST_OF_TENANT = 64
MOST_BESIDE_OTHERS = 16


class FairTurns:
    """The turns of the requests of one event loop: at most `most` are under way, and of one tenant less."""

    def __init__(
        self, most: int = MOST, most_of_tenant: int = MOST_OF_TENANT, most_beside_others: int = MOST_BESIDE_OTHERS
    ) -> None:
        self._most = most
        self._under_way = 0
        self._queue = FairQueue["asyncio.Future[None]"](most_of_tenant, most_beside_others)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until a request of the tenant of the context has its turn, and hold it meanwhile."""
        tenant = TENANT.get()
        if self._under_way < self._most and self._queue.begin(tenant):
            self._under_way += 1
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._end(tenant)

    async def _wait(self, tenant: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._queue.put(tenant, turn)
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            self._queue.leave_out(tenant, turn)
            if turn.done() and not turn.cancelled():
                self._end(tenant)
            raise

    def _hand_out(self) -> None:
        while self._under_way < self._most and (taken := self._queue.take()) is not None:
            tenant, turn = taken
            if turn.done():  # it was given up, and is about to leave the queue
                self._queue.end(tenant)
            else:
                self._under_way += 1
                turn.set_result(None)

    def _end(self, tenant: str) -> None:
        self._queue.end(tenant)
        self._under_way -= 1
        self._hand_out()
