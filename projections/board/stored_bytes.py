"""How many bytes of the log each company has filled: the stored JSON of its events, over all time."""

from collections.abc import Iterable
from typing import Any, get_args
from uuid import UUID

from domain.events import AnyEvent
from domain.recorded import Recorded
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Row, Table


class StoredRow(Row, frozen=True):
    """The bytes that a company has filled; its id is the company's."""

    bytes: int


STORED = Table("company_stored", StoredRow)

SCHEMA = """
CREATE TABLE company_stored (id uuid PRIMARY KEY, bytes bigint NOT NULL) WITH (fillfactor = 50);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Add the size of an event to the bytes of its company; events without a company are not counted."""
    if (company_id := recorded.company_id) is not None:
        row = rows.get(STORED, company_id)
        rows.put(STORED, StoredRow(id=company_id, bytes=(row.bytes if row else 0) + recorded.size))


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Return the key of the row that `fold` will change, so that it can be fetched before it."""
    return () if recorded.company_id is None else [(STORED, recorded.company_id)]


stored_bytes = ReadModel(
    name="stored_bytes",
    tables=(STORED,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(get_args(AnyEvent)),
)
