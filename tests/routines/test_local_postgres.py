import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from routines import local_postgres, postgres_binaries
from routines.errors import PostgresUnavailable
from routines.local_postgres import LocalPostgres
from tests.waiting import wait_for

LIMIT_S = 20.0
START_AND_DIE = """
import os, signal, sys
from pathlib import Path
from routines.local_postgres import LocalPostgres
LocalPostgres(Path(sys.argv[1]), durable=False).start()
os.kill(os.getpid(), signal.SIGKILL)
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root only: Postgres runs as another account then")


@pytest.fixture
def root():
    """A directory that every account can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="routines-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def server(root):
    server = LocalPostgres(root, durable=False)
    server.start()
    yield server
    server.stop()


def execute(server, statement):
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        found = connection.execute(statement)
        return found.fetchone() if found.description else None


def pid_of(server):
    return int((server.data / "postmaster.pid").read_text().split()[0])


def test_a_started_server_has_the_database_utf8_checksums_and_no_network(server):
    settings = (
        "current_setting('server_encoding'), current_setting('data_checksums'), current_setting('listen_addresses')"
    )

    assert ("routines", "UTF8", "on", "") == execute(server, f"SELECT current_database(), {settings}")


def test_a_server_is_durable_unless_told_otherwise():
    assert "fsync" not in LocalPostgres(Path("/nowhere"))._settings
    assert "off" == LocalPostgres(Path("/nowhere"), durable=False)._settings["fsync"]


def test_data_is_kept_over_a_restart(server):
    execute(server, "CREATE TABLE kept AS SELECT 7 AS n")

    server.stop()
    server.start()

    assert (7,) == execute(server, "SELECT n FROM kept")


def test_a_stopped_server_is_gone_and_leaves_no_socket(server):
    server.stop()

    assert not server.alive()
    assert not server.socket_dir.exists()


def test_a_killed_server_recovers_what_was_committed(root):
    server = LocalPostgres(root)
    server.start()
    execute(server, "CREATE TABLE kept AS SELECT 7 AS n")

    os.kill(pid_of(server), signal.SIGKILL)
    wait_for(lambda: not server.alive())
    server.start()

    assert (7,) == execute(server, "SELECT n FROM kept")
    server.stop()


def test_a_server_whose_owner_was_killed_is_adopted(root):
    subprocess.run([sys.executable, "-c", START_AND_DIE, root], check=False, timeout=LIMIT_S)
    server = LocalPostgres(root, durable=False)
    left_behind = pid_of(server)

    server.start()

    assert left_behind == pid_of(server)
    assert (1,) == execute(server, "SELECT 1")
    server.stop()
    assert not server.alive()


def test_two_starts_at_once_end_with_one_server(root):
    both = [LocalPostgres(root, durable=False), LocalPostgres(root, durable=False)]

    with ThreadPoolExecutor() as pool:
        urls = list(pool.map(LocalPostgres.start, both))

    assert urls[0] == urls[1]
    assert [True, True] == [server.alive() for server in both]
    assert [(1,), (1,)] == [execute(server, "SELECT 1") for server in both]
    both[1].stop()
    wait_for(lambda: [False, False] == [server.alive() for server in both])


def test_locks_with_the_pid_of_somebody_else_are_not_believed(server):
    socket_dir = server.socket_dir
    os.kill(pid_of(server), signal.SIGKILL)
    wait_for(lambda: not server.alive())
    for lock in (server.data / "postmaster.pid", socket_dir / ".s.PGSQL.5432.lock"):
        lock.write_text("\n".join(["1", *lock.read_text().splitlines()[1:]]) + "\n")

    assert not server.alive()
    server.start()

    assert (1,) == execute(server, "SELECT 1")


def test_data_of_another_major_version_is_refused(server):
    server.stop()
    version = server.data / "PG_VERSION"
    right = version.read_text()
    version.write_text("12\n")

    with pytest.raises(PostgresUnavailable, match="is of Postgres 12, but"):
        server.start()

    version.write_text(right)


def test_a_server_that_ends_at_its_start_is_quoted(server):
    server.stop()
    (server.data / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(PostgresUnavailable, match="no_such_setting"):
        server.start()


def test_missing_binaries_are_named(root, monkeypatch):
    monkeypatch.setenv("ROUTINES_PG_BIN", str(root))

    with pytest.raises(PostgresUnavailable, match="where ROUTINES_PG_BIN points"):
        LocalPostgres(root).start()


def test_a_deep_data_directory_still_gets_a_short_socket(root):
    deep = root.joinpath(*["a-directory-with-a-long-name"] * 6)

    socket = LocalPostgres(deep).socket_dir / local_postgres.SOCKET_NAME

    assert len(bytes(socket)) <= local_postgres.SOCKET_PATH_LIMIT_BYTES


@as_root
def test_root_gets_a_server_that_runs_as_another_account(server):
    assert 0 != Path(f"/proc/{pid_of(server)}").stat().st_uid


@as_root
def test_a_directory_out_of_reach_holds_a_link_to_the_data(root, monkeypatch):
    root.chmod(0o700)
    reachable = root.parent / f"{root.name}-elsewhere"
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: reachable.mkdir(0o700) or str(reachable))
    server = LocalPostgres(root, durable=False)

    server.start()
    execute(server, "CREATE TABLE kept AS SELECT 7 AS n")
    server.stop()

    again = LocalPostgres(root, durable=False)
    again.start()
    assert (7,) == execute(again, "SELECT n FROM kept")
    again.stop()
    assert reachable == (root / "postgres").readlink()
    subprocess.run(["rm", "-rf", reachable], check=True)


@as_root
def test_binaries_out_of_reach_are_copied_to_the_data(root, monkeypatch):
    binaries = postgres_binaries.find_binaries()
    monkeypatch.setattr(postgres_binaries, "runs", lambda *_: False)
    server = LocalPostgres(root, durable=False)

    server.start()

    assert (1,) == execute(server, "SELECT 1")
    argv = Path(f"/proc/{pid_of(server)}/cmdline").read_bytes().split(b"\0")
    assert argv[0].startswith(bytes(server.home))
    assert binaries.parts[-3:] == Path(argv[0].decode()).parent.parts[-3:]
    server.stop()
