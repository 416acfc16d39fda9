"""Foresight: what comes due soon is read before its time, so that a burst finds it in memory."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from eventsourcing.persistence import PersistenceError

from application.execute import Executor
from application.use_cases import runs
from domain.routines.trigger import DueTrigger
from processes.wakeup import Connection
from projections.engine import positions
from projections.firing import triggers_due

PREFETCH_WINDOW = timedelta(seconds=5)  # so long before its time, or longer, what a firing rests on is read
AT_MOST = 10_000  # firings that are read ahead at once: some 75 MB
BEGINNING = datetime.min.replace(tzinfo=UTC)


class Prefetcher:
    """Of one scheduler: it takes a step when it has nothing else to do."""

    def __init__(self, executor: Executor, batch: int) -> None:
        self._executor = executor
        self._batch = batch
        self._many = batch  # rows of the next batch
        self._coming: Sequence[DueTrigger] = ()  # what comes due soon, and is not read yet
        self._until = BEGINNING  # up to when that is known

    def step(self, conn: Connection, now: datetime) -> None:
        """
        Reads a batch at most, since what comes due meanwhile shall not wait.

        One that is too much is tried again with half as many rows; a row that is too much alone is left to its time.
        """
        if not self._coming and not now + PREFETCH_WINDOW <= self._until <= now + 2 * PREFETCH_WINDOW:
            known = self._until if now < self._until < now + PREFETCH_WINDOW else now
            self._until = now + 2 * PREFETCH_WINDOW
            self._coming = triggers_due.due(conn, self._until, after=known, limit=AT_MOST)
        if self._coming:
            batch = self._coming[: self._many]
            if self._is_read(batch) or len(batch) == 1:
                self._coming, self._many = self._coming[len(batch) :], min(self._many * 2, self._batch)
            else:
                self._many = len(batch) // 2

    def _is_read(self, batch: Sequence[DueTrigger]) -> bool:
        """Raises PersistenceError when the database is away."""
        try:
            return self._executor.read_ahead(lambda work: runs.load_due(work, batch))
        except PersistenceError as error:
            if positions.is_away(error):
                raise
            return False

    @property
    def is_over(self) -> bool:
        """Whether all that it knows of is read."""
        return not self._coming

    def wake_for(self, moment: datetime) -> datetime:
        """When the scheduler has to be awake for what comes due at a moment: then, or early enough to read it."""
        return moment if moment <= self._until else moment - PREFETCH_WINDOW
