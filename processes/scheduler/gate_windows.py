"""What the activity gates of due schedules look at, read once for all of them."""

from collections.abc import Sequence

from msgspec.structs import replace

from domain.routines.settlement import GRACE
from domain.routines.trigger import DueTrigger
from projections.engine import positions
from projections.engine.table import Connection
from projections.firing import activity


def look(conn: Connection, rows: Sequence[DueTrigger]) -> list[DueTrigger]:
    """
    Return the rows, those of routines with a gate with what it looks at.

    The read models may be a moment behind the log; what they do not show yet, the next occurrence sees. If they are
    further behind than GRACE, nobody knows whether something has happened, and the gates stay open.
    """
    routine_ids = {row.routine_id for row in rows if row.is_gated}
    if not routine_ids or _are_lagging(conn):
        return list(rows)
    windows = activity.windows(conn, list(routine_ids))
    return [replace(row, window=windows.get(row.routine_id)) if row.is_gated else row for row in rows]


def _are_lagging(conn: Connection) -> bool:
    joined_models = [model for model in positions.status(conn) if model.name in activity.JOINED]
    return any(model.is_outdated or model.behind_s > GRACE.total_seconds() for model in joined_models)
