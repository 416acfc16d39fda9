"""
Completes the framework's description of the routes: schemas of bodies and answers, the statuses with which requests
are refused, headers, the meaning of parameters, examples.

It serves both APIs. They differ in how they refuse requests, which a `Dialect` says.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from http import HTTPStatus
from types import NoneType
from typing import Any, get_args, get_origin

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from web.http.backend import PAST_POSITION, POSITION_HEADER
from web.http.errors import Problem
from web.http.large_bodies import shape_of
from web.http.media_types import FORMS, JSON, MERGE_PATCH
from web.http.paging import NEXT
from web.http.preconditions import is_conditional
from web.http.validation import Invalid, parse
from web.openapi import schemas
from web.openapi.examples import Examples
from web.openapi.parameters import CONDITIONAL, PRECONDITION, TEXT, parameter

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
        **{header.name: {"schema": TEXT, "description": header.description} for header in (*NEXT, *PAST_POSITION)},
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
            "description": "Seconds to wait before retrying; absent when a retry could repeat the effect, or is in vain.",
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


class Operation(msgspec.Struct, dict=True):
    """An operation: the framework's description of it, and its handler."""

    path: str
    method: str
    document: Json
    handler: HTTPRouteHandler

    @property
    def id(self) -> str:
        """The id of the operation, which is unique in its API."""
        return str(self.document["operationId"])

    @property
    def reads(self) -> bool:
        """Whether it is a GET, and so changes nothing."""
        return self.method == "get"

    @property
    def is_protected(self) -> bool:
        """Whether it needs a credential."""
        return "caller" in self.handler.parsed_fn_signature.parameters

    @property
    def group(self) -> tuple[str, ...]:
        """What the group of routes to which it belongs says of itself; empty for a route that belongs to none."""
        call = getattr(self.handler.fn, "func", self.handler.fn)  # the framework wraps what runs in a thread
        docstring = inspect.getdoc(type(call.__self__)) if inspect.ismethod(call) else None
        return (" ".join(docstring.split()),) if docstring else ()

    @property
    def position(self) -> Json:
        """The header with the log position of its change, by name; empty for an operation without it."""
        if self.reads or get_origin(self.handler.parsed_fn_signature.return_type.annotation) is not Response:
            return {}
        return {POSITION_HEADER: {**POSITION, "required": not self.handler.opt.get("waits", False)}}

    @property
    def etag(self) -> Json:
        """The header with the tag of its answer, by name; one that is not in JSON has none."""
        return {"ETag": {**ETAG["ETag"], "required": "forms" not in self.handler.opt}} if self.reads else {}

    @cached_property
    def body(self) -> Any:
        """The type of its body, or None if it takes none."""
        return shape_of(self.handler)

    @property
    def media_types(self) -> tuple[str, ...]:
        """The media types of its body."""
        usual = (JSON, MERGE_PATCH) if self.method == "patch" else (JSON,)
        return tuple(self.handler.opt.get("media_types", usual))

    @cached_property
    def answers(self) -> dict[int, Any]:
        """The types of its answers by status, without the refusals that operations share; None means no body."""
        return_type = self.handler.parsed_fn_signature.return_type
        field = return_type.inner_types[0] if get_origin(return_type.annotation) is Response else return_type
        responses = {status: spec.data_container for status, spec in (self.handler.responses or {}).items()}
        answers = {self.handler.status_code: None if field.annotation is NoneType else field.annotation}
        answers |= {status: kind for status, kind in responses.items() if kind is not Problem}
        if HTTPStatus.NO_CONTENT in responses:  # which replaces a null body
            answers[self.handler.status_code] = next(
                kind for kind in get_args(field.annotation) if kind is not NoneType
            )
        return answers


def usual_refusals(operation: Operation) -> set[int]:
    """Return the statuses with which an operation refuses a request, or says that nothing has changed (304)."""
    statuses = {400, 431, 503, *(operation.handler.responses or {})}
    statuses |= {401} if operation.is_protected else set()
    statuses |= {404} if "{" in operation.path else set()
    statuses |= {412} if is_conditional(operation.method, operation.path) else set()
    return statuses | ({304} if operation.reads else {409, 413, 415, 422, 429})  # 409: the company is archived


class Dialect(msgspec.Struct, frozen=True):
    """How an API refuses requests, and its examples."""

    error: type[msgspec.Struct]
    texts: dict[int, str]  # the description of a refusal, by its status
    refusals: Callable[[Operation], set[int]]
    examples: Callable[[], Examples]


def describe_api(document: Json, handlers: Iterable[HTTPRouteHandler], dialect: Dialect) -> Json:
    """Return the complete description of an API, from the framework's description and the handlers of its routes."""
    operations = operations_of(document, handlers)
    examples = dialect.examples()
    bodies, body_components = schemas.of_bodies(
        [*(operation.body for operation in operations if operation.body is not None), dialect.error]
    )
    answers, answer_components = schemas.of_answers(
        kind for operation in operations for kind in operation.answers.values() if kind is not None
    )
    paths: Json = {operation.path: {} for operation in operations}
    for operation in operations:
        refusals = dialect.refusals(operation) - operation.answers.keys()
        paths[operation.path][operation.method] = {
            "operationId": operation.id,
            "tags": operation.document["tags"],
            "summary": _summary_of(operation.id),
            "description": operation.document.get("description", ""),
            "security": document["security"] if operation.is_protected else [],
            "parameters": _describe_parameters(operation, examples),
            **({} if operation.body is None else {"requestBody": _describe_body(operation, bodies, examples)}),
            "responses": {
                **{str(status): _describe_answer(operation, status, answers, examples) for status in operation.answers},
                **{str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(refusals)},
            },
        }
    components = {
        **document["components"],
        "schemas": schemas.merge_components(body_components, answer_components),
        "responses": _describe_refusals(dialect, examples),
    }
    return {**document, "tags": _describe_tags(operations), "paths": paths, "components": components}


def operations_of(document: Json, handlers: Iterable[HTTPRouteHandler]) -> list[Operation]:
    """Return the operations of a description, ordered by path and method."""
    by_id = {handler.operation_id: handler for handler in handlers}
    return [
        Operation(path, method, operation, by_id[operation["operationId"]])
        for path, methods in sorted(document["paths"].items())
        for method, operation in sorted(methods.items(), key=lambda item: METHODS.index(item[0]))
    ]


def _describe_tags(operations: Iterable[Operation]) -> list[Json]:
    """Return the tags of operations, each described by what the groups of routes that have it say of themselves."""
    groups: dict[str, dict[str, None]] = {}
    for operation in operations:
        for tag in operation.document["tags"]:
            groups.setdefault(tag, {}).update(dict.fromkeys(operation.group))
    return [{"name": tag, "description": " ".join(groups[tag])} for tag in sorted(groups)]


def _summary_of(operation_id: str) -> str:
    """Return the summary of an operation: `List issues` for `listIssues`."""
    return re.sub("[A-Z]", lambda match: f" {match[0].lower()}", operation_id).capitalize()


def _describe_parameters(operation: Operation, examples: Examples) -> list[Json]:
    types = {name: field.annotation for name, field in operation.handler.parsed_fn_signature.parameters.items()}
    return [
        *(
            parameter(operation.id, declaration, types.get(declaration["name"]), examples.paths)
            for declaration in operation.document.get("parameters", [])
        ),
        *([CONDITIONAL] if operation.reads else []),
        *([PRECONDITION] if is_conditional(operation.method, operation.path) else []),
        *operation.handler.opt.get("headers", ()),
    ]


def _describe_body(operation: Operation, bodies: dict[Any, Json], examples: Examples) -> Json:
    named_examples = {name: {"value": body} for name, body in examples.requests.get(operation.id, {}).items()}
    json: Json = {"schema": bodies[operation.body], "examples": named_examples}
    content = {
        kind: {"schema": _form_schema(operation.body)} if kind in FORMS else json for kind in operation.media_types
    }
    return {"required": is_needed(operation.body), "content": content}


def _form_schema(body: Any) -> Json:
    """Return the schema of a form with the fields of a body, or of no form for a body that is no object of ours."""
    is_struct = isinstance(body, type) and issubclass(body, msgspec.Struct)
    names = [field.encode_name for field in msgspec.structs.fields(body)] if is_struct else []
    return {
        "type": "object",
        "description": "The same fields as text; those that are objects hold JSON.",
        "properties": dict.fromkeys(names, TEXT),
        "additionalProperties": False,
    }


def is_needed(body: Any) -> bool:
    """Return whether an empty body, which is read as `{}`, is refused."""
    try:
        parse(body, {})
    except Invalid:
        return True
    return False


def _describe_answer(operation: Operation, status: int, answers: dict[Any, Json], examples: Examples) -> Json:
    response, kind = operation.document["responses"][str(status)], operation.answers[status]
    headers = {name: {"schema": TEXT, **header} for name, header in response.get("headers", {}).items()}
    own = (operation.handler.responses or {}).get(status)
    answer: Json = {"description": own.description if own else DONE[status], "headers": headers}
    if kind is None:
        return answer
    if status < HTTPStatus.BAD_REQUEST:
        headers |= operation.etag | operation.position
    forms = operation.handler.opt.get("forms", {}) if status == operation.handler.status_code else {}
    other_media_types = {media_type: {"schema": schema} for media_type, schema in forms.items()}
    if not operation.handler.opt.get("has_json", True):
        return {**answer, "content": other_media_types}
    example = examples.answer(operation.id if status == operation.handler.status_code else f"{operation.id}.{status}")
    return {**answer, "content": {JSON: {"schema": answers[kind], "example": example}, **other_media_types}}


def _describe_refusals(dialect: Dialect, examples: Examples) -> Json:
    """Return the refusals that operations share, by status."""
    schema = {"$ref": schemas.REFERENCE.format(name=dialect.error.__name__)}
    answers: Json = {str(NOT_MODIFIED): {"description": UNCHANGED, "headers": HEADERS[NOT_MODIFIED]}}
    for status, text in dialect.texts.items():
        answers[str(status)] = {
            "description": text,
            "headers": HEADERS.get(status, {}),
            "content": {JSON: {"schema": schema, "example": examples.problems[status]}},
        }
    return answers
