"""How much of bodies a web process holds at the same time, over all its requests and of one sender."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from web.json_body import SMALL
from web.rare_log import RareLine


class NoRoom(Exception):
    """Too many large requests are at work: try again"""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Share:
    """What one request holds. Small ones are free: they are bounded by the number of connections."""

    def __init__(self, held: "HeldBodies", sender: str) -> None:
        self._held = held
        self._sender = sender
        self._size = 0
        self.counted = 0

    def grow(self, size: int) -> None:
        """So many bytes more. Raises NoRoom."""
        self._size += size
        if (further := self._size - SMALL - self.counted) > 0:
            self._held.take(self._sender, further)
            self.counted += further


class HeldBodies:
    """Of the event loop only."""

    def __init__(self, most: int, most_of_sender: int) -> None:
        self._most = most
        self._most_of_sender = most_of_sender
        self._of: Counter[str] = Counter()
        self._total = 0
        self._line = RareLine("too_many_body_bytes")

    @contextmanager
    def share(self, sender: str) -> Iterator[Share]:
        """Of a request, until it is over."""
        share = Share(self, sender)
        try:
            yield share
        finally:
            self._give_back(sender, share.counted)

    def take(self, sender: str, size: int) -> None:
        """Raises NoRoom."""
        if self._total + size > self._most or self._of[sender] + size > self._most_of_sender:
            self._line.write(held=self._total, most=self._most)
            raise NoRoom
        self._total += size
        self._of[sender] += size

    def _give_back(self, sender: str, size: int) -> None:
        self._total -= size
        self._of[sender] -= size
        if not self._of[sender]:
            del self._of[sender]
