"""Processes that start while the database is away work on it only after they have seen that it is of their version."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from routines import bootstrap
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings
from tests.waiting import wait_for
from verification.faults.forked import Forked

BECOME_NEWER = """
    INSERT INTO log.migrations (number, name, sha256, program) VALUES (9000, '9000_later', 'unknown', '99.0.0')"""
IS_FOLDED = "SELECT min(position) = (SELECT position FROM log.head) FROM read_models.positions"


class Processes:
    """One process of each kind over the same database, what it has said, and the address of the web process."""

    def __init__(self, url: str, directory: Path, stack: ExitStack) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = str(free.getsockname()[1])
        self.health = f"http://127.0.0.1:{port}/api/health"
        env = {**os.environ, "ROUTINES_DATABASE_URL": url, "ROUTINES_LOG_LEVEL": "warning"}
        self._logs, self.forked = [], []
        for arguments in (["web", "--port", port], ["scheduler"], ["projector"], ["delivery"]):
            self._logs.append(directory / f"{arguments[0]}.log")
            process = Forked(arguments, env, self._logs[-1])
            self.forked.append(process)
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGTERM)

    def read_lines(self) -> list[list[dict[str, Any]]]:
        return [[json.loads(line) for line in log.read_text().splitlines()] for log in self._logs if log.exists()]

    def list_events(self) -> list[list[str]]:
        return [[line["event"] for line in lines] for lines in self.read_lines()]

    def wait_until_each_has_said(self, event: str) -> None:
        wait_for(lambda: [True] * 4 == [event in events for events in self.list_events()], 60)

    def health_status(self) -> int | None:
        with suppress(httpx.TransportError):
            return httpx.get(self.health, timeout=20).status_code
        return None


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[LocalPostgres]:
    """A Postgres of the test, with a prepared database whose read models are behind."""
    server = LocalPostgres(tmp_path / "own", durable=False)
    settings = Settings(database_url=server.start())
    bootstrap.prepare(settings)
    bootstrap.first_board_token(settings)
    yield server
    server.stop()


@contextmanager
def started_while_away(postgres: LocalPostgres, directory: Path) -> Iterator[Processes]:
    """Stop Postgres, start the processes, and wait until each has said that the database is away."""
    url = postgres.url("routines_service")
    postgres.stop()
    with ExitStack() as stack:
        processes = Processes(url, directory, stack)
        processes.wait_until_each_has_said("database_unreachable")
        yield processes


def test_a_process_that_has_waited_for_the_database_works_on_it(own_postgres: LocalPostgres, tmp_path: Path):
    with started_while_away(own_postgres, tmp_path) as processes:
        wait_for(lambda: processes.health_status() == 503)

        own_postgres.start()

        processes.wait_until_each_has_said("database_reached")
        wait_for(lambda: processes.health_status() == 200)
        with psycopg.connect(own_postgres.url("postgres"), autocommit=True) as conn:
            wait_for(lambda: conn.execute(IS_FOLDED).fetchone() == (True,))
        assert [["database_unreachable", "database_reached"]] * 4 == processes.list_events()


def test_a_process_that_has_waited_for_a_database_of_a_newer_version_does_nothing_and_ends(
    own_postgres: LocalPostgres, tmp_path: Path
):
    with psycopg.connect(own_postgres.url("postgres"), autocommit=True) as conn:
        conn.execute(BECOME_NEWER)

    with started_while_away(own_postgres, tmp_path) as processes:
        own_postgres.start()

        assert [1] * 4 == [process.wait(60) for process in processes.forked]
        assert [["database_unreachable", "ended"]] * 4 == processes.list_events()
        reasons = {lines[-1]["reason"].partition(":")[0] for lines in processes.read_lines()}
        assert {"A newer version wrote this database"} == reasons
    with psycopg.connect(own_postgres.url("postgres"), autocommit=True) as conn:
        assert (False,) == conn.execute(IS_FOLDED).fetchone()


def test_a_process_can_be_stopped_while_it_waits_for_the_database(own_postgres: LocalPostgres, tmp_path: Path):
    with started_while_away(own_postgres, tmp_path) as processes:
        for process in processes.forked:
            process.send_signal(signal.SIGTERM)

        assert [-signal.SIGTERM, 0, 0, 0] == [process.wait(60) for process in processes.forked]
        assert [["database_unreachable"]] * 4 == processes.list_events()
