"""Which position of the log belongs to a moment, by the time at which the database recorded each event."""

from datetime import UTC, datetime, timedelta

from projections.engine.table import Connection

MICROSECOND = timedelta(microseconds=1)
# The first position whose event was recorded at a moment or later; one after the head if there is none.
FIRST_SINCE = """
    WITH RECURSIVE search(low, high) AS (
        SELECT 1::bigint, position + 1 FROM log.head
        UNION ALL
        SELECT CASE WHEN is_early THEN middle + 1 ELSE low END, CASE WHEN is_early THEN high ELSE middle END
        FROM search, LATERAL (SELECT (low + high) / 2 AS middle) m,
            LATERAL (SELECT recorded_at < %(moment)s AS is_early FROM log.events WHERE position = middle) e
        WHERE low < high)
    SELECT low FROM search WHERE low >= high"""


def read_clock(conn: Connection) -> datetime:
    """Return the time of the database, by which it records events, in UTC; the clock of a process may be a little behind it."""
    row: tuple[datetime] = conn.execute("SELECT clock_timestamp()").fetchone() or (datetime.max.replace(tzinfo=UTC),)
    return row[0].astimezone(UTC)


def position_at(conn: Connection, moment: datetime) -> int:
    """Return the position of the last event that was recorded at a moment or before; 0 if none was."""
    return first_since(conn, moment + MICROSECOND) - 1


def first_since(conn: Connection, moment: datetime) -> int:
    """Return the first position whose event was recorded at a moment or later; one after the head if none was."""
    row = conn.execute(FIRST_SINCE, {"moment": moment}).fetchone()
    return int(row[0]) if row else 1
