"""
Bearer tokens of users, agents and collections.

A user's or an agent's token is a prefix, 190 random bits in base62 and six base62 digits of CRC-32. A collection's is
`mlc_`, 40 characters of base36 (206 bits), of which the first eight may be shown, and seven base36 digits of CRC-32
(Jetty contract 1). The checksum lets a mistyped or made-up token be refused without a query. The database never holds
the token.
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
    """Return a new random token for a user (`board`) or an agent."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(32))
    return PREFIXES[kind] + body + _checksum_of(PREFIXES[kind] + body, ALPHABET, 6)


def mint_for_collection() -> str:
    """Return a new random token for a collection."""
    body = COLLECTION + "".join(secrets.choice(COLLECTION_ALPHABET) for _ in range(40))
    return body + _checksum_of(body, COLLECTION_ALPHABET, 7)


def visible_prefix(token: str) -> str:
    """Return the beginning of a collection's token, which may be shown so that people can tell keys apart."""
    return token[: len(COLLECTION) + SHOWN]


def is_well_formed(token: str) -> bool:
    """Return whether the text has the form of one of our tokens and its checksum is right."""
    if (match := COLLECTION_SHAPE.fullmatch(token)) is not None:
        return _checksum_of(match[1], COLLECTION_ALPHABET, 7) == match[2]
    match = SHAPE.fullmatch(token)
    return match is not None and _checksum_of(match[1] + match[2], ALPHABET, 6) == match[3]


def _checksum_of(text: str, alphabet: str, length: int) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(length):
        number, remainder = divmod(number, len(alphabet))
        digits = alphabet[remainder] + digits
    return digits
