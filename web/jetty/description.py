"""What the framework's description of Jetty's routes lacks: who is turned away by which status, and bodies it cannot see."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from litestar.handlers import HTTPRouteHandler

from web.http.errors import RESPONSES, Problem
from web.http.large_bodies import shape_of
from web.jetty.errors import Detail
from web.jetty.requests import FORMS
from web.openapi import schemas
from web.openapi.description import HEADERS, JSON, Json, Operation, is_needed, operations_of

FORM: Json = {"type": "object", "description": "The same, each field as text; objects are JSON"}
UNPROCESSABLE = int(HTTPStatus.UNPROCESSABLE_ENTITY)
NOT_MODIFIED = int(HTTPStatus.NOT_MODIFIED)
TEXTS = {status: spec.description for status, spec in RESPONSES.items()} | {
    400: "What is asked for is wrong, or taken: `detail` says what",
    422: "The body is wrong: `detail` lists where and why",
}


def described(document: Json, handlers: Iterable[HTTPRouteHandler]) -> Json:
    """The description of the Jetty API: what the framework says of its routes, and how they refuse."""
    operations = operations_of(document, handlers)
    asked, components = schemas.of_bodies([*filter(None, map(_body, operations)), Detail])
    for one in operations:
        good = {status: answer for status, answer in one.document["responses"].items() if status.startswith("2")}
        refusals = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(_refusals(one))}
        one.document["responses"] = good | refusals
        one.document["security"] = document["security"] if one.is_protected else []
        if (body := _body(one)) is not None:
            forms = FORMS if one.body is None else ()
            content = {JSON: {"schema": asked[body]}} | {kind: {"schema": FORM} for kind in forms}
            one.document["requestBody"] = {"required": is_needed(body), "content": content}
    known = document["components"]
    shapes = {name: shape for name, shape in known["schemas"].items() if name != Problem.__name__} | components
    return {**document, "components": {**known, "schemas": shapes, "responses": _answers()}}


def _body(one: Operation) -> Any:
    return shape_of(one.handler)


def _refusals(one: Operation) -> set[int]:
    options = one.handler.opt
    asks = not one.reads or any(parameter["in"] == "query" for parameter in one.document.get("parameters", []))
    found = one.refusals - {NOT_MODIFIED}
    found |= {options.get("invalid", UNPROCESSABLE)} if asks else set()
    return found if one.reads else found | {403, options.get("taken", 409)}


def _answers() -> Json:
    """The refusals that operations share, by status."""
    content = {JSON: {"schema": {"$ref": "#/components/schemas/Detail"}}}
    return {
        str(status): {"description": text, "headers": HEADERS.get(status, {}), "content": content}
        for status, text in TEXTS.items()
    }
