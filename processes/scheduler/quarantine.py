"""What could not be settled: it is left alone for a while, and given up when it fails again and again."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from uuid import UUID

REST = timedelta(seconds=5)  # how long what cannot be settled is left alone
PATIENCE = 3  # failures in a row after which an occurrence is recorded as failed, a backfill as cancelled


class Quarantine:
    """The ids of triggers, runs and backfills that a scheduler leaves alone, and how often each failed in a row."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._resting: dict[UUID, datetime] = {}
        self._failures: dict[UUID, int] = {}

    @property
    def ends(self) -> Iterable[datetime]:
        """When each of them may be tried again."""
        return self._resting.values()

    def release(self, now: datetime) -> None:
        """Lets those go whose time is over."""
        self._resting = {id_: end for id_, end in self._resting.items() if end > now}

    def holds(self, id_: UUID) -> bool:
        """Whether it is to be left alone."""
        return id_ in self._resting

    def rest(self, ids: Iterable[UUID]) -> None:
        """Leaves them alone for REST; that is no failure of theirs."""
        self._resting |= dict.fromkeys(ids, self._clock() + REST)

    def fail(self, id_: UUID) -> bool:
        """Notes a failure, and leaves it alone for REST. Returns whether it has failed PATIENCE times in a row."""
        self._failures[id_] = self._failures.get(id_, 0) + 1
        self.rest([id_])
        return self._failures[id_] >= PATIENCE

    def succeed(self, ids: Iterable[UUID]) -> None:
        """Forgets their failures."""
        for id_ in ids:
            self._failures.pop(id_, None)
