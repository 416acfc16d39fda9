"""How much of bodies a web process holds at the same time: over all its requests, of strangers, and of one holder."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from web.http.json_body import SMALL
from web.http.rare_log import RareLine


class NoRoom(Exception):
    """Too many large requests are at work: try again"""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Holder(NamedTuple):
    """For whom a body is held; `is_known`: a company, by a valid key of it."""

    name: str
    is_known: bool = False


class Share:
    """What one request holds. Small ones are free: they are bounded by the number of connections."""

    def __init__(self, held: "HeldBodies", holder: Holder) -> None:
        self._held = held
        self._size = 0
        self.holder = holder  # may turn out to be another one, before anything is counted
        self.counted = 0

    def grow(self, size: int) -> None:
        """So many bytes more. Raises NoRoom."""
        self._size += size
        if (further := self._size - SMALL - self.counted) > 0:
            self._held.take(self.holder, further)
            self.counted += further


class HeldBodies:
    """Of the event loop only. Half of the room is for companies that are known: strangers cannot fill it."""

    def __init__(self, most: int, most_of_holder: int) -> None:
        self._most = {True: most, False: most // 2}
        self._most_of_holder = most_of_holder
        self._of: Counter[Holder] = Counter()
        self._line = RareLine("too_many_body_bytes")

    @contextmanager
    def share(self, holder: Holder) -> Iterator[Share]:
        """Of a request, until it is over."""
        share = Share(self, holder)
        try:
            yield share
        finally:
            self._give_back(share.holder, share.counted)

    def take(self, holder: Holder, size: int) -> None:
        """Raises NoRoom."""
        held, most = self._held(holder.is_known), self._most[holder.is_known]
        if held + size > most or self._of[holder] + size > self._most_of_holder:
            self._line.write(held=held, most=most)
            raise NoRoom
        self._of[holder] += size

    def _held(self, by_anybody: bool) -> int:
        """By anybody, or by strangers."""
        return sum(size for holder, size in self._of.items() if by_anybody or not holder.is_known)

    def _give_back(self, holder: Holder, size: int) -> None:
        self._of[holder] -= size
        if not self._of[holder]:
            del self._of[holder]
