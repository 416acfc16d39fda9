"""Which runs of a routine a replay of its past needs (domain/what_if)."""

from datetime import datetime
from uuid import UUID

from projections.engine.table import Connection

MODELS = ("run_history", "occurrences", "triggers_due", "routines")
# The runs that were fired in the range, and the last run before it of each schedule, which says where that stood.
RUNS = """
    (SELECT id FROM run WHERE routine_id = %(routine_id)s AND triggered_at > %(begin)s AND triggered_at <= %(end)s LIMIT %(limit)s)
    UNION
    SELECT settled.run_id FROM schedule s CROSS JOIN LATERAL (
        SELECT run_id FROM occurrence o
        WHERE o.trigger_id = s.id AND o.backfill_id IS NULL AND o.settled_at <= %(begin)s
        ORDER BY first DESC, id DESC LIMIT 1) settled
    WHERE s.routine_id = %(routine_id)s AND settled.run_id IS NOT NULL"""
ROUTINES = """
    SELECT id FROM routine WHERE company_id = %s AND doc->>'status' <> 'archived' ORDER BY id LIMIT %s"""


def runs(conn: Connection, routine_id: UUID, begin: datetime, end: datetime, limit: int) -> list[UUID]:
    """Return the ids of these runs; no more than `limit` of those in the range."""
    values = {"routine_id": routine_id, "begin": begin, "end": end, "limit": limit}
    return [run_id for (run_id,) in conn.execute(RUNS, values)]


def routines(conn: Connection, company_id: UUID, limit: int) -> list[UUID]:
    """Return the ids of at most `limit` routines of a company that are not archived."""
    return [routine_id for (routine_id,) in conn.execute(ROUTINES, (company_id, limit))]
