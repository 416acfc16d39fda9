"""What the rows of the directory have in common: who is stamped when, and lists in the order of positions."""

from typing import Any

from msgspec.structs import replace

from domain.recorded import Recorded
from projections.engine.rows import Rows
from projections.engine.table import Table
from projections.responses import time

AFTER = "position > coalesce(%(after)s::bigint, 0)"
BEFORE = "position < coalesce(%(before)s::bigint, 9223372036854775807)"


def edit(rows: Rows, table: Table[Any], recorded: Recorded, **changes: Any) -> None:
    """Change fields of the document in the row of the event's stream, and the moment of its last change."""
    fields = {**changes, "updated_at": time(recorded.at)}
    rows.change(table, recorded.stream_id, lambda row: replace(row, doc=replace(row.doc, **fields)))


def stamps(recorded: Recorded) -> dict[str, Any]:
    """Return the fields of a new document that its first event determines: its id, and when it was made and changed."""
    return {"id": recorded.stream_id, "created_at": time(recorded.at), "updated_at": time(recorded.at)}


def of_company_by_position(table: str) -> str:
    """Return the query for the documents of a company in a table, oldest first, after a position."""
    return f"SELECT doc, position FROM {table} WHERE company_id = %(company_id)s AND {AFTER} ORDER BY position"
