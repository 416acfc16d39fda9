"""How what we send is signed: by Standard Webhooks 1.0, and callbacks by the headers of Jetty as well (contract 8)."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from domain.webhooks.secret import Secret

PREFIX = b"whsec_"
JSON = {"Content-Type": "application/json"}
AGENT = {"User-Agent": "Routines"}


def standard_headers(delivery_id: UUID, secrets: Sequence[Secret], body: bytes, now: datetime) -> dict[str, str]:
    """
    Return the headers of a delivery with a signature for each secret, in their order; the id is the same at each
    attempt.
    """
    message_id, timestamp = f"msg_{delivery_id.hex}", str(int(now.timestamp()))
    text = f"{message_id}.{timestamp}.".encode() + body
    signatures = [f"v1,{b64encode(hmac.digest(_signing_key(secret), text, 'sha256')).decode()}" for secret in secrets]
    headers = {**JSON, **AGENT, "webhook-id": message_id, "webhook-timestamp": timestamp}
    return {**headers, "webhook-signature": " ".join(signatures)} if signatures else headers


def callback_headers(number: int, secret: Secret | None, body: bytes, now: datetime) -> dict[str, str]:
    """
    Return the headers of a trajectory's callback, with a new timestamp at each attempt.

    There is no signature where there is no secret.
    """
    timestamp = str(int(now.timestamp()))
    headers = {"X-Mise-Timestamp": timestamp, "X-Mise-Trajectory-Id": str(number)}
    if secret is None or secret.value is None:
        return headers
    signature = hmac.digest(secret.value, timestamp.encode() + b"." + body, "sha256").hex()
    return {**headers, "X-Mise-Signature": signature}


def _signing_key(secret: Secret) -> bytes:
    """Return the key that the text of a Standard Webhooks secret encodes; for any other secret its own bytes."""
    value = secret.value or b""
    if not value.startswith(PREFIX):
        return value
    try:
        return b64decode(value.removeprefix(PREFIX), validate=True)
    except ValueError:
        return value
