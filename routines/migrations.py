"""
Brings a database up to this version: roles, numbered migrations, then the functions of the log.

The files `application/migrations/NNNN_name.sql` are applied in order, each once and in a transaction of its own, and
recorded in `log.migrations`. Each runs as the owner of the log; one that alters read models begins with
`SET LOCAL ROLE routines_service`. `application/event_store/log.sql` holds what can be replaced as a whole; it is
applied again whenever it has changed. A database of another version is recognised before anything is changed.

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

from routines.connections import TRANSACTION_TIMEOUT_SINCE, Profile

OWNER, SERVICE, AUDITOR = "routines_owner", "routines_service", "routines_auditor"
LOCK = "SELECT pg_advisory_lock(hashtext('routines migrations'))"
VERSION = version("routines")
GUIDE = "see docs/upgrading.md"
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
IS_RECORDED = "SELECT to_regclass('log.migrations') IS NOT NULL"
APPLIED = "SELECT number, name, sha256, program FROM log.migrations ORDER BY number"
NOTE = """
    INSERT INTO log.migrations (number, name, sha256, program) VALUES (%s, %s, %s, %s)
    ON CONFLICT (number) DO UPDATE
    SET name = excluded.name, sha256 = excluded.sha256, program = excluded.program, applied_at = now()"""
NEW_ROLE = """DO $$ BEGIN CREATE ROLE {} {}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"""
LOCK_TIMEOUT = "5s"  # for a migration: while it waits for a table, everybody else waits behind it
# These limits keep a process that is frozen or cut off from blocking the others.
TRANSACTION_LIMIT = "20s"  # ends a transaction whose process falls silent; Postgres 17 and later have it
LIMITS = {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "5s", "statement_timeout": "60s"}
MIGRATING = Profile()  # with the rights of the login

Connection = psycopg.Connection[tuple[Any, ...]]


class CannotMigrate(Exception):
    """The database is not as this version needs it. The message says what to do."""


class Migration(msgspec.Struct, frozen=True):
    """One file of SQL. `text` is what is executed, `sha256` the hash of the whole file."""

    number: int
    name: str
    text: str
    sha256: str


class Applied(msgspec.Struct, frozen=True):
    """What the database says of a migration; `program` is the version of the service that applied it."""

    number: int
    name: str
    sha256: str
    program: str


class Plan(msgspec.Struct, frozen=True):
    """The migrations still to apply, and the functions of the log; `functions` is None when they are up to date."""

    migrations: Sequence[Migration]
    functions: Migration | None


def known() -> list[Migration]:
    """Return the numbered migrations of this version, in order."""
    paths: list[Traversable] = [*files("application").joinpath("migrations").iterdir()]
    migrations = [_migration(path) for path in paths if path.name.endswith(".sql")]
    return sorted(migrations, key=lambda migration: migration.number)


def migrate(url: str, migrations: Sequence[Migration] | None = None) -> None:
    """
    Bring the database up to this version; do nothing when it is there already.

    Needs a user that may create roles and schemas (`url` of a superuser or the database's owner with CREATEROLE).
    Raises CannotMigrate when the user may not, when a newer version has written, or when a migration fails.
    """
    migrations = known() if migrations is None else migrations
    with MIGRATING.connect(url) as conn:
        conn.execute(LOCK)
        plan = _plan(_applied(conn), migrations)
        if not plan.migrations and plan.functions is None:
            return
        try:
            _create_roles(conn)
            with _as_owner(conn):
                conn.execute(RECORD)
            for migration in [*plan.migrations, *([plan.functions] if plan.functions else [])]:
                _apply(conn, migration)
        except psycopg.errors.InsufficientPrivilege as error:
            raise CannotMigrate(f"Run `routines init` with the URL of the database's owner first ({error})") from error


def check(conn: Connection) -> None:
    """Raise CannotMigrate unless the database is of this version, as every process needs it."""
    plan = _plan(_applied(conn), known())
    if plan.migrations or plan.functions is not None:
        raise CannotMigrate(f"The database is not of version {VERSION} yet: run `routines init` of it first, {GUIDE}")


def _plan(applied: Sequence[Applied], migrations: Sequence[Migration]) -> Plan:
    """Return what has to be applied. Raises CannotMigrate when another version applied what this one does not know."""
    by_number = {migration.number: migration for migration in migrations}
    before = {entry.number: entry for entry in applied if entry.number != FUNCTIONS}
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
    return Plan(migrations=pending, functions=_outdated_functions(applied))


def _outdated_functions(applied: Sequence[Applied]) -> Migration | None:
    functions = _functions()
    before = next((entry for entry in applied if entry.number == FUNCTIONS), None)
    if before is None:
        return functions
    if before.sha256 == functions.sha256:
        return None
    if _comparable(before.program) > _comparable(VERSION):
        raise CannotMigrate(
            f"A newer version wrote this database: its log is of {before.program}, and this is {VERSION}. "
            f"Install {before.program} or later, or restore the copy from before the upgrade; {GUIDE}"
        )
    return functions


def _functions() -> Migration:
    migration = _migration(files("application").joinpath("event_store", "log.sql"))
    settings = f"{migration.sha256}{LIMITS}{TRANSACTION_LIMIT}"  # the limits are settings of the roles
    return msgspec.structs.replace(migration, sha256=hashlib.sha256(settings.encode()).hexdigest())


def _migration(path: Traversable) -> Migration:
    content = path.read_bytes()
    digits = re.match(r"\d+", path.name)
    return Migration(
        number=int(digits[0]) if digits else FUNCTIONS,
        name=path.name.removesuffix(".sql"),
        text=content.decode(),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _comparable(text: str) -> list[int]:
    """Return the first three numbers of a version."""
    return [int(digits) for digits in re.findall(r"\d+", text)[:3]]


def _applied(conn: Connection) -> list[Applied]:
    row = conn.execute(IS_RECORDED).fetchone()
    return [Applied(*columns) for columns in conn.execute(APPLIED)] if row and row[0] else []


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


def _create_roles(conn: Connection) -> None:
    for role, kind in ((OWNER, "NOLOGIN"), (SERVICE, "LOGIN"), (AUDITOR, "LOGIN")):
        conn.execute(SQL(NEW_ROLE).format(Identifier(role), SQL(kind)))
    database = Identifier(conn.info.dbname)
    conn.execute(SQL("GRANT CREATE ON DATABASE {} TO {}, {}").format(database, Identifier(OWNER), Identifier(SERVICE)))
    conn.execute(SQL("GRANT {}, {} TO CURRENT_USER").format(Identifier(OWNER), Identifier(SERVICE)))
    limits = LIMITS | (
        {"transaction_timeout": TRANSACTION_LIMIT} if conn.info.server_version >= TRANSACTION_TIMEOUT_SINCE else {}
    )
    for name, value in limits.items():
        conn.execute(SQL("ALTER ROLE {} SET {} = {}").format(Identifier(SERVICE), Identifier(name), value))
