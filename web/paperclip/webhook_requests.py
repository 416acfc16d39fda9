"""Reading of webhook requests: as raw bytes, since these are what is signed (contract 6)."""

import hashlib
import re
from binascii import a2b_qp
from contextlib import suppress
from typing import Any, Literal

from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from msgspec import UNSET, UnsetType

from application.use_cases.webhooks import WebhookCall
from domain.values import Json
from domain.webhooks.verification import WebhookRequest
from projections.responses import ResponseBody
from web.http import gzip_body, json_body
from web.http.idempotency import HEADER, read_key
from web.http.media_types import URL_ENCODED
from web.http.requests import JsonRequest
from web.http.validation import invalid

MOST_FIELDS = 100  # of a form
MESSAGE_IDS = {  # headers with the sender's id of the message, and how keys from them begin
    "X-GitHub-Delivery": "github-delivery",
    "svix-id": "webhook-id",
    "webhook-id": "webhook-id",
}
NO_ESCAPE = re.compile(rb"%(?![0-9a-fA-F]{2})")


class Handshake(ResponseBody, frozen=True, kw_only=True):
    """The answer to a sender that tries out the address: `pong` for GitHub's ping, its challenge for Slack."""

    message: Literal["pong"] | UnsetType = UNSET
    challenge: str | UnsetType = UNSET


async def webhook_request(request: JsonRequest) -> WebhookRequest:
    """Return the headers and the body of a request as they arrived. It is a dependency."""
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.scope["headers"]]
    return WebhookRequest(headers=tuple(headers), body=await request.raw_body())


def parse_call(request: WebhookRequest, most_bytes: int) -> WebhookCall:
    """
    Return the payload and the idempotency key of an authenticated request.

    Raise Invalid, and RequestEntityTooLarge for a body that has more than `most_bytes` when it is unpacked.
    """
    body = _unpack_body(request, most_bytes)
    payload, digest = _parse_payload(request, body), hashlib.sha256(body).hexdigest()
    return WebhookCall(payload=payload, idempotency_key=_idempotency_key(request), digest=digest)


def handshake_of(request: WebhookRequest) -> Handshake | None:
    """Return the answer to a call by which a sender only tries out the address; None for any other call."""
    if _header_values(request, "x-github-event") == ["ping"]:
        return Handshake(message="pong")
    if len(request.body) > json_body.SMALL or b"url_verification" not in request.body:
        return None
    with suppress(json_body.Unsound):
        match json_body.read(request.body, takes_last=True):
            case {"type": "url_verification", "challenge": str(challenge)}:
                return Handshake(challenge=challenge)
    return None


def size_of(request: WebhookRequest) -> int:
    """Return how large the body is, or says that it is when it is unpacked."""
    return max(len(request.body), gzip_body.announced_size(request.body) if _is_packed(request) else 0)


def _is_packed(request: WebhookRequest) -> bool:
    return not gzip_body.NAMES.isdisjoint(value.lower() for value in _header_values(request, "content-encoding"))


def _unpack_body(request: WebhookRequest, most_bytes: int) -> bytes:
    """Return the body without its compression; the signature covers it as it was sent."""
    if not request.body or not _is_packed(request):
        return request.body
    if gzip_body.announced_size(request.body) > most_bytes:
        raise RequestEntityTooLarge(f"The body must have at most {most_bytes} bytes, unpacked as well")
    try:
        return gzip_body.unpack(request.body)
    except gzip_body.Broken as broken:
        raise invalid(str(broken)) from broken


def _parse_payload(request: WebhookRequest, body: bytes) -> Json | None:
    """
    Return a JSON object as it is, another JSON value as `{"body": value}`, nothing as `{}`, anything else as None.

    Raise Invalid for what is announced as JSON and is none, and for JSON that is not accepted.
    """
    kind = ", ".join(_header_values(request, "content-type")).lower()
    if not body:
        return {}
    is_form = kind.startswith(URL_ENCODED)
    if is_form:
        if (field := _payload_field(body)) is None:
            return None
        body = field
    is_announced = bool(kind) and json_body.is_announced(kind)
    if not (is_announced or is_form or not kind or kind.startswith("text/")):
        return None
    try:
        value: Any = json_body.read(body, takes_last=True)  # as the sender has signed it
    except json_body.Unsound as unsound:
        if isinstance(unsound, json_body.Malformed) and not is_announced:
            return None
        raise invalid(str(unsound)) from unsound
    if isinstance(value, dict):
        return value
    return None if kind.startswith("text/") and not isinstance(value, list) else {"body": value}


def _payload_field(form: bytes) -> bytes | None:
    """Return the field `payload` of a form, as GitHub sends it; None without one, or if the form is not a small one."""
    if form.count(b"&") >= MOST_FIELDS:
        return None
    fields = (field.partition(b"=") for field in form.split(b"&"))
    value = next((value for name, _, value in fields if name == b"payload"), None)
    return None if value is None or NO_ESCAPE.search(value) else _unescape_field(value)


def _unescape_field(value: bytes) -> bytes:
    """
    Return a field of a form without its escapes.

    They are read as those of Quoted-Printable, which differ only in their first character. Of 10 MB of escapes urllib
    would make 400 MB, and take seconds.
    """
    return a2b_qp(value.replace(b"=", b"%3D").replace(b"+", b" ").replace(b"%", b"="))


def _idempotency_key(request: WebhookRequest) -> str | None:
    """Return the key that a sender chose, or else the id by which it knows its message."""
    keys = {name: read_key(name, _header_values(request, name.lower())) for name in (HEADER, *MESSAGE_IDS)}
    return keys[HEADER] or next((f"{MESSAGE_IDS[name]}:{key}" for name, key in keys.items() if key), None)


def _header_values(request: WebhookRequest, name: str) -> list[str]:
    return [value for header, value in request.headers if header == name]
