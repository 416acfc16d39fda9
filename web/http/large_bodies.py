"""The operations that take large bodies: those with long texts, or objects of any shape such as payloads and results."""

import re
from collections.abc import Iterable
from typing import Any, get_args

import msgspec
from litestar import Litestar
from litestar.routes import HTTPRoute

LONG_TEXT = 1_000_000


class LargeBodies:
    """The operations of some applications that take large bodies, by method and path."""

    def __init__(self, apps: Iterable[Litestar]) -> None:
        paths: dict[str, list[str]] = {}
        for route in (route for app in apps for route in app.routes if isinstance(route, HTTPRoute)):
            for method, (handler, _) in route.route_handler_map.items():
                if takes_anything(shape_of(handler)):
                    paths.setdefault(str(method), []).append(_path_pattern(route))
        self._paths = {method: re.compile("|".join(patterns)) for method, patterns in paths.items()}

    def are_taken(self, method: str, path: str) -> bool:
        """Return whether the operation at this path takes large bodies; False if there is none."""
        return method in self._paths and self._paths[method].fullmatch(path) is not None


def shape_of(handler: Any) -> Any:
    """Return the type of the body of a route. A route that also reads forms names it in its options, as `body`."""
    field = handler.parsed_data_field
    return handler.opt.get("body", None if field is None else field.annotation)


def takes_anything(shape: Any) -> bool:
    """Return whether a type accepts JSON of any shape, or a text of LONG_TEXT characters, in some place."""
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return any(takes_anything(field.type) for field in msgspec.structs.fields(shape))
    if isinstance(shape, msgspec.Meta):
        return (shape.max_length or 0) >= LONG_TEXT
    return shape is object or any(map(takes_anything, get_args(shape)))


def _path_pattern(route: HTTPRoute) -> str:
    """Return a pattern for the path of a route. It accepts repeated slashes, which routing treats as one."""
    parts = (re.escape(part) if isinstance(part, str) else "[^/]+" for part in route.path_components)
    return "".join(f"/+{part}" for part in parts) + "/*"
