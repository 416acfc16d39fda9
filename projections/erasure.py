"""
What an erasure concerns: the events and the rows of a company or a user, counted; and what is deleted beside the read
models, which are made anew from the log.
"""

import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from uuid import UUID

import msgspec
from psycopg import errors
from psycopg.sql import SQL, Identifier

from domain import erasure
from domain.events import STORED_NAMES, AnyEvent, KeyIssued, NameClaimed, UserRegistered
from projections import catalogue
from projections.engine.read_model import ReadModel
from projections.engine.table import SCHEMA, Connection

ERASABLE = [name for name, kind in STORED_NAMES.items() if erasure.has_erasable(kind)]
ASKED = ("directory", "event_index")  # the read models that these queries read
OF_USERS = (UserRegistered, KeyIssued, NameClaimed)
# The last field of a body says what is sealed; a JSON text may have the same words in it, so it is read as JSON.
_FROM = """
    FROM log.events l CROSS JOIN LATERAL (SELECT convert_from(l.body, 'UTF8')::json AS body OFFSET 0) j
    WHERE ({}) AND """
_IS_SEALED = "j.body -> 'sealed' IS NOT NULL"
_COUNT_SEALED = f"SELECT l.name, count(*) {_FROM} {_IS_SEALED} GROUP BY l.name"
_OPEN = f"SELECT l.name, l.body {_FROM} NOT ({_IS_SEALED})"
_OF_COMPANY = """
    l.position IN (SELECT position FROM event WHERE company_id = %(id)s AND name = ANY(%(names)s))
    AND j.body -> 'subject_id' IS NULL"""
_OF_USER = """
    (l.stream_id = %(id)s AND l.name = ANY(%(names)s))
    OR l.stream_id IN (SELECT id FROM access_key WHERE user_id = %(id)s) AND l.name = 'key.issued'
    OR l.position IN (SELECT position FROM event WHERE name = 'name.claimed') AND j.body ->> 'subject_id' = %(text)s"""
_TABLES = """
    SELECT table_name FROM information_schema.columns WHERE table_schema = %s AND column_name = %s ORDER BY table_name"""
_OF_TRIGGERS = "SELECT stream_id FROM event WHERE company_id = %s AND name = 'trigger.created'"
_DELETED = (
    f"DELETE FROM webhook_refusals WHERE trigger_id IN ({_OF_TRIGGERS})",
    "DELETE FROM run_log WHERE company_id = %s",
    "DELETE FROM run_log_size WHERE company_id = %s",
    "DELETE FROM refused_attempts WHERE tenant = %s::uuid::text",
)
_COUNTED = {"run_log", *(table.name for model in catalogue.ALL for table in model.tables)}
# It may take long to count what there is, and to write tables anew.
UNHURRIED = """
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout')"""
LOCK_SOON, LOCK_AS_USUAL = (
    "SET lock_timeout = '0.5s'",
    "RESET lock_timeout",
)  # a queued exclusive lock blocks every later query on the table, so it gives up soon and tries again
LOCK_TRIES = 10
LOCK_PAUSE_S = 0.5  # pause between two tries, in which the queries that queued behind it run
# Postgres keeps a deleted row as long as a transaction could still see it, also when it writes the table anew. Those count that
# are older than ours, except for Postgres's own vacuum, which sees no rows of then.
OUR_TRANSACTION = "SELECT pg_current_xact_id()::xid::text"
HAS_OLDER_TRANSACTIONS = """
    SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE (datname = current_database() OR backend_type = 'walsender') AND pid <> pg_backend_pid()
            AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
            AND greatest(age(backend_xmin), age(backend_xid)) > age(%s::xid))"""
_KEYS = "SELECT id FROM access_key WHERE user_id = %s ORDER BY id"
_COMPANIES = "SELECT company_id FROM member WHERE user_id = %s ORDER BY company_id"


class EventCount(msgspec.Struct, frozen=True):
    """Events of a kind: those whose texts can be erased, and those whose texts are not sealed and stay as they are."""

    name: str
    erasable: int
    remaining: int


class ErasureExtent(msgspec.Struct, frozen=True):
    """What an erasure concerns: events, and rows of read models by table."""

    events: list[EventCount]
    rows: dict[str, int]


def of_company(conn: Connection, company_id: UUID) -> ErasureExtent:
    """Count what a company has left."""
    return _count(conn, _OF_COMPANY, "company_id", company_id)


def of_user(conn: Connection, user_id: UUID) -> ErasureExtent:
    """Count what a user has left of themselves."""
    return _count(conn, _OF_USER, "user_id", user_id)


def keys_of(conn: Connection, user_id: UUID) -> list[UUID]:
    """Return the ids of a user's keys."""
    return [id_ for (id_,) in conn.execute(_KEYS, (user_id,))]


def companies_of(conn: Connection, user_id: UUID) -> list[UUID]:
    """Return the companies that a user is a member of."""
    return [id_ for (id_,) in conn.execute(_COMPANIES, (user_id,))]


def models(*, of_user: bool) -> list[ReadModel]:
    """Return the read models whose rows may hold what can be erased of a user, or of a company."""
    kinds = OF_USERS if of_user else [kind for kind in STORED_NAMES.values() if erasure.has_erasable(kind)]
    return [model for model in catalogue.ALL if model.events is None or not model.events.isdisjoint(kinds)]


def tables_beside(*, of_user: bool) -> tuple[str, ...]:
    """Return the tables in whose files `delete_beside` leaves deleted rows of a user, or of a company."""
    return ("refused_attempts",) if of_user else ("refused_attempts", "run_log", "webhook_refusals")


def delete_beside(conn: Connection, subject_id: UUID) -> None:
    """Delete what follows from no event: the output of commands, refused calls and attempts."""
    with conn.transaction():
        for statement in _DELETED:
            conn.execute(SQL(statement), (subject_id,))


def write_anew(conn: Connection, tables: Sequence[str]) -> None:
    """
    Write tables anew, so that the files of the database have none of their deleted rows any more.

    Raises LockNotAvailable when readers, of these tables or of what was there before, have been in the way LOCK_TRIES times.
    """
    _wait_for_earlier_readers(conn)
    for table in tables:
        name = Identifier(*table.split("."))
        for left in reversed(range(LOCK_TRIES)):
            with (
                conn.transaction()
            ):  # Postgres's own vacuum yields to who waits, but not to who gives up as soon as below
                conn.execute(SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(name))
            conn.execute(LOCK_SOON)
            try:
                conn.execute(SQL("VACUUM (FULL) {}").format(name))
                break
            except errors.LockNotAvailable:
                if not left:
                    raise
                time.sleep(LOCK_PAUSE_S)
            finally:
                conn.execute(LOCK_AS_USUAL)


def _wait_for_earlier_readers(conn: Connection) -> None:
    """Wait until nobody can see what was deleted before. Raises LockNotAvailable after LOCK_TRIES tries."""
    (ours,) = conn.execute(OUR_TRANSACTION).fetchone() or ("",)
    for left in reversed(range(LOCK_TRIES)):
        if conn.execute(HAS_OLDER_TRANSACTIONS, (ours,)).fetchone() == (False,):
            return
        if not left:
            raise errors.LockNotAvailable("Somebody has been reading since before the rows were deleted")
        time.sleep(LOCK_PAUSE_S)


def take_time(conn: Connection) -> None:
    """Lift the limits of time of a session."""
    conn.execute(UNHURRIED)


def _count(conn: Connection, condition: str, column: str, id_: UUID) -> ErasureExtent:
    values = {"id": id_, "names": ERASABLE, "text": str(id_)}
    sealed: dict[str, int] = dict(conn.execute(SQL(_COUNT_SEALED.format(condition)), values).fetchall())
    unsealed = conn.cursor().stream(SQL(_OPEN.format(condition)), values)
    remaining = Counter(name for name, body in unsealed if _has_text(body))
    events = [EventCount(name, sealed.get(name, 0), remaining[name]) for name in sorted({*sealed, *remaining})]
    tables = [name for (name,) in conn.execute(_TABLES, (SCHEMA, column)) if name in _COUNTED]
    counts = {}
    for table in tables:
        statement = SQL("SELECT count(*) FROM {} WHERE {} = %s").format(Identifier(table), Identifier(column))
        if many := (conn.execute(statement, (id_,)).fetchone() or (0,))[0]:
            counts[table] = many
    return ErasureExtent(events=events, rows=counts)


class _StoredEvent(msgspec.Struct):
    """The event in a body of the log."""

    event: AnyEvent


@cache
def _decoder() -> msgspec.json.Decoder[_StoredEvent]:
    return msgspec.json.Decoder(_StoredEvent)


def _has_text(body: bytes) -> bool:
    """Return whether an event of which nothing is sealed has a text; one that cannot be read may have."""
    try:
        event = _decoder().decode(body).event
    except msgspec.ValidationError:
        return True
    return erasure.read_erased(event) != event
