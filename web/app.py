"""The HTTP application: routes, dependencies, limits, errors."""

from urllib.parse import urlsplit

from litestar import Litestar
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from web.apis import beside_apis, dispatch_by_api
from web.board import pages
from web.board.app import board
from web.board.app import error_response as board_error
from web.board.session import SessionCookie, with_session
from web.events.catalogue import asyncapi_page, event_schema_page
from web.events.changes import Changes
from web.events.controllers import Events, Refusals, SingleEvents
from web.events.differences import Differences
from web.events.feeds import Feeds
from web.http.answers import Answer
from web.http.arguments import provide_always
from web.http.backend import Backend
from web.http.errors import ErrorAnswers, to_response
from web.http.errors import error_response as paperclip_error
from web.http.etag import add_conditional_reads
from web.http.guard import guard
from web.http.idempotency import idempotency_key
from web.http.known_queries import must_know_query
from web.http.large_bodies import LargeBodies
from web.http.preconditions import with_preconditions
from web.http.public_path import state_with
from web.http.rate_limit import WebhookRateLimiter, sender
from web.http.requests import JsonRequest, caller, is_eventual
from web.http.routing import Application, RoutesOfApi
from web.http.tenants import by_tenant
from web.http.webhook_refusals import WebhookRefusals
from web.jetty.app import jetty
from web.jetty.errors import error_response as jetty_error
from web.monitoring.checkup import Checkup
from web.monitoring.health import HealthController
from web.monitoring.metrics import metrics
from web.monitoring.refusals import record_refusals
from web.monitoring.traffic import Traffic
from web.openapi.docs import docs_page, openapi
from web.paperclip.agents import Agents
from web.paperclip.backfills import Backfills
from web.paperclip.bulk import Bulk
from web.paperclip.companies import Companies
from web.paperclip.company_runs import CompanyRuns
from web.paperclip.endpoints import Endpoints
from web.paperclip.exporter import Exporter
from web.paperclip.exports import Exports
from web.paperclip.folders import Folders
from web.paperclip.goals import Goals
from web.paperclip.issues import Issues
from web.paperclip.keys import AgentKeys, BoardKeys, CompanyKeys
from web.paperclip.log_proofs import CompanyLogProofs, WholeLogProofs
from web.paperclip.members import Members
from web.paperclip.projects import Projects
from web.paperclip.revisions import Revisions
from web.paperclip.routines import Routines
from web.paperclip.schedules import Schedules
from web.paperclip.triggers import Triggers
from web.paperclip.webhook_requests import webhook_request
from web.paperclip.webhooks import Webhooks
from web.paperclip.what_ifs import WhatIfs

ROUTES = (  # of the Paperclip API
    HealthController,
    docs_page,
    Companies,
    Members,
    Agents,
    BoardKeys,
    AgentKeys,
    CompanyKeys,
    Projects,
    Folders,
    Goals,
    CompanyRuns,
    Routines,
    Bulk,
    Triggers,
    Webhooks,
    Schedules,
    WhatIfs,
    Backfills,
    Revisions,
    Issues,
    Endpoints,
    WholeLogProofs,
    CompanyLogProofs,
    Events,
    SingleEvents,
    Refusals,
    Changes,
    Exports,
    Differences,
    event_schema_page,
    asyncapi_page,
)


def create_app(backend: Backend, public_url: str, webhook_rate: int = 0, *, jetty_routines: bool = True) -> ASGIApp:
    """
    Return the ASGI application over a backend, with both APIs and the board.

    `public_url` is the address at which clients and webhook senders reach it. `webhook_rate` is the number of calls per minute that
    a webhook accepts from one address; 0 means no limit. Without `jetty_routines` the Jetty API has no routines
    (ENABLE_ROUTINES).
    """
    webhook_refusals = WebhookRefusals(backend, WebhookRateLimiter(webhook_rate, backend.limits.max_webhook_counters))
    traffic, checkup, feeds = Traffic(), Checkup(backend), Feeds(backend, public_url)
    paperclip_app = _paperclip(
        metrics(backend, traffic, checkup),
        public_url,
        provide_always(
            backend=backend,
            checkup=checkup,
            exporter=Exporter(backend),
            feeds=feeds,
            public_url=public_url,
            rate_limiter=webhook_refusals.rate_limiter,
            webhook_refusals=webhook_refusals,
        ),
    )
    jetty_app = jetty(backend, public_url, checkup, feeds, with_routines=jetty_routines)
    apis = dispatch_by_api({"paperclip": paperclip_app, "jetty": jetty_app})
    apis_and_board = beside_apis(apis, board(backend, apis, feeds, public_url, pages.PAGES))
    error_answers: ErrorAnswers = {
        "paperclip": paperclip_error,
        "jetty": jetty_error,
        "board": board_error(urlsplit(public_url).path.rstrip("/")),
    }
    # From the innermost to the outermost: what handles a request first stands last.
    app = traffic.watch(with_preconditions(apis_and_board, backend.executor.store.head, error_answers))
    app = guard(
        add_conditional_reads(app), backend, LargeBodies([paperclip_app, jetty_app]), error_answers, webhook_refusals
    )
    app = with_session(by_tenant(app, backend), SessionCookie(public_url))
    return record_refusals(app, backend, traffic.registry, error_answers)


def _paperclip(metrics_route: HTTPRouteHandler, public_url: str, dependencies: dict[str, Provide]) -> Litestar:
    """Return the application of the Paperclip API, whose handlers get these dependencies and those that read a request."""
    api = RoutesOfApi(
        "/api",
        route_handlers=ROUTES,
        dependencies={
            **dependencies,
            "caller": Provide(caller),
            "eventual": Provide(is_eventual),
            "idempotency_key": Provide(idempotency_key),
            "sender": Provide(sender),
            "webhook_request": Provide(webhook_request),
        },
    )
    return Application(
        [api, metrics_route],
        state=state_with(public_url),
        guards=[must_know_query],
        request_class=JsonRequest,
        response_class=Answer,
        request_max_body_size=None,
        exception_handlers={Exception: to_response},
        openapi_config=openapi,
        logging_config=None,
    )
