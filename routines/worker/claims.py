"""Claim files: they record which worker of this machine has which work session."""

import fcntl
import os
from pathlib import Path
from typing import IO
from uuid import UUID, uuid4

from routines.worker.errors import PASSING, CannotWork, MachineNotReady


class Claim:
    """A work session on one issue, recorded by a file that is locked as long as the worker or the command lives."""

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path = path
        self.lock = lock
        self.session = UUID(path.suffix.removeprefix("."))

    def begin_attempt(self) -> int:
        """
        Count one more start of the command in this session, and return which one it is: the file has a byte for each.

        Raises CannotWork, and MachineNotReady where it may succeed later.
        """
        try:
            self.lock.seek(0, os.SEEK_END)
            self.lock.write(b".")
        except OSError as error:
            raise _describe_trouble(self.path.parent, error) from None
        return self.lock.tell()

    def forget(self) -> None:
        """Remove the file: no other worker needs to resume this session."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; the command may still hold its lock."""
        self.lock.close()


def claim(directory: Path, issue_id: UUID, *, fresh: bool) -> Claim | None:
    """
    Claim a new session on the issue if it is `fresh`, else the one that a dead worker left.

    Returns None where another worker of this machine has the issue, or its command still runs, or there is nothing to
    resume. A fresh issue is resumed by nobody: a session that was left on it never began, or has lost it. Raises
    CannotWork, and MachineNotReady where it may succeed later.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        earlier = min(directory.glob(f"{issue_id}.*"), default=None)
        if earlier is None:
            return _lock_file(directory / f"{issue_id}.{uuid4()}", "xb") if fresh else None
        old_lock = _lock_file(earlier, "r+b")
        if old_lock is None or not fresh:
            return old_lock
        old_lock.forget()
        old_lock.close()
        return _lock_file(directory / f"{issue_id}.{uuid4()}", "xb")
    except OSError as error:
        raise _describe_trouble(directory, error) from None


def _lock_file(path: Path, mode: str) -> Claim | None:
    try:
        lock: IO[bytes] = path.open(mode, buffering=0)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_own = os.fstat(lock.fileno()).st_nlink > 0  # 0 if its owner removed it between our open and our lock
    except BlockingIOError:
        is_own = False
    if is_own:
        return Claim(path, lock)
    lock.close()
    return None


def _describe_trouble(directory: Path, error: OSError) -> MachineNotReady | CannotWork:
    if error.errno in PASSING:
        return MachineNotReady(f"cannot keep claims in {directory} at the moment ({error.strerror})")
    return CannotWork(f"cannot keep claims in {directory} ({error.strerror}); see --state-dir")
