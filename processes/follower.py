"""
Follows the log: brings read models to its head, batch after batch, whatever the log holds.

A batch that fails is tried again with half as many events, down to one event. The models that cannot take that event
pass over it, record that they did (projections/engine/isolation.py), and go on. A batch that breaks the connection is
tried again event by event at once, since each break may take as long as the database's time limit. After that, each
success doubles the size of the next batch.
"""

import time
from collections import Counter
from collections.abc import Sequence

import structlog
from eventsourcing.persistence import PersistenceError
from psycopg.errors import DeadlockDetected, LockNotAvailable, ReadOnlySqlTransaction, SerializationFailure

from processes.stopped_models import StoppedModels, is_lack
from processes.wakeup import Connection
from projections.engine import isolation, positions
from projections.engine.positions import Read
from projections.engine.read_model import ReadModel

# How often an event may break the connection, or take too long, with one model alone before that model passes over it.
MOST_BROKEN = 2
# No event and no read model is to blame for these: the same batch is tried again.
PASSING = (LockNotAvailable, DeadlockDetected, SerializationFailure, ReadOnlySqlTransaction)
RETRY_S = 5.0  # how long a read model that stopped, for instance because its tables are wrong, is left alone

log = structlog.get_logger()


class BatchSize:
    """
    How many events the next batch may have: it doubles after a success and halves after a failure.

    After a batch that broke the connection it is one, until all events of that batch are taken.
    """

    def __init__(self) -> None:
        self.limit = positions.BATCH
        self._at_work = 0  # how many events the current batch has
        # How many of the next events may have been what broke the connection; they are folded one by one.
        self._doubtful = 0

    def begin(self, events: int) -> None:
        """Note how many events the current batch has, for the case that it fails."""
        self._at_work = events

    def grow(self, events: int) -> None:
        """Double the size after a success, unless one of the events to come is still suspected."""
        self._doubtful = max(self._doubtful - events, 0)
        self.limit = 1 if self._doubtful else min(self.limit * 2, positions.BATCH)

    def shrink(self, *, is_broken: bool) -> None:
        """Halve the size after a failure; make it one if the failure broke the connection."""
        self.limit = max(self.limit // 2, 1)
        if is_broken and self._at_work > 1:
            self.limit, self._doubtful = 1, self._at_work

    def trust(self) -> None:
        """Suspect no event any longer: the one that broke the connection has been identified."""
        self._doubtful = 0


class Follower:
    """
    Moves the read models of one process along the log. `read` may be shared with other followers.

    `acts` says that the process acts on what the models say and so needs all of them up to date: see `step`. Followers that
    share `stopped_models` tell together of those that stopped.
    """

    def __init__(
        self,
        models: Sequence[ReadModel],
        read: Read,
        *,
        acts: bool = False,
        stopped_models: StoppedModels | None = None,
    ) -> None:
        self._models = tuple(models)
        self._read = read
        self._acts = acts
        self._stopped_models = stopped_models or StoppedModels()
        self._size = BatchSize()
        self._position: int | None = None  # where all models stand; None unless this follower has moved all of them
        self._has_moved = False  # whether the last step has moved all of them there
        self._is_apart = False  # whether the next step takes the models one by one
        self._broken = Counter[tuple[str, int]]()  # how often the connection broke, by model and position
        self._resting: dict[str, float] = {}  # name of a stopped model, and when to try it again
        self.is_kept_waiting = False  # whether another process held the models too long for the last `try_step`

    def try_step(self, conn: Connection) -> int:
        """Do the same as `step`; return 0 also while another process holds the models, since it moves them itself."""
        try:
            count = self.step(conn)
        except LockNotAvailable:
            self.is_kept_waiting = True
            return 0
        self.is_kept_waiting = False
        return count

    def step(self, conn: Connection) -> int:
        """
        Advance the models that are furthest behind by one batch; return how many events it had.

        Returns 0 when every model that can go on is at the head, and 1 after a failure, so that it is called again.
        Raises psycopg.Error or PersistenceError when the database is away, or has ended the connection because the
        batch took too long; the next batch is then a smaller one. Raises Outdated when the process acts on the models
        and one of them holds the rows of another version, since it would act on wrong rows. Any other process leaves
        such a model alone.
        """
        now = time.monotonic()
        models = [model for model in self._models if self._resting.get(model.name, 0.0) <= now]
        if self._is_apart:
            return self._step_apart(conn, models)
        try:
            count = self._advance(conn, models)
        except positions.Outdated:
            raise
        except Exception as error:
            is_away = _is_away(conn, error)
            self._is_apart = self._size.limit == 1 or not (is_away or isolation.is_events_fault(error))
            self._size.shrink(is_broken=conn.closed)
            if is_away:
                raise
            return 1
        self._size.grow(count)
        self._note_success(models)
        return count

    def _advance(self, conn: Connection, models: Sequence[ReadModel]) -> int:
        """
        Advance the models from the position where this follower left them; the transaction verifies that position.

        Reads their position only when nothing comes after the known one for the second time, or another process has moved
        them.
        """
        self._size.begin(0)
        left_at, self._position = self._position, None
        has_moved, self._has_moved = self._has_moved, False
        start, batch = left_at, [] if left_at is None else self._read(left_at, self._size.limit)
        if not batch and has_moved:
            self._position = left_at
            return 0
        if not batch:
            start = positions.reached(conn, models, all_of_them=self._acts)
            batch = [] if start is None else self._read(start, self._size.limit)
        if start is None or not batch:
            self._position = left_at if left_at == start else None
            return 0
        self._size.begin(len(batch))
        moved = positions.move(conn, models, start, batch, are_there=start == left_at)
        if moved.models == len(self._models):
            self._position, self._has_moved = start + moved.events, True
        return moved.events

    def _step_apart(self, conn: Connection, models: Sequence[ReadModel]) -> int:
        """
        Advance each model alone by a batch.

        A model that cannot take a single event passes over it; one that cannot work at all is stopped for a while. What
        broke the connection, or took too long, may be a disk that hangs: before the event is tried again, something
        else is written, which takes as long as the disk hangs.
        """
        for model in models:
            if (position := positions.reached(conn, [model])) is None:
                continue
            if (broken := self._broken[model.name, position]) >= MOST_BROKEN:
                self._size.trust()
                self._pass_over(conn, model, position, ConnectionError("the database ended the connection"))
                continue
            if broken:
                positions.write_durably(conn, model.name)
            try:
                positions.advance(conn, [model], self._read, self._size.limit)
            except Exception as error:
                if self._size.limit == 1 and (conn.closed or isolation.is_over_time(error)):
                    self._broken[model.name, position] += 1
                    if not conn.closed:
                        return 1
                if _is_away(conn, error):
                    raise
                if not isolation.is_events_fault(error):
                    self._stop(conn, model, error)
                elif self._size.limit == 1:
                    self._pass_over(conn, model, position, error)
                else:
                    self._size.shrink(is_broken=False)
            else:
                self._note_success([model])
        self._is_apart = False
        self._broken.clear()
        return 1

    def _stop(self, conn: Connection, model: ReadModel, error: Exception) -> None:
        """Leave a model alone for a while, since it cannot work at all."""
        if is_lack(error):
            self._stopped_models.note_failure(model.name, error)
        else:
            log.error("read_model_stopped", read_model=model.name, exc_info=error)
        positions.stop(conn, model.name, type(error).__name__)
        self._resting[model.name] = time.monotonic() + RETRY_S

    def _note_success(self, models: Sequence[ReadModel]) -> None:
        """Note that the models can work, in case that they had stopped."""
        if self._resting:
            for model in models:
                self._resting.pop(model.name, None)
                self._stopped_models.note_success(model.name)

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
    """Return whether the database is away, has ended the connection, or others stood in the way."""
    return conn.closed or isinstance(error, (PersistenceError, *PASSING))
