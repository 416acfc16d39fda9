"""The rows that a batch of events changes, in memory until all of them are written at once."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg.sql import SQL

from projections.engine.table import Connection, FetchedRows, Keys, R, Table, Write


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

        The changes in memory are written first; after the statement nothing is kept in memory, since it may have become
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
            rows, changed, cold = table_rows.rows, table_rows.changed, table_rows.cold
            new, old = sorted(changed & table_rows.absent), sorted(changed - table_rows.absent)
            if deleted := sorted(changed & cold | {number for number in old if rows[number] is None}):
                yield table.deletion([UUID(int=number) for number in deleted])
            yield from table.inserts([row for number in new if (row := rows[number]) is not None])
            yield from table.upserts([row for number in old if (row := rows[number]) is not None])
            cold -= changed
            self._written += len(changed)
            changed.clear()
            table_rows.absent.clear()
