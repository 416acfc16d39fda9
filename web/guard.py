"""
What a request must be before the framework sees it: small enough, JSON if it has a body, sound text.

An ASGI middleware around the whole application; it reads the body once and hands it on.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPRequestEvent, Receive, ReceiveMessage, Scope, Send

from web.errors import error_response

MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_DEPTH = 64
JSON_TYPES = ("application/json", "application/merge-patch+json")


class Gone(Exception):
    """The client left before its request was complete."""


class TooLarge(Exception):
    """The body has more than MAX_BODY_BYTES bytes."""


def guard(app: ASGIApp) -> ASGIApp:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        try:
            body = await _body(receive)
        except Gone:
            return
        except TooLarge:
            problem: tuple[int, str] | None = (413, f"The body must have at most {MAX_BODY_BYTES} bytes")
        else:
            problem = _problem(scope, body)
        if problem is None:
            await app(scope, _replay(body, receive), send)
        else:
            await error_response(*problem)(scope, receive, send)

    return guarded


def _problem(scope: Any, body: bytes) -> tuple[int, str] | None:
    headers = list(scope["headers"])
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        return 431, "Too many or too large headers"
    if "\x00" in scope["path"] or "\ufffd" in scope["path"]:
        return 404, "API route not found"
    if b"%00" in scope["query_string"]:
        return 400, "The character U+0000 is not allowed in a query"
    if body and scope["method"] in ("POST", "PATCH", "PUT", "DELETE"):
        return _type_problem(headers) or _json_problem(body)
    return None


def _type_problem(headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str] | None:
    of = {name.lower(): value.decode("latin-1").lower() for name, value in headers}
    kind, _, parameters = of.get(b"content-type", "application/json").partition(";")
    if kind.strip() not in JSON_TYPES or ("charset" in parameters and "utf-8" not in parameters):
        return 415, "Content-Type must be application/json in UTF-8"
    if of.get(b"content-encoding", "identity") != "identity":
        return 415, "Content-Encoding is not supported"
    return None


def _json_problem(body: bytes) -> tuple[int, str] | None:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return 400, "Invalid JSON body"
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        return 400, f"The body is nested deeper than {MAX_DEPTH} levels"
    if b"\\u0000" in body and (where := _nul(value, "")) is not None:
        return 400, f"The character U+0000 is not allowed{where}"
    return None


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [item for parent in level for item in _children(parent)]
    return depth


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _nul(value: object, path: str) -> str | None:
    """Where a text holds U+0000, which Postgres cannot store; None if nowhere."""
    if isinstance(value, str):
        return f" (in {path.lstrip('.')})" if "\x00" in value else None
    if isinstance(value, dict):
        if any("\x00" in key for key in value):
            return " (in a name)"
        return next((w for key, item in value.items() if (w := _nul(item, f"{path}.{key}")) is not None), None)
    if isinstance(value, list):
        return next((w for i, item in enumerate(value) if (w := _nul(item, f"{path}.{i}")) is not None), None)
    return None


async def _body(receive: Receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise TooLarge
        more = message.get("more_body", False)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    first = True

    async def replayed() -> ReceiveMessage:
        nonlocal first
        if first:
            first = False
            return HTTPRequestEvent(type="http.request", body=body, more_body=False)
        return await receive()

    return replayed
