"""
Follows the log: brings read models to its head, batch after batch, whatever the log holds.

A batch that fails is tried again with half as many events, down to one; the models that cannot take that one pass
over it, on the record (projections/engine/positions.py), and go on. One that breaks the connection is tried again event by event
at once, since each break may have taken as long as the database allows. After that, each success lets a batch have twice as
many again.
"""

import time
from collections import Counter
from collections.abc import Sequence

import structlog
from eventsourcing.persistence import PersistenceError
from psycopg.errors import LockNotAvailable

from domain.recorded import Recorded
from processes.wakeup import Connection
from projections.engine import positions
from projections.engine.positions import Read
from projections.engine.read_model import ReadModel

MOST_BROKEN = 2  # connections that an event may break with one model, once it has with all, before it is passed over
RETRY_S = 5.0  # how long a read model whose tables are not as they should be is left alone

log = structlog.get_logger()


class LastBatch:
    """Reads the log; who wants the same part as the one before gets that."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._place: tuple[int, int] | None = None
        self._batch: Sequence[Recorded] = ()

    def __call__(self, position: int, limit: int) -> Sequence[Recorded]:
        if not self._batch or self._place != (position, limit):
            self._place, self._batch = (position, limit), self._read(position, limit)
        return self._batch


class Follower:
    """
    Of one process. `read` may be shared with other followers.

    Who `acts` on what the models say needs all of them: see `step`.
    """

    def __init__(self, models: Sequence[ReadModel], read: Read, *, acts: bool = False) -> None:
        self._models = tuple(models)
        self._read = read
        self._acts = acts
        self._limit = positions.BATCH  # events of the next batch
        self._at_work = 0  # events of the batch that is being taken
        self._doubtful = 0  # events from the next on, one of which broke the connection: they are taken one by one
        self._is_apart = False  # whether the models have to take the next event one after the other
        self._broken = Counter[tuple[str, int]]()  # breaks of the connection, by model and position
        self._resting: dict[str, float] = {}  # name of a stopped model, and when to try it again
        self.is_kept_waiting = False  # whether another process held the models too long for the last `try_step`

    def try_step(self, conn: Connection) -> int:
        """The same as `step`; 0 also while another process holds the models, which is then moving them itself."""
        try:
            count = self.step(conn)
        except LockNotAvailable:
            self.is_kept_waiting = True
            return 0
        self.is_kept_waiting = False
        return count

    def step(self, conn: Connection) -> int:
        """
        One batch for the models that are furthest behind; returns how many events it had, or 1 to be called again.

        0: every model that can go on is at the head. Raises psycopg.Error or PersistenceError when the database is
        away, or has ended the connection because the batch took too long; the next batch is then a smaller one. Raises
        Outdated when the process acts on models of which one holds the rows of another version: it would act on what is
        not so. Any other process leaves such a model alone.
        """
        now = time.monotonic()
        models = [model for model in self._models if self._resting.get(model.name, 0.0) <= now]
        if self._is_apart:
            return self._step_apart(conn, models)
        self._at_work = 0
        try:
            count = positions.advance(conn, models, self._noted, self._limit, all_of_them=self._acts)
        except positions.Outdated:
            raise
        except Exception as error:
            is_away = _is_away(conn, error)
            self._is_apart = self._limit == 1 or not (is_away or positions.is_events_fault(error))
            self._limit = max(self._limit // 2, 1)
            if conn.closed and self._at_work > 1:
                self._limit, self._doubtful = 1, self._at_work
            if is_away:
                raise
            return 1
        self._doubtful = max(self._doubtful - count, 0)
        self._limit = 1 if self._doubtful else min(self._limit * 2, positions.BATCH)
        return count

    def _noted(self, position: int, limit: int) -> Sequence[Recorded]:
        batch = self._read(position, limit)
        self._at_work = len(batch)
        return batch

    def _step_apart(self, conn: Connection, models: Sequence[ReadModel]) -> int:
        """A batch for each model alone: who cannot take one event passes over it, and who cannot work at all stops."""
        for model in models:
            if (position := positions.reached(conn, [model])) is None:
                continue
            if self._broken[model.name, position] >= MOST_BROKEN:
                self._doubtful = 0
                self._pass_over(conn, model, position, ConnectionError("the database ended the connection"))
                continue
            try:
                positions.advance(conn, [model], self._read, self._limit)
            except Exception as error:
                if _is_away(conn, error):
                    if conn.closed and self._limit == 1:
                        self._broken[model.name, position] += 1
                    raise
                if not positions.is_events_fault(error):
                    log.exception("read_model_stopped", read_model=model.name)
                    positions.stop(conn, model.name, type(error).__name__)
                    self._resting[model.name] = time.monotonic() + RETRY_S
                elif self._limit == 1:
                    self._pass_over(conn, model, position, error)
                else:
                    self._limit //= 2
        self._is_apart = False
        self._broken.clear()
        return 1

    def _pass_over(self, conn: Connection, model: ReadModel, position: int, error: Exception) -> None:
        recorded = positions.isolate(conn, model, self._read, position, type(error).__name__)
        if recorded is not None:
            log.error(
                "event_isolated",
                read_model=model.name,
                position=recorded.position,
                name=recorded.name,
                stream_id=str(recorded.stream_id),
                company_id=str(recorded.company_id),
                exc_info=error,
            )


def _is_away(conn: Connection, error: Exception) -> bool:
    """Whether the database is away, or has ended the connection."""
    return conn.closed or isinstance(error, PersistenceError | LockNotAvailable)
