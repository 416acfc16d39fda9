"""
Answers that need no body: HEAD is a GET without it, and who has it already is told so (304).

Every JSON that a GET answers with 200 gets an ETag: a hash of its bytes, and so a strong one. It says nothing about
what is behind it; the answer is worked out and compared each time. Nobody may keep it for somebody else.
"""

import hashlib
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

TAG = re.compile(rb'(?:W/)?("[^"]*")')
JSON = re.compile(rb"application/([a-z.]+\+)*json\b")
CACHE_CONTROL = (b"cache-control", b"private, no-cache")
OF_THE_BODY = (b"content-type", b"content-length")
Headers = list[tuple[bytes, bytes]]


def conditional(app: ASGIApp) -> ASGIApp:
    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] not in ("GET", "HEAD"):
            await app(scope, receive, send)
            return
        bodiless = scope["method"] == "HEAD"
        held: Any = None  # the start of an answer until its body is there

        async def sent(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_json(message):
                held = message
                return
            if held is not None:
                start, held = held, None
                if not message.get("more_body", False):
                    start, message = _tagged(start, message, list(scope["headers"]))
                await send(start)
            if bodiless and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await app({**scope, "method": "GET"}, receive, sent)

    return answered


def _is_json(start: Any) -> bool:
    kind = dict(start["headers"]).get(b"content-type", b"")
    return bool(start["status"] == HTTPStatus.OK and JSON.match(kind))


def _tagged(start: Any, body: Any, request_headers: Headers) -> tuple[Any, Any]:
    """The answer with its ETag, and without a body if the client has that one."""
    tag = b'"%s"' % hashlib.sha256(body["body"]).hexdigest()[:32].encode()
    headers: Headers = [*start["headers"], (b"etag", tag), CACHE_CONTROL]
    if not _has(tag, (value for name, value in request_headers if name.lower() == b"if-none-match")):
        return {**start, "headers": headers}, body
    bodiless_headers = [header for header in headers if header[0].lower() not in OF_THE_BODY]
    return {**start, "status": HTTPStatus.NOT_MODIFIED, "headers": bodiless_headers}, {**body, "body": b""}


def _has(tag: bytes, tag_lists: Iterable[bytes]) -> bool:
    """Whether one of the lists of tags names it, or is `*`."""
    return any(value.strip() == b"*" or tag in TAG.findall(value) for value in tag_lists)
