"""Reading of webhook requests: as raw bytes, since these are what is signed (contract 6)."""

from typing import Any

from application.request_bodies import IdempotencyKey
from application.use_cases.webhooks import WebhookCall
from domain.values import Json
from domain.webhooks.verification import WebhookRequest
from web.http import json_body
from web.http.requests import JsonRequest
from web.http.validation import Invalid, parse


async def webhook_request(request: JsonRequest) -> WebhookRequest:
    """Return the headers and the body of a request as they arrived. It is a dependency."""
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.scope["headers"]]
    return WebhookRequest(headers=tuple(headers), body=await request.raw_body())


def parse_call(request: WebhookRequest) -> WebhookCall:
    """Return the payload and the idempotency key of an authenticated request. Raise Invalid."""
    return WebhookCall(payload=_payload(request), idempotency_key=_idempotency_key(request))


def _payload(request: WebhookRequest) -> Json | None:
    """Return a JSON object as it is, another JSON value as `{"body": value}`, nothing as `{}`, another type as None."""
    announced = _values(request, "content-type")
    if not request.body:
        return {}
    if announced and not json_body.is_announced(announced[0]):
        return None
    try:
        value: Any = json_body.read(request.body)
    except json_body.Unsound as unsound:
        if not announced:
            return None
        raise _wrong(str(unsound)) from unsound
    return value if isinstance(value, dict) else {"body": value}


def _idempotency_key(request: WebhookRequest) -> str | None:
    keys = _values(request, "idempotency-key")
    if len(keys) > 1:
        raise _wrong("Idempotency-Key must be given at most once", "Idempotency-Key")
    try:
        return parse(IdempotencyKey, keys[0]) or None if keys else None
    except Invalid as error:
        raise Invalid([{**issue, "path": ["Idempotency-Key"]} for issue in error.issues]) from error


def _values(request: WebhookRequest, name: str) -> list[str]:
    return [value for header, value in request.headers if header == name]


def _wrong(text: str, *path: str) -> Invalid:
    return Invalid([{"code": "custom", "message": text, "path": list(path)}])
