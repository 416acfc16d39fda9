"""Rows of a view of the company as a file, which the API writes: what the pages of runs and of the log show, and more."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from web.board.visit import Visit, period
from web.http.validation import invalid

FORMATS = {"csv": "CSV", "ndjson": "lines of JSON"}


@get("/board/companies/{company_id:str}/exports/{view:str}", operation_id="boardExport")
async def export(visit: NamedDependency[Visit], view: FromPath[str]) -> Response[Any]:
    """Give the rows of a view, of a time if one is given, as a file; of events all that there are, however many."""
    parameters, errors = visit.parameters(("from", "to")), dict[str, str]()
    query = period(visit, parameters, errors)
    for name, message in errors.items():
        raise invalid(message, name)
    return visit.api.file(visit.api_path("exports", view), {**query, "format": visit.parameter("format") or "csv"})


def links_of(visit: Visit, view: str, parameters: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the words and the addresses of the files of a view; none for those who may not read them."""
    span = {name: parameters.get(name) for name in ("from", "to")}
    formats = FORMATS.items() if visit.rights.audit else ()
    return [(word, visit.path("exports", view, query={**span, "format": name})) for name, word in formats]
