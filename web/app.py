"""The HTTP application: routes, dependencies, limits, errors."""

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.types import ASGIApp

from web.agents import Agents
from web.backend import Backend
from web.companies import Companies
from web.docs import docs_page, openapi
from web.errors import to_response
from web.guard import MAX_BODY_BYTES, guard
from web.health import HealthController
from web.issues import Issues
from web.keys import Keys
from web.projects import Goals, Projects
from web.requests import JsonRequest, caller, is_eventual
from web.routines import Routines


def create_app(backend: Backend) -> ASGIApp:
    """The ASGI application over a backend."""

    async def provide_backend() -> Backend:
        return backend

    async def provide_eventual(request: JsonRequest) -> bool:
        return is_eventual(request)

    api = Router(
        "/api",
        route_handlers=[HealthController, docs_page, Companies, Agents, Keys, Projects, Goals, Routines, Issues],
        dependencies={
            "backend": Provide(provide_backend),
            "caller": Provide(caller),
            "eventual": Provide(provide_eventual),
        },
    )
    return guard(
        Litestar(
            [api],
            request_class=JsonRequest,
            request_max_body_size=MAX_BODY_BYTES,
            exception_handlers={Exception: to_response},
            openapi_config=openapi,
            logging_config=None,
        )
    )
