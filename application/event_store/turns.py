"""Turns: a writer that has lost a race on a stream decides again while no other writer of its process does so there."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from uuid import UUID

MOST = 1_024  # locks; streams that share one wait for each other's turn, no more


class Turns:
    """
    One lock for each stream, of a fixed number of locks. Threads share it.

    Whoever needs the turns of several streams takes them all at once and in one order, so nobody waits in a circle.
    """

    def __init__(self, most: int = MOST) -> None:
        self._locks = [Lock() for _ in range(most)]
        self._holders = 0  # threads that have turns, or wait for them
        self._counting = Lock()

    @contextmanager
    def take(self, stream_ids: Collection[UUID]) -> Iterator[None]:
        """Waits until nobody else has the turn of any of these streams."""
        if not stream_ids:
            yield
            return
        self._count(1)
        try:
            with ExitStack() as held:
                for place in sorted({self._place(id_) for id_ in stream_ids}):
                    held.enter_context(self._locks[place])
                yield
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._counting:
            self._holders += more

    def taken(self, stream_ids: Iterable[UUID]) -> frozenset[UUID]:
        """Those of these streams whose turn somebody has right now."""
        if not self._holders:
            return frozenset()
        return frozenset(id_ for id_ in stream_ids if self._locks[self._place(id_)].locked())

    def _place(self, stream_id: UUID) -> int:
        return stream_id.int % len(self._locks)
