"""Claim files: they record which worker of this machine has which work session."""

import fcntl
import os
from pathlib import Path
from typing import IO
from uuid import UUID, uuid4

from routines.worker.errors import PASSING, CannotWork, NotNow


class Claim:
    """A work session on one issue, recorded by a file that is locked as long as the worker or the command lives."""

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path = path
        self.lock = lock
        self.session = UUID(path.suffix.removeprefix("."))

    def forget(self) -> None:
        """Remove the file: no other worker needs to resume this session."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; the command may still hold its lock."""
        self.lock.close()


def claim(directory: Path, issue_id: UUID, *, fresh: bool) -> Claim | None:
    """
    Claim the session that a dead worker left on the issue, else a new one if `fresh` allows it.

    Returns None where another worker of this machine has the issue, or there is nothing to resume. Raises CannotWork, and NotNow
    where it may succeed later.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        earlier = min(directory.glob(f"{issue_id}.*"), default=None)
        if earlier is None and not fresh:
            return None
        return _locked(earlier or directory / f"{issue_id}.{uuid4()}", "rb" if earlier else "xb")
    except OSError as error:
        if error.errno in PASSING:
            raise NotNow(f"cannot keep claims in {directory} at the moment ({error.strerror})") from None
        raise CannotWork(f"cannot keep claims in {directory} ({error.strerror}); see --state-dir") from None


def _locked(path: Path, mode: str) -> Claim | None:
    try:
        lock: IO[bytes] = path.open(mode)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.fstat(lock.fileno()).st_nlink > 0  # 0 if its owner removed it between our open and our lock
    except BlockingIOError:
        ours = False
    if ours:
        return Claim(path, lock)
    lock.close()
    return None
