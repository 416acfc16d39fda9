"""
Bearer tokens: a prefix, 190 random bits in base62, six base62 digits of CRC-32; of a collection, `mlc_`, 40 characters
of base36 (206 bits) of which the first eight may be shown, seven base36 digits of CRC-32 (Jetty contract 1).

The checksum lets a mistyped or made-up token be refused without a query. The database never holds the token.
"""

import re
import secrets
import zlib
from typing import Literal

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIXES = {"board": "pcp_board_", "agent": "pcp_"}
COLLECTION, SHOWN = "mlc_", 8
COLLECTION_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
COLLECTION_SHAPE = re.compile(r"(mlc_[0-9a-z]{40})([0-9a-z]{7})")
SHAPE = re.compile(r"(pcp_board_|pcp_)([0-9A-Za-z]{32})([0-9A-Za-z]{6})")


def mint(kind: Literal["board", "agent"]) -> str:
    body = "".join(secrets.choice(ALPHABET) for _ in range(32))
    return PREFIXES[kind] + body + _checksum(PREFIXES[kind] + body, ALPHABET, 6)


def mint_for_collection() -> str:
    body = COLLECTION + "".join(secrets.choice(COLLECTION_ALPHABET) for _ in range(40))
    return body + _checksum(body, COLLECTION_ALPHABET, 7)


def shown_of(token: str) -> str:
    """The part of a collection's token that may be shown, to tell it from others."""
    return token[: len(COLLECTION) + SHOWN]


def is_well_formed(token: str) -> bool:
    if (match := COLLECTION_SHAPE.fullmatch(token)) is not None:
        return _checksum(match[1], COLLECTION_ALPHABET, 7) == match[2]
    match = SHAPE.fullmatch(token)
    return match is not None and _checksum(match[1] + match[2], ALPHABET, 6) == match[3]


def _checksum(text: str, alphabet: str, length: int) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(length):
        number, rest = divmod(number, len(alphabet))
        digits = alphabet[rest] + digits
    return digits
