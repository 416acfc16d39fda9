"""Where a campaign takes place: a durable Postgres, databases on it, real processes, work to do."""

import itertools
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg.sql import SQL, Identifier

from routines import bootstrap
from routines.postgres.cluster import SOCKET_NAME, LocalPostgres
from routines.prerequisites import SEVERAL
from routines.roles import OWNER, SERVICE
from routines.settings import Settings
from verification.faults import oracle

LIMIT_S = 60.0
LOOK_S = 0.05  # between two looks at a condition, most of which connect to Postgres or make a request
TEMPLATE = "prepared"
T = TypeVar("T")
numbers = itertools.count(1)


class Process(Protocol):
    """What a campaign asks of a process; subprocess.Popen is one."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | Any: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...

    def send_signal(self, number: signal.Signals, /) -> None: ...


class Launch(Protocol):
    """How a program of ours, a module, is started with these arguments and variables; what it says goes to the log."""

    def __call__(
        self, arguments: Sequence[str], env: Mapping[str, str], log: Path, program: str = ..., /
    ) -> Process: ...


def spawn(arguments: Sequence[str], env: Mapping[str, str], log: Path, program: str = "routines") -> Process:
    """Start the program as a new process of its own, not as a fork of this one."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", program, *arguments], env=dict(env), stdout=output, stderr=output
        )


class Processes:
    """Real processes on one database, each with a log of its own below `logs`."""

    def __init__(self, url: str, logs: Path, env: Mapping[str, str] | None = None, launch: Launch = spawn) -> None:
        self.url = url
        self.logs = logs
        self.env = {"ROUTINES_BATCH": "20", **(env or {})}
        self.running: list[Process] = []
        self._launch = launch

    def start(self, name: str, *arguments: str) -> Process:
        process = self._launch([name, *arguments], self.environment(), self.logs / f"{name}.log")
        self.running.append(process)
        return process

    def environment(self, url: str | None = None) -> dict[str, str]:
        """Return the variables of a process; `url` is for another login."""
        return {**os.environ, "ROUTINES_DATABASE_URL": url or self.url, **self.env}

    def init(self) -> None:
        if code := self.start("init").wait(LIMIT_S):
            raise SystemExit(f"routines init ended with {code}; see {self.logs}")

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()


class Urls(Protocol):
    """A server of Postgres, or several."""

    def url(self, user: str, dbname: str) -> str: ...


class Database:
    """One of our own, ready for every process."""

    def __init__(
        self, postgres: Urls, name: str, directory: Path, env: Mapping[str, str], launch: Launch = spawn
    ) -> None:
        self.postgres = postgres
        self._env = env
        self.launch = launch
        self.name = name
        self.directory = directory
        self.key_file = str(directory / "secret.keys")

    def url(self, user: str = "routines_service") -> str:
        return self.postgres.url(user, self.name)

    def settings(self, url: str | None = None) -> Settings:
        return Settings(database_url=url or self.url(), key_file=self.key_file)

    def auditor(self) -> psycopg.Connection[Any]:
        """Open a connection that reads the log by none of our own code."""
        return psycopg.connect(self.url("routines_auditor"), autocommit=True)

    def superuser(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url("postgres"), autocommit=True)

    def trust_clocks(self, max_difference: str) -> None:
        """Set how far, by the log's rules, a writer's clock may be from Postgres's: DEFAULT, or NULL for any clock."""
        with self.superuser() as conn:
            conn.execute(SQL("UPDATE log.rules SET max_clock_difference = {}").format(SQL(max_difference)))

    def processes(self, url: str | None = None, env: Mapping[str, str] | None = None) -> Processes:
        variables = {"ROUTINES_KEY_FILE": self.key_file, **self._env, **(env or {})}
        # What is preloaded is read by the loader of programs, which a fork does without.
        launch = spawn if "LD_PRELOAD" in variables else self.launch
        return Processes(url or self.url(), self.directory, variables, launch)


class Environment:
    """A Postgres with everything flushed, in a directory of its own."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="routines-faults-"))
        self.directory.chmod(0o711)  # the account of Postgres can enter it, so the files are below it and go with it
        self.postgres = LocalPostgres(self.directory)
        self.limit_s = 120.0  # how long a campaign waits for something to happen
        self.env: dict[str, str] = {}  # of every process
        self.launch: Launch = spawn  # how processes are started
        # Breaks the system on purpose, for mutation_check.py.
        self.prepared: Callable[[Database], None] = lambda _database: None

    @property
    def socket(self) -> Path:
        return self.postgres.socket_dir / SOCKET_NAME

    @contextmanager
    def database(self) -> Iterator[Database]:
        name = f"faults_{next(numbers)}"
        directory = self.directory / name
        directory.mkdir()
        with self.admin() as admin:
            admin.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(TEMPLATE)))
            for role in (OWNER, SERVICE):  # rights on a database are not copied
                admin.execute(SQL("GRANT CREATE ON DATABASE {} TO {}").format(Identifier(name), Identifier(role)))
        database = self._database(name, directory)
        bootstrap.make_keys(database.key_file)
        self.prepared(database)
        try:
            yield database
        finally:
            with self.admin() as admin:
                admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def make_template(self) -> None:
        """Prepare the database that all others are copies of."""
        with self.admin() as admin:
            admin.execute(SQL("CREATE DATABASE {}").format(Identifier(TEMPLATE)))
        database = self._database(TEMPLATE, self.directory)
        bootstrap.prepare(database.settings(database.url("postgres")))
        database.trust_clocks("NULL")  # schedules that are late already were made in the past

    def _database(self, name: str, directory: Path) -> Database:
        return Database(self.postgres, name, directory, self.env, self.launch)

    def admin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.postgres.url("postgres", "postgres"), autocommit=True)


@contextmanager
def open_environment() -> Iterator[Environment]:
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # connections break all the time
    environment = Environment()
    try:
        environment.postgres.start()
        with environment.admin() as admin:  # each campaign is an installation of its own
            admin.execute(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(OWNER)))
            admin.execute(SQL("ALTER ROLE {} SET {} = 'on'").format(Identifier(OWNER), SQL(SEVERAL)))
        environment.make_template()
        yield environment
    finally:
        environment.postgres.stop()
        shutil.rmtree((environment.directory / "postgres").resolve())
        shutil.rmtree(environment.directory)


def tidy_when_terminated() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port of 127.0.0.1 on which a process of ours may listen, again and again; nobody else is given it meanwhile."""
    with socket.socket() as held_socket:
        held_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held_socket.bind(("127.0.0.1", 0))
        yield held_socket.getsockname()[1]


def wait_for(condition: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """Return what the condition gives as soon as it is true. Raise TimeoutError."""
    end = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {limit_s:g} s")
        time.sleep(LOOK_S)
    return value


def settle(database: Database, limit_s: float = LIMIT_S, passed_over: list[str] | None = None) -> datetime:
    """Wait until what is due now has been settled; return that moment. Raise TimeoutError."""
    with database.auditor() as log:
        now = oracle.clock(log)
    wait_for(lambda: is_settled(database, passed_over), limit_s)
    return now


DUE = """
    SELECT count(*) FROM read_models.schedule
    WHERE enabled AND routine_active AND due_at <= now() AND id <> ALL (%s::uuid[])"""
BEHIND = """
    SELECT count(*) FROM read_models.positions, log.head h
    WHERE name = 'triggers_due' AND positions.position < h.position"""


def is_settled(database: Database, passed_over: list[str] | None = None) -> bool:
    """Return whether no schedule is due. It only says when to stop waiting; the oracle does not rely on it."""
    with suppress(psycopg.OperationalError), database.superuser() as conn:
        # Asked first, so that nothing that is folded later comes due unseen.
        if conn.execute(BEHIND).fetchone() == (0,):
            return conn.execute(DUE, (passed_over or [],)).fetchone() == (0,)
    return False
