"""Something bounded that companies share: none of them may take so much that nothing is left for another."""

from collections import Counter
from uuid import UUID

Holder = UUID | None


class Shares:
    """
    `total` units. Who has some may take more as long as others could then still take as many as it has.

    So one company alone has half at most, and of several that want everything each gets about the same, and as much
    again stays free for whoever comes next (dynamic thresholds, as switches share their buffers). While nobody
    holds anything, one request may take all, even more than `total`.
    """

    def __init__(self, total: int, most_of_one: int | None = None) -> None:
        self._total = total
        self._most_of_one = total if most_of_one is None else most_of_one
        self._own: Counter[Holder] = Counter()

    def fits(self, holder: Holder, amount: int = 1) -> bool:
        """Whether the holder may take it now."""
        own, free = self._own[holder], self._total - self._own.total()
        if free == self._total:
            return True
        if not own:
            return amount <= free
        return own + amount <= min(free - amount, self._most_of_one)

    def take(self, holder: Holder, amount: int = 1) -> None:
        self._own[holder] += amount

    def give_back(self, holder: Holder, amount: int = 1) -> None:
        self._own[holder] -= amount
        if not self._own[holder]:
            del self._own[holder]
