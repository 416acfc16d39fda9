"""Reads the log from its database, by a login that may read it, such as an auditor's."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any

import psycopg

from audit_verifier.chain import Head
from audit_verifier.rows import Columns, Unreadable

ROWS = """
    SELECT position, uuid_send(stream_id), version, convert_to(name, 'UTF8'), body,
        (extract(epoch FROM recorded_at) * 1000000)::bigint, convert_to(recorded_by, 'UTF8'), hash
    FROM log.events WHERE position <= %s ORDER BY position"""
CHECKPOINT = "SELECT checkpoint FROM read_models.log_tree WHERE id = '00000000-0000-0000-0000-000000000000'"
COSIGNED = """
    SELECT w.checkpoint || string_agg(w.line || E'\\n', '')
    FROM read_models.log_witness w JOIN read_models.log_tree t ON t.verifier_key = w.log_key GROUP BY w.checkpoint"""
ROWS_AT_ONCE = 5_000


@contextmanager
def open_connection(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection that reads one state of the database. Raises Unreadable."""
    try:
        with psycopg.connect(url, application_name="routines audit verify") as conn:
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            conn.read_only = True
            yield conn
    except psycopg.Error as error:
        raise Unreadable(f"the database cannot be read: {error}") from None


def read_head(conn: psycopg.Connection[Any]) -> Head:
    """Return where the log says that it ends."""
    row = conn.execute("SELECT position, hash FROM log.head").fetchone()
    return Head(*row) if row else Head(0, b"")


def read_checkpoints(conn: psycopg.Connection[Any]) -> list[str]:
    """Return the newest checkpoint that the database holds, and those that witnesses have cosigned: what may be read."""
    texts: list[str] = []
    for query in (CHECKPOINT, COSIGNED):
        with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable), conn.transaction():
            texts += [text for (text,) in conn.execute(query) if text is not None]
    return texts


def count_rows(conn: psycopg.Connection[Any]) -> int:
    """Return the position of the last row, which may be another than that of the head."""
    row = conn.execute("SELECT coalesce(max(position), 0) FROM log.events").fetchone()
    return int(row[0]) if row else 0


def read_rows(conn: psycopg.Connection[Any], last: int) -> Iterator[list[Columns]]:
    """Yield the rows up to a position, a part at a time."""
    with conn.cursor("rows") as cursor:
        cursor.execute(ROWS, (last,), binary=True)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield [
                (position, stream, version, name, body, sha256(body).digest(), recorded_us, login, stored)
                for position, stream, version, name, body, recorded_us, login, stored in rows
            ]
