"""
Requests that prove nothing, made by hand: each is refused as Unauthenticated, and nothing more is said.

Each is a genuine request but for what its `why` says. They follow from a secret (48 hex characters), a moment and a
window, so that a running service can be asked as well. Names of headers are lower-case, values latin-1 text.
"""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

BODY = b'{"event": "deploy", "by": "Zo\xc3\xab", "ok": true}'
OTHER_SECRET = "0f" * 24

Headers = dict[str, str] | list[tuple[str, str]]


class Attempt(NamedTuple):
    mode: str
    why: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def attempt(mode: str, why: str, headers: Headers, body: bytes = BODY) -> Attempt:
    return Attempt(mode, why, tuple(headers.items() if isinstance(headers, dict) else headers), body)


def hex_hmac(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def v1(secret: str, text: bytes) -> str:
    return "v1," + b64encode(hmac.new(b64decode(secret), text, hashlib.sha256).digest()).decode()


def other_character(character: str) -> str:
    return "0" if character != "0" else "1"


def refused_attempts(secret: str, now: datetime, window_s: int) -> Iterator[Attempt]:
    now_s = int(now.timestamp())
    yield from _bearer_attempts(secret)
    yield from _github_attempts(secret, str(now_s))
    yield from _stamped_attempts(secret, now_s, window_s)
    yield from _standard_attempts(secret, now_s, window_s)


def _bearer_attempts(secret: str) -> Iterator[Attempt]:
    authorizations = {
        "an empty header": "",
        "blanks only": " \t ",
        "the scheme only": "Bearer",
        "the scheme and a blank": "Bearer ",
        "no scheme": secret,
        "the scheme in lower case": f"bearer {secret}",
        "the scheme in upper case": f"BEARER {secret}",
        "the scheme cut short": f"Beare {secret}",
        "another scheme": f"Basic {secret}",
        "Basic, as it should be": f"Basic {b64encode(f':{secret}'.encode()).decode()}",
        "GitHub's scheme": f"token {secret}",
        "two blanks": f"Bearer  {secret}",
        "a tab": f"Bearer\t{secret}",
        "a non-breaking space": f"Bearer\xa0{secret}",
        "a non-breaking space at the end": f"Bearer {secret}\xa0",
        "no blank": f"Bearer{secret}",
        "a colon": f"Bearer: {secret}",
        "an equals sign": f"Bearer={secret}",
        "two schemes": f"Bearer Bearer {secret}",
        "two tokens": f"Bearer {secret} {secret}",
        "the right token first": f"Bearer {secret} {OTHER_SECRET}",
        "the right token last": f"Bearer {OTHER_SECRET} {secret}",
        "joined with a comma": f"Bearer {secret}, Bearer {secret}",
        "a comma at the end": f"Bearer {secret},",
        "quotes": f'Bearer "{secret}"',
        "another's secret": f"Bearer {OTHER_SECRET}",
        "one character short": f"Bearer {secret[:-1]}",
        "one character long": f"Bearer {secret}0",
        "the first half": f"Bearer {secret[:24]}",
        "twice the token": f"Bearer {secret}{secret}",
        "another first character": f"Bearer {other_character(secret[0])}{secret[1:]}",
        "another last character": f"Bearer {secret[:-1]}{other_character(secret[-1])}",
        "upper case": f"Bearer {secret.upper()}",
        "backwards": f"Bearer {secret[::-1]}",
        "a NUL at the end": f"Bearer {secret}\0",
        "a line feed at the end": f"Bearer {secret}\n",
        "not ASCII": "Bearer " + 48 * "é",
        "its SHA-256, which is what we keep": f"Bearer {hashlib.sha256(secret.encode()).hexdigest()}",
        "its base64": f"Bearer {b64encode(secret.encode()).decode()}",
        "percent-encoded": f"Bearer %{ord(secret[0]):x}{secret[1:]}",
        "the HMAC of the body": f"Bearer {hex_hmac(secret, BODY)}",
        "the word null": "Bearer null",
        "a megabyte": "Bearer " + 2**20 * "a",
    }
    yield attempt("bearer", "no header", {})
    for why, authorization in authorizations.items():
        yield attempt("bearer", why, {"authorization": authorization})
    right = f"Bearer {secret}"
    yield attempt("bearer", "given twice", 2 * [("authorization", right)])
    yield attempt("bearer", "given, then empty", [("authorization", right), ("authorization", "")])
    yield attempt(
        "bearer", "another's, then given", [("authorization", f"Bearer {OTHER_SECRET}"), ("authorization", right)]
    )
    for name in ("proxy-authorization", "x-api-key", "x-paperclip-signature", "x-authorization", "cookie"):
        yield attempt("bearer", f"in {name}", {name: right})
    yield attempt("bearer", "in the body", {}, right.encode())
    yield attempt("bearer", "a right HMAC", {"x-hub-signature-256": f"sha256={hex_hmac(secret, BODY)}"})


def _github_attempts(secret: str, timestamp: str) -> Iterator[Attempt]:
    mode, header = "github_hmac", "x-hub-signature-256"
    for why, signature in _mangled_signatures(secret, BODY).items():
        yield attempt(mode, why, {header: signature})
    right = f"sha256={hex_hmac(secret, BODY)}"
    for why, body in _other_bodies().items():
        yield attempt(mode, why, {header: right}, body)
    yield attempt(mode, "no header", {})
    yield attempt(mode, "the secret in Authorization", {"authorization": f"Bearer {secret}"})
    yield attempt(mode, "GitHub's old header", {"x-hub-signature": right})
    yield attempt(mode, "a header with an underscore", {"x_hub_signature_256": right})
    yield attempt(mode, "given twice", 2 * [(header, right)])
    yield attempt(mode, "wrong, then right", [(header, "sha256=" + 64 * "0"), (header, right)])
    yield attempt(mode, "the other header twice", [(header, right), *2 * [("x-paperclip-signature", right)]])
    yield attempt(mode, "right only in the second header", {header: 64 * "0", "x-paperclip-signature": right})
    yield attempt(mode, "right only behind an empty one", {header: "", "x-paperclip-signature": right})
    stamped = hex_hmac(secret, f"{timestamp}.".encode() + BODY)
    yield attempt(mode, "signed with a timestamp that is not given", {header: stamped})
    yield attempt(mode, "signed with another timestamp", {header: stamped, "x-paperclip-timestamp": f"{timestamp}.0"})
    late = str(int(timestamp) - 86_401)
    yield attempt(
        mode,
        "signed with a timestamp of long ago",
        {header: hex_hmac(secret, f"{late}.".encode() + BODY), "x-paperclip-timestamp": late},
    )
    yield attempt(
        mode,
        "two timestamps",
        [(header, right), ("x-paperclip-timestamp", timestamp), ("x-paperclip-timestamp", timestamp)],
    )


def _stamped_attempts(secret: str, now_s: int, window_s: int) -> Iterator[Attempt]:
    mode, header, clock = "hmac_sha256", "x-paperclip-signature", "x-paperclip-timestamp"
    sent_at = str(now_s)
    text = f"{sent_at}.".encode() + BODY
    right = hex_hmac(secret, text)
    for why, signature in _mangled_signatures(secret, text).items():
        yield attempt(mode, why, {header: signature, clock: sent_at})
    for why, body in _other_bodies().items():
        yield attempt(mode, why, {header: right, clock: sent_at}, body)
    timestamps = {
        "an empty timestamp": "",
        "a timestamp of blanks": "  ",
        "a second before the window": str(now_s - window_s - 1),
        "a second after the window": str(now_s + window_s + 1),
        "a hair before the window": f"{now_s - window_s - 1}.999999",
        "a hair after the window": f"{now_s + window_s}.000001",
        "a millisecond before the window": str((now_s - window_s) * 1000 - 1),
        "a millisecond after the window": str((now_s + window_s) * 1000 + 1),
        "the year 1970": "0",
        "minutes": str(now_s // 60),
        "microseconds": str(now_s * 10**6),
        "nanoseconds": str(now_s * 10**9),
        "a plus sign": f"+{now_s}",
        "a minus sign": f"-{now_s}",
        "an exponent": f"{now_s}e0",
        "a small number with an exponent": f"{now_s / 10**9}e9",
        "hexadecimal": hex(now_s),
        "underscores": f"{now_s:_}",
        "commas": f"{now_s:,}",
        "a decimal comma": f"{now_s},5",
        "no fraction behind the point": f"{now_s}.",
        "nothing before the point": f".{now_s}",
        "two points": f"{now_s}.0.0",
        "a fraction without end": f"{now_s}." + 1000 * "0",
        "digits without end": 1000 * "9",
        "zeros without end": 1000 * "0" + sent_at,
        "superscript digits": f"{sent_at[:-1]}\xb2",
        "a blank within": f"{sent_at[:5]} {sent_at[5:]}",
        "a NUL": f"{sent_at}\0",
        "a line feed": f"{sent_at}\n",
        "a non-breaking space": f"{sent_at}\xa0",
        "a unit": f"{sent_at}s",
        "quotes around the timestamp": f'"{sent_at}"',
        "the timestamp twice": f"{sent_at}, {sent_at}",
        "Stripe's way to write it": f"t={sent_at}",
        "ISO 8601": datetime.fromtimestamp(now_s, UTC).isoformat(),
        "an HTTP date": f"{datetime.fromtimestamp(now_s, UTC):%a, %d %b %Y %H:%M:%S GMT}",
        "not a number": "NaN",
        "infinity": "Infinity",
        "minus infinity": "-inf",
    }
    for why, timestamp in timestamps.items():
        # The edges of a header are blanks to everybody: what is signed is the text between them.
        signature = hex_hmac(secret, f"{timestamp.strip()}.".encode("latin-1") + BODY)
        yield attempt(mode, why, {header: signature, clock: timestamp})
    yield attempt(mode, "no header at all", {})
    yield attempt(mode, "no signature", {clock: sent_at})
    yield attempt(mode, "no timestamp", {header: right})
    yield attempt(mode, "no timestamp, and the body signed alone", {header: hex_hmac(secret, BODY)})
    yield attempt(mode, "no timestamp, as GitHub signs", {"x-hub-signature-256": f"sha256={hex_hmac(secret, BODY)}"})
    yield attempt(mode, "a timestamp that is not signed", {header: hex_hmac(secret, BODY), clock: sent_at})
    yield attempt(mode, "another timestamp than the signed", {header: right, clock: str(now_s + 1)})
    yield attempt(mode, "the same time in milliseconds", {header: right, clock: f"{sent_at}000"})
    yield attempt(mode, "the same time with a fraction", {header: right, clock: f"{sent_at}.0"})
    yield attempt(mode, "the timestamp in another header", {header: right, "x-timestamp": sent_at})
    yield attempt(mode, "no dot in what is signed", {header: hex_hmac(secret, sent_at.encode() + BODY), clock: sent_at})
    yield attempt(
        mode, "a colon in what is signed", {header: hex_hmac(secret, f"{sent_at}:".encode() + BODY), clock: sent_at}
    )
    yield attempt(
        mode, "signed the other way round", {header: hex_hmac(secret, BODY + f".{sent_at}".encode()), clock: sent_at}
    )
    yield attempt(mode, "the signature given twice", [(header, right), (header, right), (clock, sent_at)])
    yield attempt(mode, "wrong, then right", [(header, 64 * "0"), (header, right), (clock, sent_at)])
    yield attempt(mode, "the timestamp given twice", [(header, right), (clock, sent_at), (clock, sent_at)])
    yield attempt(mode, "two timestamps", [(header, right), (clock, sent_at), (clock, str(now_s + 1))])
    yield attempt(
        mode,
        "right only in the second header",
        {header: 64 * "0", "x-hub-signature-256": right, clock: sent_at},
    )
    yield attempt(mode, "the secret in Authorization", {"authorization": f"Bearer {secret}", clock: sent_at})


def _standard_attempts(secret: str, now_s: int, window_s: int) -> Iterator[Attempt]:
    mode, sent_at = "standard_webhooks", str(now_s)

    def signed(message_id: str = "msg_1", timestamp: str = sent_at, body: bytes = BODY) -> bytes:
        return f"{message_id}.{timestamp}.".encode("latin-1") + body

    def headers_with(signature: str, message_id: str = "msg_1", timestamp: str = sent_at) -> dict[str, str]:
        return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signature}

    right = v1(secret, signed())
    digest = right.removeprefix("v1,")
    wrong = "v1," + b64encode(bytes(32)).decode()
    # A signature with both of the characters in which the alphabets of base64 differ.
    odd_id = next(one for n in count() if {"+", "/"} < set(v1(secret, signed(one := f"msg_{n}"))))
    odd = v1(secret, signed(odd_id))
    signatures = {
        "an empty signature": "",
        "a version without signature": "v1",
        "the prefix only": "v1,",
        "no version": digest,
        "no version, but a comma": f",{digest}",
        "the version of public keys": f"v1a,{digest}",
        "version 2": f"v2,{digest}",
        "version 0": f"v0,{digest}",
        "version 01": f"v01,{digest}",
        "the version in upper case": f"V1,{digest}",
        "an equals sign": f"v1={digest}",
        "a blank behind the comma": f"v1, {digest}",
        "two commas": f"v1,,{digest}",
        "the version twice": f"v1,v1,{digest}",
        "joined with a comma": f"{right}, {right}",
        "joined with a comma alone": f"{right},{right}",
        "wrong, joined with a comma": f"{wrong}, {right}",
        "joined with a tab": f"{wrong}\t{right}",
        "joined with two blanks": f"{wrong}  {right}",
        "joined with a semicolon": f"{wrong};{right}",
        "all wrong": " ".join(20 * [wrong]),
        "a thousand wrong ones": " ".join(1000 * [wrong]),
        "no padding": right.rstrip("="),
        "more padding": f"{right}=",
        "one character short": right[:-2],
        "one character long": f"{right}A",
        "another first character": f"v1,{other_character(digest[0])}{digest[1:]}",
        "another character before the padding": f"v1,{digest[:-2]}{other_character(digest[-2])}=",
        "upper case": f"v1,{digest.upper()}",
        "a blank within": f"v1,{digest[:20]} {digest[20:]}",
        "a dash within, which decoders skip": f"v1,{digest[:20]}-{digest[20:]}",
        "a line feed at the end": f"{right}\n",
        "a NUL at the end": f"{right}\0",
        "not ASCII": "v1," + 44 * "é",
        "hexadecimal": f"v1,{b64decode(digest).hex()}",
        "base64 of hexadecimal": f"v1,{b64encode(b64decode(digest).hex().encode()).decode()}",
        "another's secret": v1(OTHER_SECRET, signed()),
        "the secret's text as key": _v1_keyed(secret.encode(), signed()),
        "the secret's hex decoded as key": _v1_keyed(bytes.fromhex(secret), signed()),
        "an empty key": _v1_keyed(b"", signed()),
        "the body signed alone": v1(secret, BODY),
        "no id in what is signed": v1(secret, f"{sent_at}.".encode() + BODY),
        "no timestamp in what is signed": v1(secret, b"msg_1." + BODY),
        "signed the other way round": v1(secret, f"{sent_at}.msg_1.".encode() + BODY),
        "another id than the signed": v1(secret, signed("msg_2")),
        "another timestamp than the signed": v1(secret, signed(timestamp=str(now_s - 1))),
        "SHA-512": "v1," + b64encode(hmac.digest(b64decode(secret), signed(), "sha512")).decode(),
    }
    for why, signature in signatures.items():
        yield attempt(mode, why, headers_with(signature))
    yield attempt(mode, "the alphabet of URLs", headers_with(odd.replace("+", "-").replace("/", "_"), odd_id))
    for why, body in _other_bodies().items():
        yield attempt(mode, why, headers_with(right), body)
    timestamps = {
        "an empty timestamp": "",
        "a second before the window": str(now_s - window_s - 1),
        "a second after the window": str(now_s + window_s + 1),
        "milliseconds": f"{sent_at}000",
        "a fraction": f"{sent_at}.0",
        "a plus sign": f"+{sent_at}",
        "a leading zero": f"0{sent_at}",
        "an exponent": f"{sent_at}e0",
        "an underscore": f"{sent_at[:1]}_{sent_at[1:]}",
        "superscript digits": f"{sent_at[:-1]}\xb2",
        "ISO 8601": datetime.fromtimestamp(now_s, UTC).isoformat(),
        "not a number": "NaN",
    }
    for why, timestamp in timestamps.items():
        yield attempt(mode, why, headers_with(v1(secret, signed(timestamp=timestamp)), timestamp=timestamp))
    ids = {
        "an empty id": "",
        "an id with a dot": "msg.1",
        "an id that ends in a timestamp": f"msg_1.{sent_at}",
        "an id with a blank": "msg 1",
        "an id with a NUL": "msg\x001",
        "an id that is not ASCII": "msg_é",
        "an id without end": 256 * "a",
    }
    for why, message_id in ids.items():
        yield attempt(mode, why, headers_with(v1(secret, signed(message_id)), message_id))
    headers = headers_with(right)
    for name in headers:
        yield attempt(mode, f"no {name}", {key: value for key, value in headers.items() if key != name})
        yield attempt(mode, f"{name} twice", [*headers.items(), (name, headers[name])])
    yield attempt(mode, "no header", {})
    for name in headers:
        mixed = {key.replace("webhook", "svix") if key == name else key: value for key, value in headers.items()}
        yield attempt(mode, f"{name} as Svix has it, the others not", mixed)
    yield attempt(mode, "signed as GitHub does", {"x-hub-signature-256": f"sha256={hex_hmac(secret, BODY)}"})


def _mangled_signatures(secret: str, text: bytes) -> dict[str, str]:
    """Signatures in hexadecimal that are not the one of this text with this secret."""
    right = hex_hmac(secret, text)
    return {
        "an empty signature": "",
        "blanks only": " \t ",
        "the prefix only": "sha256=",
        "one character short": right[:-1],
        "one character long": f"{right}0",
        "two characters long": f"sha256={right}00",
        "the first half": right[:32],
        "the first character": right[0],
        "twice the signature": right + right,
        "another first character": other_character(right[0]) + right[1:],
        "another character in the middle": right[:32] + other_character(right[32]) + right[33:],
        "another last character": right[:-1] + other_character(right[-1]),
        "backwards": right[::-1],
        "zeros": 64 * "0",
        "upper case": right.upper(),
        "upper case behind the prefix": f"sha256={right.upper()}",
        "the prefix in upper case": f"SHA256={right}",
        "the prefix twice": f"sha256=sha256={right}",
        "the prefix cut short": f"sha25={right}",
        "the prefix without equals sign": f"sha256{right}",
        "a blank behind the prefix": f"sha256= {right}",
        "a blank within the prefix": f"sha256 ={right}",
        "a colon behind the prefix": f"sha256:{right}",
        "another name of the algorithm": f"hmac-sha256={right}",
        "sha1=": f"sha1={right}",
        "sha512=": f"sha512={right}",
        "Slack's prefix": f"v0={right}",
        "Stripe's prefix": f"v1={right}",
        "hexadecimal, and says so": f"0x{right}",
        "quotes": f'"{right}"',
        "joined with a comma": f"{right}, {right}",
        "joined with a comma alone": f"{right},{right}",
        "wrong, joined with a comma": f"{64 * '0'},{right}",
        "joined with a blank": f"{right} {right}",
        "a semicolon at the end": f"{right};",
        "a NUL at the end": f"{right}\0",
        "a NUL in the middle": f"{right[:32]}\0{right[32:]}",
        "a NUL instead of the end": f"{right[:63]}\0",
        "a line feed at the end": f"{right}\n",
        "a line feed in the middle": f"{right[:32]}\n {right[32:]}",
        "a non-breaking space before it": f"\xa0{right}",
        "a soft hyphen at the end": f"{right}\xad",
        "64 letters that are not ASCII": 64 * "é",
        "32 letters that are not ASCII, 64 bytes": 32 * "é",
        "colons between the bytes": bytes.fromhex(right).hex(":"),
        "base64": b64encode(bytes.fromhex(right)).decode(),
        "as Standard Webhooks writes it": f"v1,{b64encode(bytes.fromhex(right)).decode()}",
        "a megabyte": 2**20 * "a",
        "the secret itself": secret,
        "the secret as a bearer token": f"Bearer {secret}",
        "another's secret": hex_hmac(OTHER_SECRET, text),
        "an empty key": hex_hmac("", text),
        "the secret in upper case as key": hex_hmac(secret.upper(), text),
        "the secret and a line feed as key": hex_hmac(f"{secret}\n", text),
        "the secret cut short as key": hex_hmac(secret[:-1], text),
        "the secret behind whsec_ as key": hex_hmac(f"whsec_{secret}", text),
        "the secret's hex decoded as key": hmac.digest(bytes.fromhex(secret), text, "sha256").hex(),
        "the secret's SHA-256 as key": hex_hmac(hashlib.sha256(secret.encode()).hexdigest(), text),
        "key and text exchanged": hmac.digest(text, secret.encode(), "sha256").hex(),
        "no key": hashlib.sha256(text).hexdigest(),
        "the secret before the text, without HMAC": hashlib.sha256(secret.encode() + text).hexdigest(),
        "the secret behind the text, without HMAC": hashlib.sha256(text + secret.encode()).hexdigest(),
        "SHA-1": "sha1=" + hmac.digest(secret.encode(), text, "sha1").hex(),
        "SHA-512": hmac.digest(secret.encode(), text, "sha512").hex(),
        "SHA-512, cut to length": hmac.digest(secret.encode(), text, "sha512").hex()[:64],
        "SHA3-256": hmac.digest(secret.encode(), text, "sha3_256").hex(),
        "of an empty text": hex_hmac(secret, b""),
        "of the hash of the text": hex_hmac(secret, hashlib.sha256(text).digest()),
    }


def _other_bodies() -> dict[str, bytes]:
    """Bodies that are not the signed one, though some of them mean the same."""
    value = json.loads(BODY)
    return {
        "an empty body": b"",
        "the body and a line feed": BODY + b"\n",
        "the body and a blank": BODY + b" ",
        "the body and a NUL": BODY + b"\0",
        "a line feed and the body": b"\n" + BODY,
        "the body behind a byte order mark": b"\xef\xbb\xbf" + BODY,
        "the body without its last byte": BODY[:-1],
        "the body without its first byte": BODY[1:],
        "the body twice": BODY + BODY,
        "one bit changed": BODY[:20] + bytes([BODY[20] ^ 1]) + BODY[21:],
        "the body serialised again": json.dumps(value).encode(),
        "the body serialised without blanks": json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(),
        "the body with its keys sorted": json.dumps(value, sort_keys=True, ensure_ascii=False).encode(),
        "the body in latin-1": BODY.decode().encode("latin-1"),
        "the body in UTF-16": BODY.decode().encode("utf-16"),
        "the body with its letter decomposed": BODY.replace(b"\xc3\xab", b"e\xcc\x88"),
        "another body": b'{"event": "deploy", "by": "Eve", "ok": true}',
    }


def _v1_keyed(key: bytes, text: bytes) -> str:
    return "v1," + b64encode(hmac.digest(key, text, "sha256")).decode()
