"""`routines init` on what a restore, a killed `init` or another installation has left in a server."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.sql import SQL, Identifier

from application.secrets.vault import Vault, VaultRecord
from domain.webhooks.secret import Secret
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from projections.engine import positions
from routines import bootstrap, migrations, roles
from routines.bootstrap import System
from routines.cli import main
from routines.migrations import known_migrations, migrate
from routines.postgres.cluster import LocalPostgres
from routines.prerequisites import LEAST_VERSION
from routines.settings import Settings
from tests.rebuilding import rebuild_outdated
from tests.upgrades.structure import structure
from verification.faults import oracle
from verification.faults.load import CompanyFixture
from verification.faults.restore import copy_files, dump, dump_roles, restore, run_program

MINUTES = 5
SCHEDULES = 6
OLDEST = Path(f"/usr/lib/postgresql/{LEAST_VERSION}/bin")
LOGINS = ("postgres", "routines_service", "routines_auditor", "landlord", "neighbour")


def run_command(url, *arguments):
    result = CliRunner().invoke(main, arguments, env={"ROUTINES_DATABASE_URL": url})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def first_line(url, *arguments):
    code, output = run_command(url, *arguments)
    return code, output.splitlines()[0]


def assert_not_ready(url, *commands):
    for command in commands or ("web",):
        code, output = run_command(url, command)
        assert (1, True) == (code, "run `routines init`" in output), output


def execute(url, *statements):
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement)


def fold(system: System):
    with bootstrap.connect(system.settings) as conn:
        rebuild_outdated(conn, catalogue.ALL, system.store.after)
        while positions.advance(conn, catalogue.ALL, system.store.after):
            pass


def fire(url):
    """Let two schedulers and a projector work until nothing is due; return what an auditor says of the log then."""
    with bootstrap.system(Settings(database_url=url)) as system, bootstrap.connect(system.settings) as conn:
        for _ in range(2):
            fold(system)
            scheduler = Scheduler(system.executor, system.store.after, system.settings.batch)
            while scheduler.tick(conn):
                pass
        fold(system)
    with psycopg.connect(url, autocommit=True) as log:
        return oracle.judge(log)


class Lost:
    """An installation with a secret, with schedules that are late, and some that have fired; and copies of it."""

    def __init__(self, postgres, url, file):
        self.postgres, self.url = postgres, url
        with bootstrap.system(Settings(database_url=url)) as system:
            bootstrap.first_board_token(system.settings)
            company = CompanyFixture(system)
            company.late(SCHEDULES, MINUTES)
            fire(url)
            company.late(SCHEDULES, MINUTES)
            secret = VaultRecord(
                id=uuid4(),
                company_id=company.company_id,
                owner_id=uuid4(),
                purpose="test",
                secret=Secret(digest=b"x" * 32),
            )
            Vault(system.pool, system.vault.ring).keep([secret])
        self.dump, self.roles = dump(url, file), dump_roles(postgres)


@pytest.fixture(scope="module")
def lost_installation(postgres, template, tmp_path_factory) -> Iterator[Lost]:
    name = f"lost_{uuid4().hex}"
    with psycopg.connect(postgres.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template)))
        yield Lost(postgres, postgres.url("postgres", name), tmp_path_factory.mktemp("dump") / "dump")
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture(scope="module")
def other_server(tmp_path_factory) -> Iterator[LocalPostgres]:
    """Another server, without our roles."""
    server = LocalPostgres(tmp_path_factory.mktemp("elsewhere"), durable=False, roles=LOGINS)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def new_server(other_server) -> Iterator[LocalPostgres]:
    """The other server, as if it were new: databases and roles are removed at the end."""
    yield other_server
    with psycopg.connect(other_server.url("postgres", "postgres"), autocommit=True) as admin:
        names = admin.execute("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")
        for (name,) in names.fetchall():
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
        names = admin.execute("SELECT rolname FROM pg_roles WHERE oid >= 16384 ORDER BY oid DESC")
        for (name,) in names.fetchall():
            admin.execute(SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(Identifier(name)))


def make(server, name, encoding="UTF8", owner="postgres"):
    execute(
        server.url("postgres", "postgres"),
        SQL("CREATE DATABASE {} ENCODING {} TEMPLATE template0 OWNER {}").format(
            Identifier(name), encoding, Identifier(owner)
        ),
    )
    return server.url(owner, name)


def assert_whole(url, lost_installation):
    """After `init` everything is as in a new installation, nothing is lost, and every occurrence fires once."""
    assert (0, "The database is ready.") == first_line(url, "init")
    assert structure(lost_installation.url) == structure(url)
    service, auditor = (re.sub("//[a-z]+@", f"//routines_{name}@", url) for name in ("service", "auditor"))
    verdict = fire(service)
    assert (0, 2 * SCHEDULES * MINUTES) == (verdict.faults, verdict.occurrences), verdict
    assert 0 == run_command(auditor, "audit", "chain")[0]
    with psycopg.connect(service, autocommit=True) as conn:
        assert (1,) == conn.execute("SELECT count(*) FROM vault.secrets").fetchone()
    with bootstrap.connect(Settings(database_url=url)) as conn:
        states = positions.status(conn)
        assert (verdict.occurrences,) == conn.execute("SELECT sum(count) FROM analytics.occurrences").fetchone()
    assert [] == [state for state in states if state.behind or state.stopped or state.is_outdated]
    assert 0 == run_command(service, "projections", "verify", "run_history")[0]
    assert (0, "The database is ready.") == first_line(url, "init")


# Restored


@pytest.mark.parametrize("options", [(), ("--no-owner", "--no-acl")], ids=["errors about roles", "no owners"])
def test_a_dump_in_a_new_server_without_the_roles_is_made_whole(lost_installation, new_server, options):
    url = restore(lost_installation.dump, new_server, "restored", *options)

    assert_not_ready(url, "web", "scheduler", "projector", "delivery", "quotas")
    assert_whole(url, lost_installation)


def test_the_owner_of_a_database_restores_and_prepares_it_without_being_a_superuser(lost_installation, new_server):
    landlords(new_server, "landlord")
    url = new_server.url("landlord", "house_of_landlord")
    restore_into(lost_installation, url, "--no-owner", "--no-acl")

    assert_whole(url, lost_installation)


def test_a_login_that_may_not_create_roles_prepares_a_database_with_roles_that_somebody_has_made(
    lost_installation, new_server
):
    url = new_server.url("landlord", "house_of_landlord")
    landlords(new_server, "landlord")
    execute(
        new_server.url("postgres", "postgres"),
        "ALTER ROLE landlord NOCREATEROLE",
        *(f"CREATE ROLE {role} {kind}" for role, kind in roles.KINDS.items()),
        "GRANT routines_owner, routines_service TO landlord",
    )

    assert "Board token" in run_command(url, "init")[1]
    assert structure(lost_installation.url) == structure(url)


def test_a_dump_in_a_new_server_with_the_roles_is_made_whole(lost_installation, new_server):
    url = restore(lost_installation.dump, new_server, "restored", roles=lost_installation.roles)

    assert_not_ready(url)
    assert_whole(url, lost_installation)


def test_a_dump_in_the_same_server_under_another_name_is_made_whole(lost_installation):
    name = f"copy_{uuid4().hex}"
    url = restore(lost_installation.dump, lost_installation.postgres, name)
    try:
        assert_whole(url, lost_installation)
    finally:
        execute(
            lost_installation.postgres.url("postgres", "postgres"),
            SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)),
        )


def test_a_physical_copy_goes_on_by_itself(lost_installation, new_server, tmp_path):
    restore(lost_installation.dump, new_server, "restored")
    run_command(new_server.url("postgres", "restored"), "init")
    new_server.stop()
    copy = LocalPostgres(copy_files(new_server, tmp_path / "copy"), durable=False, roles=LOGINS)
    new_server.start()
    copy.start()
    try:
        assert_whole(copy.url("postgres", "restored"), lost_installation)
    finally:
        copy.stop()
        shutil.rmtree(copy.home)


def test_a_dump_without_read_models_has_them_folded_anew(lost_installation, new_server):
    url = restore(lost_installation.dump, new_server, "restored", "--exclude-schema=read_models")

    assert_whole(url, lost_installation)


def test_a_log_that_is_older_than_its_read_models_has_them_folded_anew(lost_installation, new_server):
    url = restore(lost_installation.dump, new_server, "restored")
    run_command(url, "init")
    fire(url)
    execute(url, "DROP SCHEMA log CASCADE", "DROP SCHEMA vault CASCADE", "DROP INDEX read_models.issue_identifier_idx")
    execute(
        url, "UPDATE read_models.positions SET position = position + 1000", "CREATE SCHEMA log; CREATE SCHEMA vault"
    )
    restore_into(lost_installation, url, "--schema=log", "--schema=vault")

    assert_not_ready(url)
    assert_whole(url, lost_installation)


def restore_into(lost_installation, url, *options):
    run_program("pg_restore", "--dbname", url, *options, lost_installation.dump, check=False)


def test_a_dump_over_a_database_that_init_has_prepared_is_refused(lost_installation, new_server):
    url = make(new_server, "prepared")
    bootstrap.prepare(Settings(database_url=url))
    restore_into(lost_installation, url)

    code, output = run_command(url, "init")

    assert (1, True) == (code, "into a database that was not empty" in output), output
    assert "restore the dump once more, into an empty database" in output


def test_a_restore_that_did_not_finish_is_refused(lost_installation, new_server):
    url = make(new_server, "half")
    restore_into(lost_installation, url, "--section=pre-data", "--section=data")

    code, output = run_command(url, "init")

    assert (1, True) == (code, "did not finish: log.events lacks a key" in output), output


# Made in part


def test_an_init_that_was_killed_anywhere_is_carried_on(new_server, lost_installation, monkeypatch):
    """Before the first migration, after each, and before the read models are recorded; each time it comes one further."""
    url = make(new_server, "half")
    apply, many = migrations._apply, len(known_migrations()) + 1

    for steps in (0, *[1] * many):

        def step(conn, migration, steps_left=[steps]):  # noqa: B006 it counts
            if not steps_left[0]:
                raise KeyboardInterrupt
            steps_left[0] -= 1
            apply(conn, migration)

        monkeypatch.setattr(migrations, "_apply", step)
        with contextlib.suppress(KeyboardInterrupt):
            migrate(url)
        assert_not_ready(url)
    monkeypatch.undo()

    assert "Board token" in run_command(url, "init")[1]
    assert structure(lost_installation.url) == structure(url)


@pytest.mark.parametrize(
    "loss",
    [
        "ALTER TABLE log.events DISABLE TRIGGER unchanged",
        "ALTER TABLE log.events ENABLE TRIGGER unchanged",
        "DROP TRIGGER forward ON log.head",
        "DROP FUNCTION log.check_clock",
        "GRANT EXECUTE ON FUNCTION log.append TO PUBLIC",
        "REVOKE SELECT ON log.rules FROM routines_auditor",
        "REVOKE ALL ON vault.secrets FROM routines_service",
        "ALTER FUNCTION log.append OWNER TO postgres",
        "ALTER TABLE read_models.issue OWNER TO postgres",
        "DROP TABLE read_models.isolated_events",
    ],
)
def test_what_a_restore_may_lose_is_asked_for_and_put_right(admin_url, loss, template, postgres):
    execute(admin_url, loss)

    assert_not_ready(admin_url)
    assert 0 == run_command(admin_url, "init")[0]

    assert structure(postgres.url("postgres", template)) == structure(admin_url)
    bootstrap.check_prepared(Settings(database_url=admin_url))


# Not suitable


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_text_is_refused_before_anything_is_made(new_server, encoding):
    url = make(new_server, "old", encoding)

    code, output = run_command(url, "init")

    assert (1, True) == (code, f"encoded in {encoding}, which cannot hold every text" in output), output
    assert "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0" in output
    with psycopg.connect(url, client_encoding="UTF8") as conn:
        assert list(roles.KINDS) == roles.missing_roles(conn)


@pytest.mark.skipif(not OLDEST.exists(), reason="Debian's postgresql-15 is not installed")
def test_everything_runs_on_the_oldest_postgres_and_a_neighbour_who_may_create_roles_is_kept_out(tmp_path, monkeypatch):
    """Before Postgres 16 whoever may create roles may grant all of them, also those of others."""
    monkeypatch.setenv("ROUTINES_PG_BIN", str(OLDEST))
    server = LocalPostgres(tmp_path, durable=False, roles=LOGINS)
    server.start()
    try:
        landlords(server, "landlord", "neighbour")
        first, second = (server.url(name, f"house_of_{name}") for name in ("landlord", "neighbour"))
        assert 0 == run_command(first, "init")[0]
        code, output = run_command(second, "init")
        assert (1, True) == (code, "holds another installation" in output), output
        with psycopg.connect(second) as conn:
            assert LEAST_VERSION == conn.info.server_version // 10_000
            assert not roles.may_become(conn, "routines_service")

        with bootstrap.system(Settings(database_url=first)) as system:
            execute(server.url("postgres", "house_of_landlord"), "UPDATE log.rules SET max_clock_difference = NULL")
            CompanyFixture(system).late(SCHEDULES, MINUTES)
        verdict = fire(server.url("routines_service", "house_of_landlord"))
        assert (0, SCHEDULES * MINUTES) == (verdict.faults, verdict.occurrences), verdict
        assert 0 == run_command(server.url("routines_auditor", "house_of_landlord"), "audit", "chain")[0]
    finally:
        server.stop()
        shutil.rmtree(server.home)


def test_a_postgres_older_than_the_tests_run_on_is_refused(new_server, monkeypatch):
    monkeypatch.setattr("routines.prerequisites.LEAST_VERSION", 99)

    code, output = run_command(new_server.url("postgres", "postgres"), "init")

    assert (1, True) == (code, "Routines needs Postgres 99 or later" in output), output


# Several installations in one server


def landlords(server, *names):
    for name in names:
        execute(
            server.url("postgres", "postgres"),
            SQL("CREATE ROLE {} LOGIN CREATEROLE").format(Identifier(name)),
        )
        make(server, f"house_of_{name}", owner=name)


def test_a_second_installation_in_a_server_is_refused_and_gets_no_right(new_server):
    landlords(new_server, "landlord", "neighbour")
    first, second = (new_server.url(name, f"house_of_{name}") for name in ("landlord", "neighbour"))
    assert 0 == run_command(first, "init")[0]

    for url in (second, new_server.url("postgres", "house_of_neighbour")):
        code, output = run_command(url, "init")
        assert (1, True) == (code, "house_of_landlord of this server holds another installation" in output), output
        assert "a server of its own" in output

    with psycopg.connect(second) as conn:
        assert not roles.may_become(conn, "routines_service")
    assert 0 == run_command(first, "init")[0]


def test_a_superuser_may_allow_several_installations_that_read_each_other(new_server):
    first, second = make(new_server, "first"), make(new_server, "second")
    run_command(first, "init")
    _, output = run_command(second, "init")

    execute(first, output[output.index("ALTER ROLE") :].strip())

    assert 0 == run_command(second, "init")[0]
    assert 0 == run_command(first, "init")[0]


def test_a_copy_of_the_same_installation_is_let_in_and_one_of_another_is_not(lost_installation, new_server):
    restore(lost_installation.dump, new_server, "restored")
    run_command(new_server.url("postgres", "restored"), "init")
    copy = restore(lost_installation.dump, new_server, "copy")
    assert 0 == run_command(copy, "init")[0]

    other = make(new_server, "other")
    execute(
        other,
        f"CREATE SCHEMA log AUTHORIZATION {roles.OWNER}",
        "CREATE TABLE log.events (position bigint PRIMARY KEY, hash bytea UNIQUE)",
        "INSERT INTO log.events VALUES (1, 'another')",
    )

    code, output = run_command(other, "init")
    assert (1, True) == (code, "holds another installation" in output), output
