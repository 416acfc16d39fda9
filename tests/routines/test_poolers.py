"""Behind PgBouncer nothing works by halves: what drops role and limits of a session is refused in words that help."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from routines import bootstrap
from routines.cli import main
from routines.connections import SettingsDropped
from routines.local import accounts
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings
from tests.waiting import wait_for

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
SAID = "Name the host and port of Postgres itself in ROUTINES_DATABASE_URL"
CONFIG = """
[databases]
* = host={server} port=5432
[pgbouncer]
pool_mode = {mode}
listen_addr =
unix_socket_dir = {directory}
listen_port = 6432
auth_type = trust
auth_file = {directory}/users
logfile = {directory}/log
{more}
"""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Postgres that lets the account of PgBouncer in, which refuses to run as root."""
    local = LocalPostgres(
        tmp_path_factory.mktemp("pooled"),
        durable=False,
        parts=accounts.of_parts(lambda _: None),
        parts_roles=("postgres", "routines_service"),
    )
    bootstrap.prepare(Settings(database_url=local.start()))
    yield local
    local.stop()


def is_listening(path):
    """Whether somebody accepts connections on this socket; it is there a moment before."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@contextmanager
def pooler(server, mode, *more):
    """The URL of its superuser through a PgBouncer."""
    account = accounts.of_parts(lambda _: None)
    directory = Path(tempfile.mkdtemp(prefix="routines-pgbouncer-"))
    users = '"postgres" ""\n"routines_service" ""\n'
    config = CONFIG.format(server=server.socket_dir, mode=mode, directory=directory, more="\n".join(more))
    for path, text in ((directory / "users", users), (directory / "ini", config)):
        path.write_text(text)
        account.owns(path)
    account.owns(directory)
    process = subprocess.Popen([PROGRAM, "-q", directory / "ini"], stderr=subprocess.DEVNULL, **account.switch)
    try:
        wait_for(lambda: is_listening(directory / ".s.PGSQL.6432"))
        yield f"postgresql://postgres@/routines?host={directory}&port=6432"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)
        shutil.rmtree(directory)


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("more", ["", "ignore_startup_parameters = options"])
def test_a_pooler_that_drops_the_settings_of_a_session_is_refused_by_every_command(server, mode, more, monkeypatch):
    with pooler(server, mode, more) as url:
        with psycopg.connect(url) as conn:  # it works as such
            conn.execute("SELECT 1")
        with pytest.raises(SettingsDropped, match=SAID):
            bootstrap.connect(Settings(database_url=url))

        monkeypatch.setenv("ROUTINES_DATABASE_URL", url)
        for command in ("init", "web", "scheduler", "projector", "delivery"):
            result = CliRunner().invoke(main, [command])
            assert (1, True) == (result.exit_code, SAID in result.output), result.output
