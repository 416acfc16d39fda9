"""Calls of webhooks, signed as each mode asks for, and what the verification makes of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from domain.errors import Unauthenticated
from domain.values import SigningMode
from domain.webhooks.secret import Secret
from domain.webhooks.verification import WebhookRequest, verify
from tests.domain.webhooks.webhook_vectors.refused import BODY, hex_hmac, refused_attempts, v1

VECTORS = Path(__file__).parent / "webhook_vectors"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOON_S = 1795348800
SENT = str(NOON_S)
WINDOW_S = 300
SECRET = "4af2" * 12
MODES = get_args(SigningMode)
REFUSED = list(refused_attempts(SECRET, NOON, WINDOW_S))
MINTED_FOR: list[SigningMode] = ["standard_webhooks", "bearer"]
READ: dict[SigningMode, list[str]] = {
    "bearer": ["authorization"],
    "hmac_sha256": ["x-paperclip-signature", "x-hub-signature-256", "x-paperclip-timestamp"],
    "github_hmac": ["x-hub-signature-256", "x-paperclip-signature", "x-paperclip-timestamp"],
    "standard_webhooks": ["webhook-id", "webhook-timestamp", "webhook-signature"],
}
NAMES = [name for names in READ.values() for name in names]


def webhook_request(headers, body=BODY):
    return WebhookRequest(headers=tuple(headers.items()), body=body)


def secrets(*texts):
    return [Secret(text.encode()) for text in texts]


def proof(mode, headers, body=BODY, *, known_secrets=(SECRET,), window_s=WINDOW_S, now=NOON):
    return verify(mode, webhook_request(headers, body), secrets(*known_secrets), window_s, now)


def is_refused(mode, headers, body=BODY, *, known_secrets=(SECRET,), window_s=WINDOW_S, now=NOON):
    with pytest.raises(Unauthenticated):
        proof(mode, headers, body, known_secrets=known_secrets, window_s=window_s, now=now)
    return True


def stamped_headers(sent_at=SENT, body=BODY, secret=SECRET):
    """The headers of a request that is signed together with its timestamp."""
    return {"x-paperclip-signature": hex_hmac(secret, f"{sent_at}.".encode() + body), "x-paperclip-timestamp": sent_at}


def standard_headers(message_id="msg_1", sent_at=SENT, body=BODY, secret=SECRET):
    return {
        "webhook-id": message_id,
        "webhook-timestamp": sent_at,
        "webhook-signature": v1(secret, f"{message_id}.{sent_at}.".encode() + body),
    }


GENUINE = {
    "bearer": {"authorization": f"Bearer {SECRET}"},
    "hmac_sha256": stamped_headers(),
    "github_hmac": {"x-hub-signature-256": f"sha256={hex_hmac(SECRET, BODY)}"},
    "none": {},
    "standard_webhooks": standard_headers(),
}
