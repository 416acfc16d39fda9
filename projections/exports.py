"""
What analysts take out: the rows of a view of `analytics` as CSV, as lines of JSON, as Parquet, or one by one.

Everything is streamed: Postgres writes the text (COPY), and this process holds a chunk of it at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Identifier
from psycopg.sql import Literal as Value

from domain.events import CompanyCreated, stored_name
from projections import catalogue, log_views
from projections.engine.table import SCHEMA as READ_SCHEMA
from projections.engine.views import SCHEMA, View

TextFormat = Literal["csv", "ndjson"]
VIEWS = {view.name: view for view in (*log_views.OF_LOG, *(view for model in catalogue.ALL for view in model.views))}
EVENTS = log_views.EVENTS.name
READ_MODELS = {
    view.name: model.name for model in catalogue.ALL for view in model.views
}  # what the views show, by their names
# A line of JSON has no control characters, so that nothing of it is quoted or escaped.
COPY = {
    "csv": "COPY ({}) TO STDOUT (FORMAT csv, HEADER)",
    "ndjson": "COPY (SELECT row_to_json(t) FROM ({}) t) TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')",
}
HEAD = "SELECT position, hash FROM log.head"
LAST = SQL("SELECT coalesce(max(position), 0) FROM {}").format(Identifier(SCHEMA, EVENTS))
NOW = "SELECT now()"
HAS_COMPANY = SQL("SELECT EXISTS (SELECT FROM {} WHERE stream_id = %s AND name = %s)").format(
    Identifier(SCHEMA, EVENTS)
)
FOLDED_TO = SQL("SELECT position FROM {} WHERE name = %s").format(Identifier(READ_SCHEMA, "positions"))
MISSING = "SELECT name FROM unnest(%s::text[]) name WHERE to_regclass(%s || '.' || name) IS NULL"
REBUILT_TO = SQL("SELECT rebuilt_to FROM {} WHERE name = %s AND shape IS DISTINCT FROM wanted").format(
    Identifier(READ_SCHEMA, "positions")
)
MOST_POSITION = 2**63 - 1
_BY_INDEX = SQL("position IN (SELECT position FROM event WHERE company_id = {} AND position > {} AND position <= {})")
# The position up to which the next events of a company are, and whether there are further ones.
_SPAN = """
    SELECT coalesce(max(position) FILTER (WHERE number <= %(limit)s), 0), count(*) > %(limit)s
    FROM (SELECT position, row_number() OVER (ORDER BY position) AS number FROM (
        SELECT position FROM event WHERE company_id = %(company_id)s AND position > %(after)s
        ORDER BY position LIMIT %(limit)s + 1) found) numbered"""
# A transaction that is under way keeps the limit that it began with, unless that is lifted before it gets another.
_LIFT = "SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'"
# The limit of the transaction comes later: at its end Postgres ends the session, and nobody hears why.
_LIMITS = """
    SELECT set_config(name, (%(limit_ms)s + CASE name WHEN 'statement_timeout' THEN 0 ELSE 5000 END)::text, true)
    FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout')"""
ROWS_AT_ONCE = 1_000  # fetched at a time where rows are read one by one, and reported
T = TypeVar("T")
Connection = psycopg.Connection[Any]


class Selection(msgspec.Struct, frozen=True):
    """Which rows are wanted: of one company or of all, and those of a time, open at its end. None leaves out a condition."""

    company_id: UUID | None = None
    begin: datetime | None = None
    end: datetime | None = None
    hidden: tuple[str, ...] = ()  # kinds of events that are left out
    uses_index: bool = (
        False  # whether a company's events are found by the read model `event_index`, which analysts may not read
    )


class Column(msgspec.Struct, frozen=True):
    """A column by its name, and its type as Postgres calls it."""

    name: str
    kind: str


def read_head(conn: Connection) -> tuple[int, str | None]:
    """Return the position of the newest event, and its hash in hexadecimal digits; None for a login that may not read it."""
    try:
        row = conn.execute(HEAD).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        row = conn.execute(LAST).fetchone()
        return (row[0] if row else 0), None
    return (row[0], row[1].hex()) if row else (0, None)


def position_of_view(conn: Connection, name: str) -> int | None:
    """Return the position of the log up to which a view, but that of events, shows it; None for a login that may not know."""
    try:
        row = conn.execute(FOLDED_TO, (READ_MODELS[name],)).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return row[0] if row else None


def find_unmade_views(conn: Connection, names: Sequence[str], head: int) -> list[str]:
    """
    Return those of these views that are not there since a projector has yet to make their read models anew.

    Each with its read model, and with how far that is if this login may know it. None if there are no views at all: then the
    database is not prepared.
    """
    missing = [name for (name,) in conn.execute(MISSING, ([EVENTS, *names], SCHEMA))]
    if EVENTS in missing:
        return []
    progress = {name: _describe_rebuild(conn, READ_MODELS[name], head) for name in missing}
    return [f"{SCHEMA}.{name} ({text})" for name, text in progress.items() if text is not None]


def _describe_rebuild(conn: Connection, model: str, head: int) -> str | None:
    try:
        row = conn.execute(REBUILT_TO, (model,)).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return model
    if row is None:
        return None
    return f"{model}: not begun" if row[0] is None else f"{model}: up to event {row[0]} of {head}"


def database_time(conn: Connection) -> datetime:
    """Return the time by the database's clock."""
    row = conn.execute(NOW).fetchone()
    if row is None:
        raise AssertionError
    moment: datetime = row[0]
    return moment


def has_company(conn: Connection, company_id: UUID) -> bool:
    """Return whether there is, or was, a company of this id."""
    row = conn.execute(HAS_COMPANY, (company_id, stored_name(CompanyCreated))).fetchone()
    return row is not None and bool(row[0])


def limit_transaction(conn: Connection, limit_s: float) -> None:
    """Let each statement of the transaction take so many seconds, whatever other transactions may take."""
    conn.execute(_LIFT)
    conn.execute(_LIMITS, {"limit_ms": max(int(limit_s * 1000), 1)})


def span_of_events(conn: Connection, company_id: UUID, after: int, limit: int) -> tuple[int, bool]:
    """
    Return the position up to which the next events of a company after a position are, and whether there are more.

    It is 0 when there are none. Reads the read model `event_index`.
    """
    row = conn.execute(_SPAN, {"company_id": company_id, "after": after, "limit": limit}).fetchone()
    return (row[0], row[1]) if row else (0, False)


def columns(conn: Connection, view: View) -> list[Column]:
    """Return the columns of a view."""
    cursor = conn.execute(SQL("SELECT * FROM {} LIMIT 0").format(Identifier(SCHEMA, view.name)))
    types = conn.adapters.types
    return [
        Column(name=one.name, kind=info.name if (info := types.get(one.type_code)) else "text")
        for one in cursor.description or ()
    ]


def names_for_spreadsheets(conn: Connection, view: View) -> str:
    """Return what to select of a view, so that a spreadsheet takes no text in it for a formula: with ' before such a text."""
    guarded_column = (
        "CASE WHEN left({0}, 1) IN ('=', '+', '-', '@', E'\\t', E'\\r') THEN '''' || {0} ELSE {0} END AS {0}"
    )
    return ", ".join(guarded_column.format(one.name) if one.kind == "text" else one.name for one in columns(conn, view))


def query(view: View, selection: Selection, positions: tuple[int, int] | None = None, names: str = "*") -> Composed:
    """Return the SELECT of the selected rows; `positions` (after, until) narrow those of the log, in its order."""
    order = "position" if "position" in view.columns else "id"
    return SQL("{} ORDER BY {}").format(_unordered_query(view, selection, positions, names), Identifier(order))


def count_rows(conn: Connection, view: View, selection: Selection) -> int:
    """Return how many rows of a view are selected."""
    row = conn.execute(_unordered_query(view, selection, None, "count(*)")).fetchone()
    return row[0] if row else 0


def _unordered_query(view: View, selection: Selection, positions: tuple[int, int] | None, names: str) -> Composed:
    conditions = [SQL("true")]
    if selection.company_id is not None:
        # a company's own row belongs to it as well
        conditions.append(SQL("company_id = {}").format(Value(selection.company_id)))  # type: ignore[arg-type]
    for operator, moment in ((">=", selection.begin), ("<", selection.end)):
        if moment is not None:
            conditions.append(
                SQL("{} {} {}").format(Identifier(view.moment), SQL(operator), Value(moment))  # type: ignore[arg-type]
            )
    if selection.hidden and view is log_views.EVENTS:
        conditions.append(SQL("name <> ALL({})").format(Value(list(selection.hidden))))  # type: ignore[arg-type]
    if selection.uses_index and view is log_views.EVENTS:
        conditions.append(_BY_INDEX.format(Value(selection.company_id), *map(Value, positions or (0, MOST_POSITION))))  # type: ignore[arg-type]
    if positions is not None:
        conditions.append(SQL("position > {} AND position <= {}").format(*map(Value, positions)))  # type: ignore[arg-type]
    return SQL("SELECT {} FROM {} WHERE {}").format(
        SQL(names), Identifier(SCHEMA, view.name), SQL(" AND ").join(conditions)
    )


def report_nothing(_rows: int) -> None:
    """Take a report for somebody who does not show it."""


def report_rows(rows: Iterable[T], progress: Callable[[int], None]) -> Iterator[T]:
    """Yield these, and report how many they were so far, after every ROWS_AT_ONCE of them."""
    for number, row in enumerate(rows, 1):
        yield row
        if number % ROWS_AT_ONCE == 0:
            progress(number)


class Text:
    """The rows of a query as text, one by one, in CSV after a line of names; `rows` is how many they were, once all are read."""

    def __init__(self, conn: Connection, selected: Composed, text_format: TextFormat) -> None:
        self._conn = conn
        self._statement = SQL(COPY[text_format]).format(selected)
        self.rows = 0

    def __iter__(self) -> Iterator[bytes]:
        with self._conn.cursor() as cursor:
            with cursor.copy(self._statement) as copy:
                yield from map(bytes, copy)
            self.rows = cursor.rowcount


def rows(conn: Connection, selected: Composed) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query one by one; a few are in memory at a time."""
    with conn.transaction(), conn.cursor("export") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        yield from cursor.execute(selected)
