"""
Pages of lists: where a page begins, and the headers that lead to the next one.

A page begins after a place in the order of its list, not after a number of rows. So the tenth page costs what the
first does, and no row is skipped when another one is deleted or leaves the list.
A page ends at its limit, or where its rows fill `max_page_bytes`, whichever comes first; so every list may have pages.
A cursor is base64url of the JSON array [version, checksum, place]. The checksum also covers the name of the list, so
that a cursor that was cut off, or belongs to another list, is refused and not misread.

While rows change, a walk over the pages returns a row twice only if the row moved to a later place in the meantime. In
the list of routines a change moves a row to the front, and runs never move. So no walk repeats a row, and every row
that did not change is in it exactly once. Rows that are new or moved to the front since the walk began are at the start
of the next walk.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.datastructures import ResponseHeader
from litestar.params import FromQuery

from domain import disclosure
from projections.engine.documents import Part
from web.http.answers import Answer
from web.http.backend import Backend
from web.http.moments import EARLIEST, LATEST
from web.http.public_path import public_path
from web.http.validation import Invalid, invalid

VERSION = 1
MOST_POSITION = 2**63 - 1
Position = Annotated[int, msgspec.Meta(ge=0, le=MOST_POSITION)]
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
    """The part of a list that a request asks for, as the client wrote it, not yet checked."""

    request: Request[Any, Any, Any]
    cursor: str | None
    limit: str | None


async def paging(
    request: Request[Any, Any, Any], cursor: FromQuery[str | None] = None, limit: FromQuery[str | None] = None
) -> Paging:
    """Return the paging of a request. Lists with `cursor` and `limit` have it as a dependency."""
    return Paging(request, cursor, limit)


async def cursor_only(request: Request[Any, Any, Any], cursor: FromQuery[str | None] = None) -> Paging:
    """Return the paging of a request to a list that has no `limit`. It is a dependency."""
    return Paging(request, cursor, None)


def cursor_of(list_: str, place: object) -> str:
    """Return the cursor of the page that begins after a place in a list."""
    checksum = hashlib.sha256(msgspec.json.encode([list_, place])).hexdigest()[:8]
    return base64.urlsafe_b64encode(msgspec.json.encode([VERSION, checksum, place])).decode().rstrip("=")


def place_of(cursor: str | None, list_: str, shape: type[P]) -> P | None:
    """
    Return the place that a cursor of this list names, or None for the start if there is no cursor. Raise Invalid.

    The checksum detects mistakes, not forgeries. A forged place gives access to nothing, see `row_of`: a position only
    says where the caller's own list continues, even if the row at that position belongs to somebody else.
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


def row_of(row_id: UUID | None, find: Callable[[UUID], T | None], name: str = "cursor") -> T | None:
    """
    Return the place of the row that a cursor names, or None if it names none. Raise Invalid.

    `find` must look within the list alone, so that a row of another list is refused like one that does not exist.
    """
    if row_id is None:
        return None
    if (position := find(row_id)) is None:
        raise not_of_list(name)
    return position


def not_of_list(name: str = "cursor") -> Invalid:
    """Return the error for a cursor that the list did not return."""
    return invalid(f"{name} must be one that this list returned", name)


def _is_sound(place: object) -> bool:
    """Return whether the database can compare with a place, since anybody can compute the checksum of a cursor."""
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


def make_page(
    paging: Paging,
    list_: str,
    part: Part[T],
    place: Callable[[T], object] | None = None,
    *,
    body: bytes | None = None,
) -> Response[list[T]]:
    """
    Return a part of a list as a page. If the list goes on, the headers lead to the next page.

    That page begins after the place of the last row, which `place` computes; without it, after the end of the part.
    `body` is the JSON of the part, where it is there already.
    """
    headers = next_page_headers(paging, list_, part, place)
    content: Any = list(part) if body is None else body
    return Answer(content, headers=headers)


def read_page(  # noqa: PLR0913 the list, and the part of it
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
    Read a page of a list whose places are positions in the log. Raise Invalid for a wrong cursor.

    `read` gets the position at which the previous page ended as `after`, or as `before` if the newest come first.
    `addresses` says whether the caller may see addresses; they are masked otherwise.
    """
    beginning = {"before" if newest_first else "after": place_of(paging.cursor, list_, Position)}
    with backend.consistent_read(*models) as conn:
        part = read(conn, **beginning, max_bytes=backend.limits.max_page_bytes)
    return make_page(paging, list_, part.of(disclosure.mask_unless(list(part), addresses=addresses)))


def next_page_headers(
    paging: Paging, list_: str, part: Part[T], place: Callable[[T], object] | None = None
) -> dict[str, str]:
    """Return the headers that lead to the next page; none at the end of the list."""
    if not part.more:
        return {}
    return next_page_headers_from(paging, cursor_of(list_, part.last if place is None else place(part[-1])))


def next_page_headers_from(paging: Paging, cursor: str) -> dict[str, str]:
    """Return the headers that lead to the page of a cursor, with the other query parameters of the request."""
    query = [item for item in paging.request.query_params.multi_items() if item[0] != "cursor"]
    link = f'<{public_path(paging.request)}{paging.request.url.path}?{urlencode([*query, ("cursor", cursor)])}>; rel="next"'
    return {CURSOR_HEADER: cursor, "Link": link}
