"""
The last refused call of each webhook: when, why, and from where.

This is no read model: refused calls leave no events, since anybody can make as many as they like. There is one row for
each webhook at most, which each process writes now and then (web/http/webhook_refusals.py).
"""

from collections.abc import Sequence
from uuid import UUID

from projections.engine.read_model import Connection
from projections.responses import LastRefusal, time

_PUT = """
    INSERT INTO webhook_refusals (trigger_id, at, status, reason, sender) VALUES (%s, clock_timestamp(), %s, %s, %s)
    ON CONFLICT (trigger_id) DO UPDATE
    SET at = excluded.at, status = excluded.status, reason = excluded.reason, sender = excluded.sender"""
_OF_TRIGGERS = "SELECT trigger_id, at, status, reason, sender FROM webhook_refusals WHERE trigger_id = ANY(%s)"


def put(conn: Connection, trigger_id: UUID, status: int, reason: str, sender: str) -> None:
    """Keep a refusal as the last one of the webhook."""
    conn.execute(_PUT, (trigger_id, status, reason, sender))


def by_trigger(conn: Connection, trigger_ids: Sequence[UUID]) -> dict[UUID, LastRefusal]:
    """Return the last refusal of each of these triggers that has one."""
    rows = conn.execute(_OF_TRIGGERS, (list(trigger_ids),))
    return {
        id_: LastRefusal(at=time(at), status=status, reason=reason, sender=sender)
        for id_, at, status, reason, sender in rows
    }
