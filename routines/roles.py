"""
The roles of a database, who owns what in it, and what the roles need: asked for, and put right.

Roles belong to the whole server, and a dump holds neither them nor the rights on the database itself. Restored where the
roles are missing, it leaves everything to whoever restored it, and nobody else has a right. `init` puts that right;
what a right allows stands in the migrations and in `application/event_store/log.sql`, which is applied again then.
"""

from contextlib import suppress
from typing import Any

import psycopg
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier

OWNER, SERVICE, AUDITOR = "routines_owner", "routines_service", "routines_auditor"
KINDS = {OWNER: "NOLOGIN", SERVICE: "LOGIN", AUDITOR: "LOGIN"}
ANALYST = "routines_analyst"  # reads the views of `analytics` (projections/engine/views.py); a server may do without it
SET_SINCE = 160_000  # the version of Postgres from which on a member of a role may be kept from becoming it

Connection = psycopg.Connection[tuple[Any, ...]]

MISSING = "SELECT name FROM unnest(%s::text[]) AS r(name) WHERE to_regrole(name) IS NULL"
NEW_ROLE = """DO $$ BEGIN CREATE ROLE {} {}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"""
MAY_BECOME = "SELECT pg_has_role(current_user, %s, %s)"
IS_OWNER = "SELECT pg_has_role(session_user, %s, 'MEMBER')"
MAY_CREATE = "SELECT has_database_privilege(%s, current_database(), 'CREATE')"
# The statements that give every schema, table and function of ours to the role that has to own it.
HAND_OVER = """
    WITH owners AS (
        SELECT n.oid AS schema, n.nspname, n.nspowner,
            CASE WHEN n.nspname IN ('log', 'vault') THEN %(owner)s ELSE %(service)s END AS role
        FROM pg_namespace n WHERE n.nspname IN ('log', 'vault', 'read_models', 'analytics') OR n.nspname LIKE 'rebuilding\\_%%'
    )
    SELECT format('ALTER SCHEMA %%I OWNER TO %%I', nspname, role) FROM owners
        WHERE nspowner <> to_regrole(role)
    UNION ALL SELECT format('ALTER TABLE %%I.%%I OWNER TO %%I', nspname, c.relname, role)
        FROM owners JOIN pg_class c ON c.relnamespace = schema
        WHERE c.relkind IN ('r', 'v') AND c.relowner <> to_regrole(role)
    UNION ALL SELECT format('ALTER FUNCTION %%s OWNER TO %%I', p.oid::regprocedure, role)
        FROM owners JOIN pg_proc p ON p.pronamespace = schema WHERE p.proowner <> to_regrole(role)"""
# Whether a right that log.sql or a migration gives is there, and nothing of the log is open to everybody.
HAS_RIGHTS = """
    SELECT has_database_privilege(%(service)s, current_database(), 'CREATE')
    AND (SELECT coalesce(bool_and(
            has_schema_privilege(reader, n.oid, 'USAGE') AND has_table_privilege(reader, c.oid, 'SELECT')), false)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN unnest(ARRAY[%(service)s, %(auditor)s]) reader WHERE n.nspname = 'log' AND c.relkind = 'r')
    AND (SELECT coalesce(bool_and(
            has_schema_privilege(%(service)s, n.oid, 'USAGE')
            AND has_table_privilege(%(service)s, c.oid, 'SELECT')
            AND has_any_column_privilege(%(service)s, c.oid, 'INSERT')
            AND CASE c.relname WHEN 'data_keys' THEN has_table_privilege(%(auditor)s, c.oid, 'SELECT')
                ELSE has_table_privilege(%(service)s, c.oid, 'UPDATE')
                    AND has_table_privilege(%(service)s, c.oid, 'DELETE') END), false)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'vault' AND c.relkind = 'r')
    AND (SELECT coalesce(bool_or(
            p.proname = 'append' AND has_function_privilege(%(service)s, p.oid, 'EXECUTE')), false)
            AND bool_and(NOT has_function_privilege('public', p.oid, 'EXECUTE'))
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'log')"""
NAMES = {"owner": OWNER, "service": SERVICE, "auditor": AUDITOR}


def is_owner(conn: Connection) -> bool:
    """Return whether the login may act as the owner of the log."""
    return _is_true(conn, IS_OWNER, (OWNER,))


def missing_roles(conn: Connection) -> list[str]:
    """Return the roles that this server does not have."""
    return [name for (name,) in conn.execute(MISSING, (list(KINDS),))]


def may_become(conn: Connection, role: str) -> bool:
    """Return whether the login of this connection can act as the role, which must exist."""
    mode = "SET" if conn.info.server_version >= SET_SINCE else "MEMBER"
    return _is_true(conn, MAY_BECOME, (role, mode))


def are_whole(conn: Connection) -> bool:
    """Return whether all roles are there, own what is theirs, and have their rights in a database that is prepared."""
    return (
        not missing_roles(conn) and not conn.execute(HAND_OVER, NAMES).fetchall() and _is_true(conn, HAS_RIGHTS, NAMES)
    )


def make(conn: Connection, limits: dict[str, str]) -> None:
    """
    Make the roles that are missing, let the login act as them, and hand over what is theirs.

    `limits` are the settings of the service's sessions. What is there already is not asked for again, so a login that
    may not create roles will do where somebody has made them and granted them to it.
    """
    for role in missing_roles(conn):
        conn.execute(SQL(NEW_ROLE).format(Identifier(role), SQL(KINDS[role])))
    with suppress(InsufficientPrivilege):
        conn.execute(SQL(NEW_ROLE).format(Identifier(ANALYST), SQL("LOGIN")))
    database = Identifier(conn.info.dbname)
    for role in (OWNER, SERVICE):
        if not may_become(conn, role):
            conn.execute(SQL("GRANT {} TO CURRENT_USER").format(Identifier(role)))
        if not _is_true(conn, MAY_CREATE, (role,)):
            conn.execute(SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, Identifier(role)))
    for (statement,) in conn.execute(HAND_OVER, NAMES).fetchall():
        conn.execute(statement)
    _set_limits(conn, limits)


def _set_limits(conn: Connection, limits: dict[str, str]) -> None:
    """Give the sessions of the service these settings, unless they have them or the login may not alter the role."""
    row = conn.execute("SELECT coalesce(rolconfig, '{}') FROM pg_roles WHERE rolname = %s", (SERVICE,)).fetchone()
    present = row[0] if row else []
    # Optional: our processes set these limits by themselves; only other programs under this login lack them then.
    with suppress(InsufficientPrivilege):
        for name, value in limits.items():
            if f"{name}={value}" not in present:
                conn.execute(SQL("ALTER ROLE {} SET {} = {}").format(Identifier(SERVICE), Identifier(name), value))


def _is_true(conn: Connection, query: str, values: Any) -> bool:
    row = conn.execute(query, values).fetchone()
    return row is not None and bool(row[0])
