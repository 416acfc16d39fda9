"""A secret that a caller proves to know: it is never shown, and is compared in constant time."""

import hashlib
from hmac import compare_digest
from typing import NoReturn

NO_DIGEST = bytes(32)  # a digest that no known text has


class Secret:
    """
    A secret by its value or only by its digest.

    `value` is None where only the digest is kept: then the secret can be recognised, but nothing can be signed with it.
    """

    __slots__ = ("digest", "value")

    def __init__(self, value: bytes | None = None, digest: bytes | None = None) -> None:
        if value is None and digest is None:
            raise ValueError("a secret needs its value or its digest")
        self.value = value
        self.digest = digest if digest is not None else hashlib.sha256(value or b"").digest()

    @property
    def is_none(self) -> bool:
        """Whether there is no secret at all, so that nobody can know it."""
        return self.digest == NO_DIGEST

    def is_known_as(self, candidate: bytes) -> bool:
        """Return whether these bytes are the secret, which proves that whoever sent them knows it."""
        return compare_digest(hashlib.sha256(candidate).digest(), self.digest)

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not to be copied around")


NO_SECRET = Secret(digest=NO_DIGEST)
