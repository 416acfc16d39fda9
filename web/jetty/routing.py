"""The framework's route decorators with the defaults of Jetty's routes: a thread each, and the order of refusals."""

from collections.abc import Callable
from typing import Any

from litestar.enums import HttpMethod

from web.http.routing import Route
from web.jetty.requests import known_first


def _route_decorator(method: HttpMethod, **usual: Any) -> Callable[..., Route]:
    def route(path: str | None = None, **options: Any) -> Route:
        return Route(path, http_method=method, **{"sync_to_thread": True, **usual, **options})

    return route


get, delete = _route_decorator(HttpMethod.GET), _route_decorator(HttpMethod.DELETE)
post, put, patch = (
    _route_decorator(method, before_request=known_first)
    for method in (HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH)
)
