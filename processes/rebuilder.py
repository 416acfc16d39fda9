"""Rebuilding outdated read models while the projector moves on the others."""

import math
import time
from collections.abc import Sequence
from functools import partial
from threading import Event as Stop

import structlog
from eventsourcing.persistence import PersistenceError

from processes.wakeup import Connection
from projections.engine import rebuilds
from projections.engine.folding_aside import ReadPart
from projections.engine.read_model import ReadModel

PROGRESS_S = 5.0  # between two log lines about one rebuild

log = structlog.get_logger(process="projector")


class Rebuilder:
    """
    Rebuilds the outdated read models in a thread, while the projector moves on the others.

    Readers are shown the old rows meanwhile.
    """

    def __init__(self, models: Sequence[ReadModel], read: ReadPart, stop: Stop) -> None:
        self._models, self._read, self._stop = models, read, stop
        self._logged_at = -math.inf

    def rebuild(self, conn: Connection) -> None:
        """
        Rebuild every model that is outdated now. A rebuild that fails is logged, and the next one begins.

        Raises Stopped when the process is to end, and psycopg.Error or PersistenceError when the database is away.
        """
        for model in rebuilds.find_outdated(conn, self._models):
            try:
                is_rebuilt = rebuilds.rebuild_if_outdated(
                    conn, model, self._read, partial(self._note_progress, model.name)
                )
            except (Stopped, PersistenceError):
                raise
            except Exception:
                if conn.closed:
                    raise
                log.exception("rebuild_failed", read_model=model.name)
            else:
                if is_rebuilt:
                    log.info("read_model_rebuilt", read_model=model.name)

    def _note_progress(self, name: str, position: int) -> None:
        if self._stop.is_set():
            raise Stopped
        if time.monotonic() >= self._logged_at + PROGRESS_S:
            self._logged_at = time.monotonic()
            log.info("read_model_rebuilding", read_model=name, position=position)


class Stopped(Exception):
    """The process is to end in the midst of a rebuild; the next process starts that rebuild again."""
