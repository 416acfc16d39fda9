"""Writes the rows of a view as Parquet, with typed columns; an event's own fields are a column of JSON."""

from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from projections import exports
from projections.engine.views import View
from projections.exports import Column, Selection, report_nothing

KINDS = {
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float8": pa.float64(),
    "bool": pa.bool_(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}
GROUP_ROWS, GROUP_BYTES = 50_000, 16 * 1024**2  # rows of one group, and bytes of their texts, after which it ends


def write(  # noqa: PLR0913, PLR0917 which rows, and where they go
    conn: exports.Connection,
    view: View,
    file: BinaryIO,
    selection: Selection,
    span: tuple[int, int] | None,
    progress: Callable[[int], None] = report_nothing,
) -> int:
    """Write the selected rows of a view, group by group; return how many they were."""
    columns = exports.columns(conn, view)
    schema = pa.schema([(column.name, KINDS.get(column.kind, pa.string())) for column in columns])
    names = ", ".join(column.name if column.kind in KINDS else f"{column.name}::text" for column in columns)
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        group: list[tuple[Any, ...]] = []
        size = 0
        for row in exports.report_rows(exports.rows(conn, exports.query(view, selection, span, names)), progress):
            group.append(row)
            size += sum(len(value) for value in row if isinstance(value, str))
            if len(group) >= GROUP_ROWS or size >= GROUP_BYTES:
                count += _write(writer, schema, columns, group)
                group, size = [], 0
        count += _write(writer, schema, columns, group)
    return count


def _write(writer: Any, schema: Any, columns: Sequence[Column], group: Sequence[tuple[Any, ...]]) -> int:
    arrays = [pa.array([row[place] for row in group], type=schema.field(place).type) for place in range(len(columns))]
    writer.write_batch(pa.record_batch(arrays, schema=schema))
    return len(group)
