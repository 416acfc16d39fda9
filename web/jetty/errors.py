"""Error answers of the Jetty API, which are `{"detail": ...}` (Jetty contract 1, 9)."""

from http import HTTPStatus
from typing import Any

import msgspec
from litestar import HttpMethod, Request, Response
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.response.base import ASGIResponse

from domain.errors import Conflict, InvalidField, NotFound, RuleViolation, Unauthenticated
from web.http.errors import describe_error, headers_of, note_refusal
from web.http.validation import Invalid

NOT_FOUND = "Not Found"  # one text for what does not exist and what the caller may not see
BODY, QUERY = "body", "query"  # the parts of a request in which FastAPI says that something is wrong
BAD_KEY = "Invalid API key or JWT token"
FIXED: dict[int, str] = {HTTPStatus.NOT_FOUND: NOT_FOUND, HTTPStatus.UNAUTHORIZED: BAD_KEY}  # for any reason


class Detail(msgspec.Struct):
    """The body of every error."""

    detail: Any


def to_response(request: Request[Any, Any, Any], error: Exception) -> Response[Detail]:
    """Return the response to an exception. The options of a route may replace the statuses 422 and 409 by others."""
    options = getattr(request.scope.get("route_handler"), "opt", {})
    part = QUERY if request.method == HttpMethod.GET else BODY
    status, detail = _describe_error(error, options, part)
    note_refusal(request.scope, error, status, detail if isinstance(detail, str) else "")
    return Response(Detail(detail), status_code=status, headers=headers_of(status, error) | _allow_header(error))


def error_response(status: int, message: str, headers: dict[str, str], _details: Any = None) -> ASGIResponse:
    """Return the answer to a request that is refused before the framework sees it."""
    body = msgspec.json.encode(Detail(FIXED.get(status, message)))
    return ASGIResponse(body=body, status_code=status, media_type="application/json", headers=headers)


def _allow_header(error: Exception) -> dict[str, str]:
    """Return the Allow header of a 405, without the OPTIONS that the framework adds and guard.py refuses."""
    if not isinstance(error, MethodNotAllowedException):
        return {}
    methods = (error.headers or {})["allow"].split(", ")
    return {"Allow": ", ".join(sorted(set(methods) - {"OPTIONS"}))}


def _describe_error(error: Exception, options: dict[str, Any], part: str) -> tuple[int, Any]:
    invalid = options.get("invalid", 422)
    match error:
        case Unauthenticated():
            return 401, BAD_KEY
        case NotFound() | NotFoundException():
            return 404, NOT_FOUND
        case MethodNotAllowedException():
            return 405, "Method Not Allowed"
        case Conflict(message=message):
            return options.get("taken", 409), message
        case InvalidField(message=message, field=field):
            return invalid, _invalid_detail(invalid, [(field, message)], part)
        case RuleViolation(message=message, details=dict() as details):
            return invalid, {"message": message, **details}
        case RuleViolation(message=message):
            return invalid, _invalid_detail(invalid, [(BODY, message)], part)
        case Invalid(issues=issues):
            return invalid, _invalid_detail(invalid, [_convert_issue(issue) for issue in issues], part)
        case _:
            status, message, _ = describe_error(error)
            return status, message


def _convert_issue(issue: dict[str, Any]) -> tuple[str, str]:
    field = ".".join(map(str, issue["path"])) or BODY
    match issue:
        case {"message": "Required"}:
            return field, "is required"
        case {"pattern": pattern}:
            return field, f"must match {pattern}"
        case {"message": message}:
            return field, str(message)
    raise AssertionError("every issue has a message")


def _invalid_detail(status: int, issues: list[tuple[str, str]], part: str) -> Any:
    """Return the detail of an invalid request: the first issue for a 400, all of them as in FastAPI for a 422."""
    if status == HTTPStatus.BAD_REQUEST:
        field, message = issues[0]
        return {"message": message if field.rpartition(".")[2] in message else f"{field}: {message}", "field": field}
    places = [[] if field == BODY else field.split(".") for field, _ in issues]
    return [
        {"loc": [part, *place], "msg": message, "type": "value_error"}
        for place, (_, message) in zip(places, issues, strict=True)
    ]
