"""Locks of Postgres by which one process at a time sends a delivery, or the deliveries of a partition in order."""

from projections.engine.table import Connection

_TRY_HOLD = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
_LET_GO = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"


def hold(conn: Connection, key: str) -> bool:
    """
    Try to take the lock on this key; return whether this connection holds it.

    While it does, no other connection sends what the key stands for. The lock ends with `release` or with the
    connection.
    """
    row = conn.execute(_TRY_HOLD, (key,), prepare=True).fetchone()
    return bool(row and row[0])


def release(conn: Connection, key: str) -> None:
    """Release the lock on this key that `hold` has taken; a connection that is closed holds none any more."""
    if not conn.closed:
        conn.execute(_LET_GO, (key,), prepare=True)
