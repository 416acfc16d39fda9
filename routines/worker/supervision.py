"""Looks, while a command runs, whether its work is still the worker's, and ends the command in time when it may not be."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event as Stop
from threading import Lock, Thread
from typing import Self

from routines.worker import guard
from routines.worker.errors import CannotWork, RequestRefused, Stopped
from routines.worker.guard import clock

LOOK_S = 3.0
OF_A_LEASE = 4  # how many times within its length a lease is renewed, and the work looked at
# The share of an unrenewed lease after which the command gets SIGTERM, so that it ends before the lease does.
END_AFTER = 2 / 3
KILL_AFTER = 5 / 6  # the share of it after which the command gets SIGKILL
NOT_RENEWED = "the lease could not be renewed in time"
STOPPED = "the worker was stopped"

Look = Callable[["Lease"], str | None]


class Guard:
    """Starts the guard of this worker (`guard.py`) before the first command, and tells it of all of them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._times: dict[int, tuple[float, float]] = {}

    def start(self) -> None:
        """Start the guard, so that it is there when a command begins; a second time does nothing."""
        with self._lock:
            self._tell_guard("")

    def watch(self, group: int, end_at: float, kill_at: float) -> None:
        """Have the process group ended then, unless it is watched anew or forgotten before."""
        with self._lock:
            self._times[group] = (end_at, kill_at)
            self._tell_guard(f"{group} {end_at} {kill_at}\n")

    def forget(self, group: int) -> None:
        """Watch the process group no longer: it has ended."""
        with self._lock:
            self._times.pop(group, None)
            self._tell_guard(f"{group}\n")

    def close(self) -> None:
        """End the guard. It ends the commands that are left."""
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
                self._process.wait()
                self._process = None

    def _tell_guard(self, text: str) -> None:
        """Write to the guard; to a new one, of all commands, when somebody has killed it."""
        if self._process is None or self._process.poll() is not None:
            self._process = _start()
            text = "".join(f"{group} {end_at} {kill_at}\n" for group, (end_at, kill_at) in self._times.items())
        if self._process.stdin is not None:
            self._process.stdin.write(text.encode())


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(guard.__file__))],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C and Ctrl-Z in a terminal are for the worker
    )


class Lease:
    """What a worker knows of a lease: when it was renewed, and so when the command has to end. Without renewal it ends."""

    def __init__(self, length_s: float, renewed_at: float) -> None:
        self.length_s = length_s
        self._renewed_at = renewed_at
        self.is_held = True  # false once the command itself has given the work away: then no lease limits its time

    def renew(self, asked_at: float) -> None:
        """
        Note that the server has renewed the lease, by a request that was sent at `asked_at`.

        That is of no use once the command has to end: the guard may have ended it already.
        """
        if not self.is_over:
            self._renewed_at = asked_at

    def drop(self) -> None:
        """Note that there is no lease any more, and need not be."""
        self.is_held = False

    @property
    def is_due(self) -> bool:
        """Whether it is to be renewed."""
        return self.is_held and clock() >= self._renewed_at + self.length_s / OF_A_LEASE

    @property
    def is_over(self) -> bool:
        """Whether the command has to end, since the lease was not renewed."""
        return clock() >= self.end_at

    @property
    def end_at(self) -> float:
        """When the command gets SIGTERM."""
        return self._renewed_at + self.length_s * END_AFTER if self.is_held else float("inf")

    @property
    def kill_at(self) -> float:
        """When the command gets SIGKILL."""
        return self._renewed_at + self.length_s * KILL_AFTER if self.is_held else float("inf")


class Supervision:
    """
    Calls `look` every few seconds while it is entered; `look` renews the lease and returns why the work is lost, or None.

    A work is lost as well when the server refuses to tell. `lost` is the reason from then on.
    """

    def __init__(self, look: Look, stop: Stop, lease: Lease, guard: Guard) -> None:
        self.lost: str | None = None
        self.lease = lease
        self._look = look
        self._stop = stop
        self._guard = guard
        self._group: int | None = None
        self._lock = Lock()
        self._is_over = Stop()
        self._thread = Thread(target=self._supervise_lease, daemon=True)

    def __enter__(self) -> Self:
        self._guard.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def begin(self, group: int) -> None:
        """Have the guard end this process group when the worker cannot."""
        with self._lock:
            self._group = group
            self._guard.watch(group, self.lease.end_at, self.lease.kill_at)

    def end(self) -> None:
        """Note that the command has ended."""
        with self._lock:
            if self._group is not None:
                self._guard.forget(self._group)
            self._group = None

    def is_set(self) -> bool:
        """Return whether the command is to be stopped: the worker is to stop, has lost the work, or may lose it soon."""
        return self._stop.is_set() or self.lost is not None or self.lease.is_over

    @property
    def reason(self) -> str:
        """Why the command is stopped, when it is."""
        if self.lost is not None:
            return self.lost
        return NOT_RENEWED if self.lease.is_over else STOPPED

    def _supervise_lease(self) -> None:
        while self.lost is None and not self._is_over.wait(min(LOOK_S, self.lease.length_s / OF_A_LEASE)):
            before = self.lease.end_at
            try:
                self.lost = self._look(self.lease)
            except (RequestRefused, CannotWork) as error:
                self.lost = str(error)
            except Stopped:
                return
            with self._lock:
                if self._group is not None and self.lease.end_at != before:
                    self._guard.watch(self._group, self.lease.end_at, self.lease.kill_at)
