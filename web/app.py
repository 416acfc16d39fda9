"""The HTTP application: routes, dependencies, limits, errors."""

from urllib.parse import urlsplit

from litestar.di import Provide
from litestar.types import ASGIApp

from web.apis import ApiName, beside_apis, dispatch_by_api
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
from web.http.backend import Backend
from web.http.errors import error_response as paperclip_error
from web.http.errors import to_response
from web.http.etag import add_conditional_reads
from web.http.guard import RespondError, guard
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
from web.paperclip.exports import Exporter, Exports
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


def create_app(backend: Backend, public_url: str, webhook_rate: int = 0, *, jetty_routines: bool = True) -> ASGIApp:
    """
    Return the ASGI application over a backend, with both APIs and the board.

    `public_url` is the address at which clients and webhook senders reach it. `webhook_rate` is the number of calls per minute that
    a webhook accepts from one address; 0 means no limit. Without `jetty_routines` the Jetty API has no routines
    (ENABLE_ROUTINES).
    """
    rate_limiter, traffic = WebhookRateLimiter(webhook_rate, backend.limits.max_webhook_counters), Traffic()
    checkup = Checkup(backend)
    feeds, exporter = Feeds(backend, public_url), Exporter(backend)
    webhook_refusals = WebhookRefusals(backend, rate_limiter)

    async def provide_backend() -> Backend:
        return backend

    async def provide_checkup() -> Checkup:
        return checkup

    async def provide_exporter() -> Exporter:
        return exporter

    async def provide_feeds() -> Feeds:
        return feeds

    async def provide_public_url() -> str:
        return public_url

    async def provide_rate_limiter() -> WebhookRateLimiter:
        return rate_limiter

    async def provide_webhook_refusals() -> WebhookRefusals:
        return webhook_refusals

    api = RoutesOfApi(
        "/api",
        route_handlers=[
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
        ],
        dependencies={
            "backend": Provide(provide_backend),
            "caller": Provide(caller),
            "checkup": Provide(provide_checkup),
            "eventual": Provide(is_eventual),
            "exporter": Provide(provide_exporter),
            "feeds": Provide(provide_feeds),
            "idempotency_key": Provide(idempotency_key),
            "public_url": Provide(provide_public_url),
            "rate_limiter": Provide(provide_rate_limiter),
            "sender": Provide(sender),
            "webhook_refusals": Provide(provide_webhook_refusals),
            "webhook_request": Provide(webhook_request),
        },
    )
    framework = Application(
        [api, metrics(backend, traffic, checkup)],
        state=state_with(public_url),
        guards=[must_know_query],
        request_class=JsonRequest,
        response_class=Answer,
        request_max_body_size=None,
        exception_handlers={Exception: to_response},
        openapi_config=openapi,
        logging_config=None,
    )
    of_jetty = jetty(backend, public_url, checkup, feeds, with_routines=jetty_routines)
    framework_apps = dispatch_by_api({"paperclip": framework, "jetty": of_jetty})
    of_board = board(backend, framework_apps, feeds, public_url, pages.PAGES)
    all_three = beside_apis(framework_apps, of_board)
    refusals: dict[ApiName, RespondError] = {
        "paperclip": paperclip_error,
        "jetty": jetty_error,
        "board": board_error(urlsplit(public_url).path.rstrip("/")),
    }
    changes = traffic.watch(with_preconditions(all_three, backend.executor.store.head, refusals))
    guarded_app = guard(
        add_conditional_reads(changes), backend, LargeBodies([framework, of_jetty]), refusals, webhook_refusals
    )
    of_sessions = with_session(by_tenant(guarded_app, backend), SessionCookie(public_url))
    return record_refusals(of_sessions, backend, traffic.registry, refusals)
