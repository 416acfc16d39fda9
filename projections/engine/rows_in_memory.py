"""The rows of a fold without a database: of a past that is asked for, and in tests of a projection."""

from collections.abc import Iterable, Sequence
from typing import TypeVar, cast
from uuid import UUID

from domain.recorded import Recorded
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table

R = TypeVar("R", bound=Row)


class RowsInMemory(Rows):
    """The rows that a fold makes of a given history."""

    def __init__(self) -> None:
        super().__init__(cast("Connection", None))

    def get(self, table: Table[R], key: UUID) -> R | None:
        """Return the row of this key, or None."""
        return cast("R | None", self._table_rows[table].rows.get(key.int))

    def execute(self, statement: str, values: Sequence[object]) -> None:
        """Raise NotImplementedError: a statement needs a database."""
        raise NotImplementedError(f"without a database a fold cannot execute {statement!r} with {values!r}")

    def all(self, table: Table[R]) -> list[R]:
        """Return all rows of a table, in the order of their keys."""
        rows = self._table_rows[table].rows
        return [cast("R", row) for number in sorted(rows) if (row := rows[number]) is not None]


def fold_in_memory(model: ReadModel, history: Iterable[Recorded]) -> RowsInMemory:
    """Return the rows that a read model makes of these events, of which it is shown those that it wants."""
    rows = RowsInMemory()
    for recorded in history:
        if model.may_fold(recorded):
            model.fold(recorded, rows)
    return rows
