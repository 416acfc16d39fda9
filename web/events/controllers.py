"""The routes of the event feed (our addition)."""

from functools import partial
from typing import Any

from litestar import Controller, Request, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from application.access import Caller
from application.use_cases import event_access
from projections.audit import refused_attempts
from projections.audit.refused_attempts import RefusedAttempts
from web.events.feeds import Feeds
from web.events.formats import EVENT_FORMS, FEED_FORMS, Event
from web.events.requests import FeedRequest, feed_request, position_or_none
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, paging, read_page
from web.http.path_ids import CompanyId
from web.http.requests import parse_whole_number
from web.http.routing import get
from web.openapi.parameters import FEED_HEADERS

USUAL_REFUSALS, MOST_REFUSALS = 50, 200  # rows of a page
FEED = {"forms": FEED_FORMS, "headers": FEED_HEADERS}
EVENT = {"forms": EVENT_FORMS}


class Events(Controller):
    """What has happened, event by event, as the log keeps it."""

    tags = ("events",)
    dependencies = {"feed_request": Provide(feed_request)}

    @get(
        "/companies/{company_id:str}/events",
        operation_id="listEvents",
        refuses=(403, 422),
        response_headers=NEXT,
        opt=FEED,
    )
    def of_company(
        self,
        feeds: NamedDependency[Feeds],
        caller: NamedDependency[Caller],
        feed_request: NamedDependency[FeedRequest],
        company_id: FromPath[CompanyId],
    ) -> Response[list[Event]]:
        """
        Returns the events of the company, newest first: 100 of them, or `limit` from 1 to 1,000. Owners, admins and
        auditors may read them. `order=oldest` begins at the other end. `kind` takes several values, joined by commas, and
        `run.*` for all that begin so. `routineId`, `triggerId`, `runId` and `issueId` ask for a thing with everything that
        belongs to it, `streamId` for what happened to one thing itself. `from` and `to` are moments between which the
        database recorded an event; `after` and `before` are positions, which are left out themselves.

        `Accept` chooses the form: JSON, `application/x-ndjson`, `application/cloudevents-batch+json`, or
        `text/event-stream` for the live feed. That begins now, after the position `after` or `Last-Event-ID`, or at
        `from`, and goes on for as long as it is read; whoever comes back with `Last-Event-ID` misses nothing.
        """
        return feeds.answer(caller, feed_request, event_access.of_company, company_id)

    @get("/events", operation_id="listAllEvents", refuses=(403, 422), response_headers=NEXT, opt=FEED)
    def of_all(
        self, feeds: NamedDependency[Feeds], caller: NamedDependency[Caller], feed_request: NamedDependency[FeedRequest]
    ) -> Response[list[Event]]:
        """
        Returns the events of the whole installation, as `listEvents` does for a company. Admins and auditors of the
        instance may read them; those about keys and names are shown to its auditors only.
        """
        return feeds.answer(caller, feed_request, event_access.of_all)


class Refusals(Controller):
    """Attempts that were refused for want of a credential or a right."""

    tags = ("events",)
    dependencies = {"paging": Provide(paging)}

    @get("/refusals", operation_id="listRefusals", refuses=(403,), response_headers=NEXT)
    def list_(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], paging: NamedDependency[Paging]
    ) -> Response[list[RefusedAttempts]]:
        """
        Returns the attempts that were refused with 401 or 403, calls of webhooks with a wrong signature among them, newest
        first: 50 rows, or `limit` from 1 to 200. Attempts of an hour that are alike are one row; of what is too much, only
        the number is kept. Admins and auditors of the instance may read it. It is no part of the log of events.
        """
        limit = parse_whole_number(paging.limit, "limit", USUAL_REFUSALS, 1, MOST_REFUSALS)
        backend.authorize(caller, event_access.of_all)
        read = partial(refused_attempts.newest_refused_attempts, limit=limit)
        return read_page(backend, paging, "refusals", (), read, newest_first=True)


class SingleEvents(Controller):
    """What has happened, event by event, as the log keeps it."""

    tags = ("events",)

    @get("/companies/{company_id:str}/events/{position:str}", operation_id="getEvent", refuses=(403,), opt=EVENT)
    def of_company(  # noqa: PLR0913, PLR0917 who asks, and for what
        self,
        request: Request[Any, Any, Any],
        feeds: NamedDependency[Feeds],
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        position: FromPath[str],
    ) -> Response[Event]:
        """Returns the event at a position of the log, as JSON or, by `Accept`, as a CloudEvent."""
        access = backend.authorize(caller, event_access.of_company, company_id)
        return feeds.one(access, position_or_none(position), request)

    @get("/events/{position:str}", operation_id="getEventOfAll", refuses=(403,), opt=EVENT)
    def of_all(
        self,
        request: Request[Any, Any, Any],
        feeds: NamedDependency[Feeds],
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        position: FromPath[str],
    ) -> Response[Event]:
        """Returns the event at a position of the log, whichever company it belongs to."""
        return feeds.one(backend.authorize(caller, event_access.of_all), position_or_none(position), request)
