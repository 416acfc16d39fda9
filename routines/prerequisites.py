"""
What a database must be before anything is made in it: a Postgres that we know, in UTF-8, ours alone, and restored whole.

Each refusal says the reason and the way out.
"""

from typing import Any, LiteralString

import psycopg

from routines.roles import OWNER

Connection = psycopg.Connection[tuple[Any, ...]]

LEAST_VERSION = 15  # the oldest version of Postgres on which the tests run
SEVERAL = "routines.several_installations"  # a setting of the owner's role, which a superuser sets: they may share it
UNSUITABLE = """
    SELECT current_database(), pg_encoding_to_char(encoding)
    FROM pg_database WHERE datname = current_database()"""
# Dependencies are recorded for the whole server: here it can be seen in which databases a role owns something.
OTHER_DATABASES = """
    SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
    WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = to_regrole(%s) AND s.deptype = 'o'
    AND d.datname <> current_database() ORDER BY 1"""
MAY_BE_SEVERAL = "SELECT coalesce(%s = ANY(rolconfig), false) FROM pg_roles WHERE rolname = %s"
FIRST_EVENT = "SELECT hash FROM log.events WHERE position = 1"
HAS_TABLE = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = %s AND tablename = %s AND hasindexes)"
# How many keys the tables have that nothing can be folded into anew: a restore makes them after all rows are there.
KEYS = {"log.events": 2, "log.head": 1, "log.rules": 1, "log.migrations": 1, "vault.secrets": 1}
WITHOUT_KEYS = """
    SELECT t.name FROM unnest(%s::text[], %s::int[]) AS t(name, many) JOIN pg_class c ON c.oid = to_regclass(t.name)
    WHERE t.many > (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid)"""
END_OF_LOG = """
    SELECT (SELECT position FROM log.head), (SELECT coalesce(max(position), 0) FROM log.events)"""


class CannotMigrate(Exception):
    """The database is not as this version needs it. The message says what to do."""


def refuse_unsuitable(conn: Connection) -> None:
    """Raise CannotMigrate for a Postgres that is too old, and for a database that is not in UTF-8."""
    version = conn.info.server_version // 10_000
    if version < LEAST_VERSION:
        raise CannotMigrate(f"This is Postgres {version}; Routines needs Postgres {LEAST_VERSION} or later")
    name, encoding = _fetch_row(conn, UNSUITABLE)
    if encoding != "UTF8":
        raise CannotMigrate(
            f"The database {name} is encoded in {encoding}, which cannot hold every text; Routines needs UTF8. Make one "
            "with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0, and name it in ROUTINES_DATABASE_URL; "
            "a dump of this one can be restored in it"
        )


def refuse_other_installation(conn: Connection, url: str) -> None:
    """
    Raise CannotMigrate if another installation has a database on this server, unless a superuser has allowed it.

    Our roles belong to the whole server, so whoever acts as the service of one could read the log and the secrets of
    the other. A copy of the same installation has nothing to hide from it.
    """
    other_databases = [name for (name,) in conn.execute(OTHER_DATABASES, (OWNER,))]
    if not other_databases or _fetch_row(conn, MAY_BE_SEVERAL, (f"{SEVERAL}=on", OWNER))[0]:
        return
    own_event = _first_event(conn)
    for name in other_databases:
        if own_event is None or own_event != _first_event_in(url, name):
            raise CannotMigrate(
                f"The database {name} of this server holds another installation of Routines, or may hold one. Roles belong "
                "to the whole server, so each could read the log and the secrets of the other: give this one a server of "
                f"its own. If each may read the other, let a superuser say so: ALTER ROLE {OWNER} SET {SEVERAL} = 'on'"
            )


def refuse_unfinished_restore(conn: Connection) -> None:
    """Raise CannotMigrate for a log that a restore has left in part, or mixed with another one."""
    remedy = "restore the dump once more, into an empty database"
    if table := conn.execute(WITHOUT_KEYS, (list(KEYS), list(KEYS.values()))).fetchone():
        raise CannotMigrate(
            f"A restore into this database did not finish: {table[0]} lacks a key. To mend it, {remedy}"
        )
    if not (has_table(conn, "log", "events") and has_table(conn, "log", "head")):
        return
    head, last = _fetch_row(conn, END_OF_LOG)
    if head != last:
        raise CannotMigrate(
            f"The log ends with event {last}, but its head says {head}: the dump was restored in part, or into a database "
            f"that was not empty. To mend it, {remedy}"
        )


def has_table(conn: Connection, schema: str, name: str) -> bool:
    """Return whether the table is there, with an index; it need not be one that the login may read."""
    return bool(_fetch_row(conn, HAS_TABLE, (schema, name))[0])


def _first_event(conn: Connection) -> bytes | None:
    """Return the hash of the first event, by which an installation is known; None if there is none."""
    if not has_table(conn, "log", "events"):
        return None
    row = conn.execute(FIRST_EVENT).fetchone()
    return row[0] if row else None


def _first_event_in(url: str, database: str) -> bytes | None:
    """Return the same of another database of the server; None also if the login cannot see it."""
    try:
        with psycopg.connect(url, dbname=database, autocommit=True) as conn:
            return _first_event(conn)
    except psycopg.Error:
        return None


def _fetch_row(conn: Connection, query: LiteralString, values: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    return conn.execute(query, values).fetchone() or (None, None)
