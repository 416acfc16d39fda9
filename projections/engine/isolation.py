"""Events that a read model cannot take: whose fault an error is, and the record of what was passed over."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec
import psycopg
from eventsourcing.persistence import IntegrityError, PersistenceError

from domain.recorded import Recorded, Unreadable
from projections.engine.read_model import ReadModel
from projections.engine.table import Connection

UNKNOWN_EVENT = "UnknownEvent"  # the reason for isolating an event whose name this version does not know
FAULTS_OF_DATA = ("21", "22", "23", "54", "XX")  # classes of SQLSTATE
OVER_TIME = ("57014", "25P03", "25P04")  # SQLSTATEs of what was over a time limit
TOO_MUCH = ("53200", *OVER_TIME)  # the first says that there was no memory
# Errors after which others of the same kind follow until the database, or what leads to it, is well again.
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)
ISOLATE = """
    INSERT INTO isolated_events (read_model, position, name, stream_id, version, company_id, reason)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"""
ISOLATED_OF = """
    SELECT read_model, position, name, stream_id, version, company_id, reason, isolated_at FROM isolated_events
    WHERE %(name)s::text IS NULL OR read_model = %(name)s ORDER BY position DESC, read_model LIMIT %(limit)s"""


class IsolatedEvent(msgspec.Struct, frozen=True, rename="camel"):
    """An event that a read model could not take; `reason` is the kind of error."""

    read_model: str
    position: int
    name: str
    stream_id: UUID
    version: int
    company_id: UUID | None  # None when the event cannot be read
    reason: str
    isolated_at: datetime


def isolated_events(conn: Connection, limit: int, name: str | None = None) -> list[IsolatedEvent]:
    """Return at most `limit` isolated events of all models, or of the one with this name, newest first."""
    return [IsolatedEvent(*row) for row in conn.execute(ISOLATED_OF, {"name": name, "limit": limit})]


def is_events_fault(error: Exception) -> bool:
    """
    Return whether the cause of an error is, or may be, one of the events; then a smaller batch may succeed.

    So it is unless the database is away or is not as it should be. An error because something took too long or too much
    memory may be caused by an event.
    """
    if isinstance(error, PersistenceError) or not isinstance(error, psycopg.Error):
        return not isinstance(error, PersistenceError)
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError | psycopg.ProgrammingError | psycopg.NotSupportedError)
    return error.sqlstate[:2] in FAULTS_OF_DATA or error.sqlstate in TOO_MUCH


def is_over_time(error: Exception) -> bool:
    """Return whether Postgres has ended something since it took too long: for an event, or since a disk hangs."""
    return isinstance(error, psycopg.Error) and error.sqlstate in OVER_TIME


def is_away(error: Exception) -> bool:
    """
    Return whether the error says that the database is away, so that the caller should wait for it.

    It is not away when it has answered that something took too long or was too much: a smaller batch may succeed. Nor is it
    when it has refused what was to be recorded.
    """
    if isinstance(error, IntegrityError):
        return False
    if isinstance(error, PersistenceError):
        cause = error.__cause__
        return not isinstance(cause, Exception) or is_away(cause)
    return isinstance(error, AWAY) and not is_events_fault(error)


def isolate_unreadable(conn: Connection, models: Iterable[ReadModel], batch: Iterable[Recorded]) -> None:
    """Record the unreadable events of a batch as isolated, for the models that may have to fold them."""
    for recorded in batch:
        if isinstance(recorded.event, Unreadable):
            for model in models:
                if model.may_fold(recorded):
                    note_isolated(conn, model, recorded, recorded.event.reason)


def note_isolated(conn: Connection, model: ReadModel, recorded: Recorded, reason: str) -> None:
    """Record that a model passes over an event, with the reason."""
    place = (recorded.position, recorded.name, recorded.stream_id, recorded.version, recorded.company_id)
    if isinstance(recorded.event, Unreadable) and recorded.event.is_of_newer_version:
        reason = UNKNOWN_EVENT
    conn.execute(ISOLATE, (model.name, *place, reason))
