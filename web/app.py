"""The HTTP application: routes, dependencies, limits, errors."""

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.types import ASGIApp

from web.agents import Agents
from web.backend import Backend
from web.backfills import Backfills
from web.bulk import Bulk
from web.companies import Companies
from web.company_keys import CompanyKeys
from web.deliveries import message
from web.docs import docs_page, openapi
from web.endpoints import Endpoints
from web.errors import to_response
from web.etag import conditional
from web.faces import by_face
from web.guard import guard
from web.health import HealthController
from web.issues import Issues
from web.jetty.app import jetty
from web.keys import Keys
from web.large_bodies import LargeBodies
from web.members import Members
from web.metrics import metrics
from web.projects import Goals, Projects
from web.requests import JsonRequest, caller, is_eventual
from web.revisions import Revisions
from web.routines import Routines
from web.schedules import Schedules
from web.tenants import by_tenant
from web.traffic import Traffic
from web.triggers import Triggers
from web.turnstile import Turnstile, sender


def create_app(backend: Backend, public_url: str, webhook_rate: int = 0, *, jetty_routines: bool = True) -> ASGIApp:
    """
    The ASGI application over a backend, with both APIs.

    `public_url` is where webhook senders reach it; `webhook_rate` the calls a minute that a webhook takes of an
    address, 0: any number; without `jetty_routines` the Jetty API has no routines (ENABLE_ROUTINES).
    """
    turnstile, traffic = Turnstile(webhook_rate, backend.limits.max_webhook_counters), Traffic()

    async def provide_backend() -> Backend:
        return backend

    async def provide_public_url() -> str:
        return public_url

    async def provide_turnstile() -> Turnstile:
        return turnstile

    async def provide_eventual(request: JsonRequest) -> bool:
        return is_eventual(request)

    api = Router(
        "/api",
        route_handlers=[
            HealthController,
            docs_page,
            Companies,
            Members,
            Agents,
            Keys,
            CompanyKeys,
            Projects,
            Goals,
            Routines,
            Bulk,
            Triggers,
            Schedules,
            Backfills,
            Revisions,
            Issues,
            Endpoints,
        ],
        dependencies={
            "backend": Provide(provide_backend),
            "caller": Provide(caller),
            "eventual": Provide(provide_eventual),
            "public_url": Provide(provide_public_url),
            "turnstile": Provide(provide_turnstile),
            "sender": Provide(sender),
            "message": Provide(message),
        },
    )
    framework = Litestar(
        [api, metrics(backend, traffic)],
        request_class=JsonRequest,
        request_max_body_size=None,
        exception_handlers={Exception: to_response},
        openapi_config=openapi,
        logging_config=None,
    )
    of_jetty = jetty(backend, with_routines=jetty_routines)
    both = by_face({"paperclip": framework, "jetty": of_jetty})
    guarded = guard(conditional(traffic.watched(both)), backend, LargeBodies([framework, of_jetty]))
    return by_tenant(guarded, backend)
