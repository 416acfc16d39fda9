"""
Attempts that were refused for want of a credential or a right: which, how often, from where, with which key.

This is no read model: refused attempts leave no events, since anybody can make as many as they like. Attempts of an hour
that are alike are one row, and only the newest KEPT rows stay.
"""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from projections.engine.documents import Docs, Part
from projections.engine.table import Connection
from projections.responses import ResponseBody

KEPT = 20_000  # rows

_PUT = """
    INSERT INTO refused_attempts (hour, status, operation, reason, network, key_id, tenant, attempts, first_at, last_at)
    SELECT date_trunc('hour', clock_timestamp()), %s, %s, %s, %s, %s, %s, %s, now(), now()
    ON CONFLICT (hour, status, operation, reason, network, key_id) DO UPDATE
    SET attempts = refused_attempts.attempts + excluded.attempts, last_at = excluded.last_at, tenant = excluded.tenant"""
_FORGET = """
    DELETE FROM refused_attempts WHERE position <= (SELECT position FROM refused_attempts ORDER BY position DESC OFFSET %s LIMIT 1)"""


class Attempts(NamedTuple):
    """What attempts have in common that count as alike."""

    status: int
    operation: str
    reason: str
    network: str = ""
    key_id: str = ""
    tenant: str = ""


class RefusedAttempts(ResponseBody, frozen=True, kw_only=True):
    """Refused attempts of an hour that are alike, and how many there were."""

    position: int
    status: int
    operation: str
    reason: str
    network: str | None
    key_id: UUID | None
    tenant: str | None
    attempts: int
    first_at: str
    last_at: str


_TIME = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
NEWEST = Docs(
    f"""SELECT position, json_build_object('position', position, 'status', status, 'operation', operation, 'reason', reason,
        'network', nullif(network, ''), 'keyId', nullif(key_id, ''), 'tenant', nullif(tenant, ''), 'attempts', attempts,
        'firstAt', {_TIME.format("first_at")}, 'lastAt', {_TIME.format("last_at")}) AS doc
    FROM refused_attempts WHERE position < coalesce(%(before)s::bigint, 9223372036854775807)
    ORDER BY position DESC LIMIT %(limit)s""",
    RefusedAttempts,
    sorted_by="position",
)


def put(conn: Connection, counts: Iterable[tuple[Attempts, int]]) -> None:
    """Add to the counts of this hour."""
    with conn.transaction(), conn.pipeline():
        for attempts, count in sorted(counts):
            conn.execute(_PUT, (*attempts, count))


def forget(conn: Connection) -> None:
    """Delete all but the newest KEPT rows."""
    conn.execute(_FORGET, (KEPT,))


def newest_refused_attempts(
    conn: Connection, *, limit: int, max_bytes: int, before: int | None = None
) -> Part[RefusedAttempts]:
    """Return refused attempts, the newest kinds of them first."""
    return NEWEST.part(conn, limit=limit, max_bytes=max_bytes, before=before)
