"""The route of exports: the rows of a view of a company in a file (our addition)."""

from typing import Annotated, Any, cast, get_args
from urllib.parse import urlencode
from uuid import UUID

from litestar import Controller, Request, Response
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from application.access import Caller
from application.use_cases import event_access
from domain.errors import InvalidField, NotFound, RuleViolation
from projections import export_files, exports
from projections.export_files import Format
from projections.exports import EVENTS, VIEWS, Selection
from web.http.backend import POSITION_HEADER, Backend
from web.http.moments import moment_of
from web.http.path_ids import CompanyId
from web.http.public_path import public_path
from web.http.requests import MOST_NUMBER, parse_whole_number
from web.http.routing import get
from web.http.streamed_answer import StreamedAnswer
from web.http.validation import invalid
from web.paperclip.exporter import Exporter

MOST_EVENTS = 100_000  # of one export
MEDIA_TYPES: dict[Format, str] = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8; header=present",
    "parquet": "application/vnd.apache.parquet",
}
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
