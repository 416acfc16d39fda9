"""What a process says of a database that is away: when that begins, once a minute while it lasts, and when it is over."""

import time
from collections.abc import Callable
from threading import Lock

import structlog

REMINDER_S = 60.0  # between two lines of one outage
CONNECTIONS = "connections"  # the part of a process that works over its pool of connections, as requests do
SETTLED_S = 10.0  # an outage that begins sooner after the one before is told by its next reminder only

log = structlog.get_logger()


class Outage:
    """
    The outage of the database, as the parts of one process find it out; any thread may tell of its part.

    It begins with the first part that fails, and is over when every part that has failed has succeeded. That parts try
    again and fail again, each of them every second or so, is not worth a line.
    """

    def __init__(self, *, is_told: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        """Write no line unless `is_told`: a command that ends says why by itself."""
        self._is_told = is_told
        self._clock = clock
        self._lock = Lock()
        self._parts_away = set[str]()
        self._began_at = 0.0
        self._ended_at = float("-inf")
        self._tell_at = 0.0  # when the next failure is worth a line
        self._failures = 0  # since the last line
        self._is_open = False  # whether the last line says that the database is away

    def note_failure(self, part: str, error: Exception) -> None:
        """Note that this part could not work, because of the database."""
        with self._lock:
            now = self._clock()
            if not self._parts_away:
                self._began_at = now
                if now >= self._ended_at + SETTLED_S:
                    self._tell_at = now
            self._parts_away.add(part)
            self._failures += 1
            if self._is_told and now >= self._tell_at:
                self._tell_failure(error, round(now - self._began_at, 1), self._failures)
                self._tell_at, self._failures, self._is_open = now + REMINDER_S, 0, True

    def note_success(self, part: str) -> None:
        """Note that this part works with the database; costs nothing unless it has failed before."""
        if part not in self._parts_away:
            return
        with self._lock:
            self._parts_away.discard(part)
            if self._parts_away:
                return
            self._ended_at = self._clock()
            if self._is_open:
                self._tell_success(round(self._ended_at - self._began_at, 1))
                self._failures, self._is_open = 0, False

    def _tell_failure(self, error: Exception, away_s: float, failures: int) -> None:
        log.warning("database_unreachable", error=str(error), away_s=away_s, failures=failures)

    def _tell_success(self, away_s: float) -> None:
        log.warning("database_reached", away_s=away_s)
