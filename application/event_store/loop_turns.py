"""Turns in an event loop: after a lost race on a stream a task decides again while no other task of its loop writes there."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import NamedTuple
from uuid import UUID

from application.event_store.turns import MOST, place_of

NO_TURN = nullcontext[None]()


class Writing(NamedTuple):
    """The numbers of the streams that a commit adds to, and its end."""

    streams: list[int]
    settled: asyncio.Future[None]


class LoopTurns:
    """
    The turns of the tasks of an event loop. A task that waits for a commit has the turn of what it writes to.

    So whoever wants to write to the same stream decides once that commit is known, instead of being refused by it.
    """

    def __init__(self) -> None:
        self._locks = [asyncio.Lock() for _ in range(MOST)]
        # By the id of a stream as an integer, which Python hashes faster than a UUID: the end of the commit that adds to it.
        self._writing: dict[int, asyncio.Future[None]] = {}
        self._holders = 0

    def take(self, stream_ids: Collection[UUID]) -> AbstractAsyncContextManager[None]:
        """Wait until no other task has the turn of any of these streams, and hold their turns meanwhile."""
        return self._lock_streams(stream_ids) if stream_ids else NO_TURN

    @asynccontextmanager
    async def _lock_streams(self, stream_ids: Collection[UUID]) -> AsyncIterator[None]:
        self._holders += 1
        try:
            async with AsyncExitStack() as locks:
                for place in sorted({place_of(id_) for id_ in stream_ids}):
                    await locks.enter_async_context(self._locks[place])
                for id_ in stream_ids:
                    while (write_done := self._writing.get(id_.int)) is not None:
                        await asyncio.shield(write_done)
                yield
        finally:
            self._holders -= 1

    def find_busy(self, stream_ids: Iterable[UUID]) -> frozenset[UUID]:
        """Return those of these streams whose turn a task has right now."""
        return frozenset(
            id_
            for id_ in stream_ids
            if id_.int in self._writing or (self._holders and self._locks[place_of(id_)].locked())
        )

    def begin(self, stream_ids: Iterable[UUID]) -> Writing:
        """Take the turns of these streams for a commit that adds to them, until it has come to its `end`."""
        writing = Writing([id_.int for id_ in stream_ids], asyncio.get_running_loop().create_future())
        for number in writing.streams:
            self._writing[number] = writing.settled
        return writing

    def end(self, writing: Writing) -> None:
        """Give the turns of a commit back."""
        for number in writing.streams:
            if self._writing.get(number) is writing.settled:
                del self._writing[number]
        writing.settled.set_result(None)
