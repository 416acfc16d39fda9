"""The tables of a read model: the SQL that fetches, stores and deletes their rows, which are msgspec structs whose fields are its columns."""

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Identifier
from psycopg.sql import Literal as Text

from domain.bounds.limits import STATEMENT_BYTES
from projections.engine.sent_columns import IDS, JSON, LISTS_OF_IDS, TEXT, Kind, SentArray, kind_of, text_of_ids

SCHEMA = "read_models"
AT_ONCE = 250  # the most rows that one statement asks for
WRITTEN_AT_ONCE = 1_000  # the most rows that one statement writes
NULL_CHARACTER = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # in JSON, where a backslash may be one that is itself escaped
Connection = psycopg.Connection[tuple[Any, ...]]
Keys = dict[int, UUID]  # by the ids as numbers, which Python hashes and compares in a tenth of the time
_encode = msgspec.json.Encoder().encode


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a read model, whose key is `id`. It is compared and replaced as a whole."""

    id: UUID


R = TypeVar("R", bound=Row)
T = TypeVar("T")


class Write(NamedTuple):
    """A statement that changes rows, with its values, each of which is an array or a text."""

    statement: bytes
    values: list[Any]


class Table(Generic[R]):
    """
    A table of a read model, with the SQL that fetches, stores and deletes its rows.

    `over` is SQL for a row of which nothing more is expected: it may leave the table for a cold one, which whoever names
    the table reads as well (projections/engine/cold.py). Its id is that of the stream whose events change it.
    """

    def __init__(self, name: str, row: type[R], *, over: str | None = None) -> None:
        self.name = name
        self.row = row
        self.over = over
        columns = [Identifier(field) for field in row.__struct_fields__]
        self._decode = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
        table = Identifier(name)
        cold_keys = (
            SQL("array_agg(id) FILTER (WHERE tableoid <> {}::regclass)").format(Text(name))
            if over
            else SQL("NULL::uuid[]")
        )
        # As bytes: psycopg would put the names into a Composed again whenever it is executed.
        self.find = (
            SQL("json_agg(t)::text, {} FROM {} t WHERE id = ANY(%b::uuid[]) HAVING count(*) > 0")
            .format(cold_keys, table)
            .as_bytes()
        )
        self._select = b"SELECT " + self.find
        self._delete = SQL("DELETE FROM {} WHERE id = ANY(%b::uuid[])").format(table).as_bytes()
        kinds = [kind_of(field.type) for field in msgspec.structs.fields(row)]
        self._kinds = [kind for kind in kinds if kind is not None] if None not in kinds else []
        self._large = [index for index, kind in enumerate(self._kinds or [JSON]) if kind in LARGE]
        self._writers = [WRITERS.get(kind) for kind in self._kinds]
        self._values = [attrgetter(field) for field in row.__struct_fields__]
        source = _from_arrays(self._kinds) if self._kinds else _from_json(table, columns)
        names = SQL(", ").join(columns)
        self._insert = SQL("INSERT INTO {} ({}) {}").format(table, names, source).as_bytes()
        self._upsert = self._insert + _on_conflict(columns).as_bytes()

    def request(self, conn: Connection, keys: Sequence[UUID]) -> Callable[[], "FetchedRows[R]"]:
        """
        Ask Postgres for the rows of these keys; return a function that receives them.

        In a pipeline nothing waits for Postgres until that function is called. Keys without a row are missing in the
        answer.
        """
        cursors = [conn.execute(self._select, (IDS.array(part),)) for part in _split_items(keys, AT_ONCE)]

        return lambda: self.read([answer for cursor in cursors if (answer := cursor.fetchone())])

    def read(self, answers: Sequence[tuple[Any, ...]]) -> "FetchedRows[R]":
        """Return the rows that Postgres has found by `find`."""
        return FetchedRows(
            [row for rows, _ in answers for row in self._decode(rows)],
            [key for _, cold_keys in answers for key in cold_keys or ()],
        )

    def inserts(self, rows: Sequence[R]) -> Iterator[Write]:
        """Yield what inserts rows that are not there yet: that takes Postgres a sixth less than to look whether they are."""
        return (Write(self._insert, values) for values in self._values_by_statement(rows))

    def upserts(self, rows: Sequence[R]) -> Iterator[Write]:
        """Yield what inserts these rows, or replaces those that have the same keys."""
        return (Write(self._upsert, values) for values in self._values_by_statement(rows))

    def _values_by_statement(self, rows: Sequence[R]) -> Iterator[list[Any]]:
        """Yield the values of each statement that writes a part of the rows."""
        for part in _split_items(rows, WRITTEN_AT_ONCE):
            columns = self._columns(part)
            for start, end in _cuts([columns[index] for index in self._large], len(part)):
                yield self._join_values([column[start:end] for column in columns])

    def _columns(self, rows: Sequence[R]) -> list[list[Any]]:
        """Return the columns of these rows, documents as their JSON; rows that are sent as JSON whole have one column."""
        if not self._kinds:
            return [[_json_of(row) for row in rows]]
        columns = [[*map(values, rows)] for values in self._values]
        return [
            [None if value is None else write(value) for value in column] if write else column
            for write, column in zip(self._writers, columns, strict=True)
        ]

    def _join_values(self, columns: Sequence[Sequence[Any]]) -> list[Any]:
        if not self._kinds:
            return [f"[{b','.join(columns[0]).decode()}]"]
        return [
            self._array(field, kind, column)
            for field, kind, column in zip(self.row.__struct_fields__, self._kinds, columns, strict=True)
        ]

    def _array(self, field: str, kind: Kind, column: Sequence[Any]) -> SentArray:
        try:
            return kind.array(column)
        except (AttributeError, TypeError, struct.error) as error:
            raise TypeError(
                f"{self.name}.{field} has a value that is no {kind.name} as its field says: {error}"
            ) from error

    def deletion(self, keys: Sequence[UUID]) -> Write:
        """Return what deletes the rows of these keys, cold ones as well; keys without a row are ignored."""
        return Write(self._delete, [IDS.array(keys)])


class FetchedRows(NamedTuple, Generic[R]):
    """The rows of some keys, and which of these keys have theirs in the cold table."""

    rows: list[R]
    cold_keys: list[UUID]


def _split_items(items: Sequence[T], many: int) -> Iterator[Sequence[T]]:
    return (items[start : start + many] for start in range(0, len(items), many))


def _cuts(columns: Sequence[Sequence[str | bytes | None]], rows: int) -> list[tuple[int, int]]:
    """
    Return where the rows begin and end that go in a statement each; the columns are those that may be large.

    A part ends with the row that takes it over STATEMENT_BYTES, so that neither Postgres nor this process has to hold a
    larger one.
    """
    if sum(map(len, filter(None, chain(*columns)))) <= STATEMENT_BYTES:
        return [(0, rows)]
    cuts, size = [0], 0
    for end, values in enumerate(zip(*columns, strict=True), 1):
        size += sum(map(len, filter(None, values)))
        if size > STATEMENT_BYTES or end == rows:
            cuts.append(end)
            size = 0
    return [*pairwise(cuts)]


def _json_of(value: object) -> bytes:
    """
    Return a value as its JSON.

    Raises ValueError for one with a null character: Postgres would keep it, and fail whoever asks for that text.
    """
    encoded = _encode(value)
    if b"\\u0000" in encoded and NULL_CHARACTER.search(encoded):
        raise ValueError(encoded)
    return encoded


LARGE = {TEXT, JSON, LISTS_OF_IDS}  # kinds whose values may be large
WRITERS: Mapping[Kind, Callable[[Any], str | bytes]] = {JSON: _json_of, LISTS_OF_IDS: text_of_ids}


def _from_arrays(kinds: Sequence[Kind]) -> Composed:
    """
    Return a query whose rows are made of an array for each column.

    `FROM unnest(...)` would have Postgres keep each column aside before it makes the first row.
    """
    columns = [f"unnest(%b::{kind.name}[]){kind.becomes and f'::{kind.becomes}'}" for kind in kinds]
    return Composed([SQL(f"SELECT {', '.join(columns)}")])


def _from_json(table: Identifier, columns: Sequence[Identifier]) -> Composed:
    """Return a query whose rows are made of a JSON array of objects."""
    return SQL("SELECT {1} FROM json_populate_recordset(NULL::{0}, %s::json)").format(table, SQL(", ").join(columns))


def _on_conflict(columns: Sequence[Identifier]) -> Composed:
    changes = SQL(", ").join(SQL("{0} = excluded.{0}").format(column) for column in columns)
    return SQL(" ON CONFLICT (id) DO UPDATE SET {}").format(changes)
