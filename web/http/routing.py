"""The framework's route decorators with our defaults: each request has a thread, and refusals are described."""

from collections.abc import Callable, Mapping
from typing import Any

import litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from web.http.errors import RESPONSES


def _route(method: type[HTTPRouteHandler]) -> Callable[..., HTTPRouteHandler]:
    """
    Return a decorator for routes of this method.

    Its `refuses` are the statuses with which rules of ours refuse a request, its `answers` those with which it answers
    besides its usual one. `web.openapi.description` adds those that
    follow from the method, the path and the credential of an operation.
    """

    def route(
        path: str | None = None,
        *,
        refuses: tuple[int, ...] = (),
        answers: Mapping[int, ResponseSpec] | None = None,
        **options: Any,
    ) -> HTTPRouteHandler:
        responses = {**(answers or {}), **{status: RESPONSES[status] for status in refuses}}
        return method(path, sync_to_thread=True, responses=responses, **options)

    return route


get, post, patch, delete = map(_route, (litestar.get, litestar.post, litestar.patch, litestar.delete))
