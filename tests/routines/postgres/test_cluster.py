import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from routines import bootstrap
from routines.errors import CannotStart, PostgresUnavailable
from routines.local import accounts
from routines.local.accounts import Account
from routines.local.private_files import Locked, hand_over
from routines.postgres import binaries, cluster
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings
from tests.strangers import NOBODY, PARTS, STRANGER, as_account, holding_lock
from tests.waiting import exists, wait_for

LIMIT_S = 20.0
START_AND_DIE = """
import os, signal, sys
from pathlib import Path
from routines.postgres.cluster import LocalPostgres
LocalPostgres(Path(sys.argv[1]), durable=False).start()
os.kill(os.getpid(), signal.SIGKILL)
"""
ROLES = ("postgres", "routines_service", "routines_auditor", "routines_owner")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root only: Postgres runs as another account then")


@pytest.fixture
def root():
    """A directory that every account can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="routines-test-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def reachable():
    with tempfile.TemporaryDirectory(prefix="routines-test-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def server(root):
    """One that the test may stop and spoil."""
    server = LocalPostgres(root, durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def running_server():
    """One that nobody changes."""
    with tempfile.TemporaryDirectory(prefix="routines-test-") as directory:
        Path(directory).chmod(0o755)
        server = LocalPostgres(Path(directory), durable=False)
        server.start()
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            for role in ("routines_service", "routines_auditor", "stranger"):
                connection.execute(f"CREATE ROLE {role} LOGIN")
        yield server
        server.stop()


def execute(server, statement):
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone() if cursor.description else None


def pid_of(server):
    return int((server.data / "postmaster.pid").read_text().split()[0])


def test_a_started_server_has_the_database_utf8_checksums_and_no_network(running_server):
    settings = (
        "current_setting('server_encoding'), current_setting('data_checksums'), current_setting('listen_addresses')"
    )

    assert ("routines", "UTF8", "on", "") == execute(running_server, f"SELECT current_database(), {settings}")


def test_a_server_is_durable_unless_told_otherwise():
    assert "fsync" not in LocalPostgres(Path("/nowhere"))._settings
    assert "off" == LocalPostgres(Path("/nowhere"), durable=False)._settings["fsync"]


def test_a_stopped_server_is_gone_leaves_no_socket_and_keeps_the_data(server):
    execute(server, "CREATE TABLE kept AS SELECT 7 AS n")

    server.stop()

    assert not server.alive()
    assert not server.socket_dir.exists()
    server.start()
    assert (7,) == execute(server, "SELECT n FROM kept")


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
    servers = [LocalPostgres(root, durable=False), LocalPostgres(root, durable=False)]

    with ThreadPoolExecutor() as pool:
        urls = list(pool.map(LocalPostgres.start, servers))

    assert urls[0] == urls[1]
    assert [True, True] == [server.alive() for server in servers]
    assert [(1,), (1,)] == [execute(server, "SELECT 1") for server in servers]
    servers[1].stop()
    wait_for(lambda: [False, False] == [server.alive() for server in servers])


def test_locks_with_the_pid_of_somebody_else_are_not_believed(server):
    socket_dir = server.socket_dir
    os.kill(pid_of(server), signal.SIGKILL)
    wait_for(lambda: not server.alive())
    for lock in (server.data / "postmaster.pid", socket_dir / ".s.PGSQL.5432.lock"):
        lock.write_text("\n".join(["1", *lock.read_text().splitlines()[1:]]) + "\n")

    assert not server.alive()
    server.start()

    assert (1,) == execute(server, "SELECT 1")


def test_data_of_another_major_version_is_refused(root):
    server = LocalPostgres(root, durable=False)
    server.data.mkdir(parents=True)
    (server.data / "PG_VERSION").write_text("12\n")

    with pytest.raises(PostgresUnavailable, match="is of Postgres 12, but"):
        server.start()


def test_a_server_that_ends_at_its_start_is_quoted(server):
    server.stop()
    (server.data / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(PostgresUnavailable, match="no_such_setting"):
        server.start()


def test_missing_binaries_are_named(root, monkeypatch):
    monkeypatch.setenv("ROUTINES_PG_BIN", str(root))

    with pytest.raises(PostgresUnavailable, match="where ROUTINES_PG_BIN points"):
        LocalPostgres(root).start()


def test_programs_that_do_not_run_are_named(root, monkeypatch):
    programs = root / "programs"
    programs.mkdir()
    for name in ("postgres", "initdb"):
        (programs / name).write_text("no program")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("ROUTINES_PG_BIN", str(programs))

    with pytest.raises(PostgresUnavailable, match=f"cannot run the programs in {programs}: .* ROUTINES_PG_BIN"):
        LocalPostgres(root).start()


def test_a_deep_data_directory_still_gets_a_short_socket(root):
    deep = root.joinpath(*["a-directory-with-a-long-name"] * 6)

    socket = LocalPostgres(deep).socket_dir / cluster.SOCKET_NAME

    assert len(bytes(socket)) <= cluster.SOCKET_PATH_LIMIT_BYTES


@as_root
def test_root_gets_a_server_that_runs_as_another_account(running_server):
    assert 0 != Path(f"/proc/{pid_of(running_server)}").stat().st_uid


@as_root
def test_a_directory_out_of_reach_holds_a_link_to_the_data(root, reachable, monkeypatch):
    root.chmod(0o700)
    monkeypatch.setattr(cluster, "REACHABLE", reachable)
    server = LocalPostgres(root, durable=False)

    server.start()
    execute(server, "CREATE TABLE kept AS SELECT 7 AS n")
    server.stop()

    again = LocalPostgres(root, durable=False)
    again.start()
    assert (7,) == execute(again, "SELECT n FROM kept")
    again.stop()
    assert reachable == (root / "postgres").readlink().parent


@as_root
def test_a_database_that_has_to_move_keeps_its_address_and_the_move_is_told(root, reachable, monkeypatch):
    monkeypatch.setattr(cluster, "REACHABLE", reachable)
    said = []
    server = LocalPostgres(root, durable=False, say=said.append)
    server.start()
    address = server.url("postgres")
    execute(server, "CREATE TABLE kept AS SELECT 7 AS n")

    os.kill(pid_of(server), signal.SIGINT)
    wait_for(lambda: not server.alive())
    root.chmod(0o700)
    server.start()

    assert address == server.url("postgres")
    assert (7,) == execute(server, "SELECT n FROM kept")
    server.stop()
    assert f"cannot enter {root}: the database moves to {(root / 'postgres').resolve()}" in said[-1]


def test_a_copy_of_the_files_beside_the_running_original_has_a_socket_of_its_own(root, tmp_path, monkeypatch):
    """Also where the path is too long for a socket, so that a link in the files says where it is."""
    monkeypatch.setattr(LocalPostgres, "_safe_socket_dirs", lambda _: iter(()))
    monkeypatch.setattr(cluster, "is_private", lambda _: True)
    original, copy = LocalPostgres(root, durable=False), LocalPostgres(tmp_path / "copy", durable=False)
    original.start()
    copy.root.joinpath("postgres").mkdir(parents=True)
    subprocess.run(["cp", "-a", f"{original.home}/.", copy.root / "postgres"], check=True)

    copy.start()

    assert original.socket_dir != copy.socket_dir
    for server in (original, copy):
        assert (str(server.data),) == execute(server, "SHOW data_directory")
        server.stop()
    subprocess.run(["rm", "-rf", copy.home], check=True)


@as_root
def test_binaries_out_of_reach_are_copied_to_the_data(root, monkeypatch):
    directory = binaries.find_binaries()
    monkeypatch.setattr(binaries, "runs", lambda *_: False)
    server = LocalPostgres(root, durable=False)

    server.start()

    assert (1,) == execute(server, "SELECT 1")
    argv = Path(f"/proc/{pid_of(server)}/cmdline").read_bytes().split(b"\0")
    assert argv[0].startswith(bytes(server.home))
    assert directory.parts[-3:] == Path(argv[0].decode()).parent.parts[-3:]
    server.stop()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def refusal(url):
    """Why a connection is refused; None when it is not."""
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return str(error)
    return None


def refusals(server, account, *roles):
    """Why connections of the account are refused, one as each role."""
    urls = [server.url(role) for role in roles]
    return as_account(account, lambda: [refusal(url) for url in urls])


@pytest.fixture(scope="module")
def server_for_parts():
    """A server for parts that have an account of their own, ready for them."""
    with tempfile.TemporaryDirectory(prefix="routines-test-") as directory:
        Path(directory).chmod(0o755)
        server = LocalPostgres(Path(directory), durable=False, parts=PARTS)
        bootstrap.prepare(Settings(database_url=server.start()))
        yield server
        server.stop()


def test_files_and_directories_are_closed_to_everybody_else(running_server):
    assert [0o700, 0o700, 0o700] == [
        mode(path) for path in (running_server.home, running_server.data, running_server.socket_dir)
    ]
    assert [0o600, 0o600] == [mode(running_server.root / name) for name in ("postgres.lock", "logs/postgres.log")]
    assert [0o600, 0o600] == [mode(running_server.data / name) for name in ("pg_hba.conf", "pg_ident.conf")]


def test_the_socket_is_where_nobody_else_can_have_prepared_anything(running_server):
    assert cluster.is_private(running_server.socket_dir.parent) or os.geteuid()
    assert Path(tempfile.gettempdir()) != running_server.socket_dir.parent


def test_only_roles_of_the_map_may_log_in(running_server):
    assert refusal(running_server.url("routines_service")) is None
    assert "Peer authentication failed" in refusal(running_server.url("stranger"))


def test_a_base_backup_is_for_the_superuser_alone(running_server):
    replicating = "?replication=true&"

    assert refusal(running_server.url("postgres").replace("?", replicating)) is None
    assert "permission denied" in refusal(running_server.url("routines_auditor").replace("?", replicating))


def test_a_cluster_that_trusted_everybody_does_so_no_more(server):
    execute(server, "CREATE ROLE stranger LOGIN")
    server.stop()
    trusting = "local all all trust\n"
    (server.data / "pg_hba.conf").write_text(trusting)

    server.start()

    assert "Peer authentication failed" in refusal(server.url("stranger"))


def test_a_server_that_still_runs_and_trusts_everybody_does_so_no_more(root):
    subprocess.run([sys.executable, "-c", START_AND_DIE, root], check=False, timeout=LIMIT_S)
    server = LocalPostgres(root, durable=False)
    (server.data / "pg_hba.conf").write_text("local all all trust\n")
    left_behind = pid_of(server)
    os.kill(left_behind, signal.SIGHUP)
    wait_for(lambda: "stranger" in refusal(server.url("stranger")) and "Peer" not in refusal(server.url("stranger")))

    server.start()

    wait_for(lambda: "Peer authentication failed" in refusal(server.url("stranger")))
    assert left_behind == pid_of(server)
    server.stop()


@pytest.mark.parametrize("name", ["postgres.lock", "logs/postgres.log"])
def test_a_link_in_the_way_is_not_followed(root, name):
    victim = root / "victim"
    victim.write_text("precious")
    (root / "logs").mkdir()
    (root / name).symlink_to(victim)
    server = LocalPostgres(root, durable=False)

    with pytest.raises(CannotStart, match=name):
        server.start()

    assert "precious" == victim.read_text()
    shutil.rmtree(server.home, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root's socket is in /run")
def test_a_socket_in_a_public_directory_has_a_name_that_nobody_guesses_and_is_found_again(root, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    deep = root.joinpath(*["a-directory-with-a-long-name"] * 6)
    server = LocalPostgres(deep, durable=False)
    server.start()
    path = server.socket_dir

    assert LocalPostgres(deep.parent / "another").socket_dir != LocalPostgres(deep.parent / "another").socket_dir
    assert path == (server.home / "socket.link").readlink() == LocalPostgres(deep).socket_dir
    assert 0o700 == mode(path)
    server.stop()
    assert not path.exists()


@as_root
def test_a_stranger_cannot_reach_the_socket(server_for_parts):
    for reason in refusals(server_for_parts, STRANGER, *ROLES):
        assert "Permission denied" in reason


@as_root
def test_a_stranger_who_reaches_the_socket_is_nobody_in_the_database(server_for_parts):
    server_for_parts.socket_dir.chmod(0o755)

    for account in (NOBODY, STRANGER, accounts.of_cluster(server_for_parts.home, PARTS, print)):
        for reason in refusals(server_for_parts, account, *ROLES):
            assert "Peer authentication failed" in reason
    server_for_parts.socket_dir.chmod(0o710)


@as_root
def test_the_parts_are_the_service_and_nothing_else(server_for_parts):
    assert 0o710 == mode(server_for_parts.socket_dir)
    assert [None] == refusals(server_for_parts, PARTS, "routines_service")
    for reason in refusals(server_for_parts, PARTS, "postgres", "routines_auditor", "routines_owner", "routines"):
        assert "Peer authentication failed" in reason


BREAK_OUT = {
    "a program": "COPY (SELECT 1) TO PROGRAM 'id'",
    "a program's output": "CREATE TEMP TABLE t (a text); COPY t FROM PROGRAM 'id'",
    "a file": "COPY (SELECT 1) TO '/tmp/x'",
    "the cluster's files": "SELECT pg_read_file('pg_hba.conf')",
    "the server's directories": "SELECT pg_ls_dir('.')",
    "who may log in": "SELECT * FROM pg_hba_file_rules",
    "a large object of a file": "SELECT lo_import('/etc/passwd')",
    "the owner": "SET ROLE routines_owner",
    "the superuser": "SET ROLE postgres",
    "the session of the superuser": "SET SESSION AUTHORIZATION postgres",
    "a superuser": "ALTER ROLE routines_service SUPERUSER",
    "a role": "CREATE ROLE mine LOGIN",
    "a grant of a powerful role": "GRANT pg_execute_server_program TO routines_service",
    "a setting of the server": "ALTER SYSTEM SET archive_command = 'id'",
    "a library": "LOAD '/tmp/x.so'",
    "a subscription": "CREATE SUBSCRIPTION s CONNECTION 'user=postgres dbname=routines' PUBLICATION p",
    "a way back as the superuser": "CREATE EXTENSION dblink",
    "the log": "UPDATE log.events SET name = 'x'",
    "the log's function": "ALTER FUNCTION log.append SECURITY INVOKER",
    "a database": "CREATE DATABASE mine",
}


@as_root
def test_the_parts_stay_the_service(server_for_parts):
    url = server_for_parts.url("routines_service")

    def outcome(statement):
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(statement)
        except psycopg.Error as error:
            return type(error).__name__
        return "done"

    outcomes = as_account(PARTS, lambda: {name: outcome(statement) for name, statement in BREAK_OUT.items()})

    refused = {"InsufficientPrivilege", "FeatureNotSupported", "UndefinedFile"}
    assert {} == {name: outcome for name, outcome in outcomes.items() if outcome not in refused}


@as_root
def test_the_service_was_granted_no_role(server_for_parts):
    granted = "SELECT count(*) FROM pg_auth_members WHERE member = 'routines_service'::regrole"

    assert (0,) == execute(server_for_parts, granted)


@as_root
def test_the_parts_read_no_file_of_the_cluster(server_for_parts):
    def readable(path):
        return os.access(path, os.R_OK)

    for path in (
        server_for_parts.data,
        server_for_parts.data / "pg_hba.conf",
        server_for_parts.data / "base",
        server_for_parts.root / "logs/postgres.log",
    ):
        assert not as_account(PARTS, readable, path)


@as_root
@pytest.mark.parametrize("runs", [False, True])
def test_a_cluster_of_nobody_is_taken_over(root, monkeypatch, runs):
    with monkeypatch.context() as patch:
        patch.setattr(accounts, "of_cluster", lambda *_: NOBODY)
        old_server = LocalPostgres(root, durable=False)
        old_server.start()
        execute(old_server, "CREATE TABLE kept AS SELECT 7 AS n")
        left_behind = pid_of(old_server)
        if not runs:
            old_server.stop()
    assert NOBODY.uid == old_server.home.stat().st_uid
    outcomes = []
    server = LocalPostgres(root, durable=False, say=outcomes.append)

    server.start()

    wait_for(lambda: runs is False or old_server._process.poll() is not None)
    assert not exists(left_behind)
    assert (7,) == execute(server, "SELECT n FROM kept")
    owners = {path.lstat().st_uid for path in (server.home, *server.home.rglob("*"))}
    assert owners == {Path(f"/proc/{pid_of(server)}").stat().st_uid}
    assert owners.isdisjoint({0, NOBODY.uid})
    assert f"the database in {server.home} belonged to nobody, and now to " in outcomes[-1]
    server.stop()


@as_root
def test_what_is_not_the_former_owners_is_not_handed_over(root):
    victim = root / "victim"
    victim.write_text("precious")
    victim.chmod(0o600)
    home = root / "postgres"
    home.mkdir()
    (home / "link").symlink_to(victim)
    (home / "hard").hardlink_to(victim)
    (home / "own").write_text("")
    os.chown(home, NOBODY.uid, NOBODY.gid)
    os.chown(home / "own", NOBODY.uid, NOBODY.gid)

    hand_over(home, STRANGER)

    assert 0 == victim.stat().st_uid
    assert [STRANGER.uid, STRANGER.uid] == [path.stat().st_uid for path in (home, home / "own")]


@as_root
def test_a_lock_that_a_stranger_holds_is_an_answer_and_not_a_wait(root):
    (root / "postgres.lock").touch(0o644)

    with (
        holding_lock(STRANGER, root / "postgres.lock") as pid,
        pytest.raises(Locked, match=rf"process {pid} \(.* of daemon\)"),
    ):
        LocalPostgres(root, durable=False).start()


@as_root
def test_a_directory_that_a_stranger_prepared_is_refused(root):
    os.chown(root, STRANGER.uid, STRANGER.gid)

    with pytest.raises(CannotStart, match="belongs to daemon, who could put anything there"):
        LocalPostgres(root, durable=False).start()


@as_root
def test_a_lock_of_ours_is_waited_for_within_bounds(root, monkeypatch):
    monkeypatch.setattr(cluster, "LOCK_LIMIT_S", 0.1)
    me = Account("root", 0, 0)
    (root / "postgres.lock").touch(0o600)

    with holding_lock(me, root / "postgres.lock") as pid, pytest.raises(Locked, match=rf"process {pid} "):
        LocalPostgres(root, durable=False).start()
