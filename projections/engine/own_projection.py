"""
A projection of somebody's own: a read model in a schema `own_NAME`, with its position in the log beside its tables.

It needs nothing of ours but the log, so it can neither hold up our read models nor change them. A fold that cannot take
an event stops there, and says so. When its tables or its version change, it is folded anew into `next_own_NAME`, which
takes the old schema's place at the head of the log: readers see the old rows until then.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence

from psycopg.sql import SQL, Identifier

from domain.events import STORED_NAMES
from domain.recorded import Recorded, Unreadable
from projections.engine.folding import fold_batch
from projections.engine.isolation import is_away
from projections.engine.maintenance import execute_on, value_of
from projections.engine.read_model import ReadModel
from projections.engine.table import Connection, Table

NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")  # what a schema can be called without quotes
IS_FOLDED = "SELECT to_regclass(%s) IS NOT NULL"
PROGRESS = """
    CREATE TABLE projection_progress (
        shape text NOT NULL,  -- of the tables, and the version of the fold
        position bigint NOT NULL DEFAULT 0,  -- up to which the log is folded
        moved_at timestamptz NOT NULL DEFAULT now(),
        stopped_at bigint,  -- the position of the event that the fold cannot take
        stopped_by text)"""
BEGIN = "INSERT INTO projection_progress (shape) VALUES (%s)"
PLACE = "SELECT shape, position, (SELECT position FROM log.head) FROM {}.projection_progress"
LOCKED = "SELECT position FROM projection_progress FOR UPDATE"
MOVE = "UPDATE projection_progress SET position = %s, moved_at = now(), stopped_at = NULL, stopped_by = NULL"
STOP = "UPDATE projection_progress SET stopped_at = %s, stopped_by = %s"
HELD = "SELECT pg_try_advisory_lock(hashtext(%s))"
RELEASE = "SELECT pg_advisory_unlock(hashtext(%s))"


class CannotFold(Exception):
    """A projection cannot take this event. All events before it are folded, and the projection stops there."""

    def __init__(self, recorded: Recorded, reason: str) -> None:
        self.recorded = recorded
        self.reason = reason
        super().__init__(
            f"event {recorded.position} ({recorded.name} of stream {recorded.stream_id}, version {recorded.version}): {reason}"
        )


class AlreadyRuns(Exception):
    """Another process moves this projection."""


@contextlib.contextmanager
def hold_projection(conn: Connection, model: ReadModel) -> Iterator[None]:
    """Keep other processes from moving the projection. Raises AlreadyRuns."""
    lock = f"own projection {model.name}"
    if not value_of(conn, HELD, lock):
        raise AlreadyRuns(f"Another process runs the projection {model.name} already")
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute(RELEASE, (lock,))


def open_schema(conn: Connection, model: ReadModel) -> int:
    """
    Let the connection work in the projection's schema, and return the position that is reached there.

    That is the schema that readers see, unless its rows are of other tables, of another version of the fold, or of a log
    that has lost its end in a restore: then it is the one that is to take its place, which is made if need be.
    """
    for schema in (f"own_{model.name}", f"next_own_{model.name}"):
        if (position := _read_position(conn, schema, model)) is not None:
            _set_search_path(conn, schema)
            return position
    with conn.transaction():
        execute_on(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", schema)
        execute_on(conn, "CREATE SCHEMA {0}", schema)
        _set_search_path(conn, schema)
        conn.execute(PROGRESS)
        conn.execute(BEGIN, (model.schema_hash,))
        conn.execute(SQL(model.schema))
    return 0


def forget(conn: Connection, model: ReadModel) -> None:
    """Drop what has been folded of a next schema, and mark the one that readers see as outdated: all is folded anew."""
    with conn.transaction():
        execute_on(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", f"next_own_{model.name}")
        if _read_position(conn, f"own_{model.name}", model) is not None:
            execute_on(conn, "UPDATE {0}.projection_progress SET shape = ''", f"own_{model.name}")


def fold(conn: Connection, model: ReadModel, batch: Sequence[Recorded]) -> None:
    """
    Fold a batch and move the position, in one transaction.

    If that fails, each half is folded alone, down to the event that the fold cannot take. Raises CannotFold then.
    """
    try:
        _refuse_unreadable(batch)
        with conn.transaction():
            position = value_of(conn, LOCKED)
            fold_batch(conn, [model], [recorded for recorded in batch if recorded.position > position])
            conn.execute(MOVE, (batch[-1].position,))
    except Exception as error:
        if conn.closed or is_away(error):
            raise
        if len(batch) == 1:
            refusal = (
                error if isinstance(error, CannotFold) else CannotFold(batch[0], f"{type(error).__name__}: {error}")
            )
            conn.execute(STOP, (refusal.recorded.position, refusal.reason))
            raise refusal from error
        middle = len(batch) // 2
        fold(conn, model, batch[:middle])
        fold(conn, model, batch[middle:])


def _refuse_unreadable(batch: Sequence[Recorded]) -> None:
    for recorded in batch:
        if isinstance(recorded.event, Unreadable):
            raise CannotFold(recorded, f"this version of Routines cannot read it ({recorded.event.reason})")


def arrive(conn: Connection, model: ReadModel, position: int) -> None:
    """Note that nothing is left to fold up to a position; a schema that was folded anew takes the old one's place."""
    with conn.transaction():
        conn.execute(MOVE, (position,))
        if value_of(conn, "SELECT current_schema()") != f"own_{model.name}":
            execute_on(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", f"own_{model.name}")
            execute_on(conn, "ALTER SCHEMA {0} RENAME TO {1}", f"next_own_{model.name}", f"own_{model.name}")
    _set_search_path(conn, f"own_{model.name}")


def find_fault(model: ReadModel) -> str | None:
    """Return why somebody's model cannot be a projection of its own, or which part of it would have no effect; None if it can."""
    kinds = {"name": str, "schema": str, "tables": tuple, "version": int}
    for field, kind in kinds.items():
        if not isinstance(getattr(model, field), kind):
            return f"`{field}` has to be {kind.__name__}, and is {getattr(model, field)!a}"
    if not NAME.fullmatch(model.name):
        return (
            "the name of a projection has small letters, digits and underscores, begins with a letter, and has at most 41 of "
            f"them: {model.name!a}"
        )
    if not all(isinstance(table, Table) for table in model.tables):
        return "`tables` has to be a tuple of Table"
    if ageing := next((table.name for table in model.tables if table.over), None):
        return f"the rows of a projection of one's own do not age; take `over` out of the table {ageing}"
    if ours := next((field for field in ("polled_by", "views") if getattr(model, field)), None):
        return f"`{ours}` is for the read models of Routines alone; take it out"
    if not isinstance(model.events, frozenset | None) or model.events == frozenset():
        return "`events` has to be a frozenset with classes of domain.events, or absent for all of them"
    try:
        names_of(model.events)
    except ValueError as error:
        return f"`events`: {error}"
    return None


def names_of(events: Iterable[type] | None) -> list[str]:
    """
    Return the stored names of these kinds of events; no names stand for all events.

    Raises ValueError for what is no kind of event.
    """
    wanted = set(events or ())
    if strange := wanted - set(STORED_NAMES.values()):
        raise ValueError(f"{min(map(repr, strange))} is no kind of event of domain.events")
    return [name for name, event in STORED_NAMES.items() if event in wanted]


def _read_position(conn: Connection, schema: str, model: ReadModel) -> int | None:
    """Return the position of a schema; None if it is not there, or its rows have to be folded anew."""
    if not value_of(conn, IS_FOLDED, f"{schema}.projection_progress"):
        return None
    shape, position, head = conn.execute(SQL(PLACE).format(Identifier(schema))).fetchone() or ("", 0, 0)
    return position if shape == model.schema_hash and position <= head else None


def _set_search_path(conn: Connection, schema: str) -> None:
    execute_on(conn, "SET search_path TO {0}", schema)
