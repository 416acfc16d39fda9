"""
Open work, over all companies: how long the oldest open issue has waited, and whose work nobody takes.

An agent's work is not taken while an issue of it has been `todo` for UNTAKEN_AFTER, a collection's while a trajectory has
been `pending` for as long: then most likely no worker of theirs runs. Ages are those of the log's own times.

The queries look at the first row of each agent and each company by an index, however many rows these have.
"""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from projections.engine.table import Connection

UNTAKEN_AFTER = timedelta(hours=1)
MOST_HOLDERS = 10_000  # agents, and as many collections, that are looked at

# Each holder (an agent with open issues, a company with live trajectories) is found by the one before it.
_HOLDERS = """
    WITH RECURSIVE holder(id) AS (
        (SELECT {column} FROM {table} WHERE {live} AND {column} IS NOT NULL ORDER BY {column} LIMIT 1)
        UNION ALL
        SELECT (SELECT {column} FROM {table} WHERE {live} AND {column} > h.id ORDER BY {column} LIMIT 1)
        FROM holder h WHERE h.id IS NOT NULL
    ), holders AS (SELECT id FROM holder WHERE id IS NOT NULL LIMIT {most})"""
_ISSUE_HOLDERS = _HOLDERS.format(table="issue", column="assignee_agent_id", live="is_open", most=MOST_HOLDERS)
_RUN_HOLDERS = _HOLDERS.format(
    table="trajectory", column="company_id", live="status IN ('pending', 'running')", most=MOST_HOLDERS
)
_OLDEST = f"""{_ISSUE_HOLDERS}, oldest AS (
        SELECT min(position) AS position FROM issue WHERE is_open AND assignee_agent_id IS NULL
        UNION ALL
        SELECT (SELECT min(position) FROM issue WHERE is_open AND assignee_agent_id = h.id) FROM holders h)
    SELECT e.recorded_at FROM log.events e WHERE e.position = (SELECT min(position) FROM oldest)"""
_UNTAKEN_ISSUES = f"""{_ISSUE_HOLDERS}
    SELECT 'agent', h.id, e.recorded_at
    FROM holders h CROSS JOIN LATERAL (
        SELECT min(position) AS position FROM issue WHERE is_open AND assignee_agent_id = h.id AND status = 'todo') i
    JOIN log.events e ON e.position = i.position WHERE e.recorded_at < %(before)s ORDER BY e.position"""
_UNTAKEN_RUNS = f"""{_RUN_HOLDERS}
    SELECT 'collection', h.id, e.recorded_at
    FROM holders h CROSS JOIN LATERAL (
        SELECT min(number) AS number FROM trajectory WHERE company_id = h.id AND status = 'pending') t
    JOIN log.events e ON e.position = t.number WHERE e.recorded_at < %(before)s ORDER BY e.position"""


class UntakenWork(msgspec.Struct, frozen=True, rename="camel"):
    """An agent or a collection with work that nobody takes, and since when the oldest of it waits."""

    kind: Literal["agent", "collection"]
    id: UUID
    since: datetime


def oldest_open_issue(conn: Connection) -> datetime | None:
    """Return when the oldest issue that is open now was recorded; None when there is no open issue."""
    row = conn.execute(_OLDEST).fetchone()
    return row[0] if row else None


def list_untaken_work(conn: Connection, now: datetime) -> list[UntakenWork]:
    """Return the agents and the collections whose work nobody takes, those that wait longest first within each kind."""
    before = {"before": now - UNTAKEN_AFTER}
    return [UntakenWork(*row) for query in (_UNTAKEN_ISSUES, _UNTAKEN_RUNS) for row in conn.execute(query, before)]
