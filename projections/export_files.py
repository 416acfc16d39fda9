"""Writes the rows of a view to a file: as lines of JSON, as CSV, or, where pyarrow is installed, as Parquet."""

from importlib.util import find_spec
from typing import BinaryIO, Literal, Protocol

from projections import exports
from projections.engine.views import View
from projections.exports import Selection

Format = Literal["parquet", "ndjson", "csv"]


class Write(Protocol):
    """Writes the rows of a view to a file, and returns how many they were."""

    def __call__(
        self, conn: exports.Connection, view: View, file: BinaryIO, selection: Selection, span: tuple[int, int] | None
    ) -> int:
        """Write those of the selection; of events those of a span of positions."""


def has_parquet() -> bool:
    """Return whether pyarrow is installed, which writes Parquet."""
    return find_spec("pyarrow") is not None


def writer(file_format: Format) -> Write:
    """Return what writes files of this format. For Parquet, `has_parquet` has to hold."""
    if file_format == "parquet":
        from projections import parquet  # noqa: PLC0415 pyarrow is an optional dependency

        return parquet.write

    def write_text(
        conn: exports.Connection, view: View, file: BinaryIO, selection: Selection, span: tuple[int, int] | None
    ) -> int:
        names = exports.names_for_spreadsheets(conn, view) if file_format == "csv" else "*"
        text = exports.Text(conn, exports.query(view, selection, span, names), file_format)
        file.writelines(text)
        return text.rows

    return write_text
