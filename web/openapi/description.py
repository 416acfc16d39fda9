"""
What the framework's description of the routes lacks: the schemas of bodies and answers, the statuses by which requests
are turned away, headers, what parameters mean, examples.

Both APIs are described by it; they differ in how they refuse, which a `Dialect` says.
"""

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from http import HTTPStatus
from types import NoneType
from typing import Any, get_args, get_origin

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from web.http.backend import POSITION_HEADER
from web.http.errors import Problem
from web.http.large_bodies import shape_of
from web.http.media_types import ANYTHING, FORMS, JSON, MERGE_PATCH
from web.http.paging import NEXT
from web.http.validation import Invalid, parse
from web.openapi import schemas
from web.openapi.examples import Examples
from web.openapi.parameters import CONDITIONAL, TEXT, parameter

Json = dict[str, Any]

METHODS = ("get", "post", "put", "patch", "delete")
DONE = {
    200: "The resource.",
    201: "The resource that was created.",
    202: "The change is recorded; this is the resource.",
    204: "The operation is done; the answer has no body.",
}
HEADERS: dict[int, Json] = {
    304: {
        "ETag": {"schema": TEXT, "description": "The tag of your copy.", "required": True},
        **{one.name: {"schema": TEXT, "description": one.description} for one in NEXT},
    },
    401: {
        "WWW-Authenticate": {"schema": TEXT, "description": "How to authenticate: `Bearer`.", "required": True},
    },
    429: {
        "Retry-After": {
            "schema": {"type": "integer"},
            "description": "Seconds to wait before retrying.",
            "required": True,
        }
    },
    503: {
        "Retry-After": {
            "schema": {"type": "integer"},
            "description": "Seconds to wait before retrying; absent when a retry could repeat the effect.",
        }
    },
}
ETAG: Json = {"ETag": {"schema": TEXT, "description": "The tag of this very answer.", "required": True}}
POSITION: Json = {
    "schema": {"type": "integer"},
    "description": "The position in the log at which the change is recorded.",
}
NOT_MODIFIED = int(HTTPStatus.NOT_MODIFIED)
UNCHANGED = "Not modified: your copy is current."
FORM: Json = {
    "type": "object",
    "description": "The same fields as text; those that are objects hold JSON.",
    "additionalProperties": TEXT,
}
RAW: dict[str, Json] = {  # the schemas of bodies that are no JSON, by media type
    ANYTHING: {"type": "string", "format": "binary"},
    **dict.fromkeys(FORMS, FORM),
}


class Operation(msgspec.Struct, dict=True):
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
        return "caller" in self.handler.parsed_fn_signature.parameters

    @property
    def position(self) -> Json:
        """The header by which its answer says where in the log its change is, if it does."""
        if self.reads or get_origin(self.handler.parsed_fn_signature.return_type.annotation) is not Response:
            return {}
        return {POSITION_HEADER: {**POSITION, "required": not self.handler.opt.get("waits", False)}}

    @cached_property
    def body(self) -> Any:
        """The type of its body; None if it takes none."""
        return shape_of(self.handler)

    @property
    def media_types(self) -> tuple[str, ...]:
        """Those of its body."""
        usual = (JSON, MERGE_PATCH) if self.method == "patch" else (JSON,)
        return tuple(self.handler.opt.get("media_types", usual))

    @cached_property
    def answers(self) -> dict[int, Any]:
        """The types of its answers by status, without the refusals that operations share; None has no body."""
        returned = self.handler.parsed_fn_signature.return_type
        field = returned.inner_types[0] if get_origin(returned.annotation) is Response else returned
        specified = {status: spec.data_container for status, spec in (self.handler.responses or {}).items()}
        answers = {self.handler.status_code: None if field.annotation is NoneType else field.annotation}
        answers |= {status: kind for status, kind in specified.items() if kind is not Problem}
        if HTTPStatus.NO_CONTENT in specified:  # which takes the place of null
            answers[self.handler.status_code] = next(
                kind for kind in get_args(field.annotation) if kind is not NoneType
            )
        return answers


def usual_refusals(one: Operation) -> set[int]:
    """The statuses by which an operation turns a request away, or says that there is nothing new."""
    statuses = {400, 431, 503, *(one.handler.responses or {})}
    statuses |= {401} if one.is_protected else set()
    statuses |= {404} if "{" in one.path else set()
    return statuses | ({304} if one.reads else {413, 415, 422, 429})  # of any write: a quota, if nothing else


class Dialect(msgspec.Struct, frozen=True):
    """How an API refuses, and what examples it has."""

    error: type[msgspec.Struct]
    texts: dict[int, str]  # what a refusal means, by its status
    refusals: Callable[[Operation], set[int]]
    examples: Callable[[], Examples]


def described(document: Json, handlers: Iterable[HTTPRouteHandler], dialect: Dialect) -> Json:
    """The description of an API: what the framework says of its routes, and what their handlers say besides."""
    operations = operations_of(document, handlers)
    examples = dialect.examples()
    bodies, body_components = schemas.of_bodies(
        [*(one.body for one in operations if one.body is not None), dialect.error]
    )
    answers, answer_components = schemas.of_answers(
        kind for one in operations for kind in one.answers.values() if kind is not None
    )
    paths: Json = {one.path: {} for one in operations}
    for one in operations:
        refusals = dialect.refusals(one) - one.answers.keys()
        paths[one.path][one.method] = {
            "operationId": one.id,
            "tags": one.document["tags"],
            "summary": _summary(one.id),
            "description": one.document.get("description", ""),
            "security": document["security"] if one.is_protected else [],
            "parameters": _parameters(one, examples),
            **({} if one.body is None else {"requestBody": _body(one, bodies, examples)}),
            "responses": {
                **{str(status): _answer(one, status, answers, examples) for status in one.answers},
                **{str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(refusals)},
            },
        }
    components = {
        **document["components"],
        "schemas": schemas.together(body_components, answer_components),
        "responses": _refusals(dialect, examples),
    }
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


def _parameters(one: Operation, examples: Examples) -> list[Json]:
    types = {name: field.annotation for name, field in one.handler.parsed_fn_signature.parameters.items()}
    return [
        *(
            parameter(one.id, found, types.get(found["name"]), examples.paths)
            for found in one.document.get("parameters", [])
        ),
        *([CONDITIONAL] if one.reads else []),
        *one.handler.opt.get("headers", ()),
    ]


def _body(one: Operation, bodies: dict[Any, Json], examples: Examples) -> Json:
    named = {name: {"value": body} for name, body in examples.requests.get(one.id, {}).items()}
    json: Json = {"schema": bodies[one.body], "examples": named}
    content = {kind: {"schema": RAW.get(kind, bodies[one.body])} for kind in one.media_types}
    content |= {kind: json for kind in one.media_types if kind not in RAW}
    return {"required": is_needed(one.body), "content": content}


def is_needed(body: Any) -> bool:
    """Whether an empty body is refused: it is read as `{}`."""
    try:
        parse(body, {})
    except Invalid:
        return True
    return False


def _answer(one: Operation, status: int, answers: dict[Any, Json], examples: Examples) -> Json:
    specified, kind = one.document["responses"][str(status)], one.answers[status]
    headers = {name: {"schema": TEXT, **header} for name, header in specified.get("headers", {}).items()}
    own = (one.handler.responses or {}).get(status)
    answer: Json = {"description": own.description if own else DONE[status], "headers": headers}
    if kind is None:
        return answer
    if status < HTTPStatus.BAD_REQUEST:
        headers |= (ETAG if one.reads else {}) | one.position
    example = examples.answers[one.id if status < HTTPStatus.BAD_REQUEST else f"{one.id}.{status}"]
    return {**answer, "content": {JSON: {"schema": answers[kind], "example": example}}}


def _refusals(dialect: Dialect, examples: Examples) -> Json:
    """The answers that operations share, by status."""
    schema = {"$ref": schemas.REFERENCE.format(name=dialect.error.__name__)}
    found: Json = {str(NOT_MODIFIED): {"description": UNCHANGED, "headers": HEADERS[NOT_MODIFIED]}}
    for status, text in dialect.texts.items():
        found[str(status)] = {
            "description": text,
            "headers": HEADERS.get(status, {}),
            "content": {JSON: {"schema": schema, "example": examples.problems[status]}},
        }
    return found
