"""
Answers as they were at an earlier moment: what a request with `asOf` gets.

Who may read a thing now may read its past. Only that right is of now; everything else is as it was, whatever has become
of it since.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple, TypeVar
from uuid import UUID

from eventsourcing.persistence import Notification
from litestar import Response
from litestar.params import QueryParameter
from msgspec.structs import replace

from application.access import Caller
from application.event_store.codec import all_from_stored
from application.event_store.data_keys import ReadKeys
from application.use_cases import read_access, runs
from application.use_cases import routines as use_cases
from domain import disclosure
from domain.errors import InvalidField, NotFound
from domain.recorded import Recorded
from projections import responses
from projections.audit import as_of
from projections.audit.as_of import Past, Stored
from projections.board import issues
from projections.engine import moments
from projections.firing import run_history
from projections.firing.run_documents import detail_of
from projections.routines import routine_list, routines
from web.http.backend import POSITION_HEADER, Backend
from web.http.moments import moment_of
from web.http.paging import Paging, make_page, row_of
from web.http.requests import MOST_DIGITS
from web.http.validation import Invalid

MOST = 100  # rows of a page of routines or issues
T = TypeVar("T")


class Moment(NamedTuple):
    """A moment that a request names by a parameter: a time, or a position of the log."""

    name: str
    value: datetime | int


async def moment_of_request(text: Annotated[str | None, QueryParameter(name="asOf")] = None) -> Moment | None:
    """Return the moment as of which a request wants its answer; None for now. It is a dependency. Raise InvalidField."""
    return parse_moment(text, "asOf")


def parse_moment(text: str | None, name: str) -> Moment | None:
    """Return the moment of a parameter, None for one that is absent. Raise InvalidField."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < MOST_DIGITS:
        return Moment(name, int(text))
    try:
        time = moment_of(text, name)
    except Invalid:
        time = None
    if time is None:
        raise InvalidField(f"{name} must be a time, such as 2026-11-20T09:00:00Z, or a position of the log", name)
    return Moment(name, time)


def position_of(backend: Backend, moment: Moment) -> int:
    """
    Return the position of the last event that was recorded at a moment or before. Raise InvalidField for the future.

    A time is shown in milliseconds, and recorded more exactly: to its end, it counts as one moment.
    """
    if isinstance(moment.value, int):
        if moment.value > (head := backend.executor.store.head()):
            raise InvalidField(f"{moment.name} lies in the future: the log ends at position {head}", moment.name)
        return moment.value
    millisecond = moment.value.replace(microsecond=moment.value.microsecond // 1_000 * 1_000)
    with backend.pool.connection() as conn:
        if moment.value > (now := moments.read_clock(conn)):
            raise InvalidField(f"{moment.name} lies in the future: it is {responses.time(now)}", moment.name)
        return moments.position_at(conn, millisecond + timedelta(microseconds=999))


@contextmanager
def read_models_at(backend: Backend, moment: Moment) -> Iterator[Past]:
    """Yield the read models as they were at a moment. Raise InvalidField or Lagging."""
    position = position_of(backend, moment)
    most_events, most_bytes = backend.limits.max_past_events, backend.limits.max_read_bytes
    with backend.consistent_read(*as_of.NAMES, position=position) as conn:
        keys = ReadKeys(conn)  # of now: what is erased since is erased as of then as well

        def decode(rows: Sequence[Stored]) -> Sequence[Recorded]:
            return all_from_stored([Notification(*row) for row in rows], keys)

        yield Past(conn, position, decode, most_events=most_events, most_bytes=most_bytes)


def routine(backend: Backend, caller: Caller, moment: Moment, routine_id: UUID) -> Response[responses.RoutineDetail]:
    """Return a routine as it was."""
    addresses = backend.authorize(caller, use_cases.may_read, routine_id)
    with read_models_at(backend, moment) as past:
        detail = _require_existing(
            as_of.routine_detail(past, routine_id, backend.limits.max_page_bytes), "Routine", past.position
        )
    return _mark_position(past.position, Response(disclosure.mask_unless(detail, addresses=addresses)))


def routine_page(  # noqa: PLR0913, PLR0917 who asks, for what, and which part of it
    backend: Backend,
    caller: Caller,
    moment: Moment,
    company_id: UUID,
    filters: routine_list.Filters,
    page: tuple[Paging, str, routine_list.RoutinePlace | None, int | None],
) -> Response[list[responses.RoutineListItem]]:
    """Return a page of the routines of a company as it was."""
    if filters.q is not None:
        raise InvalidField("q cannot be asked as of a moment: texts are only searched as they are now", "q")
    paging, list_name, after, limit = page
    limit = _bound_limit(limit)
    addresses = backend.authorize(caller, read_access.routines, company_id)
    with read_models_at(backend, moment) as past:
        part = as_of.routine_page(past, company_id, filters, after, limit, backend.limits.max_page_bytes)
    part = part.of(disclosure.mask_unless(list(part), addresses=addresses))
    return _mark_position(past.position, make_page(paging, list_name, part, routine_list.place_of))


def run_page(  # noqa: PLR0913, PLR0917 who asks, for what, and which part of it
    backend: Backend,
    caller: Caller,
    moment: Moment,
    routine_id: UUID,
    filters: run_history.Filters,
    page: tuple[Paging, str, UUID | None, int],
) -> Response[list[responses.RunSummary]]:
    """Return a page of the runs of a routine as it was."""
    paging, list_name, after, limit = page
    backend.authorize(caller, use_cases.may_read, routine_id)
    with read_models_at(backend, moment) as past:
        _require_existing(past.one(routines.ROUTINE, routine_id), "Routine", past.position)

        def place(run_id: UUID) -> int | None:
            position = run_history.position(past.conn, routine_id, run_id)
            return None if position is None or position > past.position else position

        before = row_of(after, place)
        part = as_of.runs(past, routine_id, filters, before, limit, backend.limits.max_page_bytes)
    return _mark_position(past.position, make_page(paging, list_name, part, lambda run: run.id))


def company_run_page(  # noqa: PLR0913, PLR0917 who asks, for what, and which part of it
    backend: Backend,
    caller: Caller,
    moment: Moment,
    company_id: UUID,
    filters: run_history.CompanyFilters,
    period: tuple[datetime, datetime],
    page: tuple[Paging, str, UUID | None, int],
) -> Response[list[responses.RunSummary]]:
    """Return a page of the runs of a company as it was."""
    paging, list_name, after, limit = page
    backend.authorize(caller, read_access.company, company_id)
    with read_models_at(backend, moment) as past:

        def find_place(run_id: UUID) -> run_history.Place | None:
            place = run_history.place(past.conn, company_id, run_id)
            return None if place is None or place.position > past.position else place

        place = row_of(after, find_place)
        part = as_of.company_runs(past, company_id, filters, period, place, limit, backend.limits.max_page_bytes)
    return _mark_position(past.position, make_page(paging, list_name, part, lambda run: run.id))


def run(backend: Backend, caller: Caller, moment: Moment, run_id: UUID) -> Response[responses.RunDetail]:
    """Return a run as it was."""
    position = position_of(backend, moment)
    events = backend.authorize(caller, runs.read, run_id)  # of that position, or beyond it
    until_then = [recorded for recorded in events if recorded.position <= position]
    return _mark_position(position, Response(detail_of(_require_existing(until_then or None, "Run", position))))


def issue(
    backend: Backend, moment: Moment, issue_id: UUID, shape: Callable[[responses.Issue, list[responses.Issue]], T]
) -> Response[T]:
    """Return an issue, which the caller may read, and those above it as they were, in a shape."""
    with read_models_at(backend, moment) as past:
        lineage = as_of.issue_with_ancestors(past, issue_id, backend.limits.max_page_bytes)
        return _mark_position(past.position, Response(shape(*_require_existing(lineage, "Issue", past.position))))


def issue_page(  # noqa: PLR0913, PLR0917 who asks, for what, and which part of it
    backend: Backend,
    caller: Caller,
    moment: Moment,
    company_id: UUID,
    filters: issues.Filters,
    page: tuple[Paging, str, int | None],
) -> Response[list[responses.Issue]]:
    """Return a page of the issues of a company as it was."""
    paging, list_name, limit = page
    filters = replace(filters, limit=_bound_limit(limit))
    backend.authorize(caller, read_access.company, company_id)
    with read_models_at(backend, moment) as past:
        part = as_of.issue_page(past, company_id, filters, backend.limits.max_page_bytes)
    return _mark_position(past.position, make_page(paging, list_name, part))


def _bound_limit(limit: int | None) -> int:
    if limit is not None and limit > MOST:
        raise InvalidField(f"As of a moment, limit must be {MOST} or less", "limit")
    return limit or MOST


def _require_existing(thing: T | None, kind: str, position: int) -> T:
    if thing is None:
        raise NotFound(f"{kind} not found: at position {position} of the log it did not exist yet")
    return thing


def _mark_position(position: int, response: Response[T]) -> Response[T]:
    """Return the answer with the position that it is of: as of that, it never changes."""
    response.headers[POSITION_HEADER] = str(position)
    return response
