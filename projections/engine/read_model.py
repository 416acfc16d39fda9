"""
A read model: tables that are a fold of the log, and the position up to which they are folded.

Rows are msgspec structs; column names are field names. A fold sees one event at a time and a `Rows`, which keeps the
rows that it changes in memory and writes each once per batch. Rows and position change in one transaction. A rebuild
runs the same fold over the whole log into a schema of its own and then swaps the tables: until that commits, readers
see the old rows.
"""

import hashlib
import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial
from itertools import chain, count, pairwise
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Identifier
from psycopg.sql import Literal as Text

from domain.bounds.limits import BATCH_ROWS, STATEMENT_BYTES
from domain.events import STORED_NAMES
from domain.recorded import Recorded, Unreadable
from projections.engine.sent_columns import IDS, JSON, LISTS_OF_IDS, TEXT, Kind, SentArray, kind_of, text_of_ids
from projections.engine.views import View

SCHEMA = "read_models"
AT_ONCE = 250  # the most rows that one statement asks for
WRITTEN_AT_ONCE = 1_000  # the most rows that one statement writes
PLACE_OF_VALUE = re.compile(rb"%[bs]")
NULL_CHARACTER = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # in JSON, where a backslash may be one that is itself escaped
Connection = psycopg.Connection[tuple[Any, ...]]
_encode = msgspec.json.Encoder().encode


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


Keys = dict[int, UUID]  # by the ids as numbers, which Python hashes and compares in a tenth of the time
NONE: Keys = {}


class TableRows:
    """The rows of one table that a batch has in memory, by the numbers of their keys."""

    def __init__(self) -> None:
        self.rows: dict[int, Any] = {}  # None where there is no row
        self.changed = set[int]()
        self.absent = set[int]()  # those that Postgres is known not to have
        self.cold = set[int]()  # those of all rows that are in the cold table


class Rows:
    """The rows that a batch of events changes: each is fetched once, changed in memory, and written once."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._table_rows = defaultdict[Table[Any], TableRows](TableRows)
        self.changes = 0  # how many there were, several of the same row included
        self._written = 0

    def are_more_than(self, many: int) -> bool:
        """Return whether so many rows were written, or are going to be."""
        return self._written + sum(len(table_rows.changed) for table_rows in self._table_rows.values()) > many

    def prefetch(self, keys_by_table: Mapping[Table[Any], Keys]) -> Callable[[], None]:
        """
        Ask for the rows of these keys; return a function that receives them into memory.

        None of these rows may be in memory yet: what is received replaces what is there.
        """
        requests = [(table, keys, table.request(self._conn, [*keys.values()])) for table, keys in keys_by_table.items()]

        def take() -> None:
            for table, keys, fetched in requests:
                self.take(table, keys, fetched())

        return take

    def take(self, table: Table[Any], keys: Keys, fetched: FetchedRows[Any]) -> None:
        """Receive the rows of these keys into memory."""
        table_rows = self._table_rows[table]
        rows_by_number = {row.id.int: row for row in fetched.rows}
        table_rows.rows.update(dict.fromkeys(keys) | rows_by_number)
        table_rows.absent.update(keys.keys() - rows_by_number.keys())
        table_rows.cold.update([key.int for key in fetched.cold_keys])

    def get(self, table: Table[R], key: UUID) -> R | None:
        """Return the row of this key as the batch has left it, or None; ask Postgres if it is not in memory."""
        rows_by_number, number = self._table_rows[table].rows, key.int
        if number not in rows_by_number:
            self.take(table, {number: key}, table.request(self._conn, [key])())
        return rows_by_number[number]  # type: ignore[no-any-return]

    def add(self, table: Table[R], row: R) -> None:
        """Insert a row whose key has never had one, since it is that of an event or of a stream that begins."""
        table_rows, number = self._table_rows[table], row.id.int
        table_rows.rows[number] = row
        table_rows.changed.add(number)
        table_rows.absent.add(number)
        self.changes += 1

    def put(self, table: Table[R], row: R) -> None:
        """Insert a row, or replace the one with the same key: where that may be cold, `get` has to have looked for it."""
        table_rows, number = self._table_rows[table], row.id.int
        table_rows.rows[number] = row
        table_rows.changed.add(number)
        self.changes += 1

    def change(self, table: Table[R], key: UUID | None, change: Callable[[R], R]) -> None:
        """Replace a row by what `change` makes of it; do nothing if the key is None or has no row."""
        if key is not None and (row := self.get(table, key)) is not None:
            self.put(table, change(row))

    def delete(self, table: Table[R], key: UUID) -> None:
        """Delete the row of this key, if there is one."""
        table_rows, number = self._table_rows[table], key.int
        table_rows.rows[number] = None
        table_rows.changed.add(number)
        self.changes += 1

    def execute(self, statement: str, values: Sequence[object]) -> None:
        """
        Run a statement that changes many rows at once.

        The changes in memory are written first; after the statement nothing is table_rows in memory, since it may have become
        old.
        """
        self.flush()
        self._conn.execute(SQL(statement), values)
        self._table_rows.clear()

    def flush(self) -> None:
        """
        Write what has changed in memory, with one or a few statements per table, in the order of the keys.

        A cold row that has changed leaves the cold table: it is stored as if it were new.
        """
        for write in self.writes():
            self._conn.execute(*write)

    def writes(self) -> Iterator[Write]:
        """Yield the statements of `flush`, and note what they write as written. None changes a row that another changes."""
        for table, table_rows in self._table_rows.items():
            numbers, rows, absent, cold = (
                sorted(table_rows.changed),
                table_rows.rows,
                table_rows.absent,
                table_rows.cold,
            )
            new_rows = [row for number in numbers if number in absent and (row := rows[number]) is not None]
            old_rows = [row for number in numbers if number not in absent and (row := rows[number]) is not None]
            deleted_keys = [
                UUID(int=number)
                for number in numbers
                if number in cold or (rows[number] is None and number not in absent)
            ]
            if deleted_keys:
                yield table.deletion(deleted_keys)
            yield from table.inserts(new_rows)
            yield from table.upserts(old_rows)
            cold.difference_update(numbers)
            self._written += len(numbers)
            table_rows.changed.clear()
            absent.clear()


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
    apart: bool = False  # the projector moves it last: requests that need the others do not wait for it
    version: int = 1  # the version of the fold: raise it when it makes other rows of the same events
    views: tuple[View, ...] = ()  # views for analysts over its tables

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

    def begin(self, conn: Connection, batch: Sequence[Recorded], max_rows: int, kinds: frozenset[type]) -> "Fold":
        """
        Return a fold of those events of the batch that the model folds; it has not asked for rows yet.

        `kinds` are those that the batch has.
        """
        if (events := self.events) is not None:
            if events.isdisjoint(kinds):
                batch = ()
            elif not kinds <= events:
                batch = [recorded for recorded in batch if type(recorded.event) in events]
        return Fold(self, Rows(conn), batch, max_rows)


class Fold:
    """A batch on its way into the rows of one read model; each of its steps waits for Postgres at most once."""

    def __init__(self, model: ReadModel, rows: Rows, batch: Sequence[Recorded], max_rows: int) -> None:
        self.model = model
        self.rows = rows
        self._batch = batch
        self._max_rows = max_rows
        self._receive: Callable[[], None] | None = None

    def request_rows(self) -> None:
        """Ask for the rows that the batch needs, without waiting for them."""
        self._receive = self.rows.prefetch(self.keys_to_prefetch())

    def keys_to_prefetch(self) -> dict[Table[Any], Keys]:
        """Return the keys of the rows that the batch needs."""
        keys = defaultdict[Table[Any], Keys](dict)
        keys_to_prefetch = self.model.keys_to_prefetch
        for recorded in self._batch:
            for table, key in keys_to_prefetch(recorded):
                keys[table][key.int] = key
        return keys

    def await_rows(self, receive: Callable[[], None]) -> None:
        """Note what will receive the rows, which were asked for together with others."""
        self._receive = receive

    def receive_rows(self) -> None:
        """Receive the rows into memory; ask for them first if that has not been done."""
        if self._receive is None:
            self.request_rows()
        if self._receive is not None:
            self._receive()

    def fold(self) -> None:
        """
        Fold the batch into the rows in memory.

        Raises TooManyRows when the batch changes more than `max_rows`; its first event is folded whatever it changes.
        """
        fold, rows, most = self.model.fold, self.rows, self._max_rows
        for recorded in self._batch:
            fold(recorded, rows)
            if rows.changes > most and rows.are_more_than(most) and recorded is not self._batch[0]:
                raise TooManyRows(recorded.position)


@cache
def _hash_of(schema: str) -> str:
    return hashlib.sha256(schema.encode()).hexdigest()[:16]


def kinds_of(batch: Iterable[Recorded]) -> frozenset[type]:
    """Return the kinds of events that a batch has."""
    return frozenset({type(recorded.event) for recorded in batch})


def fold_batch(
    conn: Connection, models: Iterable[ReadModel], batch: Iterable[Recorded], max_rows: int = BATCH_ROWS
) -> None:
    """
    Fold a batch into the tables of these models that the connection's search path finds.

    Raises TooManyRows when one model would change more than `max_rows`; the first event is folded whatever it changes.
    """
    batch = list(batch)
    with conn.pipeline():
        kinds = kinds_of(batch)
        folds = [model.begin(conn, batch, max_rows, kinds) for model in models]
        for fold in folds:
            fold.request_rows()
        fold_and_write(folds)


# By the names of models that are folded together: the tables of which their small batches have needed rows so far.
_needed_tables: dict[tuple[str, ...], dict[Table[Any], None]] = defaultdict(dict)


def _remember_needed(models: tuple[str, ...], tables: Iterable[Table[Any]]) -> tuple[Table[Any], ...]:
    """Remember that a batch of these models needs rows of these tables; return all tables that any has needed so far."""
    needed = _needed_tables[models]
    needed |= dict.fromkeys(tables)
    return tuple(needed)


@cache
def _find_in(tables: tuple[Table[Any], ...]) -> bytes:
    return b" UNION ALL ".join(b"SELECT %d, %b" % (place, table.find) for place, table in enumerate(tables))


def request_together(conn: Connection, folds: Sequence[Fold]) -> None:
    """
    Ask for the rows that several folds need of a small batch, with one statement.

    It names each table of which rows were needed before, also where this batch needs none: so there are few such
    statements, which Postgres plans once.
    """
    keys_by_fold = [fold.keys_to_prefetch() for fold in folds]
    keys_by_table = {table: keys for each in keys_by_fold for table, keys in each.items()}
    if not keys_by_table:
        return
    if max(map(len, keys_by_table.values())) > AT_ONCE:
        for fold in folds:
            fold.request_rows()
        return
    tables = _remember_needed(tuple(fold.model.name for fold in folds), keys_by_table)
    cursor = conn.execute(_find_in(tables), [IDS.array([*keys_by_table.get(table, NONE).values()]) for table in tables])

    @cache
    def rows_by_table() -> dict[Table[Any], tuple[Any, ...]]:
        return {tables[place]: (rows, cold_keys) for place, rows, cold_keys in cursor}

    def receive(rows: Rows, keys_of_fold: Mapping[Table[Any], Keys]) -> None:
        for table, keys in keys_of_fold.items():
            rows.take(table, keys, table.read([rows_by_table()[table]] if table in rows_by_table() else []))

    for fold, keys in zip(folds, keys_by_fold, strict=True):
        fold.await_rows(partial(receive, fold.rows, keys))


def fold_and_write(folds: Sequence[Fold]) -> None:
    """
    Receive the rows that several folds have asked for, fold and write, in a pipeline: each step for all of them.

    Receiving rows waits for everything that was sent before, so nothing is written until all rows are received. While
    Postgres writes the rows of one model, those of the next are folded.
    """
    for fold in folds:
        fold.receive_rows()
    for fold in folds:
        fold.fold()
        fold.rows.flush()


def fold_and_write_together(conn: Connection, folds: Sequence[Fold]) -> None:
    """
    Do the same for a small batch: what each statement costs counts for more there than that folds and writes take turns.

    Postgres carries out the parts of a statement in an order of its own. So no value of a unique index may go from one row
    to another.
    """
    for fold in folds:
        fold.receive_rows()
    for fold in folds:
        fold.fold()
    for part in _parts_within(write for fold in folds for write in fold.rows.writes()):
        if len(part) == 1:
            conn.execute(*part[0])
        else:
            statement = _join_statements(tuple(write.statement for write in part))
            values = [value for write in part for value in write.values]
            psycopg.RawCursor(conn).execute(statement, values, prepare=True)


def _parts_within(writes: Iterable[Write]) -> Iterator[list[Write]]:
    """Yield the statements that go together, which are of STATEMENT_BYTES at most, or one."""
    part, size = list[Write](), 0
    for write in writes:
        size += sum(map(len, write.values))
        if part and size > STATEMENT_BYTES:
            yield part
            part, size = [], sum(map(len, write.values))
        part.append(write)
    if part:
        yield part


@lru_cache(maxsize=1_000)
def _join_statements(statements: tuple[bytes, ...]) -> bytes:
    """Return one statement that does the same as these, of which none sees what the others do."""
    numbers = count(1)
    numbered = [PLACE_OF_VALUE.sub(lambda _: b"$%d" % next(numbers), statement) for statement in statements]
    return b"WITH %b SELECT" % b", ".join(b"w%d AS (%b)" % pair for pair in enumerate(numbered))
