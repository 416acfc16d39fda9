"""
What a request must be before the framework sees it: small enough, JSON if it has a body, sound text.

An ASGI middleware around the whole application; it reads the body once and hands it on. What webhook senders send
is theirs to shape, and Jetty's bodies are judged after their sender is known: there size and coding count alone.

Every answer leaves with the headers that any answer needs: it is what it says it is, and nobody stores it unless it
says who may.
"""

import re
from collections.abc import Iterable
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPRequestEvent, Message, Receive, ReceiveMessage, Scope, Send

from web import json_body
from web.errors import error_response
from web.faces import face_of
from web.jetty.errors import error_response as jetty_error

MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_DELIVERY_BYTES = 1024 * 1024  # it is kept whole, and runs are listed by the hundred
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
NOSNIFF = (b"x-content-type-options", b"nosniff")
NO_STORE = (b"cache-control", b"no-store")
DELIVERY = re.compile(r"/+api/+routine-triggers/+public/+[^/]+/+fire/*")  # routing takes repeated slashes for one


class Gone(Exception):
    """The client left before its request was complete."""


class TooLarge(Exception):
    """The body has more bytes than are taken."""


def guard(app: ASGIApp) -> ASGIApp:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        delivery, face = DELIVERY.fullmatch(scope["path"]) is not None, face_of(scope["path"])
        raw = delivery or face == "jetty"  # who may not call, or calls what is not there, is told so first
        most = MAX_DELIVERY_BYTES if delivery else MAX_BODY_BYTES
        body, problem = b"", _head_problem(scope)
        if problem is None:
            try:
                body = await _body(scope, receive, most)
            except Gone:
                return
            except TooLarge:
                problem = 413, f"The body must have at most {most} bytes"
            else:
                problem = _body_problem(scope, body, raw=raw)
        if problem is None:
            await app(scope, _replay(body, receive), _with_headers(send))
        else:
            respond = jetty_error if face == "jetty" else error_response
            await respond(*problem)(scope, receive, _with_headers(send))

    return guarded


def _head_problem(scope: Any) -> tuple[int, str] | None:
    headers = list(scope["headers"])
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        return 431, "Too many or too large headers"
    if _is_nowhere(scope):
        return 404, "API route not found"
    if b"%00" in scope["query_string"]:
        return 400, "The character U+0000 is not allowed in a query"
    return None


def _body_problem(scope: Any, body: bytes, *, raw: bool) -> tuple[int, str] | None:
    if body and scope["method"] in ("POST", "PATCH", "PUT", "DELETE"):
        return _type_problem(scope["headers"], raw=raw) or (None if raw else _json_problem(body))
    return None


def _is_nowhere(scope: Any) -> bool:
    """Whether no route of ours can be meant; the framework adds OPTIONS, and addresses behind the description's."""
    path = scope["path"]
    if scope["method"] == "OPTIONS" or path.startswith(("/api/openapi.json/", "/openapi.json/")):
        return True
    return "\x00" in path or "\ufffd" in path


def _type_problem(headers: Iterable[tuple[bytes, bytes]], *, raw: bool) -> tuple[int, str] | None:
    of = {name.lower(): value.decode("latin-1").lower() for name, value in headers}
    if not raw and not json_body.is_announced(of.get(b"content-type", "application/json")):
        return 415, "Content-Type must be application/json in UTF-8"
    if of.get(b"content-encoding", "identity") != "identity":
        return 415, "Content-Encoding is not supported"
    return None


def _json_problem(body: bytes) -> tuple[int, str] | None:
    try:
        json_body.read(body)
    except json_body.Unsound as unsound:
        return 400, str(unsound)
    return None


async def _body(scope: Any, receive: Receive, most: int) -> bytes:
    """What is announced as too large is not waited for. Raises TooLarge and Gone."""
    if int(dict(scope["headers"]).get(b"content-length", b"0")) > most:
        raise TooLarge
    parts, size, more = [], 0, True
    while more:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
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


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message["headers"], NOSNIFF]
            if all(name.lower() != NO_STORE[0] for name, _ in headers):
                headers.append(NO_STORE)
            message["headers"] = headers
        await send(message)

    return sent
