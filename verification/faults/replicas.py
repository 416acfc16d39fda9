"""Two servers of Postgres, one a standby of the other with synchronous commit: what is acknowledged is on both disks."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from routines.local import accounts
from routines.local.accounts import Account
from routines.postgres.binaries import readable_binaries
from routines.postgres.cluster import SOCKET_NAME
from verification.faults.environment import wait_for

SETTINGS = {
    "listen_addresses": "",
    "synchronous_standby_names": "replica",
    "max_connections": "100",
    "wal_keep_size": "256MB",
    "timezone": "UTC",
}
IN_STEP = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'"


class Server:
    """One server in a directory of its own; whoever can reach its socket may do everything."""

    def __init__(self, directory: Path, binaries: Path, account: Account) -> None:
        self.directory = directory
        self._binaries = binaries
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        self.directory.mkdir()
        account.owns(self.directory)

    @property
    def socket(self) -> Path:
        return self.directory / SOCKET_NAME

    @property
    def _data_directory(self) -> Path:
        return self.directory / "data"

    def url(self, user: str, dbname: str) -> str:
        return f"postgresql://{user}@/{dbname}?host={quote(str(self.directory))}&port=5432"

    def superuser(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url("postgres", "postgres"), autocommit=True)

    def init(self) -> None:
        self._run("initdb", "-D", self._data_directory, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-locale")

    def become_standby_of(self, primary: "Server") -> None:
        """Become a standby of the primary, whatever was here before."""
        shutil.rmtree(self._data_directory, ignore_errors=True)
        self._run("pg_basebackup", "-D", self._data_directory, "-d", primary.url("postgres", "postgres"), "-c", "fast")
        self._account.write({self._data_directory / "standby.signal": ""})
        reach = f"host={primary.directory} port=5432 user=postgres application_name=replica"
        self.start(primary_conninfo=reach)

    def start(self, **settings: str) -> None:
        argv = [str(self._binaries / "postgres"), "-D", str(self._data_directory)]
        places = {"unix_socket_directories": str(self.directory)}
        argv += [word for pair in (SETTINGS | places | settings).items() for word in ("-c", "=".join(pair))]
        with (self.directory.parent / f"{self.directory.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdout=log, stderr=log, cwd="/", env=accounts.environment(), **self._account.switch
            )
        wait_for(self._is_answering)

    def crash(self) -> None:
        """End at once, as by a crash of the machine, but for what the operating system has not written yet."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def promote(self) -> None:
        with self.superuser() as conn:
            conn.execute("SELECT pg_promote(true, 60)")

    def _is_answering(self) -> bool:
        try:
            self.superuser().close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str | Path) -> None:
        result = self._account.run(self._binaries / program, *arguments)
        if result.returncode:
            raise SystemExit(f"{program}: {result.stderr}")


class Pair:
    """A primary and its standby, which change places."""

    def __init__(self, directory: Path, binaries: Path, account: Account) -> None:
        self.primary, self.standby = (Server(directory / name, binaries, account) for name in ("one", "other"))

    def url(self, user: str, dbname: str) -> str:
        """Return the URL of the database at whichever server is the primary now."""
        return self.primary.url(user, dbname)

    def start(self) -> None:
        self.primary.init()
        self.primary.start()
        self.replicate()

    def replicate(self) -> None:
        self.standby.become_standby_of(self.primary)
        with self.primary.superuser() as conn:
            wait_for(lambda: conn.execute(IN_STEP).fetchone() == (1,))

    def swap(self) -> None:
        """Let the standby take over from a primary that has ended."""
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def end(self) -> None:
        for server in (self.primary, self.standby):
            server.crash()


@contextmanager
def replicated_servers(home: Path) -> Iterator[Pair]:
    """Yield two servers, run by the programs of the embedded Postgres whose home this is."""
    account = accounts.of_cluster(home, None, lambda _: None)
    directory = Path(tempfile.mkdtemp(prefix="routines-pair-"))
    account.owns(directory)
    pair = Pair(directory, readable_binaries(home, account, lambda _: None), account)
    try:
        pair.start()
        yield pair
    finally:
        pair.end()
        shutil.rmtree(directory)
