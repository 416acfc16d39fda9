"""The framework's route decorators with the defaults of Jetty's routes: a thread each, and the order of refusals."""

from collections.abc import Callable
from typing import Any

import litestar
from litestar.handlers import HTTPRouteHandler

from web.jetty.requests import known_first


def _route(method: type[HTTPRouteHandler], **usual: Any) -> Callable[..., HTTPRouteHandler]:
    def route(path: str | None = None, **options: Any) -> HTTPRouteHandler:
        return method(path, **{"sync_to_thread": True, **usual, **options})

    return route


get, delete = _route(litestar.get), _route(litestar.delete)
post, put, patch = (
    _route(method, before_request=known_first) for method in (litestar.post, litestar.put, litestar.patch)
)
