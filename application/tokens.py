"""
Bearer tokens: a prefix, 190 random bits in base62, six base62 digits of CRC-32.

The checksum lets a mistyped or made-up token be refused without a query. The database never holds the token.
"""

import re
import secrets
import zlib
from typing import Literal

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIXES = {"board": "pcp_board_", "agent": "pcp_"}
SHAPE = re.compile(r"(pcp_board_|pcp_)([0-9A-Za-z]{32})([0-9A-Za-z]{6})")


def mint(kind: Literal["board", "agent"]) -> str:
    body = "".join(secrets.choice(ALPHABET) for _ in range(32))
    return PREFIXES[kind] + body + _checksum(PREFIXES[kind] + body)


def is_well_formed(token: str) -> bool:
    match = SHAPE.fullmatch(token)
    return match is not None and _checksum(match[1] + match[2]) == match[3]


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, rest = divmod(number, 62)
        digits = ALPHABET[rest] + digits
    return digits
