"""The data directory of `routines up`: its files, its lock, and who may enter it."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from routines.errors import CannotStart
from routines.local.accounts import Account
from routines.local.private_files import Locked, close_to_others, lock_file, make_own

DATA_DIR = Path(".routines")  # unless another one is named
LOCK, STATE = "up.lock", "up.json"


class UpState(msgspec.Struct, frozen=True, kw_only=True):
    """What up.json says of the system that runs on a data directory."""

    url: str
    pid: int
    database_url: str
    owner_database_url: str | None = None  # None: an older version wrote the file
    key_file: str

    @property
    def is_running(self) -> bool:
        """Whether the process that wrote the file lives; one that was killed leaves the file behind."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True


class NotRunning(Exception):
    """No running system has noted its address in a data directory. The message says what to do."""


def read_state(directory: Path) -> UpState:
    """Return what up.json of the directory says. Raises NotRunning."""
    directory = directory.absolute()
    try:
        return msgspec.json.decode((directory / STATE).read_bytes(), type=UpState)
    except (FileNotFoundError, NotADirectoryError):
        reason = f"no `routines up` runs in {directory}; start it, or name the --data-dir of one that runs"
    except OSError as error:
        reason = f"{directory / STATE} cannot be read ({error.strerror}): ask as the account that started `routines up`"
    except msgspec.DecodeError:
        reason = f"{directory / STATE} is not as `routines up` writes it"
    raise NotRunning(reason)


class DataDirectory:
    """The data directory: `up.json`, `board.token`, `secret.keys`, `log.key`, `logs/`, and the lock against a second system."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.logs = self.directory / "logs"
        self.state = self.directory / STATE
        self.token = self.directory / "board.token"
        self.keys = self.directory / "secret.keys"
        self.log_key = self.directory / "log.key"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the directory until the end. Raises CannotStart while another system runs here."""
        make_own(self.directory)
        close_to_others(self.directory, LOCK)
        with ExitStack() as resources:
            try:
                lock = resources.enter_context(lock_file(self.directory / LOCK, patience_s=0))
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
        if not account.is_ours and self.directory.stat().st_mode & 0o777 in {0o700, 0o710}:  # the modes that we set
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
        temporary_path = path.with_name(path.name + ".new")
        temporary_path.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(temporary_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
            temporary_path.replace(path)
        finally:
            temporary_path.unlink(missing_ok=True)
