"""
A read model: tables that are a fold of the log, and the position up to which they are folded.

Rows are msgspec structs; column names are field names. A fold sees one event at a time and a `Rows`, which keeps the
rows that it changes in memory and writes each once per batch. Rows and position change in one transaction. A rebuild
runs the same fold over the whole log into a schema of its own and then swaps the tables: until that commits, readers
see the old rows.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Identifier

from domain.bounds.limits import BATCH_ROWS, STATEMENT_BYTES
from domain.events import STORED_NAMES
from domain.recorded import Recorded, Unreadable
from projections.engine.views import View

SCHEMA = "read_models"
AT_ONCE = 250  # the most rows of one statement
_INT = attrgetter("int")  # of a key: comparing these is cheaper than comparing UUIDs
Connection = psycopg.Connection[tuple[Any, ...]]


class TooManyRows(Exception):
    """A batch would write more rows than one transaction may: it has to end before the event at `position`."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a read model, whose key is `id`. It is compared and replaced as a whole."""

    id: UUID


R = TypeVar("R", bound=Row)
S = TypeVar("S")
T = TypeVar("T")


class Table(Generic[R]):
    """A table of a read model, with the SQL that fetches, stores and deletes its rows."""

    def __init__(self, name: str, row: type[R]) -> None:
        self.name = name
        self.row = row
        columns = [Identifier(field) for field in row.__struct_fields__]
        self._decode = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
        table = Identifier(name)
        # As bytes: psycopg would put the names into a Composed again whenever it is executed.
        self._select = (
            SQL("SELECT coalesce(json_agg(t), '[]')::text FROM {} t WHERE id = ANY(%s)").format(table).as_bytes()
        )
        self._delete = SQL("DELETE FROM {} WHERE id = ANY(%s)").format(table).as_bytes()
        self._upsert = _upsert(table, columns).as_bytes()

    def request(self, conn: Connection, keys: Sequence[UUID]) -> Callable[[], list[R]]:
        """
        Ask Postgres for the rows of these keys; return a function that receives them.

        In a pipeline nothing waits for Postgres until that function is called. Keys without a row are missing in the
        answer.
        """
        cursors = [conn.execute(self._select, (list(part),)) for part in _parts(keys)]

        def rows() -> list[R]:
            answers = [cursor.fetchone() for cursor in cursors]
            return [row for answer in answers if answer for row in self._decode(answer[0])]

        return rows

    def store(self, conn: Connection, rows: Sequence[R]) -> None:
        """Insert these rows, or replace those that have the same keys."""
        for document in _documents(rows):
            conn.execute(self._upsert, (document,))

    def drop(self, conn: Connection, keys: Sequence[UUID]) -> None:
        """Delete the rows of these keys; keys without a row are ignored."""
        conn.execute(self._delete, (list(keys),))


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))


def _documents(rows: Sequence[R]) -> Iterator[str]:
    """
    Yield the rows as JSON arrays, each for one statement.

    An array ends with the row that takes it over STATEMENT_BYTES, so that neither Postgres nor this process has to hold
    a larger one.
    """
    for part in _parts(rows):
        documents: list[bytes] = []
        size = 0
        for row in part:
            documents.append(msgspec.json.encode(row))
            size += len(documents[-1])
            if size > STATEMENT_BYTES:
                yield _array(documents)
                documents, size = [], 0
        if documents:
            yield _array(documents)


def _array(documents: Sequence[bytes]) -> str:
    return f"[{b','.join(documents).decode()}]"


def _upsert(table: Identifier, columns: Sequence[Identifier]) -> Composed:
    changes = SQL(", ").join(SQL("{0} = excluded.{0}").format(column) for column in columns)
    names = SQL(", ").join(columns)
    return SQL(
        "INSERT INTO {table} ({names}) SELECT {names} FROM json_populate_recordset(NULL::{table}, %s::json) "
        "ON CONFLICT (id) DO UPDATE SET {changes}"
    ).format(table=table, names=names, changes=changes)


class Rows:
    """The rows that a batch of events changes: each is fetched once, changed in memory, and written once."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._rows: dict[Table[Any], dict[UUID, Row | None]] = {}
        self._changed: dict[Table[Any], set[UUID]] = {}
        self._written = 0

    @property
    def many(self) -> int:
        """The number of rows that were written or are going to be."""
        return self._written + sum(map(len, self._changed.values()))

    def prefetch(self, keys_by_table: Mapping[Table[Any], set[UUID]]) -> Callable[[], None]:
        """
        Ask for the rows of these keys; return a function that receives them into memory.

        None of these rows may be in memory yet: what is received replaces what is there.
        """
        requests = [
            (self._rows.setdefault(table, {}), keys, table.request(self._conn, [*keys]))
            for table, keys in keys_by_table.items()
        ]

        def take() -> None:
            for rows_by_key, keys, rows in requests:
                rows_by_key.update(dict.fromkeys(keys))
                rows_by_key.update((row.id, row) for row in rows())

        return take

    def get(self, table: Table[R], key: UUID) -> R | None:
        """Return the row of this key as the batch has left it, or None; ask Postgres if it is not in memory."""
        rows_by_key = self._rows.setdefault(table, {})
        if key not in rows_by_key:
            rows_by_key[key] = next(iter(table.request(self._conn, [key])()), None)
        return rows_by_key[key]  # type: ignore[return-value]

    def put(self, table: Table[R], row: R) -> None:
        """Insert a row, or replace the one with the same key."""
        self._rows.setdefault(table, {})[row.id] = row
        self._changed.setdefault(table, set()).add(row.id)

    def change(self, table: Table[R], key: UUID | None, change: Callable[[R], R]) -> None:
        """Replace a row by what `change` makes of it; do nothing if the key is None or has no row."""
        if key is not None and (row := self.get(table, key)) is not None:
            self.put(table, change(row))

    def delete(self, table: Table[R], key: UUID) -> None:
        """Delete the row of this key, if there is one."""
        self._rows.setdefault(table, {})[key] = None
        self._changed.setdefault(table, set()).add(key)

    def execute(self, statement: str, values: Sequence[object]) -> None:
        """
        Run a statement that changes many rows at once.

        The changes in memory are written first; after the statement nothing is kept in memory, since it may have become
        old.
        """
        self.flush()
        self._conn.execute(SQL(statement), values)
        self._rows.clear()

    def flush(self) -> None:
        """Write what has changed in memory, with one or a few statements per table, in the order of the keys."""
        for table, keys in self._changed.items():
            rows = [row for key in sorted(keys, key=_INT) if (row := self._rows[table][key]) is not None]
            deleted_keys = [key for key in keys if self._rows[table][key] is None]
            if rows:
                table.store(self._conn, rows)
            if deleted_keys:
                table.drop(self._conn, deleted_keys)
            self._written += len(keys)
        self._changed.clear()


def no_keys(_recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Name no row to fetch before a batch: the fold asks for each row when it needs it."""
    return ()


class ReadModel(msgspec.Struct, frozen=True):
    """A read model by its name: its tables, and the fold of the log that fills them."""

    name: str
    tables: tuple[Table[Any], ...]
    schema: str  # SQL that creates its tables and indexes, without the name of a schema
    fold: Callable[[Recorded, Rows], None]
    keys_to_prefetch: Callable[[Recorded], Iterable[tuple[Table[Any], UUID]]] = no_keys  # rows to fetch before a batch
    events: frozenset[type] | None = None  # the kinds that it folds; None for all, even unreadable ones
    polled_by: str | None = None  # the process that folds it itself: it acts on it and must not wait for others
    apart: bool = False  # the projector moves it alone and last: requests that need the others do not wait for it
    version: int = 1  # of the fold; raised when it makes other rows of the same events
    views: tuple[View, ...] = ()  # of analysts, over its tables

    @property
    def schema_hash(self) -> str:
        """
        The hash of the tables and the version of the fold, with a dot between; when it changes, the model is rebuilt.

        Before the dot stands the hash of the tables alone. Where only the version differs, the old tables are folded on
        until the new ones are there.
        """
        return f"{_hash_of(self.schema)}.{self.version}"

    @property
    def names_to_skip(self) -> list[str]:
        """The stored names of the events that it certainly does not fold: names that this version does not know are none."""
        if self.events is None:
            return []
        return [name for name, event in STORED_NAMES.items() if event not in self.events]

    def may_fold(self, recorded: Recorded) -> bool:
        """
        Return whether the model folds events of this kind.

        For an event that cannot be read its stored name decides; a name that this version does not know counts as
        folded.
        """
        if self.events is None:
            return True
        if isinstance(recorded.event, Unreadable):
            return STORED_NAMES.get(recorded.name) in {None, *self.events}
        return type(recorded.event) in self.events

    def begin(self, conn: Connection, batch: Sequence[Recorded], max_rows: int) -> "Fold":
        """Return a fold of those events of the batch that the model folds; it has not asked for rows yet."""
        if (events := self.events) is not None:
            batch = [recorded for recorded in batch if type(recorded.event) in events]
        return Fold(self, Rows(conn), batch, max_rows)


class Fold:
    """A batch on its way into the rows of one read model; each of the three steps waits for Postgres at most once."""

    def __init__(self, model: ReadModel, rows: Rows, batch: Sequence[Recorded], max_rows: int) -> None:
        self._model = model
        self._rows = rows
        self._batch = batch
        self._max_rows = max_rows
        self._receive: Callable[[], None] | None = None

    def request_rows(self) -> None:
        """Ask for the rows that the batch needs, without waiting for them."""
        keys = dict[Table[Any], set[UUID]]()
        for recorded in self._batch:
            for table, key in self._model.keys_to_prefetch(recorded):
                keys.setdefault(table, set()).add(key)
        self._receive = self._rows.prefetch(keys)

    def receive_rows(self) -> None:
        """Receive the rows into memory; ask for them first if that has not been done."""
        if self._receive is None:
            self.request_rows()
        if self._receive is not None:
            self._receive()

    def fold_and_write(self) -> None:
        """
        Fold the batch and write its rows.

        Raises TooManyRows when the batch changes more than `max_rows`; its first event is folded whatever it changes.
        """
        for recorded in self._batch:
            self._model.fold(recorded, self._rows)
            if self._rows.many > self._max_rows and recorded is not self._batch[0]:
                raise TooManyRows(recorded.position)
        self._rows.flush()


@cache
def _hash_of(schema: str) -> str:
    return hashlib.sha256(schema.encode()).hexdigest()[:16]


def fold_batch(
    conn: Connection, models: Iterable[ReadModel], batch: Iterable[Recorded], max_rows: int = BATCH_ROWS
) -> None:
    """
    Fold a batch into the tables of these models that the connection's search path finds.

    Raises TooManyRows when one model would change more than `max_rows`; the first event is folded whatever it changes.
    """
    batch = list(batch)
    with conn.pipeline():
        folds = [model.begin(conn, batch, max_rows) for model in models]
        for fold in folds:
            fold.request_rows()
        fold_and_write(folds)


def fold_and_write(folds: Sequence[Fold]) -> None:
    """
    Receive the rows that several folds have asked for, fold and write, in a pipeline: each step for all of them.

    Receiving rows waits for everything that was sent before, so nothing is written until all rows are received. While
    Postgres writes the rows of one model, those of the next are folded.
    """
    for fold in folds:
        fold.receive_rows()
    for fold in folds:
        fold.fold_and_write()
