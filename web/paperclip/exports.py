"""
The route of exports: the rows of a view of a company in a file (our addition).

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
from typing import Annotated, Any, BinaryIO, Self, cast, get_args
from urllib.parse import urlencode
from uuid import UUID
from weakref import finalize

import psycopg
from litestar import Controller, Request, Response
from litestar.concurrency import sync_to_thread
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from application.access import Caller
from application.use_cases import event_access
from domain.bounds.limits import Limits
from domain.errors import InvalidField, NotFound, RuleViolation
from projections import export_files, exports
from projections.engine.views import View
from projections.export_files import Format
from projections.exports import EVENTS, VIEWS, Selection
from web.http.backend import POSITION_HEADER, Backend
from web.http.departures import check_presence
from web.http.errors import Overloaded
from web.http.path_ids import CompanyId
from web.http.public_path import public_path
from web.http.requests import MOST_NUMBER, parse_whole_number
from web.http.routing import get
from web.http.streamed_answer import StreamedAnswer
from web.http.validation import invalid
from web.paperclip.schedules import moment_of

MOST_EVENTS = 100_000  # of one export
CHUNK_BYTES = 64 * 1024
MEDIA_TYPES: dict[Format, str] = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8; header=present",
    "parquet": "application/vnd.apache.parquet",
}
READ_MODELS = exports.READ_MODELS | {EVENTS: "event_index"}
TEXT, BYTES = {"type": "string"}, {"type": "string", "format": "binary"}
FORMS = {media_type.partition(";")[0]: BYTES if name == "parquet" else TEXT for name, media_type in MEDIA_TYPES.items()}
OPTIONS = {"forms": FORMS, "has_json": False}
HEADERS = (
    ResponseHeader(
        name=POSITION_HEADER,
        documentation_only=True,
        description="Of events: the position of the log up to which they are in the file.",
    ),
    ResponseHeader(
        name="Link",
        documentation_only=True,
        description='Of events: the address of the next file, with `rel="next"`; absent on the last one.',
    ),
)


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


class Exports(Controller):
    """Rows of the views that analysts read, as files."""

    tags = ("exports",)

    @get(
        "/companies/{company_id:str}/exports/{view:str}",
        operation_id="exportView",
        refuses=(403, 422),
        response_headers=HEADERS,
        opt=OPTIONS,
    )
    def export(  # noqa: PLR0913, PLR0917 what is wanted
        self,
        request: Request[Any, Any, Any],
        backend: NamedDependency[Backend],
        exporter: NamedDependency[Exporter],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        view: FromPath[str],
        file_format: Annotated[str | None, QueryParameter(name="format")] = None,
        since: Annotated[str | None, QueryParameter(name="from")] = None,
        to: FromQuery[str | None] = None,
        after: FromQuery[str | None] = None,
        limit: FromQuery[str | None] = None,
    ) -> Response[bytes]:
        """
        Returns the rows of a view as a file: lines of JSON, CSV, or Parquet where the service has pyarrow. The views and
        their columns are those of `routines export`. Owners, admins and auditors may read them. `from` and `to` select
        rows by the time that the view names, open at its end. The fields of events are as the log keeps them: `[sealed]`,
        `{}` and `[]` stand for texts, payloads and names, which `GET /companies/{companyId}/events` has.

        Of events, one file has 100,000 at most, or `limit`, after the position `after`; `X-Routines-Position` is the
        position up to which they are there, and `Link` leads to the next file, so a nightly job takes only what is new.
        """
        access = backend.authorize(caller, event_access.of_company, company_id)
        if view not in VIEWS:
            raise NotFound(f"There is no such view; there are {', '.join(sorted(VIEWS))}")
        chosen = _format(file_format)
        selection = _select(company_id, since, to, access)
        headers = {
            "content-type": MEDIA_TYPES[chosen],
            "content-disposition": f'attachment; filename="{view}.{chosen}"',
            "cache-control": "no-store",
        }
        span = None
        if view == EVENTS:
            position = parse_whole_number(after, "after", 0, 0, MOST_NUMBER)
            most = parse_whole_number(limit, "limit", MOST_EVENTS, 1, MOST_EVENTS)
            with backend.consistent_read("event_index") as conn:
                until, more = exports.span_of_events(conn, company_id, position, most)
            span = position, until
            headers |= {POSITION_HEADER: str(max(until, position))} | (
                {"link": _next_link(request, until)} if more else {}
            )
        else:
            for name, value in {"after": after, "limit": limit}.items():
                if value is not None:
                    raise InvalidField(f"{name} is for events only: the other views are exported whole", name)
        file = exporter.write(company_id, VIEWS[view], chosen, selection, span)
        headers["content-length"] = str(file.size)
        return StreamedAnswer(  # type: ignore[return-value]
            file, [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        )


def _select(company_id: UUID, since: str | None, to: str | None, access: event_access.EventAccess) -> Selection:
    """Return which rows of the company a request selects, without those that the caller may not read."""
    begin, end = moment_of(since, "from"), moment_of(to, "to")
    if begin is not None and end is not None and begin >= end:
        raise invalid("to must be later than from", "to")
    return Selection(company_id=company_id, begin=begin, end=end, hidden=access.hidden, uses_index=True)


def _format(text: str | None) -> Format:
    chosen = text or "ndjson"
    if chosen not in get_args(Format):
        raise invalid(f"format must be {', '.join(get_args(Format)[:-1])} or {get_args(Format)[-1]}", "format")
    if chosen == "parquet" and not export_files.has_parquet():
        raise RuleViolation("This service has no pyarrow, which writes Parquet; take ndjson or csv")
    return cast("Format", chosen)


def _next_link(request: Request[Any, Any, Any], position: int) -> str:
    query = [item for item in request.query_params.multi_items() if item[0] != "after"]
    address = f"{public_path(request)}{request.url.path}?{urlencode([*query, ('after', position)])}"
    return f'<{address}>; rel="next"'
