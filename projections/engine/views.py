"""
The views that analysts read, in the schema `analytics`: a promise about columns, over tables that are none.

A read model names the views over its tables. A rebuild swaps tables in, which nothing may depend on: the views are
made to depend on nothing first, and on the new tables afterwards, in the same transaction. So their grants, and the views
that others have built on them, stay. Columns are only ever added, at the end; what would be more than that is a
new view.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

Connection = psycopg.Connection[tuple[Any, ...]]
SCHEMA = "analytics"
ANALYST = "routines_analyst"  # the role that may read them, if the server has it
IS_THERE = "SELECT to_regnamespace(%s) IS NOT NULL, to_regrole(%s) IS NOT NULL"
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
                    Identifier(SCHEMA, view.name), SQL(", ").join(_empty(*column) for column in columns)
                )
            )


def _empty(name: str, kind: str) -> Composed:
    return SQL("NULL::{} AS {}").format(SQL(kind), Identifier(name))
