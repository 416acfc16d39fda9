"""The data directory of `routines up`: its files, its lock, and who may enter it."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from routines.errors import CannotStart
from routines.local.accounts import Account
from routines.local.private_files import Locked, close_to_others, locked, make_own

LOCK = "up.lock"


class Place:
    """The data directory: `up.json`, `board.token`, `secret.keys`, `logs/`, and the lock against a second system."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.logs = self.directory / "logs"
        self.state = self.directory / "up.json"
        self.token = self.directory / "board.token"
        self.keys = self.directory / "secret.keys"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock of the directory until the end. Raises CannotStart while another system runs here."""
        make_own(self.directory)
        close_to_others(self.directory, LOCK)
        with ExitStack() as resources:
            try:
                lock = resources.enter_context(locked(self.directory / LOCK, patience_s=0))
            except Locked as error:
                if error.holder is not None and not error.holder.is_ours:
                    raise
                raise CannotStart(self._who_is_here()) from None
            os.truncate(lock, 0)
            os.write(lock, str(os.getpid()).encode())
            self.state.unlink(missing_ok=True)
            resources.callback(self.state.unlink, missing_ok=True)
            yield

    def admit(self, account: Account) -> None:
        """Let the account pass through the directory to its own files in it; it cannot list the directory."""
        if not account.is_ours and self.directory.stat().st_mode & 0o777 == 0o700:  # noqa: PLR2004 the mode that we have set
            os.chown(self.directory, -1, account.gid)
            self.directory.chmod(0o710)

    def _who_is_here(self) -> str:
        where = "which is still starting"
        with suppress(OSError, ValueError):
            where = "at " + json.loads(self.state.read_text())["url"]
        pid = (self.directory / LOCK).read_text()
        return f"{self.directory} is in use by process {pid}, {where}; stop that, or take another --data-dir"

    def write(self, path: Path, text: str) -> None:
        """Replace a file in one step; only the account of this process can read it. Raises OSError."""
        unfinished = path.with_name(path.name + ".new")
        unfinished.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
