"""No command ends with a traceback: it says in a sentence what failed, and the way out."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import click
import psycopg
import pytest
from click.testing import CliRunner
from eventsourcing.persistence import OperationalError as Unreachable
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from routines import bootstrap
from routines.cli import main
from routines.commands import failures
from routines.connections import Profile
from routines.migrations import known_migrations, migrate
from routines.postgres import cluster
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings

PROCESSES = ("web", "scheduler", "projector", "delivery")
READERS = (
    *("projections status", "projections isolated", "projections rebuild", "projections verify", "quotas", "untaken"),
    *("audit receipt one", "audit rebuild-tree"),
)
SECRETS = ("secrets status", "secrets rotate-key", "secrets retire-key one", "secrets forget one")
OUTPUT = " --output nowhere"
OWN = " examples/success_rate.py:success_rate --once"
LOG_READERS = (
    "log",
    "audit chain",
    "audit grants",
    "audit export",
    f"projections run{OWN}",
    f"export{OUTPUT}",
)  # for which a login that may read the log is enough
OF_NOBODY = " --user 00000000-0000-4000-8000-000000000001"
COMMANDS = (
    "init",
    "board-key",
    "auditor-key --name Ada",
    f"erase{OF_NOBODY}",
    *PROCESSES,
    *READERS,
    *SECRETS,
    *LOG_READERS,
)
OF_NO_DATABASE = (
    *("up", "worker", "demo", "secrets new-file", "audit new-key"),
    *("audit verify", "audit check"),  # a program of its own, which says what failed in its own way
)
INIT = "run `routines init`"
FULL = Path("/dev/full")


def leaves(group: click.Group, *path: str) -> Iterator[str]:
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(command, click.Group):
            yield from leaves(command, *path, name)
        else:
            yield " ".join((*path, name))


def run_command(url, command, key_file):
    env = {"ROUTINES_DATABASE_URL": url, "ROUTINES_KEY_FILE": str(key_file)}
    result = CliRunner().invoke(main, command.split(), env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.fixture
def commands_that_say_otherwise(tmp_path):
    """Which of the commands do not end with 1 and a sentence that holds the words."""

    def ask(url, commands, *words):
        answers = {command: run_command(url, command, tmp_path / "secret.keys") for command in commands}
        return {
            command: output
            for command, (code, output) in answers.items()
            if code != 1 or not output.startswith("Error: ") or not all(word in output for word in words)
        }

    return ask


@pytest.fixture
def empty_database(postgres) -> Iterator[str]:
    """The superuser's URL of a database with nothing in it."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        yield postgres.url("postgres", name)
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def test_every_command_is_tried():
    arguments = re.compile("|".join(f"{re.escape(one)}$" for one in (" one", " --name Ada", OF_NOBODY, OWN, OUTPUT)))
    covered_commands = {arguments.sub("", command) for command in COMMANDS} | set(OF_NO_DATABASE)

    assert covered_commands == set(leaves(main))


def test_a_command_says_that_the_server_does_not_answer(commands_that_say_otherwise):
    """The processes wait for it."""
    url = "postgresql://routines_service@127.0.0.1:1/routines"

    assert {} == commands_that_say_otherwise(
        url, [name for name in COMMANDS if name not in PROCESSES], "Connection refused", "is it running"
    )


def test_a_command_says_that_the_database_does_not_exist(commands_that_say_otherwise, postgres):
    url = postgres.url("postgres", "nowhere")

    assert {} == commands_that_say_otherwise(url, COMMANDS, 'database "nowhere" does not exist', "CREATE DATABASE")


def test_a_command_says_that_the_server_refuses_the_login(commands_that_say_otherwise, postgres):
    assert {} == commands_that_say_otherwise(
        postgres.url("nobody"), COMMANDS, "authentication failed", "correct the user and the password"
    )


def test_a_command_says_that_the_database_is_not_prepared(commands_that_say_otherwise, empty_database):
    assert {} == commands_that_say_otherwise(empty_database, [name for name in COMMANDS if name != "init"], INIT)


def test_a_command_says_that_the_database_is_prepared_in_part(commands_that_say_otherwise, empty_database):
    """To read the log needs no more than the log."""
    migrate(empty_database, known_migrations()[:3])

    assert {} == commands_that_say_otherwise(
        empty_database, [name for name in COMMANDS if name not in ("init", *LOG_READERS)], INIT
    )


def test_a_command_says_that_the_database_is_of_a_newer_version(commands_that_say_otherwise, admin_url):
    """The log of any version can be read."""
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute("INSERT INTO log.migrations VALUES (9999, '9999_next', 'hash', '9.1.0')")

    assert {} == commands_that_say_otherwise(
        admin_url, [name for name in COMMANDS if name not in LOG_READERS], "Install 9.1.0 or later"
    )


def test_a_command_says_that_the_login_lacks_the_rights(commands_that_say_otherwise, admin_url):
    url = admin_url.replace("postgres@", "routines_auditor@")

    of_service = [name for name in COMMANDS if name not in ("init", *LOG_READERS)]
    assert {} == commands_that_say_otherwise(
        url, of_service, "routines_auditor may not act as routines_service", "take a login of the service"
    )
    assert {} == commands_that_say_otherwise(url, ["init"], "may not prepare this database", "owner first")
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute("REVOKE ALL ON SCHEMA log FROM routines_auditor")
    assert {} == commands_that_say_otherwise(url, LOG_READERS[1:], "This login may not do that")


def test_a_command_says_that_the_key_file_is_missing(commands_that_say_otherwise, settings):
    assert {} == commands_that_say_otherwise(
        settings.database_url, SECRETS, "The secrets cannot be opened now", "secret.keys"
    )


def test_what_happens_in_the_middle_of_the_work_is_a_sentence_too():
    def raised(error: type[psycopg.Error], text: str) -> psycopg.Error:
        return error(text)

    sentences = {
        "Postgres takes no changes here (read-only)": raised(psycopg.errors.ReadOnlySqlTransaction, "read-only"),
        "Postgres was busy and nothing was changed (lock)": raised(psycopg.errors.LockNotAvailable, "lock"),
        "Postgres has refused it: disk full": raised(psycopg.errors.DiskFull, "disk full"),
        "Postgres cannot be used (gone): is it running": raised(psycopg.OperationalError, "gone"),
        "correct the user and the password": raised(
            psycopg.OperationalError, 'FATAL:  password authentication failed for user "x"'
        ),
        "raise max_connections of Postgres or the CONNECTION LIMIT": raised(
            psycopg.OperationalError, 'FATAL:  too many connections for role "routines_parts"'
        ),
        "(FATAL:  the database system is starting up): try again in a moment": raised(
            psycopg.OperationalError, "FATAL:  the database system is starting up"
        ),
        "only the database's owner may do this: use the URL that `routines init` needs": raised(
            psycopg.OperationalError, 'FATAL:  permission denied to set role "routines_owner"'
        ),
        "/etc/keys: Permission denied": PermissionError(13, "Permission denied", "/etc/keys"),
    }
    for text, error in sentences.items():
        assert text in (failures.explain(error) or "")
        wrapped = Unreachable(str(error))
        wrapped.__cause__ = error
        assert failures.explain(error) == failures.explain(wrapped)

    assert failures.explain(KeyError("a fault of the program")) is None


def test_a_server_without_room_is_waited_for_by_processes():
    answers = {
        'FATAL:  too many connections for role "routines_parts"': False,
        "FATAL:  sorry, too many clients already": False,
        "FATAL:  the database system is starting up": False,
        'FATAL:  role "nobody" does not exist': True,
    }

    assert answers == {text: failures.is_refused_login(psycopg.OperationalError(text)) for text in answers}


@pytest.mark.skipif(not FULL.exists(), reason="the system has no disk that is always full")
@pytest.mark.parametrize("command", ["log", "audit export", f"audit export --output {FULL}", "projections status"])
def test_a_command_whose_output_finds_no_room_says_so_and_nothing_else(command, system):
    """Neither of what does not fit into memory, nor of what stays there until the end."""
    env = {**os.environ, "ROUTINES_DATABASE_URL": system.settings.database_url, "PYTHONUNBUFFERED": ""}
    bootstrap.first_board_token(system.settings)
    with FULL.open("wb") as full:
        argv = [sys.executable, "-m", "routines", *command.split()]
        done = subprocess.run(argv, env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    said = done.stderr.strip()
    assert (1, 1) == (done.returncode, len(said.splitlines())), said
    assert said.startswith("Error: The output could not be written (No space left on device): make room where it goes")


@pytest.fixture(scope="module")
def standby_server(tmp_path_factory) -> Iterator[str]:
    """The superuser's URL of a server that follows another, which is away: it can be read, and takes no changes."""
    server = LocalPostgres(tmp_path_factory.mktemp("standby"), durable=False, roles=("postgres",))
    server.start()
    bootstrap.prepare(Settings(database_url=server.url("postgres")))
    server.stop()
    signal = server.home / "data" / "standby.signal"
    signal.touch()
    os.chown(signal, signal.parent.stat().st_uid, signal.parent.stat().st_gid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "MAINTAINING", Profile(writes=False))
        server.start()
    yield server.url("postgres")
    server.stop()


def test_a_standby_is_neither_prepared_nor_worked_on(commands_that_say_otherwise, standby_server, tmp_path):
    """The processes wait until it has become the primary. An auditor may read it."""
    refused = [name for name in COMMANDS if name not in (*PROCESSES, *LOG_READERS)]
    why = "takes no changes here", "take the address of the primary, not of a standby"
    assert {} == commands_that_say_otherwise(standby_server, refused, *why)
    code, output = run_command(standby_server, f"up --port 0 --data-dir {tmp_path / 'data'}", tmp_path / "secret.keys")
    assert (1, True) == (code, all(word in output for word in why))
    assert 0 == run_command(standby_server, "log", tmp_path / "secret.keys")[0]


def test_of_several_servers_the_one_is_taken_that_may_be_written(standby_server, postgres):
    hosts = [str(conninfo_to_dict(url)["host"]) for url in (standby_server, postgres.url("postgres"))]

    with Profile().connect(f"postgresql://postgres@/postgres?host={','.join(hosts)}") as conn:
        assert (False,) == conn.execute("SELECT pg_is_in_recovery()").fetchone()
