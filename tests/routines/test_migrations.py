"""`routines init`: on a Postgres that is not ours, and on databases of other versions."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.sql import SQL, Identifier

from routines import bootstrap, migrations
from routines.cli import main
from routines.migrations import Migration, known_migrations, migrate
from routines.postgres.cluster import LocalPostgres
from routines.prerequisites import CannotMigrate
from routines.settings import Settings
from tests.upgrades.structure import structure
from tests.waiting import wait_for

RELEASED = {  # installations have applied them: a change comes in a file of its own
    "0001_event_log": "14b9ff15d92a49ad1315be46f6a6a59b44a7fb504ab65d0e5be524b9661e95c5",
    "0002_vault": "766d71138162c917349a9e61df7c709a4a2c168b1ebd857afb4ad3b512db876e",
    "0003_log_writers": "aea1e6d1e1866352bffb146d76e43c8213f3048be6f25ec9a8c3965596792786",
    "0004_read_model_positions": "5821f0a4474a631ff97134d0d62866370bc367baa1c46ee4960ceb4118c7f5ba",
    "0005_webhook_refusals": "53a7590183343c1ad4cc002b65cbd18398e6fea3dc6275359b857cc347fcc013",
    "0006_run_log": "574f28227a0d0afb0bb4919a9c088ba5595edbce9d1ce4b1398e0779b42fc4f5",
    "0007_log_tree": "ebd71d4347c3b0d8f33f834fb6e7d1b62c17673699d7e7017bf46c90b89fd67c",
    "0008_refused_attempts": "679e24d5b4d977d772c0db131aef7285095b9a28dcf6bb3de370aa268337cb9b",
    "0009_data_keys": "9adba7c7b8574f2dc9eb5199b3cd38159ea76cd4ad8d156facdfeaf5b3691da0",
    "0010_witnesses": "bd63648525fcfdd601501867d7af034d634935f3f801b606cce9242e9262a72c",
    "0011_compressed_bodies": "269c7acbd7b9a2dce35894ccc25a5965bc4c5a33766746fb72822b9e86572105",
    "0012_cold_rows": "fc45b0100a4c546af2ecf5cabb78515ff5f957940764d800e3c168e5a74c6f1c",
    "0013_revisions_from_the_log": "d5eea27edabfebaf39caec5440bc2a6e2b4e6eedccd099acb91a6c393c253de1",
    "0014_made_rows": "a3d0e172f11878eeb5b2e33e9bf90fbcdb360b8911bfeba5bcd9ca4147680fa6",
}
WAITS = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
NEXT = int(max(RELEASED)[:4]) + 1  # the number of a file that is yet to come


@pytest.fixture(scope="module")
def foreign_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPostgres]:
    """A Postgres with a database whose owner may create roles, and is no superuser."""
    roles = ("postgres", "landlord", "nobody_special", "routines_service")
    local = LocalPostgres(tmp_path_factory.mktemp("foreign"), durable=False, roles=roles)
    with psycopg.connect(local.start(), autocommit=True) as conn:
        conn.execute("CREATE ROLE landlord LOGIN CREATEROLE")
        conn.execute("CREATE ROLE nobody_special LOGIN")
        conn.execute("CREATE DATABASE house OWNER landlord")
    yield local
    local.stop()


@pytest.fixture
def url(postgres) -> Iterator[str]:
    """The superuser's URL of a database with nothing in it."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        yield postgres.url("postgres", name)
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def migration(number, text, name="next"):
    content = f"{number}{name}{text}".encode()
    return Migration(number=number, name=f"{number:04}_{name}", text=text, sha256=hashlib.sha256(content).hexdigest())


def ask(url, query):
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(query).fetchall()


def applied(url):
    return [name for (name,) in ask(url, "SELECT name FROM log.migrations WHERE number > 0 ORDER BY number")]


def run_command(url, *arguments):
    result = CliRunner().invoke(main, arguments, env={"ROUTINES_DATABASE_URL": url})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_somebody_without_rights_is_told_what_to_do(foreign_postgres: LocalPostgres):
    with pytest.raises(CannotMigrate, match="owner first"):
        bootstrap.prepare(Settings(database_url=foreign_postgres.url("nobody_special", "house")))


def test_the_owner_of_a_database_prepares_it_and_everyone_works_as_the_service(foreign_postgres: LocalPostgres):
    owner = Settings(database_url=foreign_postgres.url("landlord", "house"))
    service = Settings(database_url=foreign_postgres.url("routines_service", "house"))

    bootstrap.prepare(owner)
    token = bootstrap.first_board_token(owner)
    bootstrap.prepare(owner)
    bootstrap.prepare(service)

    assert token is not None
    assert bootstrap.first_board_token(service) is None
    with bootstrap.connect(owner) as conn:
        assert [("routines_service",)] == conn.execute("SELECT current_user").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("UPDATE log.events SET name = 'x'")


def test_released_migrations_are_as_they_were_released():
    hashes = {migration.name: migration.sha256 for migration in known_migrations()}

    assert RELEASED == hashes, "A released file is never edited; a new one is added to RELEASED with its hash"
    assert list(range(1, len(hashes) + 1)) == [migration.number for migration in known_migrations()]


def test_migrations_are_recorded_with_who_applied_them(url):
    migrate(url)

    assert [migration.name for migration in known_migrations()] == applied(url)
    assert [(migrations.VERSION,)] == ask(url, "SELECT DISTINCT program FROM log.migrations")
    assert [(True,)] == ask(url, "SELECT bool_and(applied_at <= now()) FROM log.migrations")


def test_a_migration_alters_any_table_of_ours_once_and_in_order(url):
    """Of the log, of the vault and of the read models, in which there are rows."""
    bootstrap.prepare(Settings(database_url=url))
    bootstrap.first_board_token(Settings(database_url=url))
    new_migrations = [
        migration(NEXT, "ALTER TABLE log.events ADD COLUMN region text; ALTER TABLE log.events RENAME region TO site"),
        migration(NEXT + 1, "ALTER TABLE vault.secrets ADD COLUMN note text DEFAULT 'none'"),
        migration(NEXT + 2, "SET LOCAL ROLE routines_service; ALTER TABLE read_models.positions ADD COLUMN hint text"),
        migration(NEXT + 3, "ALTER TABLE log.events ALTER COLUMN site SET DEFAULT 'here'"),
    ]

    migrate(url, [*known_migrations(), *new_migrations])
    migrate(url, [*known_migrations(), *new_migrations])

    assert [one.name for one in (*known_migrations(), *new_migrations)] == applied(url)
    columns = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE column_name IN ('site', 'note', 'hint')"
    )
    assert {("events", "site"), ("secrets", "note"), ("positions", "hint")} == set(ask(url, columns))


def test_several_processes_at_once_apply_each_migration_once(url):
    slow = [*known_migrations(), migration(NEXT, "SELECT pg_sleep(0.2); CREATE TABLE log.once (n int)")]
    wrong = []

    def start():
        try:
            migrate(url, slow)
        except Exception as error:  # noqa: BLE001 a thread tells nobody
            wrong.append(error)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == wrong
    assert [one.name for one in slow] == applied(url)


def test_a_migration_that_fails_changes_nothing_and_is_tried_again(url):
    migrate(url)
    broken_migration = migration(NEXT + 1, "CREATE TABLE log.half (n int); SELECT 1/0")

    with pytest.raises(CannotMigrate, match=f"{NEXT + 1:04}_next failed and has changed nothing: division by zero"):
        migrate(url, [*known_migrations(), migration(NEXT, "CREATE TABLE log.whole (n int)"), broken_migration])

    assert [("whole",)] == ask(url, "SELECT relname FROM pg_class WHERE relname IN ('half', 'whole')")
    assert f"{NEXT:04}_next" == applied(url)[-1]
    migrate(
        url,
        [
            *known_migrations(),
            migration(NEXT, "CREATE TABLE log.whole (n int)"),
            migration(NEXT + 1, "CREATE TABLE log.half (n int)"),
        ],
    )
    assert f"{NEXT + 1:04}_next" == applied(url)[-1]


def test_a_migration_that_has_to_wait_for_a_table_gives_up_so_that_writers_do_not_wait_behind_it(url, monkeypatch):
    migrate(url)
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "50ms")

    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM log.events")
        with pytest.raises(CannotMigrate, match=f"{NEXT:04}_next waited 50ms for a table"):
            migrate(url, [*known_migrations(), migration(NEXT, "ALTER TABLE log.events ADD COLUMN region text")])

    assert f"{NEXT:04}_next" not in applied(url)


def test_the_read_model_of_revisions_goes_without_being_in_the_way_of_an_older_projector(url):
    """That locks the positions of its models, and then writes their rows."""
    earlier, rest = known_migrations()[:12], known_migrations()[12:]
    migrate(url, earlier)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET ROLE routines_service")
        conn.execute("CREATE TABLE read_models.revision (id uuid); CREATE TABLE read_models.routine_state (id uuid)")
        conn.execute("INSERT INTO read_models.positions (name, shape) VALUES ('revisions', 'theirs.1')")
        with ThreadPoolExecutor(1) as threads:
            with conn.transaction():
                conn.execute("SELECT FROM read_models.positions FOR UPDATE")
                migrating = threads.submit(migrate, url, [*earlier, *rest])
                wait_for(lambda: ask(url, WAITS))
                conn.execute("SET LOCAL lock_timeout = '1s'")
                conn.execute("INSERT INTO read_models.revision VALUES (gen_random_uuid())")
            migrating.result()

    assert [(None, None)] == ask(
        url, "SELECT to_regclass('read_models.revision'), to_regclass('read_models.routine_state')"
    )
    assert [] == ask(url, "SELECT FROM read_models.positions WHERE name = 'revisions'")


def test_a_database_that_a_newer_version_wrote_is_left_alone(url):
    migrate(url, [*known_migrations(), migration(NEXT, "SELECT 1", "accounts")])
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("UPDATE log.migrations SET program = '9.1.0' WHERE number = %s", (NEXT,))
    old_structure = structure(url)

    with pytest.raises(CannotMigrate, match=rf"{NEXT:04}_accounts is of 9\.1\.0.*Install 9\.1\.0 or later"):
        migrate(url)

    assert old_structure == structure(url)
    for command in (["init"], ["web"], ["scheduler"], ["projector"], ["delivery"]):
        code, output = run_command(url, *command)
        assert (code, "Install 9.1.0 or later" in output) == (1, True), output


def test_functions_that_a_newer_version_wrote_are_left_alone(url):
    migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("UPDATE log.migrations SET program = '10.0.0', sha256 = 'another' WHERE number = 0")

    with pytest.raises(CannotMigrate, match=r"its log is of 10\.0\.0"):
        migrate(url)


def test_functions_of_an_older_version_are_replaced(url):
    migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("UPDATE log.migrations SET program = '0.0.9', sha256 = 'another' WHERE number = 0")
        conn.execute("DROP FUNCTION log.check_grants")

    migrate(url)

    assert [("check_grants",)] == ask(url, "SELECT proname FROM pg_proc WHERE proname = 'check_grants'")


def test_an_applied_file_that_was_edited_is_refused(url):
    migrate(url, [*known_migrations(), migration(NEXT, "SELECT 1")])

    with pytest.raises(CannotMigrate, match="another content"):
        migrate(url, [*known_migrations(), migration(NEXT, "SELECT 2")])


def test_a_file_whose_number_is_below_what_is_applied_is_refused(url):
    migrate(url, [*known_migrations(), migration(NEXT + 1, "SELECT 1")])

    with pytest.raises(CannotMigrate, match=f"{NEXT:04}_late was not applied before {NEXT + 1:04}_next"):
        migrate(url, [*known_migrations(), migration(NEXT, "SELECT 1", "late"), migration(NEXT + 1, "SELECT 1")])


def test_a_database_from_before_there_was_a_record_is_brought_over_by_the_same_way(url, admin_url):
    """As 0.1.0 and the versions after it left one: everything is there, or nearly, and no record."""
    bootstrap.prepare(Settings(database_url=url))
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DROP TABLE log.migrations")
        conn.execute(
            "ALTER TABLE read_models.positions DROP COLUMN wanted, DROP COLUMN rebuilt_to, DROP COLUMN cold_to, DROP COLUMN made"
        )

    assert run_command(url, "web")[0] == 1
    bootstrap.prepare(Settings(database_url=url))

    assert structure(admin_url) == structure(url)


def test_a_process_of_a_newer_version_says_that_init_comes_first(url):
    migrate(url, known_migrations()[:3])

    code, output = run_command(url, "scheduler")

    assert code == 1
    assert "run `routines init` of it first, see docs/upgrading.md" in output


def test_large_bodies_are_compressed_by_lz4_where_the_server_has_it_and_by_nothing_slower(url):
    migrate(url)

    with psycopg.connect(url) as conn:
        ((methods,),) = conn.execute("SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'")
        (row,) = conn.execute(
            "SELECT attstorage, attcompression FROM pg_attribute WHERE attrelid = 'log.events'::regclass AND attname = 'body'"
        )

    assert row == (("x", "l") if "lz4" in methods else ("e", ""))
