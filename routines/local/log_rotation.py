"""
Rotation of the log files by size: `web.log` is copied to `web.log.1`, that to `web.log.2`, and so on.

The processes keep writing to the same file, which is emptied once it has been copied: Postgres, which may outlive us,
and the parts need not know. They append, so they go on at the beginning. What is written in the moment between the end
of the copy and the emptying is lost.
"""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from routines.errors import CannotStart
from routines.local.private_files import open_private

CHECK_S = 1.0


class LogBounds(msgspec.Struct, frozen=True):
    """How large a log file may grow, and how many older ones are kept of each."""

    max_bytes: int
    old_files: int


class LogRotation:
    """Keeps the log files of a directory within bounds."""

    def __init__(self, directory: Path, bounds: LogBounds) -> None:
        self._directory = directory
        self._bounds = bounds
        self._check_at = 0.0

    def check(self) -> None:
        """Rotate each file that has grown too large; at most once in CHECK_S. A file that cannot be rotated stays."""
        if time.monotonic() < self._check_at:
            return
        self._check_at = time.monotonic() + CHECK_S
        for log in self._directory.glob("*.log"):
            with suppress(OSError, CannotStart):
                if log.lstat().st_size > self._bounds.max_bytes:
                    self._rotate(log)

    def _rotate(self, log: Path) -> None:
        old = [log.with_name(f"{log.name}.{number}") for number in range(1, self._bounds.old_files + 1)]
        copy = log.with_name(f"{log.name}.new")
        with os.fdopen(open_private(log, os.O_RDWR), "rb+") as current:
            if old:
                old[-1].unlink(missing_ok=True)  # before the copy: the disk may be full
                try:
                    with os.fdopen(open_private(copy, os.O_WRONLY | os.O_TRUNC), "wb") as file:
                        shutil.copyfileobj(current, file)
                except OSError:
                    copy.unlink(missing_ok=True)
                    raise
            for newer, older in reversed(list(zip([copy, *old], old, strict=False))):
                with suppress(FileNotFoundError):
                    newer.replace(older)
            current.truncate(0)
