"""How much of its quotas a company uses: what there is of each thing, and what it has recorded in the last minute."""

from collections.abc import Mapping
from uuid import UUID

from psycopg.sql import SQL

from projections.read_model import Connection

WHERE: Mapping[str, str] = {  # the rows that a quota counts, and whose they are
    "max_company_routines": "routine WHERE company_id = %(who)s AND doc->>'status' <> 'archived'",
    "max_company_triggers": "routine_trigger t JOIN routine r ON r.id = t.routine_id WHERE r.company_id = %(who)s",
    "max_company_open_issues": "issue WHERE company_id = %(who)s AND is_open",
    "max_company_live_trajectories": "trajectory WHERE company_id = %(who)s AND status IN ('pending', 'running')",
    "max_company_agents": "agent WHERE company_id = %(who)s AND doc->>'status' <> 'terminated'",
    "max_company_projects": "project WHERE company_id = %(who)s",
    "max_company_goals": "goal WHERE company_id = %(who)s",
    "max_company_members": "member WHERE company_id = %(who)s",
    "max_company_endpoints": "webhook_endpoint WHERE company_id = %(who)s",
    "max_company_tasks": "task WHERE company_id = %(who)s",
    "max_holder_keys": """(
        SELECT 1 FROM access_key WHERE user_id = %(who)s AND doc->>'revokedAt' IS NULL UNION ALL
        SELECT 1 FROM access_key WHERE agent_id = %(who)s AND agent_doc->>'revokedAt' IS NULL UNION ALL
        SELECT 1 FROM collection_key WHERE company_id = %(who)s AND (doc->>'is_active')::boolean) k""",
    "max_issue_comments": "comment WHERE issue_id = %(who)s",
}
OF_COMPANY = tuple(name for name in WHERE if name.startswith("max_company_"))
_COUNTS = {name: SQL(f"SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT %(most)s) q") for name, rows in WHERE.items()}
_LAST_MINUTE = """
    SELECT (convert_from(body, 'UTF8')::json->>'company_id')::uuid AS company_id, count(*), sum(length(body))
    FROM log.events WHERE position > (SELECT position - %s FROM log.head)
        AND recorded_at > clock_timestamp() - interval '1 minute'
    GROUP BY 1"""
_COMPANIES = "SELECT id, doc->>'name' FROM company ORDER BY position"
_NEAR = {  # the companies that have so many
    "max_company_routines": "SELECT count(*) FROM (SELECT 1 FROM routine GROUP BY company_id HAVING count(*) >= %s) q",
    "max_company_open_issues": """
        SELECT count(*) FROM (SELECT 1 FROM issue WHERE is_open GROUP BY company_id HAVING count(*) >= %s) q""",
    "max_company_live_trajectories": """
        SELECT count(*) FROM (SELECT 1 FROM trajectory WHERE status IN ('pending', 'running')
        GROUP BY company_id HAVING count(*) >= %s) q""",
}
MOST_READ = 1_000_000  # events of the last minute


def count(conn: Connection, quota: str, who: UUID, most: int) -> int:
    """How many there are of what the quota limits, looking no further than `most`."""
    row = conn.execute(_COUNTS[quota], {"who": who, "most": most}, prepare=True).fetchone()
    return row[0] if row else 0


def near(conn: Connection, most: Mapping[str, int]) -> dict[str, int]:
    """How many companies have at least so many, of the things that grow by themselves."""
    found = {name: conn.execute(SQL(query), (most[name],)).fetchone() for name, query in _NEAR.items()}
    return {name: row[0] if row else 0 for name, row in found.items()}


def last_minute(conn: Connection) -> dict[UUID | None, tuple[int, int]]:
    """How many events and bytes each company has recorded in the last minute, and what belongs to none."""
    found = conn.execute(_LAST_MINUTE, (MOST_READ,)).fetchall()
    return {company_id: (events, int(size)) for company_id, events, size in found}


def companies(conn: Connection) -> list[tuple[UUID, str]]:
    """Their ids and names, oldest first."""
    return [(id_, name) for id_, name in conn.execute(_COMPANIES)]
