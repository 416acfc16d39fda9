"""
Checks of a request before the framework sees it: its size, its media type, and that its body is sound JSON.

This is an ASGI middleware around the whole application. It reads the body once and passes it on. Of the bodies of
webhooks it checks only size and encoding, since their senders choose the format; they are unpacked and read once their
sender is known. The same holds for Jetty's bodies, which are checked once their sender is known, and for the forms of
the board.

A sender without a valid key may send only a small body. A large one is read if its sender has a valid key and the
operation takes large bodies, or if it is sent to a webhook that exists (body_bounds.py), and only while the process has
room for it.
The work on a request is given up if its client leaves before the answer has begun.

Every answer gets the headers that forbid to guess its media type and, unless it says otherwise, to store it.
"""

import re
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from http import HTTPStatus
from itertools import chain
from typing import Any

from litestar.concurrency import sync_to_thread
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPRequestEvent, Message, Receive, ReceiveMessage, Scope, Send

from domain.errors import NotFound
from web.apis import ApiName, api_of
from web.http import gzip_body, json_body
from web.http.backend import Backend
from web.http.body_bounds import BodyHead, Bounds, body_head_of, bounds_of, sender_of, without_body
from web.http.departures import Gone, Watched
from web.http.errors import RETRY_AFTER_S, ErrorAnswers, describe_error, headers_of, note_refusal
from web.http.held_bodies import HeldBodies, HeldBody, Holder, NoRoom
from web.http.large_bodies import LargeBodies
from web.http.requests import BODY, DECODED_BODY
from web.http.tenants import address_of
from web.http.validation import invalid
from web.http.webhook_refusals import WebhookRefusals

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_PATH_BYTES = 2 * 1024  # as it was sent; the framework caches the paths and the queries of recent requests
MAX_QUERY_BYTES = 4 * 1024
MAX_QUERY_FIELDS = 100
TOO_LARGE = "Too many or too large headers"
NOBODY = Holder("")  # for whom a body is held that is too small to count
IDENTITY = frozenset({"", "identity"})  # the values of Content-Encoding that mean that the body is not encoded
WITH_BODY = ("POST", "PATCH", "PUT", "DELETE")
NOSNIFF = (b"x-content-type-options", b"nosniff")
NO_STORE = (b"cache-control", b"no-store")
PUBLIC_ID = re.compile(r"[0-9a-f]{24}")
WEBHOOK = re.compile(r"/+api/+routine-triggers/+public/+([^/]+)/+fire/*")  # routing treats repeated slashes as one


class Refused(Exception):
    """A request that the guard answers with an error instead of passing it on."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None, details: Any = None) -> None:
        super().__init__(message)
        self.details = details
        self.status = status
        self.message = message
        self.headers = headers or {}


def guard(
    app: ASGIApp,
    backend: Backend,
    large: LargeBodies,
    error_answers: ErrorAnswers,
    webhook_refusals: WebhookRefusals,
) -> ASGIApp:
    """Return the application behind the checks."""
    limits = backend.limits
    held_bodies = HeldBodies(limits.max_held_body_bytes, limits.max_held_body_bytes_per_sender)
    least = min(json_body.SMALL, limits.max_body_bytes, limits.max_webhook_bytes)
    small = Bounds(most=least, unknown=least, check=_refuse_holder)

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        webhook, api = WEBHOOK.fullmatch(scope["path"]), api_of(scope)
        with held_bodies.hold(NOBODY) as held_body:
            try:
                _check_head(scope)
                _check_address(scope, webhook)
                head, bounds = body_head_of(scope), small
                if not head.is_small(least):
                    held_body.holder = Holder(address_of(scope))
                    bounds = bounds_of(scope, head, webhook, api, backend, large, webhook_refusals.rate_limiter)
                body = await _read_body(receive, head.length, bounds, held_body)
                with Watched(receive, _with_headers(send)) as client:
                    if body and scope["method"] in WITH_BODY:
                        await _check_body(scope, head, body, held_body, webhook, api)
                    scope.setdefault("state", {})[BODY] = body
                    await app(scope, _replay(body, client.receive), client.send)
            except Gone:
                return
            except Refused as refused:
                note_refusal(scope, refused.__cause__ or refused, refused.status, refused.message)
                if webhook is not None and refused.status != HTTPStatus.NOT_FOUND:
                    unproven = without_body(scope) if refused.status == HTTPStatus.UNAUTHORIZED else None
                    details = (sender_of(scope), refused.status, refused.message, unproven)
                    await sync_to_thread(webhook_refusals.keep, webhook[1], *details)
                answer = error_answers[api](refused.status, refused.message, refused.headers, refused.details)
                await answer(scope, receive, _with_headers(send))

    return handle


def _refuse_holder() -> Holder:
    raise AssertionError("A body that anybody may send is not checked.")


def _check_head(scope: Any) -> None:
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS or sum(map(len, chain.from_iterable(headers))) > MAX_HEADER_BYTES:
        raise Refused(431, TOO_LARGE)
    if _is_nowhere(scope):
        raise Refused(404, "API route not found")
    query = scope["query_string"]
    if len(query) > MAX_QUERY_BYTES or query.count(b"&") >= MAX_QUERY_FIELDS:
        raise Refused(400, f"The query must have at most {MAX_QUERY_BYTES} bytes and {MAX_QUERY_FIELDS} parameters")
    if b"%00" in query:
        raise Refused(400, "The character U+0000 is not allowed in a query")


def _check_address(scope: Any, webhook: re.Match[str] | None) -> None:
    """Refuse a webhook call whose public id is malformed, so that no such webhook is looked up."""
    if webhook is not None and scope["method"] == "POST" and not PUBLIC_ID.fullmatch(webhook[1]):
        raise Refused(404, "Routine trigger not found")


def _is_nowhere(scope: Any) -> bool:
    """Return whether no route of ours is called. The framework adds OPTIONS, and paths below the description's."""
    path = scope["path"]
    if scope["method"] == "OPTIONS" or path.startswith(("/api/openapi.json/", "/openapi.json/")):
        return True
    return len(scope.get("raw_path") or b"") > MAX_PATH_BYTES or "\x00" in path or "\ufffd" in path


async def _check_body(  # noqa: PLR0913, PLR0917 what is known of it
    scope: Any, head: BodyHead, body: bytes, held_body: HeldBody, webhook: re.Match[str] | None, api: ApiName
) -> None:
    raw = webhook is not None or api != "paperclip"  # checked by the route, after the credential and the path
    _check_type(head, raw=raw, encodings=IDENTITY if webhook is None else IDENTITY | gzip_body.NAMES)
    if len(body) > json_body.SMALL:
        _hold_more(held_body, json_body.weight(body))
    if not raw:
        try:
            value = await json_body.read_aside(len(body), json_body.read, body)
        except json_body.Unsound as unsound:
            details = invalid(str(unsound), *unsound.path).issues if unsound.path else None
            raise Refused(400, str(unsound), details=details) from unsound
        scope.setdefault("state", {})[DECODED_BODY] = value


def _check_type(head: BodyHead, *, raw: bool, encodings: AbstractSet[str]) -> None:
    if not raw and head.types and not json_body.is_announced(", ".join(head.types)):
        raise Refused(415, "Content-Type must be application/json in UTF-8")
    if head.encoding not in encodings:
        raise Refused(415, "Content-Encoding is not supported")


async def _read_body(receive: Receive, announced: int, bounds: Bounds, held_body: HeldBody) -> bytes:
    """Read the body. Raise Refused as soon as it is too large or announced as such, and Gone if the client leaves."""
    parts: list[bytes] = []
    size, more, is_checked = 0, True, False
    while True:
        expected = max(size, announced)
        if expected > bounds.most:
            raise Refused(413, f"The body must have at most {bounds.most} bytes")
        if not is_checked and expected > bounds.unknown:
            held_body.holder, is_checked = await _run_check(bounds.check), True
        if parts:
            _hold_more(held_body, len(parts[-1]))
        if not more:
            body = b"".join(parts)
            break
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
    if bounds.is_gzip and (unpacked := min(gzip_body.announced_size(body), bounds.most)):
        if not is_checked and unpacked > bounds.unknown:
            held_body.holder = await _run_check(bounds.check)
        _hold_more(held_body, unpacked)
    return body


async def _run_check(check: Callable[[], Holder]) -> Holder:
    """Return what the check returns. Raise Refused for any exception that it raises."""
    try:
        return await sync_to_thread(check)
    except NotFound as error:
        raise Refused(404, error.message) from error
    except Exception as error:
        status, message, _ = describe_error(error)
        raise Refused(status, message, headers_of(status, error)) from error


def _hold_more(held_body: HeldBody, size: int) -> None:
    try:
        held_body.grow(size)
    except NoRoom as full:
        raise Refused(503, str(full), {"Retry-After": RETRY_AFTER_S}) from full


def _replay(body: bytes, receive: Receive) -> Receive:
    first = True

    async def receive_body() -> ReceiveMessage:
        nonlocal first
        if first:
            first = False
            return HTTPRequestEvent(type="http.request", body=body, more_body=False)
        return await receive()

    return receive_body


def _with_headers(send: Send) -> Send:
    def send_with_headers(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            headers = [*message["headers"], NOSNIFF]
            if NO_STORE[0] not in dict(headers):
                headers.append(NO_STORE)
            message["headers"] = headers
        return send(message)

    return send_with_headers
