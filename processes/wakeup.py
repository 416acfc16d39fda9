"""Sleep until the log grows, or until a time: LISTEN wakes, the time-out stands behind it."""

from collections.abc import Callable
from typing import Any

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]


class Wakeup:
    """Listens on a connection of its own, which is made again when it breaks."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._conn: Connection | None = None

    def wait(self, timeout_s: float) -> None:
        """Returns as soon as something was appended, at the latest after `timeout_s`. Raises OperationalError."""
        if self._conn is None or self._conn.closed:
            self._conn = self._connect()
            self._conn.execute("LISTEN routines_log")
            return  # what came before we listened is not announced to us
        for _ in self._conn.notifies(timeout=max(timeout_s, 0.0), stop_after=1):
            pass

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
