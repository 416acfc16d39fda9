"""Sleeps until the log grows (LISTEN of Postgres), or until a time-out in case that is not heard."""

import time
from collections.abc import Callable
from threading import Event as Stop
from typing import Any

import psycopg

LOOK_S = 0.5  # the longest time until a stop is noticed
Connection = psycopg.Connection[tuple[Any, ...]]


class Wakeup:
    """Listens on a connection of its own, and opens another when it breaks."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._conn: Connection | None = None

    def wait(self, timeout_s: float, stop: Stop) -> None:
        """Wait until something is appended, the time is up, or `stop` is set. Raises psycopg.OperationalError."""
        if self._conn is None or self._conn.closed:
            self._conn = self._connect()
            self._conn.execute("LISTEN routines_log")
            # The caller has to look at the log once more: events that were appended before LISTEN are not
            # announced.
            return
        until = time.monotonic() + timeout_s
        while not stop.is_set() and (left_s := until - time.monotonic()) > 0:
            if list(self._conn.notifies(timeout=min(left_s, LOOK_S), stop_after=1)):
                return

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._conn is not None:
            self._conn.close()
