"""
Answers in JSON, made from what a handler returns in one step.

The framework makes two objects and a mapping of headers for each answer, with room for cookies, tasks that follow the answer,
and other media types. An answer that has any of these is left to it.
"""

from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from litestar import MediaType, Response
from litestar.serialization import default_serializer
from litestar.types import ASGIApp, Receive, Scope, Send

T = TypeVar("T")
ENCODER = msgspec.json.Encoder(enc_hook=default_serializer)
CONTENT_TYPE = (b"content-type", b"application/json")
BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Answer(Response[T]):
    """A response whose content is a value, or its JSON as bytes."""

    def to_asgi_response(self, app: Any, request: Any, **more: Any) -> Any:
        """Return the application that sends the answer."""
        status = self.status_code or more.get("status_code") or HTTPStatus.OK
        if self._is_special(more) or status in BODILESS:
            return super().to_asgi_response(app, request, **more)
        content: Any = self.content
        body = content if isinstance(content, bytes) else ENCODER.encode(content)
        return _send_whole(int(status), {**(more.get("headers") or {}), **self.headers}, body)

    def _is_special(self, more: dict[str, Any]) -> bool:
        """Return whether an answer is more than JSON and headers."""
        return bool(
            (self.media_type or more.get("media_type") or MediaType.JSON) != MediaType.JSON
            or isinstance(self.content, str)
            or self.cookies
            or more.get("cookies")
            or self.background
            or more.get("background")
        )


def _send_whole(status: int, headers: dict[str, str], body: bytes) -> ASGIApp:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 the names of the protocol
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": status, "headers": [*encoded, CONTENT_TYPE, length]})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return respond
