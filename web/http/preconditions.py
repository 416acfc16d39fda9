"""
If-Match: a change is refused with 412 unless the client's copy of what it changes is the current one (RFC 9110, 13.1.1).

The ETag of a copy is a hash of its bytes (etag.py), so the resource is read and compared first. Another change could come
between that and this one: a unit of work therefore refuses to write to a stream that has changed since. Where the copy is
not the current one, it refuses to write to any stream that is there. So whoever may not change the resource, or asks for
something that is none, is answered as without If-Match (RFC 9110, 13.2.1).
"""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from eventsourcing.persistence import PersistenceError
from litestar.concurrency import sync_to_thread
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPRequestEvent, Message, Receive, ReceiveMessage, Scope, Send

from application.event_store.unit_of_work import UNCHANGED_SINCE
from web.apis import api_of
from web.http import etag
from web.http.errors import RETRY_AFTER_S, ErrorAnswers

METHODS = ("PATCH", "PUT", "DELETE")
RESTORE = re.compile("(.*)/revisions/[^/]+/restore/*")
STRONG = re.compile(rb'(?<!W/)"[^"]*"')
AWAY = "The database cannot be reached."
NEVER = 0  # a position before that of any event: every stream has changed since
NOT_OF_A_READ = (b"if-match", b"if-none-match", b"content-type", b"content-length", b"x-routines-consistency")


class Copy(msgspec.Struct):
    """A resource as it was just read for the client: the messages of the answer."""

    messages: list[Message] = []

    @property
    def status(self) -> int:
        """The status of the answer."""
        return int(self.messages[0]["status"])  # type: ignore[typeddict-item]

    @property
    def tag(self) -> bytes:
        """Its ETag."""
        return etag.tag_of(b"".join(message.get("body", b"") for message in self.messages))  # type: ignore[misc]

    async def send(self, message: Message) -> None:
        """Keep a part of the answer."""
        self.messages.append(message)


def with_preconditions(app: ASGIApp, head: Callable[[], int], error_answers: ErrorAnswers) -> ASGIApp:
    """Return the application with If-Match; `head` returns the last position of the log."""

    def handle(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        tags = _required_tags(scope)
        # Nothing to compare: `*` holds for anything that exists, and the operation refuses what does not.
        if not tags or b"*" in tags:
            return app(scope, receive, send)
        return compare_first(tags, scope, receive, send)

    async def compare_first(tags: list[bytes], scope: Scope, receive: Receive, send: Send) -> None:
        try:
            position = await sync_to_thread(head)
        except PersistenceError:
            answer = error_answers[api_of(scope)](503, AWAY, {"Retry-After": RETRY_AFTER_S}, None)
            await answer(scope, receive, send)
            return
        copy = await _read(app, scope)
        if copy.status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # it cannot be compared now
            for message in copy.messages:
                await send(message)
            return
        is_current = copy.status == HTTPStatus.OK and copy.tag in tags
        before = UNCHANGED_SINCE.set(position if is_current else NEVER)
        try:
            await app(scope, receive, send)
        finally:
            UNCHANGED_SINCE.reset(before)

    return handle


def is_conditional(method: str, path: str) -> bool:
    """Return whether If-Match means anything to an operation."""
    return method.upper() in METHODS or (method.upper() == "POST" and RESTORE.fullmatch(path) is not None)


def _required_tags(scope: Scope) -> list[bytes]:
    """Return the ETags that a request names; those of weak copies never match."""
    if scope["type"] != ScopeType.HTTP or not is_conditional(scope["method"], scope["path"]):
        return []
    values = [value.strip() for name, value in scope["headers"] if name.lower() == b"if-match"]
    return [b"*"] if b"*" in values else [tag for value in values for tag in STRONG.findall(value) or [b""]]


async def _read(app: ASGIApp, scope: Scope) -> Copy:
    """Read the resource as the client of this request would."""
    restore = RESTORE.fullmatch(scope["path"])
    path = restore[1] if restore else scope["path"]
    headers = [header for header in scope["headers"] if header[0].lower() not in NOT_OF_A_READ]
    read: Any = {**scope, "method": "GET", "path": path, "raw_path": path.encode(), "headers": headers, "state": {}}
    copy = Copy()
    await app(read, _receive_nothing, copy.send)
    return copy


async def _receive_nothing() -> ReceiveMessage:
    return HTTPRequestEvent(type="http.request", body=b"", more_body=False)
