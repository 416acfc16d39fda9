"""Which position of the log belongs to a moment, by the time at which the database recorded each event."""

from datetime import UTC, datetime, timedelta

from projections.engine.table import Connection

MICROSECOND = timedelta(microseconds=1)
# The first position whose event was recorded at a moment or later; one after the head if there is none. It looks at positions that
# do not depend on how long the log is: so the answer stays the same also where times go back, since the clock was put right.
FIRST_SINCE = """
    WITH RECURSIVE search(place, step) AS (
        SELECT 0::bigint, 1::bigint << ceil(log(2, position + 2))::int FROM log.head
        UNION ALL
        SELECT CASE WHEN (SELECT recorded_at FROM log.events WHERE position = place + step) < %(moment)s
            THEN place + step ELSE place END, step / 2
        FROM search WHERE step > 0)
    SELECT place + 1 FROM search WHERE step = 0"""


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
