"""The projector: keeps every read model at the head of the log."""

import time
from collections.abc import Callable, Sequence
from threading import Event as Stop

import psycopg
import structlog
from eventsourcing.persistence import PersistenceError

from domain.recorded import Recorded
from processes.wakeup import Connection, Wakeup
from projections import positions
from projections.positions import Read
from projections.read_model import ReadModel

POLL_S = 0.5
RETRY_S = 5.0  # how long a read model that failed is left alone
TROUBLE_S = 1.0  # pause after the database could not be reached

log = structlog.get_logger(process="projector")


class Recent:
    """Reads the log; who wants the same part as the one before gets that."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._asked: tuple[int, int] | None = None
        self._found: Sequence[Recorded] = ()

    def __call__(self, position: int, limit: int) -> Sequence[Recorded]:
        if not self._found or self._asked != (position, limit):
            self._asked, self._found = (position, limit), self._read(position, limit)
        return self._found


class Projector:
    """
    Moves read models together; one that fails stops alone and is tried again.

    Those that another process acts on are moved apart from the others: it waits while they are.
    """

    def __init__(self, models: Sequence[ReadModel], read: Read) -> None:
        self._groups = [[model for model in models if model.acted_on is acted_on] for acted_on in (True, False)]
        self._read = Recent(read)
        self._resting: dict[str, float] = {}  # name of a failed model, and when to try it again

    def step(self, conn: Connection) -> int:
        """One batch; returns how many events it had at most. 0: everything that can go on is at the head."""
        return max(self._step(conn, group) for group in self._groups)

    def _step(self, conn: Connection, group: Sequence[ReadModel]) -> int:
        now = time.monotonic()
        ready = [model for model in group if self._resting.get(model.name, 0.0) <= now]
        try:
            return positions.advance(conn, ready, self._read)
        except Exception as error:
            if _is_away(conn, error):
                raise
            return sum(self._step_alone(conn, model) for model in ready)

    def _step_alone(self, conn: Connection, model: ReadModel, limit: int = positions.BATCH) -> int:
        """A batch for one model; when it cannot take it, half of it, down to the event that it cannot take."""
        try:
            return positions.advance(conn, [model], self._read, limit)
        except Exception as error:
            if _is_away(conn, error):
                raise
            if limit == 1:
                log.exception("read_model_stopped", read_model=model.name)
                positions.stop(conn, model.name, type(error).__name__)
                self._resting[model.name] = time.monotonic() + RETRY_S
                return 0
        return self._step_alone(conn, model, limit // 2)


def _is_away(conn: Connection, error: Exception) -> bool:
    """Whether it is the database that is in trouble, and no read model or batch that it cannot take."""
    return conn.closed or isinstance(error, PersistenceError | psycopg.errors.LockNotAvailable)


def run(projector: Projector, connect: Callable[[], Connection], stop: Stop) -> None:
    """Until stopped; a database that is away is waited for."""
    wakeup = Wakeup(connect)
    while not stop.is_set():
        try:
            with connect() as conn:
                while not stop.is_set():
                    if not projector.step(conn):
                        wakeup.wait(POLL_S, stop)
        except (psycopg.Error, PersistenceError) as error:
            log.warning("database_unreachable", error=str(error))
            stop.wait(TROUBLE_S)
    wakeup.close()
