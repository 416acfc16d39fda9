"""The data directory of `routines up`: what it says of itself, and whose it is."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


class CannotStart(Exception):
    """Something is in the way; the message says what"""


class Place:
    """The data directory: `up.json`, `board.token`, `secret.keys`, `logs/`, and the lock that keeps a second system out."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.logs = self.directory / "logs"
        self.state = self.directory / "up.json"
        self.token = self.directory / "board.token"
        self.keys = self.directory / "secret.keys"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Ours alone until the end; refused while another system runs here."""
        with self._open_lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotStart(self._who_is_here(lock)) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            self.state.unlink(missing_ok=True)
            try:
                yield
            finally:
                self.state.unlink(missing_ok=True)

    def _open_lock(self) -> TextIO:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            return (self.directory / "up.lock").open("a+")
        except OSError as error:
            raise CannotStart(f"cannot keep data in {self.directory}: {error.strerror}") from None

    def _who_is_here(self, lock: TextIO) -> str:
        lock.seek(0)
        where = "which is still starting"
        with contextlib.suppress(OSError, ValueError):
            where = "at " + json.loads(self.state.read_text())["url"]
        return f"{self.directory} is in use by process {lock.read()}, {where}; stop that, or take another --data-dir"

    def write(self, path: Path, text: str) -> None:
        """Replace a file in one step, readable by us alone."""
        unfinished = path.with_name(path.name + ".new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        unfinished.replace(path)
