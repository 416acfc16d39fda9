"""
Lists page by page: where a page begins, and the headers that lead to the next one.

A page begins after a place in the order of its list, not after so many rows: the tenth costs what the first does,
and a row that is deleted, or leaves the list, takes no place with it.
It ends at its limit, or where its rows fill `max_page_bytes`, whichever comes first; so every list may have pages.
A cursor is base64url of the JSON array [version, checksum, place]; the checksum covers the name of the list as
well, so that a cursor that was cut off, or is another list's, is refused and not misread.

While rows change, a walk over the pages gives no row twice unless it moved to a later place meanwhile. In the list
of routines a change moves a row to the front, runs never move: so no walk repeats a row, and every row that did not
change is in it exactly once. What moved to the front or is new since the walk began is at the start of the next one.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.datastructures import ResponseHeader
from litestar.params import FromQuery

from application.use_cases import explanations
from domain import disclosure
from projections.engine.read_model import Part
from web.http.backend import Backend
from web.http.validation import Invalid

VERSION = 1
MOST_POSITION = 2**63 - 1
Position = Annotated[int, msgspec.Meta(ge=0, le=MOST_POSITION)]
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), explanations.LAST  # moments that anybody could ask for
CURSOR_HEADER = "X-Next-Cursor"
NEXT = (
    ResponseHeader(
        name=CURSOR_HEADER,
        documentation_only=True,
        description="The `cursor` of the next page; absent on the last one.",
    ),
    ResponseHeader(
        name="Link",
        documentation_only=True,
        description='The address of the next page, with `rel="next"`; absent on the last one.',
    ),
)
T = TypeVar("T")
P = TypeVar("P")


class Paging(NamedTuple):
    """Which part of a list is asked for, in the client's words."""

    request: Request[Any, Any, Any]
    cursor: str | None
    limit: str | None


async def paging(
    request: Request[Any, Any, Any], cursor: FromQuery[str | None] = None, limit: FromQuery[str | None] = None
) -> Paging:
    return Paging(request, cursor, limit)


async def cursor_only(request: Request[Any, Any, Any], cursor: FromQuery[str | None] = None) -> Paging:
    """Of a list that has no `limit`."""
    return Paging(request, cursor, None)


def cursor_of(list_: str, place: object) -> str:
    """The cursor of what comes after a place in a list."""
    checksum = hashlib.sha256(msgspec.json.encode([list_, place])).hexdigest()[:8]
    return base64.urlsafe_b64encode(msgspec.json.encode([VERSION, checksum, place])).decode().rstrip("=")


def place_of(cursor: str | None, list_: str, shape: type[P]) -> P | None:
    """
    The place that a cursor of this list names; none or an empty one is the start, None. Raises Invalid.

    The checksum tells mistakes, not forgeries: a place holds nothing that its caller may not say, see `row_of`. A
    position says where to go on in the caller's own list, whosever row stands there.
    """
    if not cursor:
        return None
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        _, _, place = msgspec.json.decode(data, type=tuple[int, str, shape])  # type: ignore[valid-type]
        if _is_sound(place) and cursor_of(list_, place) == cursor:
            return place
    except ValueError:
        pass
    raise not_of_list()


def row_of(row_id: UUID | None, find: Callable[[UUID], int | None], name: str = "cursor") -> int | None:
    """
    The position of the row that a cursor names; None when it names none.

    `find` looks within the list alone, so that a row of another list is refused as one that does not exist is.
    Raises Invalid.
    """
    if row_id is None:
        return None
    if (position := find(row_id)) is None:
        raise not_of_list(name)
    return position


def not_of_list(name: str = "cursor") -> Invalid:
    """The refusal of a cursor that the list did not give."""
    return Invalid([{"code": "custom", "message": f"{name} must be one that this list gave", "path": [name]}])


def _is_sound(place: object) -> bool:
    """Whether the database and the calendar can compare with all of a place: anybody can compute its checksum."""
    match place:
        case int():
            return -MOST_POSITION - 1 <= place <= MOST_POSITION
        case str():
            return "\0" not in place
        case datetime():
            return place.utcoffset() is not None and EARLIEST <= place <= LATEST
        case tuple():
            return all(_is_sound(part) for part in place)
        case msgspec.Struct():
            return _is_sound(msgspec.structs.astuple(place))
        case _:
            return isinstance(place, UUID)


def page(paging: Paging, list_: str, part: Part[T], place: Callable[[T], object] | None = None) -> Response[list[T]]:
    """What was found; if there is more, the headers say where: at a row's `place`, or where the part itself ends."""
    return Response(list(part), headers=further(paging, list_, part, place))


def read_page(  # noqa: PLR0913 whose list, and which part of it
    backend: Backend,
    paging: Paging,
    list_: str,
    models: Sequence[str],
    read: Callable[..., Part[T]],
    *,
    addresses: bool = True,
    newest_first: bool = False,
) -> Response[list[T]]:
    """
    A page of a list; it begins `after` or, with the newest first, `before` the position where the last one ended.

    `addresses`: whether they are shown to whoever asks.
    """
    beginning = {"before" if newest_first else "after": place_of(paging.cursor, list_, Position)}
    with backend.consistent_read(*models) as conn:
        part = read(conn, **beginning, max_bytes=backend.limits.max_page_bytes)
    return page(paging, list_, part.of(disclosure.shown(list(part), addresses=addresses)))


def further(paging: Paging, list_: str, part: Part[T], place: Callable[[T], object] | None = None) -> dict[str, str]:
    """The headers that lead to the next page; none at the end of the list."""
    if not part.more:
        return {}
    return further_from(paging, cursor_of(list_, part.last if place is None else place(part[-1])))


def further_from(paging: Paging, cursor: str) -> dict[str, str]:
    query = [item for item in paging.request.query_params.multi_items() if item[0] != "cursor"]
    link = f'<{paging.request.url.path}?{urlencode([*query, ("cursor", cursor)])}>; rel="next"'
    return {CURSOR_HEADER: cursor, "Link": link}
