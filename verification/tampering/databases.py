"""A tampered log in a real database, as its superuser leaves it: triggers switched off, rows replaced, all rolled back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from audit_verifier import postgres
from audit_verifier.chain import LogCheck, Report
from verification.tampering.logs import Anchors, Log, parse_checkpoints

Connection = psycopg.Connection[Any]


@contextmanager
def hold_log(conn: Connection, log: Log) -> Iterator[None]:
    """Have the log in the database of a superuser's connection until the end of the `with`."""
    with conn.transaction(force_rollback=True):
        conn.execute("ALTER TABLE log.events DISABLE TRIGGER ALL")
        conn.execute("ALTER TABLE log.head DISABLE TRIGGER ALL")
        conn.execute("ALTER TABLE log.events DROP CONSTRAINT events_stream_id_version_key")
        conn.execute("DELETE FROM log.events")
        columns = "position, stream_id, version, name, body, recorded_at, recorded_by, hash"
        with conn.cursor().copy(f"COPY log.events ({columns}) FROM STDIN") as copy:
            for row in log.rows:
                copy.write_row(tuple(getattr(row, name) for name in columns.split(", ")))
        conn.execute("UPDATE log.head SET position = %s, hash = %s", (log.head.position, log.head.hash))
        yield


def verify(conn: Connection, anchors: Anchors) -> Report:
    """Return what the verifier says of the log in the database, with these checkpoints."""
    check = LogCheck(parse_checkpoints(anchors))
    for rows in postgres.read_rows(conn, postgres.count_rows(conn)):
        check.add(rows)
    return check.finish(postgres.read_head(conn))
