"""A bounded resource that companies share: none of them may take so much that nothing is left for another."""

from collections import Counter
from uuid import UUID

Holder = UUID | None


class Shares:
    """
    Shares `total` units among holders. A holder may take more only while as many stay free as it then has.

    So one company alone has half at most. Of several that want everything each gets about the same, and as much again
    stays free for the next one (dynamic thresholds, as switches share their buffers). While nobody holds anything, one
    request may take all units, even more than `total`. `most_of_one` bounds what a holder may have in several requests.
    """

    def __init__(self, total: int, most_of_one: int | None = None) -> None:
        self._total = total
        self._most_of_one = total if most_of_one is None else most_of_one
        self._own: Counter[Holder] = Counter()

    def fits(self, holder: Holder, amount: int = 1) -> bool:
        """Return whether the holder may take so many units now."""
        own, free = self._own[holder], self._total - self._own.total()
        if free == self._total:
            return True
        if not own:
            return amount <= free
        return own + amount <= min(free - amount, self._most_of_one)

    def take(self, holder: Holder, amount: int = 1) -> None:
        """Record that the holder has so many units more. It is not checked: ask `fits` first."""
        self._own[holder] += amount

    def give_back(self, holder: Holder, amount: int = 1) -> None:
        """Record that the holder has so many units less."""
        self._own[holder] -= amount
        if not self._own[holder]:
            del self._own[holder]
