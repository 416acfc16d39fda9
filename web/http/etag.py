"""
Answers without a body: HEAD is answered as GET without its body, and 304 says that the client's copy is current.

Every JSON body that a GET answers with 200 gets a strong ETag, which is a hash of its bytes, unless it has that already: it is
worked out once for a body that several requests share. The answer is computed
each time and compared then, so the ETag saves bytes and no work. Shared caches may not keep it.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Iterable
from http import HTTPStatus
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

LIGHT_BYTES = 256 * 1024  # of an answer; the hash of a larger one is made in a thread, while the event loop goes on
TAG = re.compile(rb'(?:W/)?("[^"]*")')
JSON = re.compile(rb"application/([a-z.-]+\+)*json\b")
CACHE_CONTROL = (b"cache-control", b"private, no-cache")
OF_THE_BODY = (b"content-type", b"content-length")
BODILESS = "routines.bodiless"  # in the state of a request
Headers = list[tuple[bytes, bytes]]


def is_bodiless(scope: Any) -> bool:
    """Return whether the body of the answer to a GET is thrown away, since it was asked for by HEAD."""
    return bool(scope.get("state", {}).get(BODILESS))


def add_conditional_reads(app: ASGIApp) -> ASGIApp:
    """Return the application with HEAD, ETag and If-None-Match added to its GET operations."""

    def handle(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != ScopeType.HTTP or scope["method"] not in ("GET", "HEAD"):
            return app(scope, receive, send)
        bodiless = scope["method"] == "HEAD"
        scope.setdefault("state", {})[BODILESS] = bodiless
        held_start: Any = None  # the start of an answer until its body is there

        async def send_conditionally(message: Message) -> None:
            nonlocal held_start
            if message["type"] == "http.response.start" and _is_json(message):
                held_start = message
                return
            if held_start is not None:
                start, held_start = held_start, None
                if not message.get("more_body", False):
                    start, message = await _tag_answer(start, message, list(scope["headers"]))
                await send(start)
            if bodiless and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        return app({**scope, "method": "GET"} if bodiless else scope, receive, send_conditionally)

    return handle


def _is_json(start: Any) -> bool:
    kind = dict(start["headers"]).get(b"content-type", b"")
    return bool(start["status"] == HTTPStatus.OK and JSON.match(kind))


async def _tag_answer(start: Any, body: Any, request_headers: Headers) -> tuple[Any, Any]:
    """Return the answer with its ETag, as 304 without a body if the client already has it."""
    headers: Headers = [*start["headers"], CACHE_CONTROL]
    if (tag := dict(headers).get(b"etag")) is None:
        content = body["body"]
        tag = tag_of(content) if len(content) <= LIGHT_BYTES else await asyncio.to_thread(tag_of, content)
        headers.append((b"etag", tag))
    if not _names_tag(tag, [value for name, value in request_headers if name == b"if-none-match"]):
        return {**start, "headers": headers}, body
    bodiless_headers = [header for header in headers if header[0].lower() not in OF_THE_BODY]
    return {**start, "status": HTTPStatus.NOT_MODIFIED, "headers": bodiless_headers}, {**body, "body": b""}


def tag_of(body: bytes) -> bytes:
    """Return the ETag of an answer with this body."""
    return b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()


def _names_tag(tag: bytes, tag_lists: Iterable[bytes]) -> bool:
    """Return whether one of the lists of tags contains this tag or is `*`."""
    return any(value.strip() == b"*" or tag in TAG.findall(value) for value in tag_lists)
