"""
The framework's route decorators with our defaults: refusals are described, and each request has a thread.

A coroutine function has none: it must wait for nothing but awaitables, and its decisions take their turns in the event
loop (Backend.on_loop).
"""

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

from litestar import Litestar, Router
from litestar.connection import ASGIConnection
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ControllerRouterHandler

from web.http.arguments import work_out
from web.http.errors import RESPONSES


class Route(HTTPRouteHandler):
    """
    A route that works out once what the framework works out for each request.

    That is how it comes by its arguments (web/http/arguments.py) and who answers its errors. Its guards get the route
    itself, where the framework would make a copy of it for each.
    """

    _error_answers: Any = None

    def __deepcopy__(self, memo: object) -> "Route":
        """Return a copy with the same parts, as the framework makes one for each application: nobody changes them."""
        return copy(self)

    def create_kwargs_model(self, path_parameters: Any) -> Any:
        """Return the framework's model of the arguments of the handler."""
        return work_out(super().create_kwargs_model(path_parameters), self.signature_model)

    def resolve_exception_handlers(self) -> Any:
        """Return what answers each kind of error. It is asked for by requests, when the route has its application."""
        if self._error_answers is None:
            self._error_answers = super().resolve_exception_handlers()
        return self._error_answers

    async def authorize_connection(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        """Ask the guards, which raise an error for a request that they refuse."""
        for guard in self.resolve_guards():
            await guard(connection, self)  # type: ignore[misc]  # the framework has made coroutine functions of them all


class WithoutOptions(Router):
    """
    Routes without those for OPTIONS, which the framework adds to every path.

    The guard refuses OPTIONS, and to prepare them takes longer than all the rest of an application.
    """

    def register(self, value: ControllerRouterHandler) -> list[BaseRoute]:
        """Add what is given, and return its routes."""
        routes = super().register(value)
        for route in routes:
            if isinstance(route, HTTPRoute):
                route.route_handlers = [
                    one for one in route.route_handlers if HttpMethod.OPTIONS not in one.http_methods
                ]
        return routes


class Application(Litestar, WithoutOptions):  # type: ignore[misc]  # the framework's own returns no routes, either
    """An application, whose `register` asks that of WithoutOptions for its routes and prepares them."""


class RoutesOfApi(WithoutOptions):
    """The routes of an API, of which one application is made: it takes them as they are, where the framework would copy all."""

    def __deepcopy__(self, memo: object) -> "RoutesOfApi":
        return self


def _route_decorator(method: HttpMethod) -> Callable[..., Callable[[Any], HTTPRouteHandler]]:
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
            return Route(path, http_method=method, sync_to_thread=in_thread, responses=responses, **options)(handler)

        return decorate

    return route


get, post, patch, delete = map(_route_decorator, (HttpMethod.GET, HttpMethod.POST, HttpMethod.PATCH, HttpMethod.DELETE))
