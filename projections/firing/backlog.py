"""How many schedules wait for their time, or for the scheduler; over the rows of triggers_due. For health and metrics."""

from datetime import UTC, datetime

import msgspec

from projections.engine.read_model import Connection

ANY_TIME = datetime.max.replace(tzinfo=UTC)
_BACKLOG = """
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM schedule WHERE enabled AND routine_active AND due_at <= %(until)s LIMIT %(most)s) waiting),
        (SELECT min(due_at) FROM schedule WHERE enabled AND routine_active AND due_at <= %(until)s)"""


class Backlog(msgspec.Struct, frozen=True):
    """How many schedules, counted up to some limit, and the next time of the one that comes first."""

    count: int
    first_at: datetime | None


def backlog(conn: Connection, until: datetime, most: int) -> Backlog:
    """The enabled schedules of active routines that come due not after `until`, at most `most` of them counted."""
    row = conn.execute(_BACKLOG, {"until": until, "most": most}, prepare=False).fetchone()  # planned for these values
    return Backlog(*row) if row else Backlog(0, None)
