"""Log lines about events that anybody can cause at will: at most one a minute, with the number of events."""

import time
from collections.abc import Callable

import structlog

PERIOD_S = 60.0

log = structlog.get_logger(process="web")


class RareLine:
    """A warning that is written for the first event at once, and then at most once a minute."""

    def __init__(self, event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._clock = clock
        self._next_at: float | None = None
        self._times = 0

    def write(self, **fields: object) -> None:
        """Count an event and write the line if it is due. `times` is the number of events since the last line."""
        self._times += 1
        if self._next_at is None or self._clock() >= self._next_at:
            log.warning(self._event, times=self._times, **fields)
            self._next_at, self._times = self._clock() + PERIOD_S, 0
