"""
Whether a call of a webhook comes from somebody who knows its secret: contract 6, and Standard Webhooks 1.0.

Whatever is wrong with a credential, the answer is the same: Unauthenticated, without a reason.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context
from hmac import compare_digest
from secrets import token_bytes, token_hex
from typing import Any, assert_never

from domain.errors import Unauthenticated
from domain.values import SigningMode, Value
from domain.webhooks.secret import Secret

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EXACT = Context(prec=50)  # digits, more than any timestamp has
MILLISECONDS_ABOVE = 10**12  # a timestamp up to here is in seconds, a larger one in milliseconds

OUR_SIGNATURE = "x-paperclip-signature"
GITHUB_SIGNATURE = "x-hub-signature-256"
OUR_TIMESTAMP = "x-paperclip-timestamp"

DECIMAL = r"[0-9]{10,13}(?:\.[0-9]{1,16})?"  # fewer digits mean before 2001, more mean after 2286: never near now
TIMESTAMP = re.compile(DECIMAL)
STAMPED = re.compile(rf"({DECIMAL})\.".encode())
WHOLE_SECONDS = re.compile(r"[0-9]{10}")
MESSAGE_ID = re.compile(r"[!-\-/-~]{1,255}")  # no dot, so that the signed text can be read in one way only
SIGNATURES = re.compile(r"[^ ,]+,[^ ,]+(?: [^ ,]+,[^ ,]+)*")


class WebhookRequest(Value, frozen=True):
    """A request as received: header names in lower case, header values as latin-1 text, and the raw bytes of the body."""

    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """
        Return the value of a header without the blanks around it; None if it is absent.

        Raise Unauthenticated if it is there twice or is not ASCII.
        """
        values = [value for header, value in self.headers if header == name]
        if not values:
            return None
        if len(values) > 1 or not values[0].isascii():
            raise Unauthenticated
        return values[0].strip(" \t")

    def __repr__(self) -> str:
        return f"WebhookRequest({len(self.body)} bytes)"  # a header may be the secret itself

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("body", f"{len(self.body)} bytes")]


class Proof(Value, frozen=True):
    """
    The proof that the sender is known, with what a replay would repeat: the same stamp, or the same message id.

    `stamp` is "<timestamp>:<hex signature>" where a timestamp was signed; `message_id` is the webhook-id of
    standard_webhooks. Both are None in the modes that sign neither.
    """

    stamp: str | None = None
    message_id: str | None = None


def verify(
    mode: SigningMode, request: WebhookRequest, secrets: Sequence[Secret], window_s: int, now: datetime
) -> Proof:
    """
    Return the proof that the sender knows one of the secrets. Raise Unauthenticated if they do not.

    `window_s` is how many seconds a signed timestamp may differ from now. A rotated secret counts for as long as it is
    in `secrets`.
    """
    match mode:
        case "none":
            return Proof()
        case "bearer":
            return _verify_bearer(request, secrets)
        case "hmac_sha256":
            return _hex_hmac(
                request, (OUR_SIGNATURE, GITHUB_SIGNATURE), _signed_content(request, window_s, now), secrets
            )
        case "github_hmac":
            texts = [request.body, *_signed_content(request, window_s, now)]
            return _hex_hmac(request, (GITHUB_SIGNATURE, OUR_SIGNATURE), texts, secrets)
        case "standard_webhooks":
            return _verify_standard(request, secrets, window_s, now)
        case _:
            assert_never(mode)


def why_unproven(mode: SigningMode, request: WebhookRequest, window_s: int, now: datetime) -> str:
    """
    Return why a call that `verify` refuses proves nothing, for those who may know the secret; never for its sender.

    If its headers are as they should be, the secret or the signature is another one.
    """
    return fault_of_headers(mode, request, window_s, now) or _CREDENTIALS[mode][2]


def fault_of_headers(mode: SigningMode, request: WebhookRequest, window_s: int, now: datetime) -> str | None:
    """Return why no secret and no body could make a genuine call of these headers; None if one could."""
    names, timestamp, _ = _CREDENTIALS[mode]
    for name in (name for group in names for name in group):
        values = [value for header, value in request.headers if header == name]
        if len(values) > 1 or not "".join(values).isascii():
            return f"{name} is given twice or is not ASCII"
    for group in names:
        if not any(request.header(name) for name in group):
            return f"{' or '.join(group)} is missing"
    form = TIMESTAMP
    if mode == "standard_webhooks":
        form = WHOLE_SECONDS
        if request.header("webhook-id") is None:  # then the headers of Svix count
            timestamp = "svix-timestamp"
    sent_at = request.header(timestamp) if timestamp else None
    if sent_at is not None and not form.fullmatch(sent_at):
        return f"{timestamp} is no time in seconds"
    if sent_at is not None and not _is_near(sent_at, window_s, now):
        return f"{timestamp} differs from now by more than {window_s} seconds"
    return None


_CREDENTIALS: dict[SigningMode, tuple[tuple[tuple[str, ...], ...], str | None, str]] = {
    # by mode: the headers of which one of each group must be there, the one with the time, and what is wrong otherwise
    "none": ((), None, "no credential is needed"),
    "bearer": ((("authorization",),), None, "authorization is not `Bearer` and the secret of this webhook"),
    "hmac_sha256": (
        ((OUR_SIGNATURE, GITHUB_SIGNATURE), (OUR_TIMESTAMP,)),
        OUR_TIMESTAMP,
        "the signature is not the HMAC-SHA256 of `<timestamp>.<body>` by the secret of this webhook",
    ),
    "github_hmac": (
        ((GITHUB_SIGNATURE, OUR_SIGNATURE),),
        None,
        "the signature is not the HMAC-SHA256 of the body, as it was sent, by the secret of this webhook",
    ),
    "standard_webhooks": (
        (("webhook-id", "svix-id"), ("webhook-timestamp", "svix-timestamp"), ("webhook-signature", "svix-signature")),
        "webhook-timestamp",
        "no signature is that of `<id>.<timestamp>.<body>` by the secret of this webhook",
    ),
}


def mint(mode: SigningMode) -> str:
    """Return a new secret: 48 hex characters (contract 4), or what Standard Webhooks asks for."""
    return f"whsec_{b64encode(token_bytes(32)).decode()}" if mode == "standard_webhooks" else token_hex(24)


def mint_public_id() -> str:
    """Return the part of a new webhook's address that nobody can guess: 24 hex characters (contract 4)."""
    return token_hex(12)


def _verify_bearer(request: WebhookRequest, secrets: Sequence[Secret]) -> Proof:
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    matches = [secret.is_known_as(token.encode()) for secret in secrets]  # all of them, so that the time tells nothing
    if scheme != "Bearer" or not token or not any(matches):
        raise Unauthenticated
    return Proof()


def _signed_content(request: WebhookRequest, window_s: int, now: datetime) -> list[bytes]:
    """Return what is signed together with the timestamp; empty if the timestamp is missing or not near now."""
    timestamp = request.header(OUR_TIMESTAMP) or ""
    if not TIMESTAMP.fullmatch(timestamp) or not _is_near(timestamp, window_s, now):
        return []
    return [timestamp.encode() + b"." + request.body]


def _hex_hmac(request: WebhookRequest, names: tuple[str, str], texts: list[bytes], secrets: Sequence[Secret]) -> Proof:
    """
    Return the proof by a hexadecimal HMAC of one of the texts.

    If both headers are there, the one that `names` has first counts.
    """
    signatures = [value for name in names if (value := request.header(name)) is not None]
    signature = signatures[0].removeprefix("sha256=") if signatures else ""
    matches = [
        text
        for secret in secrets
        for text in texts
        if secret.value and compare_digest(hmac.digest(secret.value, text, "sha256").hex().encode(), signature.encode())
    ]
    if not matches:
        raise Unauthenticated
    # The stamp is taken from the signed text, not from the header: otherwise a replay could move the fraction, or all,
    # of the timestamp into the body, and the same signature would count once more.
    stamp = STAMPED.match(matches[0])
    return Proof(stamp=f"{stamp[1].decode()}:{signature}" if stamp else None)


def _verify_standard(request: WebhookRequest, secrets: Sequence[Secret], window_s: int, now: datetime) -> Proof:
    """Return the proof by the headers of Standard Webhooks, or else by those of Svix, which are the same by another name."""
    family = "svix" if request.header("webhook-id") is None else "webhook"
    message_id, timestamp, signature_list = (
        request.header(f"{family}-{part}") or "" for part in ("id", "timestamp", "signature")
    )
    if not MESSAGE_ID.fullmatch(message_id) or not SIGNATURES.fullmatch(signature_list):
        raise Unauthenticated
    if not WHOLE_SECONDS.fullmatch(timestamp) or not _is_near(timestamp, window_s, now):
        raise Unauthenticated
    text = f"{message_id}.{timestamp}.".encode() + request.body
    expected_signatures = [
        b64encode(hmac.digest(key, text, "sha256")) for secret in secrets if (key := _standard_key(secret))
    ]
    signatures = [
        signature.removeprefix("v1,").encode() for signature in signature_list.split(" ") if signature.startswith("v1,")
    ]
    matches = [compare_digest(ours, theirs) for ours in expected_signatures for theirs in signatures]
    if not any(matches):
        raise Unauthenticated
    return Proof(message_id=message_id)


def _standard_key(secret: Secret) -> bytes:
    """Return the key that the text of a secret encodes; empty if it is not base64."""
    text = (secret.value or b"").removeprefix(b"whsec_")
    try:
        return b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError:
        return b""


def _is_near(timestamp: str, window_s: int, now: datetime) -> bool:
    """Return whether a timestamp in seconds or milliseconds is at most `window_s` before or after now."""
    seconds = EXACT.create_decimal(timestamp)
    sent_us = EXACT.multiply(seconds, 10**3 if seconds > MILLISECONDS_ABOVE else 10**6)
    return EXACT.subtract(sent_us, (now - EPOCH) // MICROSECOND).copy_abs() <= window_s * 10**6
