"""
Files of exports.

A file is written whole before it is sent, at the speed of the database: a slow reader keeps no transaction open, and
what cannot be exported is refused before the answer begins. It has no name, so it is gone when the answer ends, and of a
company there is one at a time, so slow readers fill no disk.
"""

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import Any, BinaryIO, Self, cast
from uuid import UUID
from weakref import finalize

import psycopg
from litestar.concurrency import sync_to_thread

from domain.bounds.limits import Limits
from domain.errors import RuleViolation
from projections import export_files, exports
from projections.engine.views import View
from projections.export_files import Format
from projections.exports import EVENTS, Selection
from web.http.backend import Backend
from web.http.departures import check_presence
from web.http.errors import Overloaded

CHUNK_BYTES = 64 * 1024
READ_MODELS = exports.READ_MODELS | {EVENTS: "event_index"}


class Export:
    """The file of an export, chunk by chunk. With its last chunk, or when nobody takes it any more, it is gone."""

    def __init__(self, file: BinaryIO, end: Callable[[], None]) -> None:
        self._file, self._finish = file, finalize(self, _end, file, end)
        self.size = self._left = file.tell()
        file.seek(0)
        if not self.size:
            self._finish()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if chunk := await sync_to_thread(self._read):
            return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the file, and make room for the next export of the company."""
        self._finish()

    def _read(self) -> bytes:
        """Return the next chunk. Who has the last one may ask for the next file at once."""
        if not self._left:
            return b""
        chunk = self._file.read(CHUNK_BYTES)
        self._left -= len(chunk)
        if not self._left:
            self._finish()
        return chunk


def _end(file: BinaryIO, end: Callable[[], None]) -> None:
    file.close()
    end()


class Exporter:
    """Writes exports, a few at once. Of each company there is one file at a time, until it is sent."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._companies = set[UUID]()  # whose exports are being written or sent
        self._writing = 0
        self._lock = RLock()  # the collector of garbage may end an export within any of the methods

    def write(
        self, company_id: UUID, view: View, file_format: Format, selection: Selection, span: tuple[int, int] | None
    ) -> Export:
        """
        Return a file with the selected rows of a company. Raise RuleViolation if they are too many.

        Raise Overloaded if there is an export of the company, or as many as there may be are being written.
        """
        limits = self._backend.limits
        self._begin(company_id, limits)
        try:
            file = self._write_export(view, file_format, selection, span, limits)
        except BaseException:
            self._end(company_id)
            raise
        finally:
            with self._lock:
                self._writing -= 1
        return Export(file, partial(self._end, company_id))

    def _write_export(
        self, view: View, file_format: Format, selection: Selection, span: tuple[int, int] | None, limits: Limits
    ) -> BinaryIO:
        with (
            self._backend.consistent_read(READ_MODELS[view.name]) as conn,
            _refusing_too_much(limits),
            conn.transaction(),
        ):
            exports.limit_transaction(conn, limits.export_limit_s)
            file = cast("BinaryIO", tempfile.TemporaryFile(buffering=CHUNK_BYTES))  # noqa: SIM115 it is closed with the answer
            try:
                bounded = cast("BinaryIO", _Bounded(file, limits.max_export_bytes, limits.export_limit_s))
                export_files.writer(file_format)(conn, view, bounded, selection, span)
            except BaseException:
                file.close()
                raise
        return file

    def _begin(self, company_id: UUID, limits: Limits) -> None:
        with self._lock:
            if company_id in self._companies:
                raise Overloaded("An export of this company is being written or sent; ask again when it has ended")
            if self._writing >= limits.max_exports_at_once:
                raise Overloaded("Many exports are being written; try again later")
            self._companies.add(company_id)
            self._writing += 1

    def _end(self, company_id: UUID) -> None:
        with self._lock:
            self._companies.discard(company_id)


class TooLarge(Exception):
    """More was to be written to a file than it may hold."""


class TooSlow(Exception):
    """A file is not written in time."""


class _Bounded(io.RawIOBase):
    """
    Writes to a file no more than so many bytes, for so many seconds, and for as long as its reader waits.

    Raise TooLarge, TooSlow and Gone.
    """

    def __init__(self, file: BinaryIO, most: int, limit_s: float) -> None:
        self._file, self._left, self._until = file, most, time.monotonic() + limit_s

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Write all of the data."""
        check_presence()
        if time.monotonic() > self._until:
            raise TooSlow
        self._left -= memoryview(data).nbytes
        if self._left < 0:
            raise TooLarge
        return self._file.write(data)


@contextmanager
def _refusing_too_much(limits: Limits) -> Iterator[None]:
    try:
        yield
    except TooLarge as error:
        raise RuleViolation(
            f"The export is larger than {limits.max_export_bytes:,} bytes: narrow it with from and to, or events with limit"
        ) from error
    except (TooSlow, psycopg.errors.QueryCanceled) as error:
        raise RuleViolation(
            f"The export takes longer than {limits.export_limit_s:g} seconds: narrow it with from and to, or events with limit"
        ) from error
