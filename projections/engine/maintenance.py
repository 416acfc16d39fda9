"""What rebuilds, comparisons and projections of one's own do with a session: work in another schema, hold locks, take their time."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from projections.engine.table import SCHEMA, Connection

# The limits in milliseconds, as far as this version of Postgres has them.
TIME_LIMITS = """
    SELECT name, setting FROM pg_settings WHERE name IN ('lock_timeout', 'statement_timeout', 'transaction_timeout')"""
SET_LIMITS = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) s(name, value)"
WHOLE_LIMITS = ("transaction_timeout",)  # limits that stay lifted for as long as a lock is held


def value_of(conn: Connection, query: str, *values: object) -> Any:
    """Return the first value that a query finds, or None."""
    row = conn.execute(query, values).fetchone()
    return None if row is None else row[0]


@contextlib.contextmanager
def search_schema(conn: Connection, schema: str) -> Iterator[None]:
    """Run the same SQL on the tables of another schema."""
    execute_on(conn, "SET search_path TO {0}", schema)
    try:
        yield
    finally:
        if conn.info.transaction_status != TransactionStatus.INERROR:  # otherwise the rollback resets it
            execute_on(conn, "SET search_path TO {0}", SCHEMA)


def execute_on(conn: Connection, statement: str, *names: str) -> None:
    """Execute a statement on the schemas and tables of these names."""
    conn.execute(SQL(statement).format(*map(Identifier, names)))


@contextlib.contextmanager
def take_time(conn: Connection) -> Iterator[None]:
    """Let statements take as long as they take."""
    limit = value_of(conn, "SELECT current_setting('statement_timeout')")
    _set_limits(conn, {"statement_timeout": "0"})
    try:
        yield
    finally:
        if not conn.closed:
            _set_limits(conn, {"statement_timeout": limit})


@contextlib.contextmanager
def hold_lock(conn: Connection, lock_name: str, *, wait: bool = True) -> Iterator[bool]:
    """
    Hold the advisory lock of this name; yield whether it is held.

    It is waited for without any time limit. With `wait=False` the answer is False at once if another process holds it.
    """
    limits: dict[str, str] = dict(conn.execute(TIME_LIMITS).fetchall())
    _set_limits(conn, dict.fromkeys(limits, "0"))
    is_ours = _lock(conn, lock_name, wait=wait)
    whole = {name: limits.pop(name) for name in WHOLE_LIMITS if name in limits}
    _set_limits(conn, limits)
    try:
        yield is_ours
    finally:
        if is_ours:
            conn.execute("SELECT pg_advisory_unlock(hashtext(%s))", (lock_name,))
        _set_limits(conn, whole)


def _set_limits(conn: Connection, limits: Mapping[str, str]) -> None:
    conn.execute(SET_LIMITS, (list(limits), list(limits.values())))


def _lock(conn: Connection, lock_name: str, *, wait: bool) -> bool:
    if wait:
        conn.execute("SELECT pg_advisory_lock(hashtext(%s))", (lock_name,))
        return True
    return bool(value_of(conn, "SELECT pg_try_advisory_lock(hashtext(%s))", lock_name))
