"""Verification: the log is folded aside, and the live rows are compared with what it gives."""

from collections.abc import Callable
from uuid import UUID

import msgspec
from psycopg.sql import SQL, Identifier

from projections.engine.folding_aside import ReadPart, begin_or_resume, fold_aside
from projections.engine.maintenance import execute_on, hold_lock, search_schema
from projections.engine.positions import Outdated, reached
from projections.engine.read_model import ReadModel
from projections.engine.rebuilds import find_outdated
from projections.engine.table import SCHEMA, Connection

ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
# The live rows beside those that were folded anew; a row is compared as text, since json has no equality. A live row that is
# both hot and cold is one that is not in the log.
DIFFERING = """
    SELECT count(*) FILTER (WHERE live_id IS NULL), count(*) FILTER (WHERE fresh_id IS NULL),
        count(*) FILTER (WHERE live_id = fresh_id), (array_agg(coalesce(live_id, fresh_id)))[1:10]
    FROM (SELECT live.id AS live_id, fresh.id AS fresh_id FROM {live} live FULL JOIN {fresh} fresh ON fresh.id = live.id
          WHERE live.id IS NULL OR fresh.id IS NULL OR live::text <> fresh::text
          UNION ALL SELECT id, NULL FROM {live} GROUP BY id HAVING count(*) > 1) AS found"""


class Difference(msgspec.Struct, frozen=True, rename="camel"):
    """
    A table whose rows are not those that the log gives: how many are missing, not in the log, or differ.

    `examples` are the keys of the first ten of them.
    """

    read_model: str
    table: str
    missing: int
    unexpected: int
    differing: int
    examples: tuple[UUID, ...]


def verify(
    conn: Connection, model: ReadModel, read: ReadPart, progress: Callable[[int], None] = lambda _position: None
) -> list[Difference]:
    """
    Fold the log beside the live tables, compare, and return the tables that differ; nothing of the live ones changes.

    The rows are compared as they were at one moment, and nobody waits for it. Raises Outdated when the rows are those of
    another version.
    """
    aside = f"verifying_{model.name}"
    with hold_lock(conn, f"verify {model.name}"):
        try:
            execute_on(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", aside)
            if (target := reached(conn, [model])) is None or find_outdated(conn, [model]):
                raise Outdated(model.name)
            position = start = begin_or_resume(conn, model, aside)
            with search_schema(conn, aside):
                for position in fold_aside(conn, model, read, start, target):
                    progress(position)
            return _compare(conn, model, read, aside, position)
        finally:
            if not conn.closed:
                execute_on(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", aside)


def drop_unfinished(conn: Connection, model: ReadModel) -> None:
    """Drop what a comparison that was killed has left; wait for one that is under way."""
    with hold_lock(conn, f"verify {model.name}"):
        execute_on(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", f"verifying_{model.name}")


def _compare(conn: Connection, model: ReadModel, read: ReadPart, aside: str, position: int) -> list[Difference]:
    with conn.transaction():
        conn.execute(ONE_MOMENT)
        conn.execute("SET LOCAL statement_timeout = 0")
        target = reached(conn, [model])
        if target is None:
            raise Outdated(model.name)
        with search_schema(conn, aside):
            for _ in fold_aside(conn, model, read, position, target):
                pass
        differences = []
        for table in model.tables:
            query = SQL(DIFFERING).format(live=Identifier(SCHEMA, table.name), fresh=Identifier(aside, table.name))
            missing, unexpected, differing, examples = conn.execute(query).fetchone() or (0, 0, 0, [])
            if missing or unexpected or differing:
                differences.append(Difference(model.name, table.name, missing, unexpected, differing, tuple(examples)))
        return differences
