"""Turns: after a lost race on a stream a thread decides again while no other thread of its process does so there."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from uuid import UUID

MOST = 1_024  # locks; streams that share one merely wait for each other's turn


class Turns:
    """
    The turns of all streams, by a fixed number of locks. Threads share one object.

    A thread that needs the turns of several streams takes them all at once and in one order, so there is no deadlock.
    """

    def __init__(self, most: int = MOST) -> None:
        self._locks = [Lock() for _ in range(most)]
        self._holders = 0  # threads that have turns, or wait for them
        self._counting = Lock()

    @contextmanager
    def take(self, stream_ids: Collection[UUID]) -> Iterator[None]:
        """Wait until no other thread has the turn of any of these streams, and hold their turns meanwhile."""
        if not stream_ids:
            yield
            return
        self._count(1)
        try:
            with ExitStack() as locks:
                for place in sorted({place_of(id_, len(self._locks)) for id_ in stream_ids}):
                    locks.enter_context(self._locks[place])
                yield
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._counting:
            self._holders += more

    def find_busy(self, stream_ids: Iterable[UUID]) -> frozenset[UUID]:
        """Return those of these streams whose turn a thread has right now."""
        if not self._holders:
            return frozenset()
        return frozenset(id_ for id_ in stream_ids if self._locks[place_of(id_, len(self._locks))].locked())


def place_of(stream_id: UUID, most: int = MOST) -> int:
    """Return which of so many locks a stream has."""
    return stream_id.int % most
