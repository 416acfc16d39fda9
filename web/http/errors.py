"""The table from exceptions to HTTP statuses, and the error body: RFC 9457 with `error`, `details` and `code`."""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
import structlog
from eventsourcing.persistence import IntegrityError, MapperDeserialisationError, OperationalError
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp
from psycopg_pool import PoolTimeout

from application.event_store.postgres_errors import SESSION_ERRORS, ClockDiffers, NotRecorded, OutcomeUnknown
from application.quotas.charge import OverQuota
from application.secrets.key_ring import VaultClosed
from domain.errors import (
    Conflict,
    DomainError,
    Forbidden,
    InvalidField,
    NotFound,
    PreconditionFailed,
    RuleViolation,
    Unauthenticated,
)
from projections.engine.positions import Lagging
from web.apis import ApiName
from web.http.answers import Answer
from web.http.rate_limit import TooManyCalls
from web.http.validation import Invalid


class Overloaded(Exception):
    """The process already holds as many requests as it may. Nothing was recorded, so the request may be repeated."""


STATUS_OF: dict[type[Exception], int] = {  # subclasses have the status of their parent
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    PreconditionFailed: 412,
    RuleViolation: 422,
    Invalid: 400,
    Lagging: 503,
    IntegrityError: 503,  # the decision lost too many races; nothing was recorded
    OperationalError: 503,
    PoolTimeout: 503,
    psycopg.OperationalError: 503,
    **dict.fromkeys(SESSION_ERRORS, 503),
    VaultClosed: 503,
    MapperDeserialisationError: 503,  # a newer version wrote an event that this one cannot read
    TooManyCalls: 429,
    OverQuota: 429,
    Overloaded: 503,
}
OTHER = "other"  # the operation of pages that describe the API, and of unknown paths
# The statuses whose messages are texts of ours; the others may quote the request.
OF_OWN_TEXT = {401, 403, 404, 405, 408, 413, 415, 429, 431, 503}
FIELD = re.compile(r"[A-Za-z][A-Za-z0-9]{0,40}")
MOST_FIELDS = 5  # that the reason of a refusal names
UNKNOWN = "unrecognized_keys"  # the code of an issue about a name that is not known
REFUSAL = "routines.refusal"  # in the state of a request
REASONS = {  # why Postgres has not recorded a change; for other errors none is told
    psycopg.errors.DiskFull: "it has no room left",
    psycopg.errors.ReadOnlySqlTransaction: "it is read-only now",
    psycopg.errors.LockNotAvailable: "others have held for too long what the change needs",
    psycopg.errors.QueryCanceled: "it took too long",
    psycopg.errors.TransactionTimeout: "it took too long",
}
# How each API, and the board, answer with an error before the framework sees a request: with a status, a text and headers.
ErrorAnswers = Mapping[ApiName, Callable[[int, str, dict[str, str], Any], ASGIApp]]
RETRY_AFTER_S = "1"
WINDOW_S = "60"  # the period of the limits on calls

log = structlog.get_logger(process="web")


class Problem(msgspec.Struct, omit_defaults=True):
    """The body of every error."""

    error: str
    type: str
    title: str
    status: int
    detail: str
    details: Any = None
    code: str | None = None


RESPONSES = {  # the refusals that operations share, for the description of the API
    status: ResponseSpec(Problem, description=text, generate_examples=False)
    for status, text in {
        400: "A field of the body, the query or a header is wrong; `details` names each.",
        401: "The credential is missing or unknown.",
        403: "The caller is known, but may not do this.",
        404: "There is no such resource, or it belongs to another company.",
        409: "The present state of the resource does not allow this.",
        412: "What is to be changed does not have the ETag of If-Match.",
        413: "The body is too large.",
        415: "The body is not JSON in UTF-8.",
        422: "The request is well-formed, but a rule refuses it.",
        429: "There were too many calls, or too much was recorded in a minute; try again after Retry-After seconds.",
        431: "The headers are too many or too large.",
        503: "The service is not ready, or holds too many large bodies; try again after Retry-After seconds.",
    }.items()
}


class RefusalNote(msgspec.Struct, frozen=True):
    """Why a request was refused, for the log: the operation, the class of the error, and a text of ours or fields."""

    operation: str
    reason: str
    why: str | None


def note_refusal(scope: Any, error: BaseException, status: int, message: str) -> None:
    """Keep in the state of a request why it is refused. What the request itself holds is not kept."""
    if status in OF_OWN_TEXT:
        why: str | None = message
    elif isinstance(error, Invalid):
        why = ", ".join(_wrong_fields(error)) or None
    else:
        why = error.field if isinstance(error, InvalidField) and FIELD.fullmatch(error.field) else None
    refusal = RefusalNote(operation_of(scope), type(error).__name__, why)
    scope.setdefault("state", {})[REFUSAL] = refusal


def refusal_of(scope: Any) -> RefusalNote | None:
    """Return why a request was refused, if it was."""
    refusal: RefusalNote | None = scope.get("state", {}).get(REFUSAL)
    return refusal


def operation_of(scope: Any) -> str:
    """Return the id of the operation that the framework has found for a request, or OTHER."""
    operation_id = getattr(scope.get("route_handler"), "operation_id", None)
    return operation_id if isinstance(operation_id, str) else OTHER


def _wrong_fields(error: Invalid) -> list[str]:
    """Return the paths of the first fields that are wrong. Names that a client has chosen may not be ours to log."""
    paths = [[str(step) for step in issue["path"]] for issue in error.issues[:MOST_FIELDS]]
    return [".".join(step if step.isdigit() or FIELD.fullmatch(step) else "?" for step in path) for path in paths]


def make_problem(status: int, message: str, details: Any = None) -> Problem:
    """Return the body of an error. `code` is the one in the details, if these are an object with one."""
    code = details.get("code") if isinstance(details, dict) else None
    title = HTTPStatus(status).phrase
    return Problem(
        error=message,
        type=f"/problems/{title.lower().replace(' ', '-')}",
        title=title,
        status=status,
        detail=message,
        details=details,
        code=code,
    )


def to_response(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Return the response to an exception. An unforeseen one is answered with 500 and logged."""
    status, message, details = describe_error(error)
    note_refusal(request.scope, error, status, message)
    return Answer(make_problem(status, message, details), status_code=status, headers=headers_of(status, error))


def headers_of(status: int, error: Exception) -> dict[str, str]:
    """Return the headers of the answer to an error. Log an unforeseen one with its traceback."""
    headers = {}
    if status == HTTPStatus.SERVICE_UNAVAILABLE and not (_may_be_recorded(error) or isinstance(error, VaultClosed)):
        headers["Retry-After"] = RETRY_AFTER_S
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = str(error.retry_after_s) if isinstance(error, OverQuota) else WINDOW_S
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request_failed", status=status, error=type(error).__name__, exc_info=error)
    return headers


def error_response(status: int, message: str, headers: dict[str, str], details: Any = None) -> ASGIResponse:
    """Return the answer to a request that is refused before the framework sees it."""
    body = msgspec.json.encode(make_problem(status, message, details))
    return ASGIResponse(body=body, status_code=status, media_type="application/json", headers=headers)


def describe_error(error: Exception) -> tuple[int, str, Any]:
    """Return the status, the message and the details with which an exception is answered."""
    match error:
        case InvalidField():
            path = [int(part) if part.isdigit() else part for part in error.field.split(".")]
            return 422, error.message, [{"code": "custom", "message": error.message, "path": path}]
        case DomainError():
            return _status_of(error), error.message, error.details
        case Invalid():
            return 400, _headline_of(error), error.issues
        case Lagging(recorded=None):
            return 503, "A read model is behind the log; try again", {"readModels": list(error.names)}
        case Lagging():
            text = "The change is recorded, but a read model is behind the log; do not repeat it, read it back later"
            return 503, text, {"readModels": list(error.names), "position": error.recorded}
        case NotFoundException() | MethodNotAllowedException():
            return 404, "API route not found", None
        case ValidationException():
            return 400, "Validation error", _query_issues(error)
        case HTTPException():
            return error.status_code, error.detail, None
        case TooManyCalls():
            return 429, str(error), None
        case Overloaded():
            return _status_of(error), str(error), None
        case VaultClosed():
            log.error("vault_closed", why=str(error))
            return 503, "The secrets cannot be opened now: the operator has to put the key file right", None
        case MapperDeserialisationError():
            log.error("unreadable_event", error=str(error))
            text = "This version of the service cannot read an event that the request depends on; nothing was changed"
            return 503, text, None
        case ClockDiffers():
            log.error("clock_differs", difference_s=error.difference_s)
            return 503, "The clock of this process differs from the database's; nothing was changed", None
        case OutcomeUnknown():
            return 503, "It is not known whether the change was recorded; read it back before you repeat it", None
        case NotRecorded():
            reason = next((f": {text}" for kind, text in REASONS.items() if isinstance(error.__cause__, kind)), "")
            return 503, f"The database has refused the change{reason}. Nothing was recorded; try again", None
        case _ if (status := _status_of(error)) == HTTPStatus.SERVICE_UNAVAILABLE:
            return status, "The database cannot be reached or is busy; try again", None
        case _:
            return 500, "Internal server error", None


def _headline_of(error: Invalid) -> str:
    """Return the message of a lone issue that needs no path (contract 7.5, `limit must be ...`), else a general one."""
    only = error.issues[0] if len(error.issues) == 1 else {}
    says_all = only.get("code") == UNKNOWN or (only.get("code") == "custom" and len(only["path"]) <= 1)
    return str(only["message"]) if says_all else str(error)


def _may_be_recorded(error: Exception) -> bool:
    """Return whether the change may have been recorded, so that the client must look before it repeats the request."""
    return isinstance(error, OutcomeUnknown) or (isinstance(error, Lagging) and error.recorded is not None)


def _status_of(error: Exception) -> int:
    return next((code for kind, code in STATUS_OF.items() if isinstance(error, kind)), 500)


def _query_issues(error: ValidationException) -> list[dict[str, Any]]:
    """Return the framework's errors in query parameters or headers in the form of issues of a body."""
    items = error.extra if isinstance(error.extra, list) else []
    return [
        {"code": "custom", "message": str(item.get("message", error.detail)), "path": [item.get("key", "")]}
        for item in items
        if isinstance(item, dict)
    ] or [{"code": "custom", "message": error.detail, "path": []}]
