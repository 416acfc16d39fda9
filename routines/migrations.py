"""
Brings a database up to this version: roles, numbered migrations, then the functions of the log.

The files `application/migrations/NNNN_name.sql` are applied in order, each once and in a transaction of its own, and
recorded in `log.migrations`. Each runs as the owner of the log; one that alters read models begins with
`SET LOCAL ROLE routines_service`. `application/event_store/log.sql` holds what can be replaced as a whole; it is
applied again whenever it has changed, or when a restore has lost what it gives. A database of another version, or one that does not
suit (prerequisites.py), is recognised before anything is changed.

Several processes may run the migrations at once, and repeat them.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from routines import prerequisites, roles
from routines.connections import TRANSACTION_TIMEOUT_SINCE, Profile
from routines.prerequisites import CannotMigrate, has_table
from routines.roles import OWNER, SERVICE

LOCK = "SELECT pg_advisory_lock(hashtext('routines migrations'))"
VERSION = version("routines")
GUIDE = "see docs/upgrading.md"
IN_PART = (
    "The database {} was restored, or is prepared in part only: run `routines init` with its owner's URL first, "
    "which makes it whole"
)
FUNCTIONS = 0  # the number under which the functions and the roles are recorded
RECORD = """
    CREATE SCHEMA IF NOT EXISTS log;
    CREATE TABLE IF NOT EXISTS log.migrations (
        number     int  PRIMARY KEY,  -- 0: the functions and the roles, which are replaced as a whole
        name       text NOT NULL,
        sha256     text NOT NULL,
        program    text NOT NULL,     -- the version of the service that applied it
        applied_at timestamptz NOT NULL DEFAULT now()
    );
    GRANT USAGE ON SCHEMA log TO routines_service, routines_auditor;
    GRANT SELECT ON log.migrations TO routines_service, routines_auditor"""
APPLIED = "SELECT number, name, sha256, program FROM log.migrations ORDER BY number"
NOTE = """
    INSERT INTO log.migrations (number, name, sha256, program) VALUES (%s, %s, %s, %s)
    ON CONFLICT (number) DO UPDATE
    SET name = excluded.name, sha256 = excluded.sha256, program = excluded.program, applied_at = now()"""
BEGIN_AS_SERVICE = f"SET LOCAL ROLE {SERVICE}"  # begins a migration of the read models
READ_MODEL_TABLES = ("positions", "isolated_events")
DEFINED = re.compile(r"^CREATE OR REPLACE (?:FUNCTION|TRIGGER) (?:log\.)?(\w+)", re.MULTILINE)
ALWAYS = re.compile(r"ENABLE ALWAYS TRIGGER (\w+)")
IN_PLACE = """
    SELECT p.proname FROM pg_proc p WHERE p.pronamespace = to_regnamespace('log')
    UNION ALL SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = to_regnamespace('log') AND NOT t.tgisinternal
    AND t.tgenabled = CASE WHEN t.tgname = ANY(%s) THEN 'A' ELSE 'O' END"""
LOCK_TIMEOUT = "5s"  # a migration that waits for a table blocks everybody behind it, so it waits no longer
# These limits keep a process that is frozen or cut off from blocking the others.
TRANSACTION_LIMIT = "20s"  # ends a transaction whose process falls silent; Postgres 17 and later have it
LIMITS = {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "5s", "statement_timeout": "60s"}
MIGRATING = Profile()  # migrations run with the rights of the login

Connection = psycopg.Connection[tuple[Any, ...]]


class Migration(msgspec.Struct, frozen=True):
    """One file of SQL. `text` is what is executed, `sha256` the hash of the whole file."""

    number: int
    name: str
    text: str
    sha256: str


class AppliedMigration(msgspec.Struct, frozen=True):
    """What the database says of a migration; `program` is the version of the service that applied it."""

    number: int
    name: str
    sha256: str
    program: str


class Plan(msgspec.Struct, frozen=True):
    """The migrations still to apply, and the functions of the log; `functions` is None when they are up to date."""

    migrations: Sequence[Migration]
    functions: Migration | None


def known_migrations() -> list[Migration]:
    """Return the numbered migrations of this version, in order."""
    paths: list[Traversable] = [*files("application").joinpath("migrations").iterdir()]
    migrations = [_read_migration(path) for path in paths if path.name.endswith(".sql")]
    return sorted(migrations, key=lambda migration: migration.number)


def migrate(url: str, migrations: Sequence[Migration] | None = None) -> None:
    """
    Bring the database up to this version and make it whole; do nothing when it is so already.

    Needs a user that may create roles and schemas (`url` of a superuser or the database's owner with CREATEROLE).
    Raises CannotMigrate when the user may not, when the database does not suit, when a newer version has written, or
    when a migration fails.
    """
    migrations = known_migrations() if migrations is None else migrations
    with MIGRATING.connect(url) as conn:
        prerequisites.refuse_unsuitable(conn)
        conn.execute(LOCK)
        try:
            plan = _plan_migrations(_read_applied(conn), migrations)
            prerequisites.refuse_other_installation(conn, url)
            prerequisites.refuse_unfinished_restore(conn)
            is_ready = not plan.migrations and plan.functions is None and _is_whole(conn)
            if is_ready and roles.may_become(conn, SERVICE):
                return
            roles.make(conn, _limits_for(conn))
            with _as_owner(conn):
                conn.execute(RECORD)
            _apply_all(conn, plan, migrations)
        except psycopg.errors.InsufficientPrivilege as error:
            raise CannotMigrate(_who_may(conn, error)) from error


def check_migrated(conn: Connection) -> None:
    """
    Raise CannotMigrate unless the database is whole and of this version, as every process needs it.

    The connection has the rights of its login, which has to be able to act as the service.
    """
    database, login = conn.info.dbname, conn.info.user
    if roles.missing_roles(conn) or not has_table(conn, "log", "migrations"):
        raise CannotMigrate(f"The database {database} is not prepared: run `routines init` with its owner's URL first")
    if not roles.may_become(conn, SERVICE):
        raise CannotMigrate(
            f"The login {login} may not act as {SERVICE}, which this needs: take a login of the service. A login that may "
            "read the log, such as an auditor's, is enough for `routines log` and `routines audit`"
        )
    with conn.transaction():
        conn.execute(BEGIN_AS_SERVICE)
        try:
            plan = _plan_migrations(_read_applied(conn), known_migrations())
        except psycopg.errors.InsufficientPrivilege:  # a restore has lost the right to read it
            plan = None
    if plan is not None and (plan.migrations or plan.functions is not None):
        raise CannotMigrate(f"The database is not of version {VERSION} yet: run `routines init` of it first, {GUIDE}")
    if plan is None or not _is_whole(conn):
        raise CannotMigrate(IN_PART.format(database))


def _who_may(conn: Connection, error: psycopg.Error) -> str:
    reason = error.diag.message_primary or str(error)
    return (
        f"The login {conn.info.user} may not prepare this database ({reason}). Run `routines init` with the URL of the "
        "database's owner first: of a superuser, or of one that may create roles, or to whom somebody has granted "
        f"{OWNER} and {SERVICE}"
    )


def _apply_all(conn: Connection, plan: Plan, migrations: Sequence[Migration]) -> None:
    """Apply what is planned; make the read models' schema anew if it is not whole; and set the functions and rights."""
    pending = [migration.number for migration in plan.migrations]
    lost_numbers: list[int] = []
    if not _has_read_models(conn):
        lost_numbers = [
            each.number for each in migrations if each.number not in pending and BEGIN_AS_SERVICE in each.text
        ]
    if lost_numbers:  # what is left can be dropped, since all of it is folded from the log
        with conn.transaction():
            conn.execute(BEGIN_AS_SERVICE)
            conn.execute("DROP SCHEMA IF EXISTS read_models CASCADE")
    for migration in migrations:
        if migration.number in (*pending, *lost_numbers):
            _apply(conn, migration)
    _apply(conn, plan.functions or _read_functions())


def _is_whole(conn: Connection) -> bool:
    """Return whether nothing is lost of what the migrations gave: roles, rights, functions, triggers, schemas."""
    text = _read_functions().text
    names = [name for (name,) in conn.execute(IN_PLACE, (ALWAYS.findall(text),))]
    return set(DEFINED.findall(text)) <= set(names) and _has_read_models(conn) and roles.are_whole(conn)


def _has_read_models(conn: Connection) -> bool:
    return all(has_table(conn, "read_models", name) for name in READ_MODEL_TABLES)


def _plan_migrations(applied_migrations: Sequence[AppliedMigration], migrations: Sequence[Migration]) -> Plan:
    """Return what has to be applied. Raises CannotMigrate when another version applied what this one does not know."""
    by_number = {migration.number: migration for migration in migrations}
    before = {entry.number: entry for entry in applied_migrations if entry.number != FUNCTIONS}
    for entry in before.values():
        if (migration := by_number.get(entry.number)) is None:
            raise CannotMigrate(
                f"A newer version wrote this database: migration {entry.name} is of {entry.program}, "
                f"and this is {VERSION}. Install {entry.program} or later, "
                f"or restore the copy from before the upgrade; {GUIDE}"
            )
        if migration.sha256 != entry.sha256:
            raise CannotMigrate(
                f"Migration {entry.name} was applied by {entry.program} with another content than it has "
                f"in this {VERSION}. Applied files are never edited: "
                f"install the version that the database is of, {GUIDE}"
            )
    pending = [migration for migration in migrations if migration.number not in before]
    if pending and before and pending[0].number < max(before):
        raise CannotMigrate(
            f"Migration {pending[0].name} was not applied before {before[max(before)].name}, though its number is lower. "
            f"Give it the next number that is free; {GUIDE}"
        )
    return Plan(migrations=pending, functions=_outdated_functions(applied_migrations))


def _outdated_functions(applied_migrations: Sequence[AppliedMigration]) -> Migration | None:
    functions = _read_functions()
    before = next((entry for entry in applied_migrations if entry.number == FUNCTIONS), None)
    if before is None:
        return functions
    if before.sha256 == functions.sha256:
        return None
    if _version_numbers(before.program) > _version_numbers(VERSION):
        raise CannotMigrate(
            f"A newer version wrote this database: its log is of {before.program}, and this is {VERSION}. "
            f"Install {before.program} or later, or restore the copy from before the upgrade; {GUIDE}"
        )
    return functions


def _read_functions() -> Migration:
    migration = _read_migration(files("application").joinpath("event_store", "log.sql"))
    settings = f"{migration.sha256}{LIMITS}{TRANSACTION_LIMIT}"  # the limits are settings of the roles
    return msgspec.structs.replace(migration, sha256=hashlib.sha256(settings.encode()).hexdigest())


def _read_migration(path: Traversable) -> Migration:
    content = path.read_bytes()
    digits = re.match(r"\d+", path.name)
    return Migration(
        number=int(digits[0]) if digits else FUNCTIONS,
        name=path.name.removesuffix(".sql"),
        text=content.decode(),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _version_numbers(text: str) -> list[int]:
    """Return the first three numbers of a version."""
    return [int(digits) for digits in re.findall(r"\d+", text)[:3]]


def _read_applied(conn: Connection) -> list[AppliedMigration]:
    is_recorded = has_table(conn, "log", "migrations")
    return [AppliedMigration(*columns) for columns in conn.execute(APPLIED)] if is_recorded else []


def _apply(conn: Connection, migration: Migration) -> None:
    """Apply the migration and record it, in one transaction."""
    try:
        with _as_owner(conn):
            conn.execute(SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT))
            conn.execute(migration.text)
            _become_owner(conn)
            conn.execute(NOTE, (migration.number, migration.name, migration.sha256, VERSION))
    except psycopg.errors.LockNotAvailable as error:
        raise CannotMigrate(
            f"Migration {migration.name} waited {LOCK_TIMEOUT} for a table that others work on, and has changed nothing: try again"
        ) from error
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege):
        raise
    except psycopg.Error as error:
        raise CannotMigrate(
            f"Migration {migration.name} failed and has changed nothing: {error}. The migrations before it are applied; "
            f"{GUIDE}"
        ) from error


@contextmanager
def _as_owner(conn: Connection) -> Iterator[None]:
    with conn.transaction():
        _become_owner(conn)
        yield


def _become_owner(conn: Connection) -> None:
    conn.execute(SQL("SET LOCAL ROLE {}").format(Identifier(OWNER)))


def _limits_for(conn: Connection) -> dict[str, str]:
    return LIMITS | (
        {"transaction_timeout": TRANSACTION_LIMIT} if conn.info.server_version >= TRANSACTION_TIMEOUT_SINCE else {}
    )
