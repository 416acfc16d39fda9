"""
Backlog: how many schedules wait for their time, or for the scheduler, for health and metrics.

It counts rows of the read model `triggers_due`.
"""

from datetime import UTC, datetime

import msgspec

from projections.engine.table import Connection

ANY_TIME = datetime.max.replace(tzinfo=UTC)
# How many schedules have been due for longer than an interval, counted up to a limit; by the database's clock.
OVERDUE = """(SELECT count(*) FROM (
    SELECT FROM schedule WHERE enabled AND routine_active AND due_at <= clock_timestamp() - %s::interval LIMIT %s) overdue)"""
_BACKLOG = """
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM schedule WHERE enabled AND routine_active AND due_at <= %(until)s LIMIT %(most)s) waiting),
        (SELECT min(due_at) FROM schedule WHERE enabled AND routine_active AND due_at <= %(until)s)"""


class Backlog(msgspec.Struct, frozen=True):
    """The number of schedules, counted up to a limit, and the time when the first of them comes due."""

    count: int
    first_at: datetime | None


def backlog(conn: Connection, until: datetime, most: int) -> Backlog:
    """Return the enabled schedules of active routines that come due until `until`, counted up to `most`."""
    row = conn.execute(
        _BACKLOG, {"until": until, "most": most}, prepare=False
    ).fetchone()  # so that it is planned for these values
    return Backlog(*row) if row else Backlog(0, None)
