"""
Cold tables: rows that have been over for as long as the operator says leave the tables that everybody works on.

Beside a hot table stands its cold one, which Postgres has inherit from it: whoever names the hot table reads both, and has
the same indexes there, so no query, view or export knows of it. A row says the same wherever it is, so a comparison with a
rebuild finds no difference. A fold that changes a cold row takes it back (`Rows`).

Which rows are next follows from the log: `cold_to` is the position up to which it was looked at, and the rows of these
streams that ended there have left, if they are over. Rows and `cold_to` change in one transaction, which holds the lock of
the model's position: so folds, and others who move rows, take turns with it.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from psycopg.sql import SQL, Composed, Identifier

from domain.events import STORED_NAMES
from projections.engine.maintenance import execute_on, take_time, value_of
from projections.engine.moments import position_at
from projections.engine.read_model import ReadModel
from projections.engine.table import Connection, Table

SPAN = 1_000  # events whose rows are looked at in one transaction
BEFORE = "SELECT clock_timestamp() - %s::interval"
COLD_TO = "SELECT cold_to FROM positions WHERE name = %s"


class _Rows(NamedTuple):
    """Where `cold_to` of some rows stands: what finds it, with the next one, and what writes that."""

    next: str
    note: str


# A model that somebody folds at the moment is left for the next time.
SHOWN = _Rows(
    """SELECT cold_to, least(cold_to + %(span)s, position, %(until)s) FROM positions
    WHERE name = %(name)s AND shape = %(shape)s FOR UPDATE SKIP LOCKED""",
    "UPDATE positions SET cold_to = %(until)s WHERE name = %(name)s",
)
OF_REBUILD = _Rows(
    "SELECT cold_to, least(cold_to + %(span)s, position, %(until)s) FROM rebuild_progress",
    "UPDATE rebuild_progress SET cold_to = %(until)s",
)
CREATE = "CREATE TABLE {cold} (LIKE {hot} INCLUDING ALL, CHECK ({over})) INHERITS ({hot})"
# An event that others of its stream follow is passed by: they come later, and say since when the row is over. OFFSET has Postgres
# look for them by the index, one stream after the other.
MOVE = """
    WITH moved AS (
        DELETE FROM ONLY {hot} WHERE {over} AND id = ANY(ARRAY(
            SELECT e.stream_id FROM log.events e
            WHERE e.position > %(after)s AND e.position <= %(until)s AND e.name = ANY(%(names)s) AND NOT EXISTS (
                SELECT FROM log.events n
                WHERE n.stream_id = e.stream_id AND n.version > e.version AND n.name = ANY(%(names)s) OFFSET 0)))
        RETURNING *)
    INSERT INTO {cold} SELECT * FROM moved"""


def last_position_before(conn: Connection, age: timedelta) -> int:
    """Return the position of the last event that is older than this; 0 if none is."""
    return position_at(conn, value_of(conn, BEFORE, age))


def move(conn: Connection, model: ReadModel, until: int) -> bool:
    """
    Move the rows of those streams that ended with one of the next events, up to `until`; return whether there were any events.

    The first time it makes the cold tables, and moves nothing.
    """
    return _move(conn, model, until, SHOWN)


def follow(conn: Connection, model: ReadModel, until: int) -> Iterator[None]:
    """
    Move the rows of a rebuild, up to `until`, so that they stand where those stand that they replace; yield after each part.

    At the end the hot tables are written anew, since what has left them has left gaps.
    """
    while _move(conn, model, until, OF_REBUILD):
        yield
    if until:
        with take_time(conn):
            for table in _ageing(model):
                execute_on(conn, "VACUUM (FULL) {0}", table.name)


def cold_tables(model: ReadModel) -> list[str]:
    """Return the names of the cold tables that the model may have."""
    return [_cold(table) for table in _ageing(model)]


def _move(conn: Connection, model: ReadModel, until: int, rows: _Rows) -> bool:
    if not (tables := _ageing(model)):
        return False
    values: dict[str, Any] = {"name": model.name, "shape": model.schema_hash, "span": SPAN, "until": until}
    with conn.transaction():
        after, until = conn.execute(rows.next, values).fetchone() or (0, 0)
        if until <= after:
            return False
        if new := [table for table in tables if value_of(conn, "SELECT to_regclass(%s) IS NULL", _cold(table))]:
            for table in new:
                conn.execute(_execute_on(CREATE, table))
            return True  # a query that was planned without them would not read what moves now
        names = [name for name, event in STORED_NAMES.items() if model.events is None or event in model.events]
        values |= {"after": after, "until": until, "names": names}
        for table in tables:
            conn.execute(_execute_on(MOVE, table), values)
        conn.execute(rows.note, values)
    return True


def _ageing(model: ReadModel) -> list[Table[Any]]:
    return [table for table in model.tables if table.over]


def _cold(table: Table[Any]) -> str:
    return f"{table.name}_cold"


def _execute_on(statement: str, table: Table[Any]) -> Composed:
    return SQL(statement).format(
        hot=Identifier(table.name), cold=Identifier(_cold(table)), over=SQL(table.over or "false")
    )
