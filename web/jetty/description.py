"""What the framework's description of Jetty's routes lacks: who is turned away by which status, and bodies it cannot see."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from litestar.handlers import HTTPRouteHandler

from web import schemas
from web.description import is_needed
from web.errors import RESPONSES
from web.jetty.errors import Detail
from web.jetty.requests import FORMS

Json = dict[str, Any]

JSON = "application/json"
FORM: Json = {"type": "object", "description": "The same, each field as text; objects are JSON"}
UNPROCESSABLE = int(HTTPStatus.UNPROCESSABLE_ENTITY)
TEXTS = {status: spec.description for status, spec in RESPONSES.items()} | {
    400: "What is asked for is wrong, or taken: `detail` says what",
    422: "The body is wrong: `detail` lists where and why",
}


def described(document: Json, handlers: Sequence[HTTPRouteHandler]) -> Json:
    """The description of the Jetty API: what the framework says of its routes, and how they refuse."""
    by_id = {handler.operation_id: handler for handler in handlers}
    asked, components = schemas.of_bodies([*filter(None, map(_body, handlers)), Detail])
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            handler = by_id[operation["operationId"]]
            good = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
            refusals = sorted(_refusals(path, method, handler, operation))
            operation["responses"] = good | {str(status): _reference(status) for status in refusals}
            operation["security"] = document["security"] if _is_protected(handler) else []
            if (body := _body(handler)) is not None:
                forms = FORMS if "body" in handler.opt else ()
                content = {JSON: {"schema": asked[body]}} | {kind: {"schema": FORM} for kind in forms}
                operation["requestBody"] = {"required": is_needed(body), "content": content}
    known = document["components"]
    return {
        **document,
        "components": {**known, "schemas": {**known["schemas"], **components}, "responses": _answers()},
    }


def _body(handler: HTTPRouteHandler) -> Any:
    """The shape of its body, which the framework knows, or the route says by `opt`; None if it takes none."""
    field = handler.parsed_data_field
    return handler.opt.get("body") if field is None else field.annotation


def _is_protected(handler: HTTPRouteHandler) -> bool:
    return "caller" in handler.parsed_fn_signature.parameters


def _refusals(path: str, method: str, handler: HTTPRouteHandler, operation: Json) -> set[int]:
    options, reads = handler.opt, method == "get"
    asks = not reads or any(parameter["in"] == "query" for parameter in operation.get("parameters", []))
    found = {400, 431, 503}
    found |= {401} if _is_protected(handler) else set()
    found |= {404} if "{" in path else set()
    found |= {options["refuses"]} if "refuses" in options else set()
    found |= {options.get("invalid", UNPROCESSABLE)} if asks else set()
    return found | (set() if reads else {403, 413, 415, options.get("taken", 409)})


def _reference(status: int) -> Json:
    return {"$ref": f"#/components/responses/{status}"}


def _answers() -> Json:
    """The refusals that operations share, by status."""
    content = {JSON: {"schema": {"$ref": "#/components/schemas/Detail"}}}
    return {str(status): {"description": text, "content": content} for status, text in TEXTS.items()}
