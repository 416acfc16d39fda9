"""Roles, the event log and the vault. Safe to run by several processes at once, and again."""

import hashlib
from importlib.resources import files
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

OWNER, SERVICE, AUDITOR = "routines_owner", "routines_service", "routines_auditor"
LOCK = "SELECT pg_advisory_lock(hashtext('routines migrations'))"
SCRIPTS = ("event_store/log.sql", "secrets/vault.sql")
STAMP = "SELECT obj_description(to_regnamespace('log')::oid, 'pg_namespace')"
NEW_ROLE = """DO $$ BEGIN CREATE ROLE {} {}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"""
# A process that is frozen or cut off must not stop the others.
TRANSACTION_LIMIT = "20s"  # for one that goes silent between two messages; Postgres 17 and later know it
SINCE = 170_000
LIMITS = {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "5s", "statement_timeout": "60s"}


class CannotMigrate(Exception):
    """The database is not ready for this version, and this user may not change it."""


def migrate(url: str) -> None:
    """
    Brings the database up to this version; does nothing when it is there already.

    Needs a user that may create roles and schemas (`url` of a superuser or the database's owner with CREATEROLE).
    Raises CannotMigrate when the user may not.
    """
    script = "".join(files("application").joinpath(name).read_text() for name in SCRIPTS)
    stamp = hashlib.sha256(f"{script}{LIMITS}{TRANSACTION_LIMIT}".encode()).hexdigest()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(LOCK)
        if _stamp(conn) == stamp:
            return
        try:
            _roles(conn)
            with conn.transaction():
                conn.execute(SQL("SET LOCAL ROLE {}").format(Identifier(OWNER)))
                conn.execute(script)
                conn.execute(SQL("COMMENT ON SCHEMA log IS {}").format(stamp))
        except psycopg.errors.InsufficientPrivilege as error:
            raise CannotMigrate(f"Run `routines init` with the URL of the database's owner first ({error})") from error


def _stamp(conn: psycopg.Connection[tuple[Any, ...]]) -> str | None:
    row = conn.execute(STAMP).fetchone()
    return row[0] if row else None


def _roles(conn: psycopg.Connection[tuple[Any, ...]]) -> None:
    for role, kind in ((OWNER, "NOLOGIN"), (SERVICE, "LOGIN"), (AUDITOR, "LOGIN")):
        conn.execute(SQL(NEW_ROLE).format(Identifier(role), SQL(kind)))
    database = Identifier(conn.info.dbname)
    conn.execute(SQL("GRANT CREATE ON DATABASE {} TO {}, {}").format(database, Identifier(OWNER), Identifier(SERVICE)))
    conn.execute(SQL("GRANT {}, {} TO CURRENT_USER").format(Identifier(OWNER), Identifier(SERVICE)))
    limits = LIMITS | ({"transaction_timeout": TRANSACTION_LIMIT} if conn.info.server_version >= SINCE else {})
    for name, value in limits.items():
        conn.execute(SQL("ALTER ROLE {} SET {} = {}").format(Identifier(SERVICE), Identifier(name), value))
