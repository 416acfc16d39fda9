"""The routes of a collection's events (our addition); they take and answer what those of a company do."""

from typing import Any

from litestar import Controller, Request, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from application.access import Caller
from application.use_cases import event_access
from web.events.feeds import Feeds
from web.events.formats import EVENT_FORMS, FEED_FORMS, Event
from web.events.requests import FeedRequest, feed_request, position_or_none
from web.http.backend import Backend
from web.http.errors import RESPONSES
from web.http.paging import NEXT
from web.jetty.routing import get
from web.openapi.parameters import FEED_HEADERS


class CollectionEvents(Controller):
    """What has happened in a collection, event by event, as the log keeps it."""

    path = "/collections/{collection:str}/events"
    tags = ("events",)

    @get(
        operation_id="listEventsOfCollection",
        responses={status: RESPONSES[status] for status in (403, 422)},
        response_headers=NEXT,
        opt={"forms": FEED_FORMS, "headers": FEED_HEADERS},
        dependencies={"feed_request": Provide(feed_request)},
    )
    def list_(
        self,
        feeds: NamedDependency[Feeds],
        caller: NamedDependency[Caller],
        feed_request: NamedDependency[FeedRequest],
        collection: FromPath[str],
    ) -> Response[list[Event]]:
        """
        Returns the events of the collection, of its tasks, routines, runs and trajectories, newest first: 100 of them, or
        `limit` from 1 to 1,000. Holders of its keys may read them, and owners, admins and auditors. Filters, directions
        and forms are those of `listEvents` in the Paperclip API, the live feed (`text/event-stream`) included.
        """
        return feeds.answer(caller, feed_request, event_access.of_collection, collection)

    @get(
        "/{position:str}",
        operation_id="getEventOfCollection",
        responses={status: RESPONSES[status] for status in (403, 422)},
        opt={"forms": EVENT_FORMS},
    )
    def detail(  # noqa: PLR0913, PLR0917 who asks, and for what
        self,
        request: Request[Any, Any, Any],
        feeds: NamedDependency[Feeds],
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        position: FromPath[str],
    ) -> Response[Event]:
        """Returns the event at a position of the log, as JSON or, by `Accept`, as a CloudEvent."""
        access = backend.authorize(caller, event_access.of_collection, collection)
        return feeds.one(access, position_or_none(position), request)
