"""The projector: keeps every read model at the head of the log."""

import time
from collections.abc import Callable, Sequence
from threading import Event as Stop

import psycopg
import structlog
from eventsourcing.persistence import PersistenceError

from processes.follower import Follower, LastBatch
from processes.wakeup import Connection, Wakeup
from projections.engine import positions
from projections.engine.positions import Read
from projections.engine.read_model import ReadModel

POLL_S = 0.5
TROUBLE_S = 1.0  # pause after the database could not be reached
REBUILD_CHECK_S = 60.0  # after how long it looks again whether this version can read what another passed over

log = structlog.get_logger(process="projector")


class Projector:
    """
    Moves read models together; one that cannot take an event passes over it alone, on the record.

    Those that another process acts on are moved apart from all others: it waits while they are.
    """

    def __init__(self, models: Sequence[ReadModel], read: Read) -> None:
        self._models, self._read = models, read
        acting = dict.fromkeys(sorted({model.polled_by or "" for model in models}, reverse=True))  # the others last
        groups = [[model for model in models if (model.polled_by or "") == who] for who in acting]
        shared = LastBatch(read)
        self._followers = [Follower(group, shared) for group in groups]
        self._check_at = 0.0

    def step(self, conn: Connection) -> int:
        """One batch; returns how many events it had at most. 0: everything that can go on is at the head."""
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + REBUILD_CHECK_S
            if rebuilt := positions.rebuild_outdated(conn, self._models, self._read):
                log.info("read_models_rebuilt", read_models=rebuilt)
        return max(follower.try_step(conn) for follower in self._followers)


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
