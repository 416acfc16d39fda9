"""
Says how every connection to Postgres is made, and pins the settings on which the code rests.

A setting comes from the server, the database, the role, the URL or the PG* variables of the shell; those that would
change what is recorded, or let work go on without end, are ours on every connection. They are sent with the start of
the session (`options`), so that RESET and DISCARD come back to them, and `admit` verifies that they have arrived.

A session that may not write is refused at once: it is of a standby, or somebody has frozen the database
(default_transaction_read_only), as managed services do when a disk is full. It is never made writable by force.
"""

import asyncio
import os
import re
import select
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar, cast

import msgspec
import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.waiting import READY_R, READY_W, WAIT_W
from psycopg_pool import ConnectionPool, PoolTimeout

from application.outage import CONNECTIONS, Outage

PINNED = {
    "TimeZone": "UTC",  # psycopg gives every time in the zone of the session, and so it would be recorded
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "row_security": "on",
    "default_transaction_isolation": "read committed",  # the log takes its head row and reads what is there then
    "default_transaction_deferrable": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",  # connections of a pool and those that LISTEN are idle for as long as nothing happens
}
# An event loop, and the projector, send few statements, each of which finds its rows by an index, again and again. Postgres
# would plan those that take arrays anew each time, which takes longer than to carry them out.
PLANNED_ONCE = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}
MARK = "routines.pinned"  # a setting of our own: it is missing where something on the way has dropped the others
# What a URL leaves out has these values, whatever PGHOST and the like say; a service that it names says all of it.
UNSAID = {"host": "", "hostaddr": "", "port": "5432", "user": "", "dbname": ""}
# Rows of more than two kilobytes are compressed whenever they are written: by lz4, where this Postgres has it.
COMPRESS_FAST = """
    SELECT set_config(name, 'lz4', false) FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)"""
TRANSACTION_TIMEOUT_SINCE = 170_000  # the version of Postgres that has transaction_timeout
REACHING = {  # TCP settings by which a dead peer is noticed within seconds
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
TRUSTED_S = 1.0  # how long after an answer a connection is handed out again without being tested
ANSWER_S = 2.0  # the longest wait for the answer to that question
# The longest wait for any answer in an event loop, whose statements are short and wait for locks up to 5 s. A server whose
# disk hangs, or that is stopped, ends nothing by itself, and its kernel goes on to say that all is well.
LOOP_ANSWER_S = 10.0
IS_BROKEN = 0  # no event is asked for, so that poll tells of errors and hang-ups alone, as it always does
INTERRUPTIBLE_S = 0.1  # after so long Ctrl-C is noticed while a thread waits for an answer
POOL_TIMEOUT_S = 5.0
RECONNECT_TIMEOUT_S = 0.5  # the pool doubles the pauses between its tries; after so many seconds it starts over
AWAY_AFTER_S = 2.0  # when no connection can be had for so long the database is away; a restart mostly takes less
AWAY = "the database is away"
AWAY_TIMEOUT_S = 0.1  # the longest wait for a connection then: time to make one, for the database may be back
ARRIVED = f"SELECT current_setting('{MARK}', true), current_setting('synchronous_commit')"
SET = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) s(name, value)"
MAY_WRITE = b"SHOW transaction_read_only"  # answers `off` if the session may write
# What a projector may have sent on a Unix socket before Postgres reads it: a batch of 1,000 events has some 1.3 MB. Linux says
# that a socket takes more while a quarter of this is under way, and may allow less (net.core.wmem_max). TCP grows by itself.
SENT_AHEAD_BYTES = 4 * 1024 * 1024
UNSUPPORTED = re.compile(r"startup parameter|command-line options", re.IGNORECASE)  # PgBouncer, and RDS Proxy


R = TypeVar("R")
Connection = psycopg.Connection[tuple[Any, ...]]


class SettingsDropped(psycopg.OperationalError):
    """Something between us and Postgres, a connection pooler, does not pass on the settings of a session."""

    def __init__(self) -> None:
        super().__init__(
            "What answers is a connection pooler, such as PgBouncer, that does not pass on the settings of a session "
            "(startup parameter `options`): role, time limits, time zone. Name the host and port of Postgres itself in "
            "ROUTINES_DATABASE_URL: each process has a pool of its own, of ROUTINES_CONNECTIONS connections"
        )


class Session(Connection):
    """A connection that is closed after its server has turned out to be read-only, so that nobody is given it again."""

    answered_at = 0.0  # when it was last known to work
    answer_s: float | None = None  # the longest wait for an answer

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> "Session":
        """Connect as the base class does. Raises SettingsDropped where a pooler refuses our settings."""
        try:
            return super().connect(*args, **kwargs)
        except psycopg.OperationalError as error:
            if UNSUPPORTED.search(str(error)):
                raise SettingsDropped from error
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            self.close()
        super().__exit__(kind, error, traceback)

    def wait(self, gen: PQGen[R], interval: float = INTERRUPTIBLE_S, timeout: float | None = None) -> R:
        """Return what comes of a step of psycopg's. Hangs up, and raises psycopg.OperationalError, after `answer_s`."""
        try:
            return super().wait(gen, interval, self.answer_s if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if error.sqlstate is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()  # its answer may still come, and would be taken for that of another statement
            raise

    def send_ahead(self) -> None:
        """Go on while Postgres is still at work on what was sent before, as far as the system lets a socket hold so much."""
        with socket.socket(fileno=os.dup(self.pgconn.socket)) as connected_socket:
            if connected_socket.family == socket.AF_UNIX:
                connected_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AHEAD_BYTES)

    def verify(self) -> None:
        """
        Raise psycopg.OperationalError, with the connection closed, unless it works and may write.

        Asks the server at most every TRUSTED_S seconds, or when something has come that nobody asked for: mostly the
        farewell of a server that has ended the session.
        """
        if time.monotonic() - self.answered_at < TRUSTED_S and not self._is_readable(0):
            return
        try:
            if self._ask_server(MAY_WRITE) != b"off":
                raise psycopg.OperationalError("the server has become read-only")
        except psycopg.Error:
            self.close()
            raise
        self.answered_at = time.monotonic()

    def _ask_server(self, question: bytes) -> bytes | None:
        """Return the first value of the answer. Raises psycopg.OperationalError after ANSWER_S, or if there is none."""
        end = time.monotonic() + ANSWER_S
        self.pgconn.send_query(question)
        self.pgconn.flush()
        value = None
        while True:
            while self.pgconn.is_busy():
                if not self._is_readable(end - time.monotonic()):
                    raise psycopg.OperationalError(f"the server has not answered within {ANSWER_S:g} s")
                self.pgconn.consume_input()
            if (result := self.pgconn.get_result()) is None:
                return value
            if result.status != ExecStatus.TUPLES_OK:
                raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
            value = result.get_value(0, 0)

    def _is_readable(self, timeout_s: float) -> bool:
        return _is_readable(self.pgconn.socket, timeout_s)


class LoopSession(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection of an event loop."""

    answered_at = 0.0  # when it was last known to work

    async def wait(
        self,
        gen: PQGen[R],
        interval: float = 0.0,
        timeout: float | None = None,  # noqa: ASYNC109 it is the base class's
    ) -> R:
        """
        Return what comes of a step of psycopg's, as the base class does. It hangs up after LOOP_ANSWER_S.

        Postgres sends an answer in parts of 8 kB. The base class listens to the socket anew for each, sets a timer, and wakes
        the task; here the loop goes on with the step itself, and the task wakes at the end. Whoever is cancelled meanwhile
        loses the connection.
        """
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        loop, descriptor = asyncio.get_running_loop(), self.pgconn.socket
        outcome: asyncio.Future[R] = loop.create_future()

        def go_on(ready: Any) -> None:
            if outcome.done():  # the task was cancelled, and is about to hear it
                return
            loop.remove_writer(descriptor)
            try:
                wanted = gen.send(ready)
                while wanted & WAIT_W and _poll(descriptor, select.POLLOUT):
                    wanted = gen.send(READY_W)
                # uvloop hears nothing more of a connection that is broken, though what had come before is yet to be read.
                while ready is not None and _poll(descriptor, IS_BROKEN):
                    wanted = gen.send(READY_R)
            except StopIteration as end:
                loop.remove_reader(descriptor)
                outcome.set_result(end.value)
            except Exception as error:  # noqa: BLE001 it is raised to whoever waits
                loop.remove_reader(descriptor)
                outcome.set_exception(error)
            else:
                if wanted & WAIT_W:
                    loop.add_writer(descriptor, go_on, READY_W)

        go_on(None)
        if outcome.done():
            return outcome.result()
        loop.add_reader(descriptor, go_on, READY_R)
        hang_up = loop.call_later(LOOP_ANSWER_S, self._hang_up)
        try:
            return await outcome
        except asyncio.CancelledError:
            loop.remove_reader(descriptor)
            loop.remove_writer(descriptor)
            self.pgconn.finish()
            raise
        finally:
            hang_up.cancel()

    async def verify(self) -> None:
        """Do the same as Session.verify."""
        if time.monotonic() - self.answered_at < TRUSTED_S and not _is_readable(self.pgconn.socket, 0):
            return
        hang_up = asyncio.get_running_loop().call_later(ANSWER_S, self._hang_up)
        try:
            cursor = await self.execute(MAY_WRITE)
            if await cursor.fetchone() != ("off",):
                raise psycopg.OperationalError("the server has become read-only")
        except psycopg.Error:
            await self.close()
            raise
        finally:
            hang_up.cancel()
        self.answered_at = time.monotonic()

    def _hang_up(self) -> None:
        """End the connection under whoever waits for an answer, who then gets an error."""
        with socket.socket(fileno=os.dup(self.pgconn.socket)) as connected_socket, suppress(OSError):
            connected_socket.shutdown(socket.SHUT_RDWR)


def _is_readable(descriptor: int, timeout_s: float) -> bool:
    return _poll(descriptor, select.POLLIN, timeout_s)


def _poll(descriptor: int, event: int, timeout_s: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(max(timeout_s, 0) * 1_000))


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one kind of connections is pinned to, beside PINNED.

    `transaction_timeout` is set where Postgres has it. `writes` says that a session which may not write is refused;
    `durable`, that a commit is not acknowledged before it is on the disk, whatever synchronous_commit the server has.
    A thread waits `answer_s` seconds for an answer, for ever if it is None, since a server that hangs keeps no limit of its own.
    """

    settings: Mapping[str, str] = {}
    transaction_timeout: str = "0"
    application_name: str = "routines"
    writes: bool = True
    durable: bool = True
    answer_s: float | None = None

    def connect(self, url: str) -> Session:
        """Open a connection. Raises psycopg.OperationalError, of which SettingsDropped is a kind."""
        session = Session.connect(url, **self.parameters(url))
        self.admit(session)
        return session

    def parameters(self, url: str, more_settings: Mapping[str, str] | None = None) -> dict[str, Any]:
        """
        Return the arguments with which a connection to this URL is made, with more settings if there are any.

        `options` of the URL come before ours.
        """
        parameters = conninfo_to_dict(url)
        defaults = (
            {}
            if parameters.get("service")
            else {name: value for name, value in UNSAID.items() if not parameters.get(name)}
        )
        settings = {MARK: "on", **PINNED, **self.settings, **(more_settings or {})}
        options = [f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in settings.items()]
        return {
            **defaults,
            **REACHING,
            "autocommit": True,
            "options": " ".join([str(parameters.get("options", "")), *options]),
            "client_encoding": "UTF8",
            "application_name": self.application_name,
            "target_session_attrs": "read-write" if self.writes else "any",
        }

    def admit(self, session: Connection) -> None:
        """
        Verify that a new session has our settings, and set those that cannot come with its start.

        Closes it and raises SettingsDropped if it has not. PGTZ and PGDATESTYLE of the shell win over `options`.
        """
        cast("Session", session).answer_s = self.answer_s
        try:
            arrival = session.execute(ARRIVED).fetchone()
            session.execute(SET, self._late_settings(arrival, session.info.server_version))
        except psycopg.Error:
            session.close()
            raise
        cast("Session", session).answered_at = time.monotonic()

    async def connect_on_loop(self, url: str) -> LoopSession:
        """Open a connection of the running event loop, as `connect` does for a thread."""
        session = await LoopSession.connect(url, **self.parameters(url, PLANNED_ONCE))
        try:
            arrival = await (await session.execute(ARRIVED)).fetchone()
            await session.execute(SET, self._late_settings(arrival, session.info.server_version))
        except BaseException:  # the end of the loop as well
            await session.close()
            raise
        session.answered_at = time.monotonic()
        return session

    def _late_settings(self, arrival: tuple[Any, ...] | None, server_version: int) -> tuple[list[str], list[str]]:
        """Return the settings that cannot come with the start of a session. Raises SettingsDropped."""
        mark, synchronous_commit = arrival or ("", "")
        if mark != "on":
            raise SettingsDropped
        session_settings = {name: PINNED[name] for name in ("TimeZone", "DateStyle")}
        if server_version >= TRANSACTION_TIMEOUT_SINCE:
            session_settings["transaction_timeout"] = self.transaction_timeout
        if self.durable and synchronous_commit == "off":
            session_settings["synchronous_commit"] = "on"
        return list(session_settings), list(session_settings.values())


class Pool(ConnectionPool[Connection]):
    """
    Hands out connections that work and may write.

    Once one does not, the server has mostly ended or lost the others as well: those that lie idle are replaced at once,
    instead of one by one by the requests that come upon them. Once the database is away, nobody waits for it: each
    request makes the pool try, and raises PoolTimeout unless that succeeds at once. So does each before the pool is opened.
    """

    def __init__(self, url: str, profile: Profile, size: int, outage: Outage) -> None:
        self._url, self._profile, self._outage = url, profile, outage
        self._on_loop = set[LoopSession]()
        self._failing_since: float | None = None  # the first failed try to connect since a connection last worked
        super().__init__(
            url,
            connection_class=Session,
            kwargs=profile.parameters(url),
            configure=profile.admit,
            check=self._verify,
            min_size=1,  # a further one takes Postgres longer than many a command has to do
            max_size=size,
            timeout=POOL_TIMEOUT_S,
            reconnect_timeout=RECONNECT_TIMEOUT_S,
            reconnect_failed=self._start_over,
            open=False,
        )

    def getconn(self, timeout: float | None = None) -> Connection:
        """Return a connection. Raises PoolTimeout if there is none in time, or the database is away."""
        if self._awaits_opening:
            raise PoolTimeout(AWAY)
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while (since := self._failing_since) is not None:
            until_away = since + AWAY_AFTER_S - time.monotonic()
            try:
                return super().getconn(min(end - time.monotonic(), max(until_away, AWAY_TIMEOUT_S)))
            except PoolTimeout:
                if until_away <= 0 or time.monotonic() >= end:
                    raise
        return super().getconn(end - time.monotonic())

    async def connect_on_loop(self) -> LoopSession:
        """
        Return a connection of the running event loop, besides those of the pool. It ends with the pool.

        Raises psycopg.OperationalError at once while the database is away: whether it is back is found out by threads.
        """
        since = self._failing_since
        if self._awaits_opening or (since is not None and time.monotonic() - since >= AWAY_AFTER_S):
            raise psycopg.OperationalError(AWAY)
        session = await self._profile.connect_on_loop(self._url)
        self._on_loop = {one for one in self._on_loop if not one.closed} | {session}
        return session

    async def verify_on_loop(self, session: LoopSession) -> None:
        """Raise psycopg.Error, with the connection closed, unless it works and may write."""
        await session.verify()

    def close(self, timeout: float = 5.0) -> None:
        """Close all connections."""
        for session in self._on_loop:
            session.pgconn.finish()
        super().close(timeout)

    def putconn(self, conn: Connection) -> None:
        """Take a connection back. One that has been lost, or is read-only, is closed by now."""
        if conn.closed:
            self.drain()
        else:
            self._note_success()  # the server may refuse further connections, but it is there
        super().putconn(conn)

    @property
    def _awaits_opening(self) -> bool:
        return self.closed and not self._opened

    def _connect(self, timeout: float | None = None) -> Connection:
        try:
            connection = super()._connect(timeout)
        except psycopg.Error as error:
            if self._failing_since is None:
                self._failing_since = time.monotonic()
            self._outage.note_failure(CONNECTIONS, error)
            raise
        self._note_success()
        return connection

    def _note_success(self) -> None:
        self._failing_since = None
        self._outage.note_success(CONNECTIONS)

    @staticmethod
    def _start_over(pool: ConnectionPool[Connection]) -> None:
        """Make the pool try again, as it does for whoever asks: those who wait already make it try no more."""
        with suppress(PoolTimeout), pool.connection(AWAY_TIMEOUT_S):
            pass

    def _verify(self, conn: Connection) -> None:
        try:
            cast("Session", conn).verify()
        except psycopg.Error:
            self.drain()
            raise
