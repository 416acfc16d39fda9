"""How much of its quotas a company uses: how many it has of each thing, and what it has recorded in the last minute."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from psycopg.errors import UndefinedColumn, UndefinedTable
from psycopg.sql import SQL

from domain.routines.budget import Owner, WindowSpending
from domain.values import Budget, EndpointSettings
from projections.board import stored_bytes
from projections.delivery.receivers import SUBSCRIPTIONS
from projections.engine.table import Connection
from projections.firing import spending
from projections.jetty import collections

# What a query raises while the tables are those of an older version, or not there yet.
NOT_MADE_YET = (UndefinedTable, UndefinedColumn)
MOST_READ = 1_000_000  # events that `last_minute` looks at
_ROWS: Mapping[str, tuple[str, str]] = {  # the column of the company and the rows, by the quota that counts them
    "max_company_routines": ("company_id", "routine WHERE doc->>'status' <> 'archived'"),
    "max_company_triggers": (
        "r.company_id",
        "routine_trigger t JOIN routine r ON r.id = t.routine_id WHERE r.company_id IS NOT NULL",
    ),
    "max_company_open_issues": ("company_id", "issue WHERE is_open"),
    "max_company_live_trajectories": ("company_id", "trajectory WHERE status IN ('pending', 'running')"),
    "max_company_agents": ("company_id", "agent WHERE doc->>'status' <> 'terminated'"),
    "max_company_projects": ("company_id", "project WHERE true"),
    "max_company_goals": ("company_id", "goal WHERE true"),
    "max_company_folders": ("company_id", "folder WHERE true"),
    "max_company_members": ("company_id", "member WHERE true"),
    "max_company_endpoints": ("company_id", "webhook_endpoint WHERE true"),
    "max_company_tasks": ("company_id", "task WHERE true"),
}
_UNEXPIRED = "{0} IS NULL OR ({0})::timestamptz > %(now)s"
_OTHERS: Mapping[str, str] = {
    "max_holder_keys": f"""
        SELECT 1 FROM access_key WHERE user_id = %(who)s AND doc->>'revokedAt' IS NULL
            AND ({_UNEXPIRED.format("doc->>'expiresAt'")}) UNION ALL
        SELECT 1 FROM access_key WHERE agent_id = %(who)s AND agent_doc->>'revokedAt' IS NULL
            AND ({_UNEXPIRED.format("agent_doc->>'expiresAt'")}) UNION ALL
        SELECT 1 FROM collection_key k WHERE company_id = %(who)s AND {collections.IS_ACTIVE}""",
    "max_issue_comments": "SELECT 1 FROM comment WHERE issue_id = %(who)s",
}
LOG_BYTES = "max_company_log_bytes"
OF_COMPANY = (*_ROWS, LOG_BYTES)
_WHOSE = {name: f"SELECT 1 FROM {rows} AND {company} = %(who)s" for name, (company, rows) in _ROWS.items()}
_COUNT = {name: SQL(f"SELECT count(*) FROM ({rows} LIMIT %(most)s) q") for name, rows in {**_WHOSE, **_OTHERS}.items()}
_COUNTS = {
    name: SQL(f"SELECT {company}, count(*) FROM {rows} GROUP BY 1 HAVING count(*) >= %s")
    for name, (company, rows) in _ROWS.items()
}
_COUNT[LOG_BYTES] = SQL(f"SELECT coalesce((SELECT bytes FROM {stored_bytes.STORED.name} WHERE id = %(who)s), 0)")
_COUNTS[LOG_BYTES] = SQL(f"SELECT id, bytes FROM {stored_bytes.STORED.name} WHERE bytes >= %s")
_LAST_MINUTE = """
    SELECT (convert_from(body, 'UTF8')::json->>'company_id')::uuid, count(*), sum(length(body))
    FROM log.events WHERE position > (SELECT position - %s FROM log.head)
        AND recorded_at > clock_timestamp() - interval '1 minute'
    GROUP BY 1"""
_COMPANIES = "SELECT id, doc->>'name' FROM company ORDER BY position"


def count(conn: Connection, quota: str, owner_id: UUID, most: int, now: datetime) -> int:
    """
    Return how many `owner_id` has of what the quota limits; what is counted row by row is counted no further than `most`.

    `owner_id` is a company, a holder of keys or an issue, as the quota requires. Keys that have expired by `now` do not
    count. During an upgrade nothing counts whose read model is not made yet: nobody may be refused because of that.
    """
    try:
        with conn.transaction():
            row = conn.execute(_COUNT[quota], {"who": owner_id, "most": most, "now": now}).fetchone()
    except NOT_MADE_YET:
        return 0
    return row[0] if row else 0


def read_spending(conn: Connection, owner: Owner, owner_id: UUID, budget: Budget, now: datetime) -> WindowSpending:
    """Return what runs have cost within the window of a budget; nothing while that read model is not made yet."""
    try:
        with conn.transaction():
            return spending.sum_spending(conn, owner, owner_id, budget, now)
    except NOT_MADE_YET:
        return WindowSpending()


def counts(conn: Connection, quota: str, least: int = 1) -> dict[UUID, int]:
    """Return how many each company has of what the quota limits, for companies that have at least `least`."""
    try:
        with conn.transaction():
            return dict(conn.execute(_COUNTS[quota], (max(least, 1),)).fetchall())
    except NOT_MADE_YET:
        return {}


def subscriptions(conn: Connection, companies: Collection[UUID]) -> dict[UUID, Sequence[EndpointSettings]]:
    """Return the settings of the enabled webhook endpoints of each of these companies that ever had one."""
    try:
        with conn.transaction():
            rows = SUBSCRIPTIONS.request(conn, list(companies))().rows
    except NOT_MADE_YET:
        return {}
    return {row.id: [subscription.settings for subscription in row.endpoints] for row in rows}


def last_minute(conn: Connection) -> dict[UUID, tuple[int, int]]:
    """
    Return how many events and bytes each company has recorded in the last minute.

    Only the last MOST_READ events of the log are looked at.
    """
    rows = conn.execute(_LAST_MINUTE, (MOST_READ,)).fetchall()
    return {company_id: (events, int(size)) for company_id, events, size in rows if company_id is not None}


def companies(conn: Connection) -> dict[UUID, str]:
    """Return the names of all companies by their ids, oldest first."""
    return dict(conn.execute(_COMPANIES).fetchall())
