"""
How the parts of an event that can be erased are kept: encrypted under a key of the event, which follows from the data key
of whom they belong to (docs/decisions/0059-erasure.md).

AES-256-GCM; the key of an event is the keyed BLAKE2b of its stream, its version and a random salt, so none is used twice
and the nonce may be constant. Beside the ciphertext stands the hash of that key: whoever hands the key of one event to somebody
else, in a receipt, can only hand over the one under which the event was sealed.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from hashlib import blake2b, sha256
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SALT_BYTES, DIGEST_BYTES = 16, 32
BEGINS = SALT_BYTES + DIGEST_BYTES
NONCE = bytes(12)


class CannotOpen(Exception):
    """The parts of an event do not open: there is no key, or it is not the one under which they were sealed."""


class Keys(Protocol):
    """Where data keys come from."""

    is_complete: bool  # whether a key that is missing is an error; otherwise the parts stay sealed

    def load(self, subject_ids: set[UUID]) -> Mapping[UUID, bytes]:
        """Return the data keys of companies and users, without those that are destroyed or not to be had."""

    def erased_subjects(self) -> Collection[UUID]:
        """Return the companies and users whose keys are destroyed."""

    def to_seal(self, subject_id: UUID) -> bytes | None:
        """Return the data key under which something new is sealed; None if it is destroyed."""


def seal(data_key: bytes, stream_id: UUID, version: int, parts: bytes) -> str:
    """Return the parts of an event sealed, as text."""
    salt = os.urandom(SALT_BYTES)
    key = _derive_key(data_key, stream_id, version, salt)
    return b64encode(salt + sha256(key).digest() + AESGCM(key).encrypt(NONCE, parts, None)).decode()


def unseal(data_key: bytes, stream_id: UUID, version: int, sealed: str) -> bytes:
    """Return the parts of an event that were sealed. Raises CannotOpen."""
    content = b64decode(sealed)
    key = _derive_key(data_key, stream_id, version, content[:SALT_BYTES])
    if sha256(key).digest() != content[SALT_BYTES:BEGINS]:
        raise CannotOpen("another key")
    try:
        return AESGCM(key).decrypt(NONCE, content[BEGINS:], None)
    except InvalidTag:
        raise CannotOpen("changed") from None


def key_of_event(data_key: bytes, stream_id: UUID, version: int, sealed: str) -> bytes:
    """Return the key under which the parts of this one event were sealed, for whoever may have them but not the others."""
    return _derive_key(data_key, stream_id, version, b64decode(sealed)[:SALT_BYTES])


def _derive_key(data_key: bytes, stream_id: UUID, version: int, salt: bytes) -> bytes:
    return blake2b(stream_id.bytes + version.to_bytes(8, "big") + salt, key=data_key, digest_size=32).digest()
