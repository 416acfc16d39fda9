"""
Whether events that were read belong to the log of the database in which they are folded.

They are read over another connection than the one on which they are folded. When a database has taken over, the two may lead
to different ones for a while, of which one lacks the last events, and has recorded others in their places. The log is a chain
of hashes, so the hash of one event stands for all that come before it.
"""

from eventsourcing.persistence import PersistenceError

from domain.recorded import Recorded
from projections.engine.table import Connection

IS_IN_LOG = "EXISTS (SELECT FROM log.events e WHERE e.position = %(end)s AND e.hash = %(hash)s)"


class OtherLog(PersistenceError):
    """The log of this database does not have the events that were read, or has others in their places."""

    def __init__(self, position: int) -> None:
        super().__init__(
            f"event {position} was read from another log than that of the database in which it was to be folded"
        )


def place_of(last: Recorded) -> dict[str, int | bytes]:
    """Return the values for IS_IN_LOG, given the last of the events that were read."""
    return {"end": last.position, "hash": last.hash}


def require_in_log(conn: Connection, last: Recorded) -> None:
    """Raise OtherLog unless the log of the connection's database has this event, and so all that were read before it."""
    if conn.execute(f"SELECT {IS_IN_LOG}", place_of(last), prepare=True).fetchone() != (True,):
        raise OtherLog(last.position)
