"""The rows that could not be settled: each is left alone for a while, and given up after repeated failures."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from uuid import UUID

REST = timedelta(seconds=5)  # how long a row that could not be settled is left alone
PATIENCE = 3  # failures in a row after which an occurrence is recorded as failed, a backfill as cancelled


class Quarantine:
    """The ids of triggers, runs (chained ones as well) and backfills that a scheduler leaves alone, and how often each failed in a row."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._resting: dict[UUID, datetime] = {}
        self._failures: dict[UUID, int] = {}

    @property
    def ends(self) -> Iterable[datetime]:
        """The moments at which each may be tried again."""
        return self._resting.values()

    def release(self, now: datetime) -> None:
        """
        Forget the ids whose rest is over by now; their failures stay counted.

        A rest that is longer than any began before the clock was set back, so it is over as well.
        """
        self._resting = {id_: end for id_, end in self._resting.items() if now < end <= now + REST}

    def holds(self, id_: UUID) -> bool:
        """Return whether the id is to be left alone."""
        return id_ in self._resting

    def rest(self, ids: Iterable[UUID]) -> None:
        """Leave the ids alone for REST, without counting a failure."""
        self._resting |= dict.fromkeys(ids, self._clock() + REST)

    def fail(self, id_: UUID) -> bool:
        """Count a failure and leave the id alone for REST; return whether it has failed PATIENCE times in a row."""
        self._failures[id_] = self._failures.get(id_, 0) + 1
        self.rest([id_])
        return self._failures[id_] >= PATIENCE

    def succeed(self, ids: Iterable[UUID]) -> None:
        """Forget the failures of the ids: they were settled."""
        for id_ in ids:
            self._failures.pop(id_, None)
