"""Which operations take large bodies: those that take objects of any shape, such as workflows, payloads and results."""

import re
from collections.abc import Iterable
from typing import Any, get_args

import msgspec
from litestar import Litestar
from litestar.routes import HTTPRoute


class LargeBodies:
    """The operations of applications that take large ones, by method and path."""

    def __init__(self, apps: Iterable[Litestar]) -> None:
        paths: dict[str, list[str]] = {}
        for route in (route for app in apps for route in app.routes if isinstance(route, HTTPRoute)):
            for method, (handler, _) in route.route_handler_map.items():
                if takes_anything(shape_of(handler)):
                    paths.setdefault(str(method), []).append(_pattern(route))
        self._paths = {method: re.compile("|".join(patterns)) for method, patterns in paths.items()}

    def are_taken(self, method: str, path: str) -> bool:
        return method in self._paths and self._paths[method].fullmatch(path) is not None


def shape_of(handler: Any) -> Any:
    """Of the body of a route; one that is read from forms, too, the framework does not see, so the route names it."""
    field = handler.parsed_data_field
    return handler.opt.get("body", None if field is None else field.annotation)


def takes_anything(shape: Any) -> bool:
    """Whether JSON of any shape may be somewhere in it."""
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return any(takes_anything(field.type) for field in msgspec.structs.fields(shape))
    return shape is object or any(map(takes_anything, get_args(shape)))


def _pattern(route: HTTPRoute) -> str:
    """Routing takes repeated slashes for one."""
    parts = (re.escape(part) if isinstance(part, str) else "[^/]+" for part in route.path_components)
    return "".join(f"/+{part}" for part in parts) + "/*"
