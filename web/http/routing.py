"""
The framework's route decorators with our defaults: refusals are described, and each request has a thread.

A coroutine function has none: it must wait for nothing but awaitables, and its decisions take their turns in the event
loop (Backend.on_loop).
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from web.http.errors import RESPONSES


class _Route(HTTPRouteHandler):
    """
    A route that resolves its dependencies one after the other.

    None of ours waits for anything, and the task groups in which the framework resolves them cost more than all of them.
    """

    def create_kwargs_model(self, path_parameters: Any) -> Any:
        """Return the framework's model of the arguments of the handler."""
        model = super().create_kwargs_model(path_parameters)
        model.dependency_batches = [{one} for batch in model.dependency_batches for one in batch]
        return model


def _route(method: HttpMethod) -> Callable[..., Callable[[Any], HTTPRouteHandler]]:
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
    ) -> Callable[[Any], HTTPRouteHandler]:
        responses = {**(answers or {}), **{status: RESPONSES[status] for status in refuses}}

        def decorate(handler: Any) -> HTTPRouteHandler:
            in_thread = None if inspect.iscoroutinefunction(handler) else True
            return _Route(path, http_method=method, sync_to_thread=in_thread, responses=responses, **options)(handler)

        return decorate

    return route


get, post, patch, delete = map(_route, (HttpMethod.GET, HttpMethod.POST, HttpMethod.PATCH, HttpMethod.DELETE))
