"""
The views that analysts read, in the schema `analytics`: a promise about columns, over tables that are none.

A read model names the views over its tables. A rebuild swaps tables in, which nothing may depend on: the views are
made to depend on nothing first, and on the new tables afterwards, in the same transaction. So their grants, and the views
that others have built on them, stay. Columns are only ever added, at the end; what would be more than that is a
new view.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

Connection = psycopg.Connection[tuple[Any, ...]]
SCHEMA = "analytics"
VERSION = 1  # raised when a column of a view changes its meaning or goes
ANALYST = "routines_analyst"  # the role that may read them, if the server has it
IS_THERE = "SELECT to_regnamespace(%s) IS NOT NULL, to_regrole(%s) IS NOT NULL"
# Whether the schema has this mark, all of these views, and the analyst's right to read each.
IS_DEFINED = """
    SELECT coalesce(obj_description(to_regnamespace(%s), 'pg_namespace') = %s, false)
        AND coalesce(bool_and(to_regclass(place) IS NOT NULL AND (
            to_regrole(%s) IS NULL OR has_table_privilege(to_regrole(%s), to_regclass(place), 'SELECT'))), true)
    FROM unnest(%s::text[]) place"""
COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
    WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""


class View(msgspec.Struct, frozen=True):
    """A view: its name, what a row of it is, and its columns, each with its SQL and what it says."""

    name: str
    about: str
    columns: dict[str, tuple[str, str]]
    source: str  # what stands after FROM
    moment: str  # the column by whose time rows are selected

    @property
    def query(self) -> str:
        """The SELECT of the view."""
        columns = ", ".join(f"{expression} AS {name}" for name, (expression, _) in self.columns.items())
        return f"SELECT {columns} FROM {self.source}"


def define_all(conn: Connection, views: Sequence[View]) -> None:
    """Define these views unless they are so already: a start of the system must not wait for a long query of an analyst."""
    digest = hashlib.sha256(msgspec.json.encode(views)).hexdigest()[:16]
    mark = f"The views of analysts, version {VERSION} ({digest})"
    places = [f"{SCHEMA}.{view.name}" for view in views]
    row = conn.execute(IS_DEFINED, (SCHEMA, mark, ANALYST, ANALYST, places)).fetchone()
    if row is None or not row[0]:
        define(conn, views)
        conn.execute(SQL("COMMENT ON SCHEMA {} IS {}").format(Identifier(SCHEMA), Literal(mark)))


def define(conn: Connection, views: Iterable[View]) -> None:
    """Create these views, or replace them; whoever may read them keeps that."""
    has_schema, has_analyst = conn.execute(IS_THERE, (SCHEMA, ANALYST)).fetchone() or (False, False)
    if not has_schema:
        conn.execute(SQL("CREATE SCHEMA {}").format(Identifier(SCHEMA)))
    for view in views:
        place = Identifier(SCHEMA, view.name)
        conn.execute(SQL("CREATE OR REPLACE VIEW {} AS {}").format(place, SQL(view.query)))
        conn.execute(SQL("COMMENT ON VIEW {} IS {}").format(place, Literal(view.about)))
        for name, (_, about) in view.columns.items():
            conn.execute(SQL("COMMENT ON COLUMN {}.{} IS {}").format(place, Identifier(name), Literal(about)))
        if has_analyst:
            conn.execute(SQL("GRANT SELECT ON {} TO {}").format(place, Identifier(ANALYST)))
    if has_analyst:
        conn.execute(SQL("GRANT USAGE ON SCHEMA {} TO {}").format(Identifier(SCHEMA), Identifier(ANALYST)))


def detach(conn: Connection, views: Iterable[View]) -> None:
    """Make those of these views that are there empty, so that they depend on no table until they are defined again."""
    for view in views:
        columns = conn.execute(COLUMNS, (f"{SCHEMA}.{view.name}",)).fetchall()
        if columns:
            conn.execute(
                SQL("CREATE OR REPLACE VIEW {} AS SELECT {} WHERE false").format(
                    Identifier(SCHEMA, view.name), SQL(", ").join(_null_column(*column) for column in columns)
                )
            )


def _null_column(name: str, kind: str) -> Composed:
    return SQL("NULL::{} AS {}").format(SQL(kind), Identifier(name))
