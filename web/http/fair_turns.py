"""
The requests that the event loop works on, shared fairly as the threads are (web/http/fair_threads.py).

A request takes its turn before it decides or asks the database anything. So one tenant's requests that have come before
those of another do not all come before them, and a tenant that sends many has only some of them in the next commit.
"""

import asyncio

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

    def turn(self) -> "Turn":
        """Return a context in which a request of the tenant of the current context has its turn. It waits until then."""
        return Turn(self, TENANT.get())

    async def take(self, tenant: str) -> None:
        """Wait until a request of the tenant has its turn, which the caller must `end`."""
        if self._under_way < self._most and self._queue.begin(tenant):
            self._under_way += 1
        else:
            await self._wait(tenant)

    def end(self, tenant: str) -> None:
        """End the turn of a request of the tenant."""
        self._queue.end(tenant)
        self._under_way -= 1
        self._hand_out()

    async def _wait(self, tenant: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._queue.put(tenant, turn)
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            self._queue.leave_out(tenant, turn)
            if turn.done() and not turn.cancelled():
                self.end(tenant)
            raise

    def _hand_out(self) -> None:
        while self._under_way < self._most and (next_turn := self._queue.take()) is not None:
            tenant, turn = next_turn
            if turn.done():  # it was given up, and is about to leave the queue
                self._queue.end(tenant)
            else:
                self._under_way += 1
                turn.set_result(None)


class Turn:
    """The turn of one request, in a context. Every request has one, and a generator would cost it several times as much."""

    __slots__ = ("_tenant", "_turns")

    def __init__(self, turns: FairTurns, tenant: str) -> None:
        self._turns, self._tenant = turns, tenant

    async def __aenter__(self) -> None:
        await self._turns.take(self._tenant)

    async def __aexit__(self, *_: object) -> None:
        self._turns.end(self._tenant)
