"""What a test runs beside it, until its end: a database of its own, a projector, a web server."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import Any
from uuid import uuid4

import psycopg
from litestar.concurrency import set_asyncio_executor
from litestar.types import ASGIApp
from psycopg.sql import SQL, Identifier

from processes import projector
from processes.projector import Projector
from processes.threads import run_beside
from projections import catalogue
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres
from routines.prerequisites import SEVERAL
from routines.roles import OWNER
from routines.web_server import request_threads, server
from web.app import create_app
from web.http.backend import Backend

PUBLIC_URL = "https://routines.example"


@contextmanager
def copied_database(postgres: LocalPostgres, template: str) -> Iterator[str]:
    """The name of a copy of a database, which is dropped at the end."""
    name = f"test_{uuid4().hex}"
    copy = "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy"  # no WAL: half the time where nothing is synced
    execute_as_superuser(postgres, copy, name, template)
    try:
        execute_as_superuser(postgres, "GRANT CREATE ON DATABASE {} TO routines_service", name)  # is not copied
        yield name
    finally:
        execute_as_superuser(postgres, "DROP DATABASE {} WITH (FORCE)", name)


@contextmanager
def projecting(system: System) -> Iterator[None]:
    """The projector in a thread."""
    stop = threading.Event()
    work = partial(
        projector.run,
        Projector(catalogue.ALL, system.store.after),
        lambda: bootstrap.connect(system.settings),
        stop,
        outage=system.outage,
    )
    with run_beside("projector", work, stop):
        yield


@contextmanager
def serving(system: System, app: ASGIApp | None = None) -> Iterator[str]:
    """The address of the web application, or of this one, which runs in a thread. Raises RuntimeError if it cannot start."""
    running = server(app or make_app(system), system.settings, "127.0.0.1", 0)
    set_asyncio_executor(request_threads(system.settings))  # type: ignore[arg-type]  # Litestar accepts any executor
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1, "server") as thread:
        run = thread.submit(running.run, [listening])
        try:
            while not running.started:
                if run.done():
                    raise RuntimeError("The server ended before it had started") from run.exception()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            running.should_exit = True


def make_app(system: System, webhook_rate: int = 0, *, jetty_routines: bool = True) -> ASGIApp:
    """Return the web application over a system."""
    backend = Backend(system.executor, system.pool, system.settings.patience_s)
    return create_app(backend, system.settings.public_url or PUBLIC_URL, webhook_rate, jetty_routines=jetty_routines)


def allow_several_systems(postgres: LocalPostgres) -> None:
    """Let several installations have a database on this server, as a superuser may."""
    execute_as_superuser(postgres, "CREATE ROLE {} NOLOGIN", OWNER)
    execute_as_superuser(postgres, f"ALTER ROLE {{}} SET {SEVERAL} = 'on'", OWNER)


def execute_as_superuser(postgres: LocalPostgres, statement: str, *names: str) -> None:
    """Execute a statement about databases as the superuser."""
    connect_superuser(postgres).execute(SQL(statement).format(*map(Identifier, names)))


@cache
def connect_superuser(postgres: LocalPostgres) -> psycopg.Connection[Any]:
    """Return the connection that makes and drops the databases of all tests."""
    return psycopg.connect(postgres.url("postgres", "postgres"), autocommit=True)
