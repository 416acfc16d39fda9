"""Both APIs as they are described and as they are built, for tests that compare the two."""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import httpx
import pytest
from litestar import Litestar
from litestar.types import ASGIApp

from tests.api import Api
from tests.description import Description
from tests.running import PUBLIC_URL
from web import app
from web.apis import dispatch_by_api
from web.http.backend import Backend
from web.openapi import examples
from web.openapi.description import Operation, operations_of
from web.openapi.docs import handlers_of
from web.openapi.examples import Examples

Name = Literal["paperclip", "jetty"]
PLACES: dict[Name, tuple[str, str]] = {
    "paperclip": ("/api/openapi.json", "web.paperclip"),
    "jetty": ("/openapi.json", "web.jetty"),
}


class DescribedApi(NamedTuple):
    """An API: what is served as its description, its examples, its handlers by operation id, the whole application."""

    document: dict[str, Any]
    description: Description
    examples: Examples
    handlers: dict[str, Any]
    asgi: ASGIApp


DescribedApis = Mapping[Name, DescribedApi]


def describe_apis(api: Api) -> DescribedApis:
    """Both, over the database of the running API."""
    built: dict[Name, Litestar] = {}
    select = dispatch_by_api

    def noted(apps: Mapping[Name, Litestar]) -> ASGIApp:
        built.update(apps)
        return select(apps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "dispatch_by_api", noted)
        asgi = app.create_app(Backend(api.system.executor, api.system.pool, patience_s=5), PUBLIC_URL)
    return {name: _describe_api(api, asgi, built[name], *PLACES[name]) for name in PLACES}


def _describe_api(api: Api, asgi: ASGIApp, built: Litestar, path: str, package: str) -> DescribedApi:
    document = httpx.get(f"{api.url}{path}", timeout=60).json()
    handlers = {handler.operation_id: handler for handler in handlers_of(built)}
    return DescribedApi(document, Description(document), examples.read(package), handlers, asgi)


def operations(described: DescribedApi) -> list[Operation]:
    return operations_of(described.document, described.handlers.values())


def path_of(one: Operation, values: Mapping[str, str]) -> str:
    """The path of an operation with these values in it."""
    return re.sub(r"{(\w+)}", lambda name: values[name[1]], one.path)
