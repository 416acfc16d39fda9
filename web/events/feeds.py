"""Answers to requests for events: a page, one event, or the live feed."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from litestar import Request, Response
from msgspec.structs import replace

from application.access import Caller, Principal
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases.event_access import EventAccess
from domain.errors import NotFound
from projections.audit import feed
from projections.audit.feed import Filters
from web.events import formats
from web.events.formats import Event
from web.events.live import LiveFeed, Reader, Tail, Watcher
from web.events.requests import ORDERS, FeedRequest
from web.http.backend import Backend
from web.http.media_types import JSON
from web.http.paging import cursor_of, next_page_headers_from
from web.http.validation import invalid

SEARCH_LIMIT_S = 5.0  # for a page
P = ParamSpec("P")
MayRead = Callable[Concatenate[UnitOfWork, Principal, P], EventAccess]


class Feeds:
    """Answers requests for events. `public_url` is the address at which readers reach the API."""

    def __init__(self, backend: Backend, public_url: str) -> None:
        self._backend = backend
        self._address = public_url.rstrip("/")
        self.tail = Tail(backend)

    def answer(
        self, caller: Caller, feed_request: FeedRequest, may_read: MayRead[P], *args: P.args, **kwargs: P.kwargs
    ) -> Response[Any]:
        """Return a page, or the live feed, of the events that the caller may read by `may_read`."""

        def access() -> EventAccess:
            return self._backend.authorize(caller, may_read, *args, **kwargs)

        return (
            self._answer_live(feed_request, access)
            if feed_request.is_live
            else self._answer_page(feed_request, access())
        )

    def watch(
        self, caller: Caller, watched: Filters, begins: int, may_read: MayRead[P], *args: P.args, **kwargs: P.kwargs
    ) -> LiveFeed:
        """Return the live feed that only says that there were events after the position `begins`. Raise Invalid."""

        def access() -> EventAccess:
            return self._backend.authorize(caller, may_read, *args, **kwargs)

        right = access()
        self._check_position(begins, "after")
        self.tail.check_room()
        filters = replace(watched, company_id=right.company_id, hidden=right.hidden)
        return LiveFeed(self.tail, Watcher(self.tail, self._backend, filters, begins, right, access))

    def one(self, access: EventAccess, position: int | None, request: Request[Any, Any, Any]) -> Response[Event]:
        """Return one event. Raise NotFound for one that there is not, or that the reader may not see."""
        filters = Filters(company_id=access.company_id, hidden=access.hidden)
        with self._backend.consistent_read(*feed.NAMED_BY) as conn:
            entry = None if position is None else feed.one(conn, position, filters)
            if entry is None:
                raise NotFound("Event not found")
            (event,) = formats.describe(conn, [entry])
        media_type = formats.wanted_type(request.headers.get("accept", ""), formats.OF_EVENTS)
        return Response(event) if media_type == JSON else self._encode_events([event], media_type, {})

    def _answer_page(self, feed_request: FeedRequest, access: EventAccess) -> Response[Any]:
        place = feed_request.place(access)
        with self._backend.consistent_read(*feed.NAMED_BY) as conn:
            part = feed.page(
                conn,
                feed_request.filters_of(access),
                order=ORDERS[feed_request.order],
                after=place,
                limit=feed_request.limit,
                max_bytes=self._backend.limits.max_page_bytes,
                limit_s=SEARCH_LIMIT_S,
            )
            events = formats.describe(conn, part)
        more = part.more and part.last is not None
        headers = (
            next_page_headers_from(feed_request.paging, cursor_of(feed_request.list_name(access), part.last))
            if more
            else {}
        )
        return (
            Response(events, headers=headers)
            if feed_request.media_type == JSON
            else self._encode_events(events, feed_request.media_type, headers)
        )

    def _encode_events(self, events: list[Event], media_type: str, headers: dict[str, str]) -> Response[Any]:
        return Response(formats.encode_page(events, media_type, self._address), media_type=media_type, headers=headers)

    def _answer_live(self, feed_request: FeedRequest, access: Callable[[], EventAccess]) -> Response[Any]:
        right = access()
        filters = feed_request.filters_of(right)
        begins = feed_request.filters.after if feed_request.resumed_after is None else feed_request.resumed_after
        if begins is not None:
            self._check_position(begins, "after" if feed_request.resumed_after is None else "Last-Event-ID")
        else:
            begins = 0 if filters.since is not None else self._end()
            # Asked once more: an event before that position may have ended the access, and the reader
            # would not see that event.
            right = access()
        self.tail.check_room()
        return LiveFeed(
            self.tail, Reader(self.tail, self._backend, replace(filters, after=None), begins, right, access)
        )

    def _check_position(self, position: int, name: str) -> None:
        if position > self._backend.executor.store.head():
            raise invalid(f"{name} must be a position of this log, which ends before it", name)

    def _end(self) -> int:
        """Return the position at which the log ends now, once the index shows it."""
        with self._backend.consistent_read(*feed.MODELS) as conn:
            return feed.reached_position(conn)
