"""The verification of webhook calls against a second verifier, written from the contract in other words."""

import hmac
import random
import re
from base64 import b64decode, b64encode
from collections import Counter, defaultdict
from decimal import Decimal

from domain.errors import Unauthenticated
from domain.webhooks.verification import WebhookRequest, verify
from tests.domain.webhooks.signed_requests import NAMES, NOON, NOON_S, READ, SECRET, SENT, WINDOW_S, secrets
from tests.domain.webhooks.webhook_vectors.refused import OTHER_SECRET, hex_hmac, v1


def judge_request(mode, headers, body, known_secrets):
    """The contract once more, in other words: the stamp and the message id, or None for a wrong credential."""
    lines = defaultdict(list)
    for name, value in headers:
        lines[name].append(re.sub(r"^[ \t]+|[ \t]+$", "", value))
    if any(len(lines[name]) > 1 or any(ord(char) > 127 for char in "".join(lines[name])) for name in READ[mode]):
        return None
    first, second, third = ([*lines[name], None][0] for name in (READ[mode] + ["", ""])[:3])
    if mode == "bearer":
        return (None, None) if first in [f"Bearer {secret}" for secret in known_secrets if secret] else None
    if mode == "standard_webhooks":
        if not (first and "." not in first and first.isprintable() and " " not in first and len(first) < 256):
            return None
        if not re.match(r"^\d{10}\Z", second or "") or abs(int(second) - NOON_S) > WINDOW_S:
            return None
        parts = [part.split(",") for part in (third or "").split(" ")]
        if any(len(part) != 2 or not all(part) for part in parts):
            return None
        for secret in known_secrets:
            mac = hmac.new(b64decode(secret.replace("whsec_", "")), digestmod="sha256")
            for piece in (first, ".", second, "."):
                mac.update(piece.encode())
            mac.update(body)
            if ["v1", b64encode(mac.digest()).decode()] in parts:
                return (None, first)
        return None
    match = re.match(r"^(?:sha256=)?([0-9a-f]{64})\Z", (second if first is None else first) or "")
    index = re.match(r"^(\d{10,13})(\.\d{1,16})?\Z", third or "")
    near = index and abs((Decimal(third) / (1000 if Decimal(third) > 10**12 else 1)) - NOON_S) <= WINDOW_S
    texts = ([body] if mode == "github_hmac" else []) + ([third.encode() + b"." + body] if near else [])
    for text in texts if match else []:
        if any(hmac.new(secret.encode(), text, "sha256").hexdigest() == match[1] for secret in known_secrets):
            timestamp = re.match(rb"\d{10,13}\.\d{1,16}(?=\.)|\d{10,13}(?=\.)", text)
            return (f"{timestamp[0].decode()}:{match[1]}" if timestamp else None, None)
    return None


def genuine_at_random(chance, mode, secret):
    """A right request: headers as a list, and a body."""
    body = chance.choice([b"", b"{}", b"5.{}", f"{SENT}.7.x".encode(), b"\xff\x00", chance.randbytes(40)])
    sent_at = str(NOON_S + chance.randint(-WINDOW_S, WINDOW_S))
    if mode == "standard_webhooks":
        message_id = f"msg_{chance.randint(0, 99)}"
        right = v1(secret, f"{message_id}.{sent_at}.".encode() + body)
        listed = chance.choice([right, f"v1a,{right[3:]} {right}", f"{right} v1,AAAA"])
        return [*zip(READ[mode], (message_id, sent_at, listed), strict=True)], body
    if mode == "bearer":
        return [("authorization", f"Bearer {secret}")], body
    sent_at += chance.choice(["", "", "000", ".0", ".83"])
    clock = ("x-paperclip-timestamp", sent_at)
    headers = [clock] if mode == "hmac_sha256" or chance.random() < 0.5 else []
    text = f"{sent_at}.".encode() + body if headers and (mode == "hmac_sha256" or chance.random() < 0.5) else body
    signature = chance.choice(["", "sha256="]) + hex_hmac(secret, text)
    return [(chance.choice(READ[mode][:2]), signature), *headers], body


def changed_at_random(chance, headers, body):
    """The same request, with one thing changed; some changes do not matter."""
    if chance.random() < 0.2:
        return headers, chance.choice([body + b"\n", body[1:], b"5." + body, body + b"0", body])
    index = chance.randrange(len(headers))
    name, value = headers[index]
    place = chance.randrange(len(value) + 1)
    value = chance.choice(
        [
            f" {value}\t",
            value.upper(),
            value.swapcase(),
            value[:-1],
            value[:place] + chance.choice("0a.,= \t\né\0²") + value[place:],
            value[:place] + chance.choice("0a.,= ") + value[place + 1 :],
            value.replace("sha256=", ""),
            f"sha256={value}",
            f"{value}, {value}",
            f"{value} {value}",
            f"{value} v1,AAAA",
            f"{value}.5",
            f"{value}000",
        ]
    )
    fates = {
        "change": [(name, value)],
        "drop": [],
        "double": 2 * [headers[index]],
        "rename": [(chance.choice(NAMES), headers[index][1])],
        "accompany": [headers[index], (chance.choice(NAMES), value)],
    }
    return headers[:index] + fates[chance.choice(["change", "change", *fates])] + headers[index + 1 :], body


def test_an_independent_verifier_comes_to_the_same_answers():
    chance = random.Random(6)
    answers = Counter()
    for _ in range(6000):
        mode, secret = chance.choice([*READ]), chance.choice([SECRET, OTHER_SECRET])
        headers, body = genuine_at_random(chance, mode, secret)
        for _ in range(chance.choice([0, 1, 1, 2])):
            headers, body = changed_at_random(chance, headers, body) if headers else (headers, body)
        chosen_mode = chance.choice([mode, mode, mode, chance.choice([*READ])])
        known_secrets = chance.choice([[secret], [SECRET, OTHER_SECRET], ["f1" * 24], []] + 3 * [[secret]])
        try:
            proof = verify(
                chosen_mode, WebhookRequest(headers=tuple(headers), body=body), secrets(*known_secrets), WINDOW_S, NOON
            )
        except Unauthenticated:
            ours = None
        else:
            ours = (proof.stamp, proof.message_id)

        assert ours == judge_request(chosen_mode, headers, body, known_secrets), (
            chosen_mode,
            headers,
            body,
            known_secrets,
        )
        answers[chosen_mode, ours is not None] += 1

    assert answers.keys() == {(mode, known_secrets) for mode in READ for known_secrets in (True, False)}
    assert min(answers.values()) > 300
