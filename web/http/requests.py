"""Reading of requests: JSON bodies, query parameters, the caller."""

import re
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request
from litestar.params import HeaderParameter

from application.access import Caller
from web.http import json_body
from web.http.validation import UUID_TEXT, Invalid, invalid, parse

MOST_DIGITS = 12
MOST_NUMBER = 10 ** (MOST_DIGITS - 1) - 1  # of a query
BODY = "routines.body"  # in the state of a request: the bytes that the guard has read
DECODED_BODY = "routines.decoded_body"  # in the state of a request: the JSON value that the guard has read
CONSISTENCY, EVENTUAL = "X-Routines-Consistency", "eventual"  # the header, and the one value that it may have
BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)


class ReadRequest(Request[Any, Any, Any]):
    """A request whose body has been read by the guard. An empty body is taken for `{}`."""

    async def body(self) -> bytes:
        """Return the body, or `{}` for an empty one."""
        return await self.raw_body() or b"{}"

    async def raw_body(self) -> bytes:
        """Return the body as it was sent."""
        body: bytes | None = self.scope["state"].get(BODY)
        return await super().body() if body is None else body


class JsonRequest(ReadRequest):
    """A request whose body is checked against the type that the route declares."""

    async def json(self) -> Any:
        """Return the body as the type that the route declares. Raise Invalid with everything that is wrong with it."""
        field, body = self.route_handler.parsed_data_field, await self.body()
        shape: Any = object if field is None else field.annotation
        if DECODED_BODY in self.scope["state"]:
            return await json_body.read_aside(len(body), parse, shape, self.scope["state"][DECODED_BODY])
        return await json_body.read_aside(len(body), lambda: parse(shape, msgspec.json.decode(body)))


def uuid_or_none(text: str | None, name: str) -> UUID | None:
    """Return the id of a query parameter or header, or None for an absent or empty one. Raise Invalid."""
    if not text:
        return None
    if not UUID_TEXT.fullmatch(text):
        raise Invalid([{"validation": "uuid", "code": "invalid_string", "message": "Invalid uuid", "path": [name]}])
    return UUID(text)


def parse_whole_number(text: str | None, name: str, default: int, least: int, most: int) -> int:
    """Return the whole number of a query parameter, or the default for an absent one. Raise Invalid."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < MOST_DIGITS and least <= int(text) <= most):
        kind = "a positive integer up to" if least == 1 else f"an integer from {least} to"
        raise invalid(f"{name} must be {kind} {most}", name)
    return int(text)


async def caller(
    request: Request[Any, Any, Any],
    session: Annotated[str | None, HeaderParameter(name="X-Paperclip-Run-Id")] = None,
) -> Caller:
    """Return the bearer token and the work session of a request. It is a dependency. Raise Invalid."""
    return Caller(token=bearer_token(request), run_id=uuid_or_none(session, "X-Paperclip-Run-Id"))


def bearer_token(request: Request[Any, Any, Any]) -> str | None:
    """Return the bearer token of a request, or None if it has none."""
    return bearer_token_of(request.scope)


def bearer_token_of(scope: Any) -> str | None:
    """Return the bearer token of a request, or None if it has not exactly one Authorization header with one."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    match = BEARER.fullmatch(values[0].decode("latin-1").strip()) if len(values) == 1 else None
    return match[1] if match else None


async def is_eventual(consistency: Annotated[str | None, HeaderParameter(name=CONSISTENCY)] = None) -> bool:
    """Return whether the client accepts the read model as it is, without waiting for it. It is a dependency. Raise Invalid."""
    if consistency not in {None, EVENTUAL}:
        raise invalid(f"{CONSISTENCY} must be {EVENTUAL}, or absent", CONSISTENCY)
    return consistency == EVENTUAL
