"""
Lanes: connections of an event loop, on which what waits is carried out together, by the next that is free.

Nobody waits for a timer: what finds a free connection is carried out at once, and what comes while all are busy goes
together, in the order in which it came. So the more there is to do, the less of a round trip each costs.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import psycopg

T = TypeVar("T")
R = TypeVar("R")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class Connections(Protocol):
    """Makes the connections of an event loop."""

    async def connect_on_loop(self) -> Connection:
        """Return a new connection. Raises psycopg.Error, among others."""

    async def verify_on_loop(self, connection: Connection) -> None:
        """Raise psycopg.Error, with the connection closed, unless it works and may write."""


class NoConnection(Exception):
    """There is no connection now, so nothing was sent."""


class _WaitingItem(NamedTuple, Generic[T, R]):
    item: T
    size: int
    shared_by: Hashable | None
    outcome: "asyncio.Future[R]"


class Lane(Generic[T, R]):
    """
    Carries out items over at most `many` connections, up to `most_items` and `most_size` of them at once.

    `carry_out` gets a connection and items, and returns an outcome for each; what it raises is raised to all of them.
    Of items that are `shared_by` the same in a group only the first counts with its size. Whoever is cancelled while it waits is left out. A lane is of one event loop, since its connections are.
    """

    def __init__(
        self,
        connections: Connections,
        carry_out: Callable[[Connection, Sequence[T]], Awaitable[Sequence[R]]],
        *,
        many: int,
        most_items: int,
        most_size: int = 2**62,
    ) -> None:
        self._connections = connections
        self._carry_out = carry_out
        self._many, self._most_items, self._most_size = many, most_items, most_size
        self._waiting: deque[_WaitingItem[T, R]] = deque()
        self._free: list[Connection] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._working = 0

    @property
    def many_waiting(self) -> int:
        """How many items wait for a connection."""
        return len(self._waiting)

    async def submit(self, item: T, size: int = 0, *, shared_by: Hashable | None = None) -> R:
        """Return the outcome of the item. Raises NoConnection if it was not sent, and what `carry_out` raises."""
        loop = asyncio.get_running_loop()
        waiting: _WaitingItem[T, R] = _WaitingItem(item, size, shared_by, loop.create_future())
        self._waiting.append(waiting)
        if self._working < self._many:
            self._working += 1
            worker = loop.create_task(self._carry_out_waiting())
            self._workers.add(worker)  # the loop itself holds its tasks weakly
            worker.add_done_callback(self._workers.discard)
        return await waiting.outcome

    async def _carry_out_waiting(self) -> None:
        """Carry out what waits, until nothing does."""
        connection = self._free.pop() if self._free else None
        while self._waiting:
            try:
                if connection is None:
                    connection = await self._connections.connect_on_loop()
                else:
                    await self._connections.verify_on_loop(connection)
            except Exception as error:  # noqa: BLE001 whatever it is, nobody has a connection
                connection = None
                for waiting in self._take_group():
                    _settle(waiting, NoConnection(str(error)))
                continue
            await asyncio.sleep(0)  # whatever the loop has to do already is done first, and may go together
            if group := self._take_group():
                await self._settle_group(connection, group)
            if connection.closed:
                connection = None
        self._working -= 1
        if connection is not None:
            self._free.append(connection)

    def _take_group(self) -> list[_WaitingItem[T, R]]:
        """Take those that wait, in their order, as many as go together."""
        group: list[_WaitingItem[T, R]] = []
        size, shared_keys = 0, set[Hashable]()
        while self._waiting and len(group) < self._most_items:
            first = self._waiting[0]
            if first.shared_by not in shared_keys:
                size += first.size
            if group and size > self._most_size:
                break
            self._waiting.popleft()
            if not first.outcome.done():
                group.append(first)
            if first.shared_by is not None:
                shared_keys.add(first.shared_by)
        return group

    async def _settle_group(self, connection: Connection, group: Sequence[_WaitingItem[T, R]]) -> None:
        try:
            outcomes = await self._carry_out(connection, [waiting.item for waiting in group])
        except Exception as error:  # noqa: BLE001 it is raised to each of the group
            for waiting in group:
                _settle(waiting, error)
        else:
            for waiting, outcome in zip(group, outcomes, strict=True):
                if not waiting.outcome.done():
                    waiting.outcome.set_result(outcome)


def _settle(waiting: _WaitingItem[Any, Any], error: Exception) -> None:
    if not waiting.outcome.done():
        waiting.outcome.set_exception(error)
