"""The bytes of bodies that a web process holds at once: for all senders, for those without a key, for one holder."""

from collections import Counter
from typing import NamedTuple, Self

from web.http.json_body import SMALL
from web.http.rare_log import RareLine


class NoRoom(Exception):
    """The process holds as many bytes of large bodies as it may, over all or for this holder."""

    def __init__(self) -> None:
        super().__init__("Too many large requests are being processed; try again")


class Holder(NamedTuple):
    """For whom a body is held. `is_known` says that it is a company, proved by a valid key of it."""

    name: str
    is_known: bool = False


class HeldBody:
    """
    The bytes of one request's body, in a context: what it has counted is given back at its end.

    Small bodies do not count: the number of connections bounds them.
    """

    __slots__ = ("_held", "_size", "counted", "holder")

    def __init__(self, held: "HeldBodies", holder: Holder) -> None:
        self._held = held
        self._size = 0
        self.holder = holder  # may be replaced until anything is counted
        self.counted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.counted:
            self._held.give_back(self.holder, self.counted)

    def grow(self, size: int) -> None:
        """Count so many bytes more for the holder. Raise NoRoom."""
        self._size += size
        if (further := self._size - SMALL - self.counted) > 0:
            self._held.take(self.holder, further)
            self.counted += further


class HeldBodies:
    """Counts held bytes by holder, in the event loop only. Half of the room is for companies with a valid key alone."""

    def __init__(self, most: int, most_of_holder: int) -> None:
        self._most = {True: most, False: most // 2}
        self._most_of_holder = most_of_holder
        self._bytes_by_holder: Counter[Holder] = Counter()
        self._line = RareLine("too_many_body_bytes")

    def hold(self, holder: Holder) -> HeldBody:
        """Return the body of one request, of which nothing is counted yet."""
        return HeldBody(self, holder)

    def take(self, holder: Holder, size: int) -> None:
        """Count bytes for a holder. Raise NoRoom, with a line in the log at most once a minute."""
        size_before, most = self._held(holder.is_known), self._most[holder.is_known]
        if size_before + size > most or self._bytes_by_holder[holder] + size > self._most_of_holder:
            self._line.write(held=size_before, most=most)
            raise NoRoom
        self._bytes_by_holder[holder] += size

    def _held(self, by_anybody: bool) -> int:
        """Return the bytes that are held for anybody, or only for those without a valid key."""
        return sum(size for holder, size in self._bytes_by_holder.items() if by_anybody or not holder.is_known)

    def give_back(self, holder: Holder, size: int) -> None:
        """Count bytes of a holder no longer."""
        self._bytes_by_holder[holder] -= size
        if not self._bytes_by_holder[holder]:
            del self._bytes_by_holder[holder]
