"""Looks, while a command runs, whether its work is still the worker's."""

from collections.abc import Callable
from threading import Event as Stop
from threading import Thread
from typing import Self

from routines.worker.errors import CannotWork, Refused, Stopped

LOOK_S = 3.0

Look = Callable[[], str | None]


class Supervision:
    """
    Calls `look` every few seconds while it is entered; `look` returns why the work is lost, or None.

    A work is lost as well when the server refuses to tell. `lost` is the reason from then on.
    """

    def __init__(self, look: Look, stop: Stop) -> None:
        self.lost: str | None = None
        self._look = look
        self._stop = stop
        self._over = Stop()
        self._thread = Thread(target=self._supervise, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def is_set(self) -> bool:
        """Return whether the command is to be stopped: the worker is to stop, or has lost the work."""
        return self._stop.is_set() or self.lost is not None

    def _supervise(self) -> None:
        while self.lost is None and not self._over.wait(LOOK_S):
            try:
                self.lost = self._look()
            except (Refused, CannotWork) as error:
                self.lost = str(error)
            except Stopped:
                return
