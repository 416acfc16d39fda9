"""Lines of the log about what a stranger can cause as often as he likes: one a minute, with how often it was so."""

import time
from collections.abc import Callable

import structlog

PERIOD_S = 60.0

log = structlog.get_logger(process="web")


class RareLine:
    """A warning that is written when it is due first, and then once a minute at most."""

    def __init__(self, event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._clock = clock
        self._next_at: float | None = None
        self._times = 0

    def write(self, **fields: object) -> None:
        """`times` in the line says how often it was due since the last one."""
        self._times += 1
        if self._next_at is None or self._clock() >= self._next_at:
            log.warning(self._event, times=self._times, **fields)
            self._next_at, self._times = self._clock() + PERIOD_S, 0
