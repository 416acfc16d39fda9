"""Prefetching: what comes due soon is read into the stream cache, so that a burst of firings finds it in memory."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from eventsourcing.persistence import PersistenceError

from application.execute import Executor
from application.use_cases import schedule_firing
from domain.routines.trigger import DueTrigger
from processes.wakeup import Connection
from projections.engine import isolation
from projections.firing import triggers_due

PREFETCH_WINDOW = timedelta(seconds=5)  # how long before a firing at least the streams are read that it rests on
AT_MOST = 10_000  # firings that are prefetched at once: some 75 MB
BEGINNING = datetime.min.replace(tzinfo=UTC)


class Prefetcher:
    """Prefetches for one scheduler, which calls `step` when nothing is due. `batch` is the most rows of a step."""

    def __init__(self, executor: Executor, batch: int) -> None:
        self._executor = executor
        self._batch = batch
        self._many = batch  # rows of the next batch
        self._coming: Sequence[DueTrigger] = ()  # what comes due soon and is not read yet
        self._until = BEGINNING  # everything that comes due up to here has been looked for

    def step(self, conn: Connection, now: datetime) -> None:
        """
        Read at most one batch, so that what comes due meanwhile does not wait.

        A batch that fails is tried again with half as many rows; a single row that fails is read when it is due.
        """
        if not self._coming and not now + PREFETCH_WINDOW <= self._until <= now + 2 * PREFETCH_WINDOW:
            start = self._until if now < self._until < now + PREFETCH_WINDOW else now
            self._until = now + 2 * PREFETCH_WINDOW
            self._coming = triggers_due.due(conn, self._until, after=start, limit=AT_MOST)
        if self._coming:
            batch = self._coming[: self._many]
            if self._is_read(batch) or len(batch) == 1:
                self._coming, self._many = self._coming[len(batch) :], min(self._many * 2, self._batch)
            else:
                self._many = len(batch) // 2

    def _is_read(self, batch: Sequence[DueTrigger]) -> bool:
        """Return whether the batch could be read. Raises PersistenceError when the database is away."""
        try:
            return self._executor.read_ahead(lambda work: schedule_firing.load_due(work, batch))
        except PersistenceError as error:
            if isolation.is_away(error):
                raise
            return False

    @property
    def is_over(self) -> bool:
        """Whether everything that it found to come due soon is read."""
        return not self._coming

    def wake_for(self, moment: datetime) -> datetime:
        """Return when to wake for what comes due at the moment: at that moment, or early enough to prefetch."""
        return moment if moment <= self._until else moment - PREFETCH_WINDOW
