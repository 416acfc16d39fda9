"""The leaves of the log's trees: what stands for an event there, and in whose trees it stands."""

import re
import struct
from functools import lru_cache
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec

# How the store ends a body of a company. The last brace closes the body, so this company is the last one that it names.
_TAIL = re.compile(rb'\},"company_id":"([0-9a-f-]{36})"(?:,"cause":"[^"\\]*")?\}')
_TAIL_START = b'},"company_id":"'
_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEAD = struct.Struct(">q16sqi")
_NUMBER = struct.Struct(">q")
_LENGTH = struct.Struct(">i")


class _Body(msgspec.Struct):
    company_id: Any = None


_decode = msgspec.json.Decoder(_Body).decode


def leaf_of(  # noqa: PLR0913, PLR0917 the columns
    position: int, stream_id: bytes, version: int, name: str, body_sha256: bytes, recorded_us: int, login: str | None
) -> bytes:
    """
    Return the leaf of a row of the log: what the hash of the row covers, without the hash of the row before.

    The body is in it as its hash, so the leaf says nothing of the body, and stays when the body is erased.
    """
    stored_name = name.encode()
    leaf = _HEAD.pack(position, stream_id, version, len(stored_name)) + stored_name + body_sha256
    leaf += _NUMBER.pack(recorded_us)
    if login is None:  # recorded before the log kept logins
        return leaf
    stored_login = login.encode()
    return leaf + _LENGTH.pack(len(stored_login)) + stored_login


def hash_body(body: bytes) -> bytes:
    """Return what a leaf has of the body."""
    return sha256(body).digest()


def company_of(body: bytes) -> UUID | None:
    """
    Return the company of an event, in whose tree it has a leaf beside the one in the tree of the whole log.

    Where a body names several, the last one counts, as for all readers. A body that cannot be read has no company.
    """
    if (start := body.rfind(_TAIL_START)) >= 0 and (tail := _TAIL.fullmatch(body, start)):
        text: Any = tail[1].decode()
    else:
        try:
            text = _decode(body).company_id
        except (msgspec.DecodeError, RecursionError):
            return None
    return _parse_company(text) if isinstance(text, str) else None


@lru_cache(10_000)
def _parse_company(text: str) -> UUID | None:
    return UUID(text) if _CANONICAL.fullmatch(text) else None
