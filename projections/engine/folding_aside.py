"""Folding the log into a schema beside the live tables, which can be cut off and gone on with: for rebuilds and comparisons."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Protocol

from psycopg.sql import SQL, Identifier

from domain.recorded import Recorded, Unreadable
from projections.engine.folding import fold_batch
from projections.engine.isolation import is_events_fault, note_isolated
from projections.engine.maintenance import execute_on, search_schema, value_of
from projections.engine.read_model import ReadModel
from projections.engine.same_log import OtherLog, require_in_log
from projections.engine.table import SCHEMA, Connection

REBUILD_BATCH = 5_000
REBUILD_ROWS = 50_000  # the most rows of one batch
REBUILD_SPAN = (
    100_000  # positions that one query of a rebuild looks through at most, however few events are wanted of them
)
PROGRAM = version("routines")
HEAD = "SELECT position FROM log.head"
PROGRESS = """
    CREATE TABLE {0}.rebuild_progress (shape text NOT NULL, position bigint NOT NULL, cold_to bigint NOT NULL DEFAULT 0)"""
ARE_THERE = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s::text[]) name"
NOTE_REACHED = "UPDATE rebuild_progress SET position = %s"


class ReadPart(Protocol):
    """Reads the log as EventStore.after does."""

    def __call__(
        self, position: int, limit: int, *, until: int | None = None, without: Sequence[str] = ()
    ) -> Sequence[Recorded]:
        """Return at most `limit` events after a position, up to `until`, without those of some stored names."""


def begin_or_resume(conn: Connection, model: ReadModel, schema: str, until: int | None = None) -> int:
    """
    Return the position up to which a schema holds the rows of a model, after making it anew unless it can be gone on with.

    It can if it has all tables, the same version of the service began it, for the same tables and fold, on a log that goes at
    least as far, and it is not beyond `until`.
    """
    shape = f"{model.schema_hash} {PROGRAM}"
    tables = [f"{schema}.{name}" for name in ("rebuild_progress", *(table.name for table in model.tables))]
    if value_of(conn, ARE_THERE, tables):
        place = SQL("SELECT position FROM {}.rebuild_progress WHERE shape = %s AND position <= %s")
        row = conn.execute(
            place.format(Identifier(schema)), (shape, head_of_log(conn) if until is None else until)
        ).fetchone()
        if row is not None:
            return int(row[0])
    with conn.transaction():
        execute_on(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", schema)
        execute_on(conn, "CREATE SCHEMA {0}", schema)
        execute_on(conn, "CREATE TABLE {0}.isolated_events (LIKE {1}.isolated_events INCLUDING ALL)", schema, SCHEMA)
        execute_on(conn, PROGRESS, schema)
        conn.execute(SQL("INSERT INTO {}.rebuild_progress VALUES (%s, 0)").format(Identifier(schema)), (shape,))
        with search_schema(conn, schema):
            conn.execute(SQL(model.schema))
    return 0


def fold_aside(conn: Connection, model: ReadModel, read: ReadPart, position: int, last: int) -> Iterator[int]:
    """Fold the events after a position up to another into the schema that is searched; yield each position that is reached."""
    for reached, batch in _parts_to_fold(read, model, position, last):
        with conn.transaction():
            last_read = next(iter(batch[-1:] or read(reached - 1, 1)), None)  # a shorter log has no events there either
            if last_read is None:
                raise OtherLog(reached)
            require_in_log(conn, last_read)
            for recorded, reason in _apply(conn, model, batch):
                note_isolated(conn, model, recorded, reason)
            conn.execute(NOTE_REACHED, (reached,))
        yield reached


def _parts_to_fold(
    read: ReadPart, model: ReadModel, position: int, last: int
) -> Iterator[tuple[int, Sequence[Recorded]]]:
    """
    Yield the events after a position that the model folds, batch by batch, each after the position that is reached by it.

    Together they reach `last`. A batch may be empty: the log is looked through in spans, so that no query takes too long.
    """
    names = model.names_to_skip
    while position < last:
        until = min(position + REBUILD_SPAN, last)
        batch = read(position, REBUILD_BATCH, until=until, without=names)
        position = batch[-1].position if batch else until
        yield position, batch


def head_of_log(conn: Connection) -> int:
    """Return the position of the newest event."""
    return int(value_of(conn, HEAD) or 0)


def _apply(conn: Connection, model: ReadModel, batch: Sequence[Recorded]) -> list[tuple[Recorded, str]]:
    """Fold a batch into one model; return its events that could not be read or folded, with the reasons."""
    unreadable = [
        (recorded, recorded.event.reason)
        for recorded in batch
        if isinstance(recorded.event, Unreadable) and model.may_fold(recorded)
    ]
    return unreadable + _find_failures(conn, model, batch)


def _find_failures(conn: Connection, model: ReadModel, batch: Sequence[Recorded]) -> list[tuple[Recorded, str]]:
    """Fold a batch; if that fails, fold each half of it, down to single events; return those that fail."""
    try:
        with conn.transaction():
            fold_batch(conn, [model], batch, REBUILD_ROWS)
    except Exception as error:
        if conn.closed or not is_events_fault(error):
            raise
        if len(batch) == 1:
            return [(batch[0], type(error).__name__)]
    else:
        return []
    middle = len(batch) // 2
    return _find_failures(conn, model, batch[:middle]) + _find_failures(conn, model, batch[middle:])
