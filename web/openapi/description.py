"""
What the framework's description of the routes lacks: the shapes of bodies and answers, who is turned away by which
status, headers, what parameters mean, examples.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from types import NoneType
from typing import Any, get_origin

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from web.http.backend import POSITION_HEADER
from web.http.errors import RESPONSES, Problem
from web.http.paging import NEXT
from web.http.validation import Invalid, parse
from web.openapi import schemas
from web.paperclip import examples
from web.paperclip.parameters import CONDITIONAL, CONSISTENCY, OF_WEBHOOKS, PARAMETERS, RUN_ID

Json = dict[str, Any]

JSON, MERGE_PATCH, ANYTHING = "application/json", "application/merge-patch+json", "*/*"
METHODS = ("get", "post", "put", "patch", "delete")
PROBLEM = "#/components/schemas/Problem"
TEXT: Json = {"type": "string"}
DONE = {200: "As it is now", 201: "What was made", 202: "The run, recorded", 204: "Done"}
HEADERS: dict[int, Json] = {
    304: {
        "ETag": {"schema": TEXT, "required": True},
        **{header.name: {"schema": TEXT, "description": header.description} for header in NEXT},
    },
    401: {"WWW-Authenticate": {"schema": TEXT, "required": True}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds", "required": True}},
    503: {
        "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds; without it, do not try again unseen"}
    },
}
ETAG: Json = {"ETag": {"schema": TEXT, "description": "Of this very answer", "required": True}}
POSITION: Json = {
    POSITION_HEADER: {
        "schema": {"type": "integer"},
        "description": "Where in the log the change is recorded",
        "required": True,
    }
}


class Operation(msgspec.Struct):
    """An operation: what the framework says of it, and its handler."""

    path: str
    method: str
    document: Json
    handler: HTTPRouteHandler

    @property
    def id(self) -> str:
        return str(self.document["operationId"])

    @property
    def reads(self) -> bool:
        return self.method == "get"

    @property
    def is_protected(self) -> bool:
        return self.needs("caller")

    def needs(self, dependency: str) -> bool:
        return dependency in self.handler.parsed_fn_signature.parameters

    @property
    def tells_position(self) -> bool:
        """Whether its answer says where in the log its change is."""
        return not self.reads and get_origin(self.handler.parsed_fn_signature.return_type.annotation) is Response

    @property
    def body(self) -> Any:
        """The shape of its body; None if it takes none, or one of any shape."""
        field = self.handler.parsed_data_field
        return None if field is None else field.annotation

    @property
    def answers(self) -> dict[int, Any]:
        """The shapes of its answers by status, the usual refusals left out; None is an answer without a body."""
        returned = self.handler.parsed_fn_signature.return_type
        found = returned.inner_types[0] if get_origin(returned.annotation) is Response else returned
        told = {status: one.data_container for status, one in (self.handler.responses or {}).items()}
        usual = {self.handler.status_code: None if found.annotation is NoneType else found.annotation}
        return usual | {status: shape for status, shape in told.items() if shape is not Problem}

    @property
    def refusals(self) -> set[int]:
        """The statuses by which it turns a request away, or says that there is nothing new."""
        found = {400, 431, 503, *(self.handler.responses or {})}
        found |= {401} if self.is_protected else set()
        found |= {404} if "{" in self.path else set()
        found |= {304} if self.reads else {413, 415, 422, 429}  # of any write: a quota, if nothing else
        return found - self.answers.keys()


def described(document: Json, handlers: Iterable[HTTPRouteHandler]) -> Json:
    """The description of the API: what the framework says of its routes, and what their handlers say besides."""
    operations = operations_of(document, handlers)
    asked, bodies = schemas.of_bodies([*(one.body for one in operations if one.body is not None), Problem])
    given, shapes = schemas.of_answers(
        shape for one in operations for shape in one.answers.values() if shape is not None
    )
    paths: Json = {one.path: {} for one in operations}
    for one in operations:
        paths[one.path][one.method] = {
            "operationId": one.id,
            "tags": one.document["tags"],
            "summary": _summary(one.id),
            "description": one.document.get("description", ""),
            "security": document["security"] if one.is_protected else [],
            "parameters": _parameters(one),
            **_body(one, asked),
            "responses": {**_answers(one, given), **_refusals(one)},
        }
    components = {**document["components"], "schemas": bodies | shapes, "responses": _problems()}
    return {**document, "paths": paths, "components": components}


def operations_of(document: Json, handlers: Iterable[HTTPRouteHandler]) -> list[Operation]:
    """By path and method."""
    by_id = {handler.operation_id: handler for handler in handlers}
    return [
        Operation(path, method, found, by_id[found["operationId"]])
        for path, methods in sorted(document["paths"].items())
        for method, found in sorted(methods.items(), key=lambda item: METHODS.index(item[0]))
    ]


def _summary(operation_id: str) -> str:
    """`listIssues`: List issues."""
    return re.sub("[A-Z]", lambda found: f" {found[0].lower()}", operation_id).capitalize()


def _parameters(one: Operation) -> list[Json]:
    headers = [
        *([CONDITIONAL] if one.reads else []),
        *([CONSISTENCY] if one.needs("eventual") else []),
        *([RUN_ID] if one.is_protected and not one.reads else []),
        *(OF_WEBHOOKS if one.needs("delivery") else []),
    ]
    return [*(_parameter(one.id, found) for found in one.document.get("parameters", [])), *headers]


def _parameter(operation_id: str, found: Json) -> Json:
    name = found["name"]
    told = PARAMETERS.get(f"{operation_id}.{name}") or PARAMETERS.get(name, {"schema": TEXT})
    return {"name": name, "in": found["in"], "required": found["required"], **told}


def _body(one: Operation, asked: dict[Any, Json]) -> Json:
    if one.needs("delivery"):
        return {"requestBody": _delivery(one)}
    if one.body is None:
        return {}
    content = {"schema": asked[one.body], "examples": _named(examples.REQUESTS.get(one.id, {}))}
    kinds = (JSON, MERGE_PATCH) if one.method == "patch" else (JSON,)
    return {"requestBody": {"required": is_needed(one.body), "content": dict.fromkeys(kinds, content)}}


def _delivery(one: Operation) -> Json:
    """Whatever the sender of a webhook sends."""
    return {
        "description": "Any bytes. JSON becomes the payload of the run; what is of any other type becomes none",
        "required": False,
        "content": {
            JSON: {"schema": schemas.ANY_JSON, "examples": _named(examples.REQUESTS.get(one.id, {}))},
            ANYTHING: {"schema": schemas.ANY_JSON},
        },
    }


def is_needed(body: Any) -> bool:
    """Whether an empty body is refused: it is read as `{}`."""
    try:
        parse(body, {})
    except Invalid:
        return True
    return False


def _answers(one: Operation, given: dict[Any, Json]) -> Json:
    return {str(status): _answer(one, status, shape, given) for status, shape in one.answers.items()}


def _answer(one: Operation, status: int, shape: Any, given: dict[Any, Json]) -> Json:
    found = one.document["responses"][str(status)]
    headers = {name: {"schema": TEXT, **header} for name, header in found.get("headers", {}).items()}
    if status < HTTPStatus.BAD_REQUEST:
        headers |= (ETAG if one.reads else {}) | (POSITION if one.tells_position else {})
    answer = {"description": DONE.get(status, found["description"]), "headers": headers}
    if shape is None:
        return answer
    example = examples.ANSWERS.get(one.id if status < HTTPStatus.BAD_REQUEST else f"{one.id}.{status}")
    return {**answer, "content": {JSON: {"schema": given[shape], "example": msgspec.to_builtins(example)}}}


def _refusals(one: Operation) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(one.refusals)}


def _problems() -> Json:
    """The answers that operations share, by name."""
    found: Json = {"304": {"description": "What you have is what there is", "headers": HEADERS[304]}}
    for status, spec in RESPONSES.items():
        example = msgspec.to_builtins(examples.PROBLEMS[status])
        found[str(status)] = {
            "description": spec.description,
            "headers": HEADERS.get(status, {}),
            "content": {JSON: {"schema": {"$ref": PROBLEM}, "example": example}},
        }
    return found


def _named(bodies: dict[str, Json]) -> Json:
    return {name: {"value": body} for name, body in bodies.items()}
