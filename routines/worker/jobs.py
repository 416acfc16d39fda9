"""Runs the jobs of a worker: several at once, each in a thread."""

from collections.abc import Callable, Iterator
from threading import Event as Stop
from threading import Lock, Semaphore, Thread
from typing import Protocol, TypeVar

LOOK_S = 0.1  # Python handles signals in the main thread, between two waits: so no wait of it is longer


class Finished(Protocol):
    """What became of a job."""

    @property
    def outcome(self) -> str:
        """What became of it, in a word."""


F_co = TypeVar("F_co", bound=Finished, covariant=True)
Job = Callable[[], F_co]


class Jobs:
    """Runs up to `most` jobs at once, and tells what became of each. A job that fails stops all others."""

    def __init__(self, most: int, stop: Stop, tell: Callable[[Finished], None]) -> None:
        self.outcomes: set[str] = set()
        self._stop = stop
        self._tell = tell
        self._room = Semaphore(most)
        self._lock = Lock()
        self._threads: list[Thread] = []
        self._error: BaseException | None = None

    def start(self, jobs: Iterator[Job[Finished]]) -> int:
        """Start the jobs, each when there is room, before the next is asked for; return how many there were."""
        started_count = 0
        while True:
            while not self._room.acquire(timeout=LOOK_S):
                pass
            try:
                job = next(jobs, None)
            except BaseException:
                self._room.release()
                raise
            if job is None:
                self._room.release()
                return started_count
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._threads.append(Thread(target=self._run, args=(job,)))
            self._threads[-1].start()
            started_count += 1

    def finish(self) -> None:
        """Wait until all jobs have ended. Raises the error of the first that failed."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(LOOK_S)
        if self._error is not None:
            raise self._error

    def _run(self, job: Job[Finished]) -> None:
        try:
            outcome = job()
            with self._lock:
                self.outcomes.add(outcome.outcome)
                self._tell(outcome)
        except BaseException as error:  # noqa: BLE001 it is raised by `finish`
            with self._lock:
                self._error = self._error or error
            self._stop.set()
        finally:
            self._room.release()
