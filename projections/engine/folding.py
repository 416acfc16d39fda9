"""
How a batch of events is folded into the rows of some read models: they are asked for, folded in memory, and written.

A large batch is sent in a pipeline, in which folding one model and writing another take turns; for a small one there are as few
statements as can be.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial
from itertools import count
from typing import Any

import psycopg

from domain.bounds.limits import BATCH_ROWS, STATEMENT_BYTES
from domain.recorded import Recorded
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.sent_columns import IDS
from projections.engine.table import AT_ONCE, Connection, Keys, Table, Write

PLACE_OF_VALUE = re.compile(rb"%[bs]")
NONE: Keys = {}


class TooManyRows(Exception):
    """A batch would write more rows than one transaction may: it has to end before the event at `position`."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


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


def begin_fold(
    model: ReadModel, conn: Connection, batch: Sequence[Recorded], max_rows: int, kinds: frozenset[type]
) -> Fold:
    """
    Return a fold of those events of the batch that the model folds; it has not asked for rows yet.

    `kinds` are those that the batch has.
    """
    if (events := model.events) is not None:
        if events.isdisjoint(kinds):
            batch = ()
        elif not kinds <= events:
            batch = [recorded for recorded in batch if type(recorded.event) in events]
    return Fold(model, Rows(conn), batch, max_rows)


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
        folds = [begin_fold(model, conn, batch, max_rows, kinds) for model in models]
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
    Receive the rows that several folds have asked for, fold and write, in a pipeline: one fold after the other.

    The first to receive rows waits for those of all, since psycopg takes what has been asked for in one go. From then on
    Postgres writes the rows of one model while those of the next are received and folded. So that with which it has most to
    do should come first.
    """
    for fold in folds:
        fold.receive_rows()
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
