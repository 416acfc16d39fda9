"""Whoever holds up others while its client is silent is ended; whoever waits for something else is left alone."""

import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event as Stop
from uuid import uuid4

import psycopg
import pytest
from structlog.testing import capture_logs

from processes import silent_sessions
from processes.silent_sessions import LOOK, SilentSessions
from routines import bootstrap
from routines.settings import Settings
from tests.processes.due import NOON
from tests.waiting import wait_for

TAKE = "UPDATE positions SET stopped = stopped"  # what a fold begins with: nobody else moves a read model meanwhile
BIG_ANSWER = "SELECT repeat('x', 5000000)"
SEE = "SELECT query, state, wait_event_type, wait_event FROM pg_stat_activity WHERE pid = %s"
READS, WRITES = ("Client", "ClientRead"), ("Client", "ClientWrite")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
FREEZES_IN_A_FOLD = """
import os, signal, sys
from msgspec.structs import replace
from processes.follower import Follower
from projections.firing.triggers_due import triggers_due
from routines import bootstrap
from routines.settings import Settings

model = replace(triggers_due, fold=lambda *_: os.kill(os.getpid(), signal.SIGSTOP))
with bootstrap.system(Settings(database_url=sys.argv[1])) as system, bootstrap.connect_follower(system) as conn:
    Follower([model], system.store.after).step(conn)
"""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(silent_sessions, "LOOK_S", 0.01)
    monkeypatch.setattr(silent_sessions, "SILENT_LOOKS", 1)


@pytest.fixture
def admin(admin_url):
    with psycopg.connect(admin_url, autocommit=True) as admin:
        yield admin


class Client:
    """Sends statements in a pipeline that stays open, and takes no answer. At the end its session is ended."""

    def __init__(self, conn, admin):
        self.conn, self.admin, self.backend = conn, admin, conn.info.backend_pid
        conn.pgconn.enter_pipeline_mode()

    def send(self, *statements, until):
        """Send these, until Postgres waits in the last one as `until` says."""
        for statement in statements:
            self.conn.pgconn.send_query_params(statement.encode(), None)
        self.conn.pgconn.send_flush_request()
        self.conn.pgconn.flush()
        wait_for(lambda: self.seen() == (statements[-1], "active", *until))

    def seen(self):
        return self.admin.execute(SEE, (self.backend,)).fetchone()

    @property
    def is_there(self):
        return self.seen() is not None

    def end(self):
        self.admin.execute("SELECT pg_terminate_backend(%s)", (self.backend,))
        self.conn.pgconn.finish()


@pytest.fixture
def client_of(admin, in_thread):  # which ends after it, with those whom it holds up
    """Connects a client with these settings."""
    with ExitStack() as ends:

        def connect(settings):
            client = Client(ends.enter_context(bootstrap.connect(settings)), admin)
            ends.callback(client.end)
            return client

        yield connect


@pytest.fixture
def client(client_of, settings):
    return client_of(settings)


@pytest.fixture
def hold_up(settings, admin, in_thread):
    """Starts somebody who needs what another session holds, and waits until they wait; returns their thread."""

    def start(work=lambda conn: conn.execute(TAKE)):
        def run(_stop):
            with bootstrap.connect(settings) as own:
                own.execute("SET lock_timeout = 0")
                work(own)

        thread, _ = in_thread(run)
        wait_for(lambda: admin.execute(WAITING).fetchone() == (1,))
        return thread

    return start


def look(conn, times):
    sessions = SilentSessions()
    for _ in range(times):
        sessions.look(conn)


def test_a_process_that_is_frozen_in_the_midst_of_a_fold_keeps_no_occurrence_waiting(
    company_fixture, system, scheduler, conn
):
    company_fixture.routines(3, next_at=NOON)
    frozen = subprocess.Popen([sys.executable, "-c", FREEZES_IN_A_FOLD, system.settings.database_url])
    wait_for(lambda: " T " in Path(f"/proc/{frozen.pid}/stat").read_text())

    with capture_logs() as lines, silent_sessions.watch_sessions(system.pool.connection, Stop()):
        assert 3 == scheduler.tick(conn)

    assert ["silent_session_ended"] == [line["event"] for line in lines if line["log_level"] == "warning"]
    frozen.kill()
    frozen.wait()


@pytest.mark.parametrize("login", ["system", "owner"])
@pytest.mark.parametrize("sent", [{TAKE: READS}, {TAKE: READS, BIG_ANSWER: WRITES}])
def test_a_client_that_sends_or_takes_nothing_holds_up_nobody(request, client_of, hold_up, login, sent):
    settings = request.getfixturevalue(login).settings  # of the service, or of a login that becomes the service
    client = client_of(settings)
    for statement, until in sent.items():
        client.send(statement, until=until)
    waiting = hold_up()

    with bootstrap.connect(settings) as conn:
        look(conn, 2)

    wait_for(lambda: not waiting.is_alive())
    wait_for(lambda: not client.is_there)  # the locks are gone a moment before the session


def test_who_is_silent_after_an_append_that_is_not_committed_keeps_no_other_from_appending(
    company_fixture, client, conn, hold_up
):
    client.send(
        f"SELECT log.append('{{{uuid4()}}}', '{{1}}', '{{goal.created}}', '{{x}}', '{{}}', '{{}}')", until=READS
    )
    waiting = hold_up(lambda _conn: company_fixture.routines(next_at=NOON))

    look(conn, 2)

    wait_for(lambda: not waiting.is_alive())


def test_who_waits_for_something_else_than_its_client_is_not_ended(client, conn, hold_up):
    """As whoever waits for a disk; here it is a clock."""
    client.send(TAKE, "SELECT pg_sleep(60)", until=("Timeout", "PgSleep"))
    hold_up()

    look(conn, 3)

    assert client.is_there


def test_who_holds_up_nobody_is_not_ended(client, conn):
    client.send(TAKE, until=READS)

    look(conn, 3)

    assert client.is_there


def test_who_has_been_silent_only_for_a_moment_is_not_ended(client, conn, hold_up, monkeypatch):
    monkeypatch.setattr(silent_sessions, "SILENT_LOOKS", 4)
    client.send(TAKE, until=READS)
    hold_up()

    look(conn, 4)

    assert client.is_there


def test_a_pause_of_everything_does_not_make_a_client_silent(client, conn, hold_up, monkeypatch):
    """Whoever looks first afterwards may be a moment ahead of it."""
    monkeypatch.setattr(silent_sessions, "SILENT_LOOKS", 4)
    sessions, now = SilentSessions(), time.monotonic()
    client.send(TAKE, until=READS)
    hold_up()

    sessions.look(conn)
    with monkeypatch.context() as later:
        later.setattr(time, "monotonic", lambda: now + 3_600)
        sessions.look(conn)

    assert client.is_there


@pytest.fixture
def another(admin, admin_url):
    """The settings of a second login of the service."""
    admin.execute("DROP ROLE IF EXISTS web_of_acme")
    admin.execute("CREATE ROLE web_of_acme LOGIN IN ROLE routines_service")
    yield Settings(database_url=admin_url.replace("postgres@", "web_of_acme@"))
    admin.execute("DROP OWNED BY web_of_acme; DROP ROLE web_of_acme")


@pytest.fixture
def may_end_all(admin):
    """Lets the first login of the service end all sessions but those of superusers."""
    admin.execute("GRANT pg_signal_backend, pg_read_all_stats TO routines_service")
    yield
    admin.execute("REVOKE pg_signal_backend, pg_read_all_stats FROM routines_service")


def test_a_login_that_may_end_all_sessions_ends_those_of_others(another, may_end_all, client_of, hold_up, conn):
    """As logins of their own have to be able to: two cannot be members of each other."""
    client = client_of(another)
    client.send(TAKE, until=READS)
    waiting = hold_up()

    look(conn, 2)

    wait_for(lambda: not waiting.is_alive())
    wait_for(lambda: not client.is_there)  # the locks are gone a moment before the session


def test_a_session_of_a_superuser_is_left_alone_and_no_error(owner, may_end_all, client_of, hold_up, conn):
    client = client_of(owner.settings)
    client.send(TAKE, until=READS)
    hold_up()

    look(conn, 3)

    assert client.is_there


def test_a_login_whose_sessions_may_not_be_ended_is_named_once(another, client_of, hold_up, conn):
    client = client_of(another)
    client.send(TAKE, until=READS)
    hold_up()

    with capture_logs() as lines:
        look(conn, 3)

    assert client.is_there
    assert [("sessions_out_of_reach", "web_of_acme")] == [(line["event"], line["login"]) for line in lines]


def test_who_cannot_look_says_so_once(system, in_thread, monkeypatch):
    monkeypatch.setattr(silent_sessions, "LOOK", f"{LOOK} AND 1/0 = 1")
    looks = []

    @contextmanager
    def connect():
        looks.append(1)
        with system.pool.connection() as conn:
            yield conn

    with capture_logs() as lines, silent_sessions.watch_sessions(connect, Stop()):
        wait_for(lambda: len(looks) > 3)

    assert ["silent_sessions_not_found"] == [line["event"] for line in lines]


def test_who_has_sent_something_since_the_last_look_is_not_ended(client, conn, hold_up):
    sessions = SilentSessions()
    client.send(TAKE, until=READS)
    hold_up()

    for number in range(3):
        client.send(f"SELECT {number}", until=READS)
        sessions.look(conn)

    assert client.is_there
