"""How a webhook's request is read: raw, since what is signed are its bytes (contract 6)."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from litestar.di import NamedDependency

from application.request_bodies import IdempotencyKey
from domain.values import Json
from domain.webhooks.verification import WebhookRequest
from web.http import json_body
from web.http.requests import JsonRequest
from web.http.validation import Invalid, parse
from web.paperclip.rate_limit import WebhookRateLimiter

PUBLIC_ID = re.compile(r"[0-9a-f]{24}")


class Message(msgspec.Struct):
    """A request with its headers and bytes as they came; reading it may raise Invalid."""

    delivery: WebhookRequest
    count_call: Callable[[UUID], None]  # of a webhook; raises TooMany
    is_proved: bool = False  # whether its sender may call the webhook that it names

    def count(self, webhook: UUID) -> None:
        """Once, however often it is decided what comes of the call. Raises TooMany."""
        if not self.is_proved:
            self.count_call(webhook)
            self.is_proved = True

    def payload(self) -> Json | None:
        """A JSON object as it is, another JSON value as `{"body": value}`, nothing as `{}`, any other type as None."""
        body, announced = self.delivery.body, self._values("content-type")
        if not body:
            return {}
        if announced and not json_body.is_announced(announced[0]):
            return None
        try:
            value: Any = json_body.read(body)
        except json_body.Unsound as unsound:
            if not announced:
                return None
            raise _wrong(str(unsound)) from unsound
        return value if isinstance(value, dict) else {"body": value}

    def idempotency_key(self) -> str | None:
        given = self._values("idempotency-key")
        if len(given) > 1:
            raise _wrong("Idempotency-Key must be given once", "Idempotency-Key")
        try:
            return parse(IdempotencyKey, given[0]) or None if given else None
        except Invalid as error:
            raise Invalid([{**issue, "path": ["Idempotency-Key"]} for issue in error.issues]) from error

    def _values(self, name: str) -> list[str]:
        return [value for given, value in self.delivery.headers if given == name]


async def message(
    request: JsonRequest, rate_limiter: NamedDependency[WebhookRateLimiter], sender: NamedDependency[str]
) -> Message:
    """A dependency."""
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.scope["headers"]]
    delivery = WebhookRequest(headers=tuple(headers), body=await request.raw_body())
    return Message(delivery, lambda webhook: rate_limiter.count_call(webhook, sender))


def _wrong(text: str, *path: str) -> Invalid:
    return Invalid([{"code": "custom", "message": text, "path": list(path)}])
