"""Whatever the server, its roles, the URL and the shell say, connections are as the code needs them, and stay so."""

import asyncio
import json
import os
import signal
import socket
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from threading import Timer
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import httpx
import psycopg
import pytest
import uvloop
from eventsourcing.persistence import OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier, Literal
from psycopg.waiting import WAIT_R
from psycopg_pool import PoolTimeout

from application.event_store.postgres_errors import OutcomeUnknown
from domain.events import AgentPaused
from domain.recorded import Recorded
from routines import bootstrap, connections
from routines.connections import PINNED, Profile, Session
from routines.settings import Settings
from tests.waiting import wait_for
from verification.faults import postgres_proxy
from verification.faults.forked import Forked
from verification.faults.postgres_proxy import Action

CHANGED = {
    "TimeZone": "Asia/Kolkata",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "row_security": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "transaction_timeout": "7s",  # time enough to pin another: it cannot come with the start of a session
    "synchronous_commit": "off",
    "client_encoding": "LATIN1",
    "search_path": "nowhere",
    "role": "routines_auditor",
}
LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN routines_log'"
LISTENING = (4,)  # the scheduler, the delivery process, the projector and its notary
SERVICE = {
    **PINNED,
    "statement_timeout": "60s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
    "transaction_timeout": "20s",
    "synchronous_commit": "on",
    "client_encoding": "UTF8",
    "search_path": "read_models",
    "role": "routines_service",
}


@pytest.fixture
def alter(admin_url):
    """Sets something for every new session of this database, as its owner can."""

    def set_for_all(**settings):
        writable = "-c default_transaction_read_only=off"
        with psycopg.connect(admin_url, autocommit=True, options=writable) as admin:
            database = Identifier(admin.info.dbname)
            for name, value in settings.items():
                admin.execute(SQL("ALTER DATABASE {} SET {} = {}").format(database, Identifier(name), Literal(value)))

    return set_for_all


def stream(many):
    """A stream of so many facts, not yet recorded."""
    id_, moment = uuid4(), datetime(2026, 3, 2, tzinfo=UTC)
    return [
        Recorded(stream_id=id_, version=version, at=moment, actor="system", company_id=None, event=AgentPaused())
        for version in range(1, many + 1)
    ]


def values(conn, names):
    return {name: conn.execute("SELECT current_setting(%s)", (name,)).fetchone()[0] for name in names}


def as_shown(conn, settings):
    """The same values in the words of Postgres."""
    return {
        name: conn.execute("SELECT set_config(%s, %s, true)", (name, value)).fetchone()[0]
        for name, value in settings.items()
        if name != "role"
    } | {name: value for name, value in settings.items() if name == "role"}


def test_no_setting_of_the_database_or_the_shell_reaches_a_connection(admin_url, alter, monkeypatch):
    alter(**{name: value for name, value in CHANGED.items() if name != "role"})
    monkeypatch.setenv("PGTZ", "Asia/Kolkata")
    monkeypatch.setenv("PGDATESTYLE", "SQL")
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=1ms")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGAPPNAME", "psql")
    url = make_conninfo(admin_url, options="-c work_mem=5MB -c TimeZone=Asia/Kolkata")
    settings = Settings(database_url=url)

    with bootstrap.connect(settings) as conn:
        expected = as_shown(conn, SERVICE)
        assert expected | {"synchronous_commit": "off"} == values(conn, SERVICE)
        assert ("5MB", "routines") == tuple(values(conn, ["work_mem", "application_name"]).values())
    with bootstrap.system(settings) as system, system.pool.connection() as conn:
        assert expected == values(conn, SERVICE)
        conn.execute("RESET ALL")
        assert expected["statement_timeout"] == values(conn, ["statement_timeout"])["statement_timeout"]
    with Profile().connect(url) as conn:
        assert as_shown(conn, PINNED) == values(conn, PINNED)
        assert ("0", "none") == tuple(values(conn, ["transaction_timeout", "role"]).values())


def test_what_the_shell_says_of_another_postgres_is_not_asked(postgres, admin_url, monkeypatch):
    for name, value in {
        "PGPORT": "5433",
        "PGHOST": "/nowhere",
        "PGHOSTADDR": "127.0.0.1",
        "PGDATABASE": "other",
        "PGUSER": "other",
        "PGTARGETSESSIONATTRS": "standby",
    }.items():
        monkeypatch.setenv(name, value)

    with bootstrap.connect(Settings(database_url=admin_url)) as conn:
        assert ("postgres",) == conn.execute("SELECT session_user::text").fetchone()
    assert postgres.start().endswith("port=5432")


def test_what_a_service_says_is_left_to_it():
    assert not {"host", "port", "user", "dbname"} & Profile().parameters("postgresql://?service=routines").keys()


def take_connections(pool, many):
    """So many connections, which were taken at once and given back together."""
    with ExitStack() as stack:
        return {stack.enter_context(pool.connection()) for _ in range(many)}


def test_connections_that_were_ended_are_replaced_before_anybody_is_given_them(system, admin_url):
    """As by a restart of Postgres, or by pg_terminate_backend, at once and after a while."""
    for pause_s in (0, connections.TRUSTED_S + 0.1):
        old_connections = take_connections(system.pool, 8)
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        time.sleep(pause_s)

        for _ in range(12):
            with system.pool.connection() as conn:
                assert conn not in old_connections
                conn.execute("SELECT 1")


@pytest.fixture
def admit(postgres, system):
    """Lets the database of the system admit connections or not; those that it had are ended in any case."""
    name = str(conninfo_to_dict(system.settings.database_url)["dbname"])

    def admit(*, whether):
        with psycopg.connect(postgres.url("postgres", "postgres"), autocommit=True) as admin:
            admin.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(Identifier(name), Literal(whether)))
            admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,))

    return admit


def is_served(pool):
    try:
        with pool.connection() as conn:
            conn.execute("SELECT 1")
            return True
    except PoolTimeout:
        return False


def test_nobody_waits_for_a_database_that_is_away_and_it_is_found_as_soon_as_it_is_back(system, admit, monkeypatch):
    monkeypatch.setattr(connections, "AWAY_AFTER_S", 0.3)
    system.pool.timeout = 1.0
    admit(whether=False)
    assert not is_served(system.pool)
    system.pool.timeout = 60.0  # of twenty who wait, this test sees no end

    assert [False] * 20 == [is_served(system.pool) for _ in range(20)]

    admit(whether=True)
    wait_for(lambda: is_served(system.pool))
    assert [True] * 8 == [is_served(system.pool) for _ in range(8)]


@contextmanager
def started_processes(settings, tmp_path):
    """The processes of a system, at work; gives what each has said that is wrong, by its name."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/api/health"
    commands = {name: [name] for name in ("scheduler", "projector", "delivery")}
    commands["web"] = ["web", "--port", str(httpx.URL(url).port)]
    env = {**os.environ, "ROUTINES_DATABASE_URL": settings.database_url, "ROUTINES_LOG_LEVEL": "warning"}
    with ExitStack() as stack:
        for name, arguments in commands.items():
            process = Forked(arguments, env, tmp_path / name)
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGTERM)
        with psycopg.connect(settings.database_url, autocommit=True) as conn:
            wait_for(lambda: LISTENING == conn.execute(LISTENERS).fetchone(), 60)
        wait_for(lambda: is_healthy(url), 60)

        def said():
            is_healthy(url)
            lines = {name: (tmp_path / name).read_text().splitlines() for name in commands}
            return {name: [json.loads(line)["event"] for line in lines[name]] for name in commands}

        yield said


def is_healthy(url):
    with suppress(httpx.TransportError):
        return httpx.get(url, timeout=20).is_success


def test_each_process_says_that_the_database_is_away_and_that_it_is_back(settings, admit, tmp_path):
    with started_processes(settings, tmp_path) as said:
        admit(whether=False)
        wait_for(lambda: all(said().values()), 60)
        admit(whether=True)
        wait_for(lambda: all("database_reached" in events for events in said().values()), 60)

        assert [["database_unreachable", "database_reached"]] * 4 == list(said().values())


def test_an_event_loop_does_not_look_for_a_database_that_is_away(system, admit, monkeypatch):
    monkeypatch.setattr(connections, "AWAY_AFTER_S", 0.0)
    admit(whether=False)
    assert not is_served(system.pool)
    tried = []
    monkeypatch.setattr(connections.LoopSession, "connect", tried.append)

    with pytest.raises(psycopg.OperationalError):
        asyncio.run(system.pool.connect_on_loop())

    assert [] == tried


def test_who_waits_while_the_database_restarts_is_served(system, admit):
    admit(whether=False)
    back = Timer(1.0, admit, kwargs={"whether": True})
    back.start()

    assert [True] * 4 == [is_served(system.pool) for _ in range(4)]

    back.join()


def test_a_server_that_admits_no_more_connections_is_not_taken_for_away(system, monkeypatch):
    monkeypatch.setattr(connections, "AWAY_AFTER_S", 0.0)
    system.pool.resize(2, 2)

    def refuse(*_args, **_kwargs):
        raise psycopg.OperationalError("too many connections for role")

    with system.pool.connection() as first, system.pool.connection() as second:
        system.pool.resize(2, 4)
        monkeypatch.setattr(Session, "connect", refuse)
        with pytest.raises(PoolTimeout):
            system.pool.getconn(timeout=0.2)
    assert {first, second} == take_connections(system.pool, 2)
    assert is_served(system.pool)


def test_idle_connections_are_kept_whatever_the_server_allows_others(settings, alter):
    alter(idle_session_timeout="1ms")

    with bootstrap.system(settings) as system:
        with system.pool.connection() as conn:
            pid = conn.info.backend_pid
        time.sleep(0.1)
        with Profile().connect(settings.database_url) as conn:
            alive = conn.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'routines'").fetchall()
    assert (pid,) in alive


@pytest.fixture
def far_system(postgres, system):
    """A system with a proxy between it and its server: connections in `far_system.silent` hear nothing more, though they stand."""
    name = str(conninfo_to_dict(system.settings.database_url)["dbname"])
    with (
        postgres_proxy.proxy_between(postgres.socket_dir / ".s.PGSQL.5432") as proxy,
        bootstrap.system(Settings(database_url=proxy.url("routines_service", name))) as proxied_system,
    ):
        proxy.fault = Silence()
        yield FarSystem(proxied_system, proxy)
        proxy.fault = postgres_proxy.NoFault()
        proxy.heal()  # so that the pool does not wait for them at its end


class FarSystem:
    def __init__(self, system, proxy):
        self.pool, self.url, self._proxy = system.pool, system.settings.database_url, proxy

    def silence(self):
        """Make the connections that there are now silent."""
        self._proxy.fault.links = set(self._proxy.links)

    def silence_what_comes(self):
        """Make connections silent to their first statement."""
        self._proxy.fault = SilentToStatements()


class SilentToStatements:
    def on(self, _link, message):
        return Action.SILENCE if message.of_client and message.kind in {b"P", b"Q"} else Action.PASS


class Silence:
    links = frozenset()

    def on(self, link, _message):
        return Action.SILENCE if link in self.links else Action.PASS


def test_a_connection_that_has_gone_silent_is_replaced_with_all_others(far_system, monkeypatch):
    monkeypatch.setattr(connections, "ANSWER_S", 0.2)
    monkeypatch.setattr(connections, "TRUSTED_S", 0.0)
    old_connections = take_connections(far_system.pool, 6)
    far_system.silence()

    with far_system.pool.connection() as conn:
        assert conn not in old_connections
    assert take_connections(far_system.pool, 6).isdisjoint(old_connections)


def test_a_thread_does_not_wait_for_ever_for_a_server_that_hangs_in_the_midst_of_a_statement(far_system):
    with far_system.pool.connection() as conn:
        conn.answer_s = 0.3
        far_system.silence()

        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")

        assert conn.closed
    assert is_served(far_system.pool)


def test_a_connection_goes_on_after_postgres_has_ended_a_statement_in_the_midst_of_its_rows(system):
    with system.pool.connection() as conn:
        conn.execute("SET statement_timeout = '0.1s'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            list(conn.cursor().stream("SELECT n, pg_sleep(0.02) FROM generate_series(1, 100) n"))

        assert (1,) == conn.execute("SELECT 1").fetchone()
        conn.execute("RESET statement_timeout")


def test_whoever_wants_no_more_rows_keeps_the_connection(system):
    with system.pool.connection() as conn:
        rows = conn.cursor().stream("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)", size=10)
        next(rows)
        rows.close()

        assert (1,) == conn.execute("SELECT 1").fetchone()


def test_nobody_waits_for_ever_for_a_server_that_hangs_before_its_first_answer(far_system):
    """One who makes the connections of a pool would be missing there for ever."""
    far_system.silence_what_comes()

    with pytest.raises(psycopg.OperationalError):
        Profile(answer_s=0.3).connect(far_system.url)


def test_an_event_loop_does_not_wait_for_ever_for_a_server_that_hangs_in_the_midst_of_a_statement(
    far_system, monkeypatch
):
    monkeypatch.setattr(connections, "LOOP_ANSWER_S", 0.3)

    async def ask(session):
        far_system.silence()
        with pytest.raises(psycopg.OperationalError):
            await session.execute("SELECT 1")
        return session.closed

    assert on_loop(far_system, ask)


def test_a_session_that_may_not_write_is_not_opened_and_not_kept(settings, alter, monkeypatch):
    """As of a standby; a database that somebody has frozen is not written to by force."""
    monkeypatch.setattr(connections, "POOL_TIMEOUT_S", 0.5)
    with bootstrap.system(settings) as system:
        for conn in take_connections(system.pool, 10):
            conn.execute("SET default_transaction_read_only = on")
        system.store.append(stream(2))  # on another connection
        assert 2 == system.store.head()

        for conn in take_connections(system.pool, 10):
            conn.execute("SET default_transaction_read_only = on")
        alter(default_transaction_read_only="on")
        assert append_or_none(system) is None
        with pytest.raises(psycopg.OperationalError, match="read-only"):
            bootstrap.connect(settings)

        alter(default_transaction_read_only="off")
        wait_for(lambda: append_or_none(system))


def append_or_none(system):
    """None while nothing is recorded; an outcome that is not known would be raised."""
    try:
        return system.store.append(stream(1))
    except OperationalError as error:
        if isinstance(error, OutcomeUnknown):
            raise
        return None


def on_loop(system, run_scenario):
    """What a story with a connection of an event loop comes to."""

    async def tell():
        session = await system.pool.connect_on_loop()
        try:
            return await asyncio.wait_for(run_scenario(session), 60)
        finally:
            await session.close()

    return asyncio.run(tell())


def test_an_event_loop_goes_on_while_a_connection_of_it_sends_and_takes_what_comes_in_many_parts(system):
    large = "x" * 20_000_000

    async def run_scenario(session):
        turns = 0

        async def count_turns():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count_turns())
        rows = await (await session.execute("SELECT %s::text", (large,))).fetchall()
        counting.cancel()
        return rows, turns

    rows, turns = on_loop(system, run_scenario)

    assert [(large,)] == rows
    assert turns > 10


def test_a_connection_of_an_event_loop_can_be_used_after_a_statement_that_postgres_refuses(system):
    async def run_scenario(session):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await session.execute("SELECT 1 / 0")
        async with session.pipeline():
            cursors = [await session.execute("SELECT %s::int", (number,)) for number in range(3)]
            return [await cursor.fetchone() for cursor in cursors]

    assert [(0,), (1,), (2,)] == on_loop(system, run_scenario)


def test_whoever_is_cancelled_while_postgres_answers_loses_the_connection(system):
    async def run_scenario(session):
        asking = asyncio.create_task(session.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0)
        assert TransactionStatus.ACTIVE == session.pgconn.transaction_status
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return session.closed

    assert on_loop(system, run_scenario)


class Reset:
    """Stands for a connection whose server sends something and ends, without having read what was sent to it."""

    def __init__(self):
        ours, self._theirs = socket.socketpair()
        self._ours = ours
        ours.setblocking(False)
        self.pgconn = SimpleNamespace(socket=ours.fileno(), finish=ours.close)

    def _hang_up(self):
        pass

    def steps(self):
        """Read bytes until there is no connection any more."""
        self._ours.send(b"never read")
        received = b""
        yield WAIT_R
        while True:
            try:
                received += self._ours.recv(4)
            except ConnectionResetError:
                self._ours.close()
                return received
            yield WAIT_R

    def end(self):
        self._theirs.send(b"farewell")
        self._theirs.close()


def test_what_a_server_says_before_it_resets_a_connection_is_not_all_that_is_heard():
    async def listen():
        reset = Reset()
        asyncio.get_running_loop().call_later(0.05, reset.end)
        return await asyncio.wait_for(connections.LoopSession.wait(cast("Any", reset), reset.steps()), 5)

    assert b"farewell" == uvloop.run(listen())
