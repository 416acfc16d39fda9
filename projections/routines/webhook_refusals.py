"""
The last refused call of each webhook: when, why, and from where.

This is no read model: refused calls leave no events, since anybody can make as many as they like. There is one row for
each webhook at most, which each process writes now and then (web/http/webhook_refusals.py).
"""

from uuid import UUID

from projections.engine.documents import BatchedDocs, Docs, joined_document, opened_document
from projections.engine.table import Connection

_PUT = """
    INSERT INTO webhook_refusals (trigger_id, at, status, reason, sender) VALUES (%s, clock_timestamp(), %s, %s, %s)
    ON CONFLICT (trigger_id) DO UPDATE
    SET at = excluded.at, status = excluded.status, reason = excluded.reason, sender = excluded.sender"""
# The last refusals of a routine's webhooks, whole.
OF_ROUTINE = BatchedDocs(
    Docs(
        """SELECT to_json(f) AS doc FROM routine_trigger t JOIN webhook_refusals f ON f.trigger_id = t.id
        WHERE t.routine_id = %(id)s ORDER BY f.trigger_id""",
        object,
    ),
    id="uuid",
)
# A TriggerDetail, as text, of the trigger `t` of a query with its firings `l` and its last refusal `f`, if it has one.
WITH_LAST = f"""CASE WHEN f.trigger_id IS NULL THEN {joined_document("t.doc", "l.doc")} ELSE {joined_document("t.doc", opened_document("l.doc"))}
    || ',"lastRefusal":{{"at":"' || to_char(f.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '","status":' || f.status
    || ',"reason":' || to_json(f.reason) || ',"sender":' || to_json(f.sender) || '}}}}' END"""


def put(conn: Connection, trigger_id: UUID, status: int, reason: str, sender: str) -> None:
    """Keep a refusal as the last one of the webhook."""
    conn.execute(_PUT, (trigger_id, status, reason, sender))
