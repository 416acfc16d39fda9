"""The framework's route decorators, with what all our routes share: a thread each, and a word on what they refuse."""

from collections.abc import Callable
from typing import Any

import litestar
from litestar.handlers import HTTPRouteHandler

from web.http.errors import RESPONSES


def _route(method: type[HTTPRouteHandler]) -> Callable[..., HTTPRouteHandler]:
    """
    A decorator for this method.

    `refuses` are the statuses by which rules of ours turn a request away; `web.description` adds those that follow
    from the method, the path and the credential of an operation.
    """

    def route(path: str | None = None, *, refuses: tuple[int, ...] = (), **options: Any) -> HTTPRouteHandler:
        responses = {status: RESPONSES[status] for status in refuses}
        return method(path, sync_to_thread=True, responses=responses, **options)

    return route


get, post, patch, delete = map(_route, (litestar.get, litestar.post, litestar.patch, litestar.delete))
