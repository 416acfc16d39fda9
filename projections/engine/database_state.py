"""What the database says of itself: whether it can write, and whether its clock agrees with the log."""

from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import psycopg

from projections.engine.table import Connection

RECENT = 1_000  # events of the log whose times are looked at
_IS_READ_ONLY = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
# A megabyte of a temporary file, which is written where the tables are and is gone at once.
_LITTLE_MEMORY = "SET LOCAL work_mem = '64kB'"
_FILL = "SELECT count(*) FROM generate_series(1, 50000)"
NEWEST = """
    SELECT clock_timestamp(), max(recorded_at), (SELECT position FROM log.head)
    FROM (SELECT recorded_at FROM log.events WHERE position > %s ORDER BY position DESC LIMIT %s) recent"""

CannotWrite = Literal["read_only", "disk_full"]


class Times(NamedTuple):
    """The time of the database's clock, the latest time of events of the log, and the position of its head."""

    now: datetime
    latest: datetime
    position: int


def why_not_writable(conn: Connection) -> CannotWrite | None:
    """Return why the database takes no changes at the moment; None when it does. Nothing is recorded to find out."""
    if _fetch_row(conn, _IS_READ_ONLY)[0]:
        return "read_only"
    try:
        with conn.transaction():
            conn.execute(_LITTLE_MEMORY)
            conn.execute(_FILL)
    except psycopg.errors.DiskFull:
        return "disk_full"
    except psycopg.errors.ConfigurationLimitExceeded:  # temp_file_limit of Postgres forbids the file: nothing is known
        return None
    return None


def times(conn: Connection, after: int = 0) -> Times:
    """Return the time of the database's clock, and the latest time of the newest RECENT events after a position of the log."""
    now, latest, position = _fetch_row(conn, NEWEST, (after, RECENT))
    return Times(now, latest or datetime.min.replace(tzinfo=UTC), position)


def _fetch_row(conn: Connection, query: Any, values: tuple[Any, ...] | None = None) -> tuple[Any, ...]:
    row = conn.execute(query, values).fetchone()
    if row is None:
        raise AssertionError
    return row
