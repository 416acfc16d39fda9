"""Writes the rows of a view to a file: as lines of JSON, as CSV, or, where pyarrow is installed, as Parquet."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import BinaryIO, Literal, Protocol

from projections import exports
from projections.engine.views import View
from projections.exports import Selection, report_nothing

Format = Literal["parquet", "ndjson", "csv"]


class Write(Protocol):
    """Writes the rows of a view to a file, and returns how many they were."""

    def __call__(  # noqa: PLR0913, PLR0917 which rows, and where they go
        self,
        conn: exports.Connection,
        view: View,
        file: BinaryIO,
        selection: Selection,
        span: tuple[int, int] | None,
        progress: Callable[[int], None] = report_nothing,
    ) -> int:
        """Write those of the selection; of events those of a span of positions. Report how many are written, now and then."""


def has_parquet() -> bool:
    """Return whether pyarrow is installed, which writes Parquet."""
    return find_spec("pyarrow") is not None


def writer(file_format: Format) -> Write:
    """Return what writes files of this format. For Parquet, `has_parquet` has to hold."""
    if file_format == "parquet":
        from projections import parquet  # noqa: PLC0415 pyarrow is an optional dependency

        return parquet.write

    def write_text(  # noqa: PLR0913, PLR0917 which rows, and where they go
        conn: exports.Connection,
        view: View,
        file: BinaryIO,
        selection: Selection,
        span: tuple[int, int] | None,
        progress: Callable[[int], None] = report_nothing,
    ) -> int:
        names = exports.names_for_spreadsheets(conn, view) if file_format == "csv" else "*"
        text = exports.Text(conn, exports.query(view, selection, span, names), file_format)
        file.writelines(exports.report_rows(text, progress))
        return text.rows

    return write_text
