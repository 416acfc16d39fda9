"""Sleep until the log grows, or until a time: LISTEN wakes, the time-out stands behind it."""

import time
from collections.abc import Callable
from threading import Event as Stop
from typing import Any

import psycopg

LOOK_S = 0.5  # how long a stop may go unnoticed
Connection = psycopg.Connection[tuple[Any, ...]]


class Wakeup:
    """Listens on a connection of its own, which is made again when it breaks."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._conn: Connection | None = None

    def wait(self, timeout_s: float, stop: Stop) -> None:
        """Until something is appended, the time is up, or we are to stop. Raises OperationalError."""
        if self._conn is None or self._conn.closed:
            self._conn = self._connect()
            self._conn.execute("LISTEN routines_log")
            return  # what came before we listened is not announced to us
        until = time.monotonic() + timeout_s
        while not stop.is_set() and (left_s := until - time.monotonic()) > 0:
            if list(self._conn.notifies(timeout=min(left_s, LOOK_S), stop_after=1)):
                return

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
