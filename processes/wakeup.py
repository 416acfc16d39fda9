"""Sleeps until the log grows (LISTEN of Postgres), or until a time-out in case that is not heard."""

import select
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
            # `notifies` would wait as well, but its looks are half of what an idle process takes of the processor.
            if _is_readable(self._conn, min(left_s, LOOK_S)) and list(self._conn.notifies(timeout=0, stop_after=1)):
                return

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._conn is not None:
            self._conn.close()


def _is_readable(conn: Connection, timeout_s: float) -> bool:
    """Return whether the server says something within that time, also when it hangs up."""
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
