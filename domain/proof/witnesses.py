"""
What is said to witnesses, and what they answer (C2SP tlog-witness, and the cosignatures of tlog-cosignature).

A witness remembers the largest checkpoint that it has seen of a log, and cosigns only one that goes on from it. So who
shows two logs under one name finds no witness for both.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Sequence
from typing import ClassVar

from domain.proof.checkpoints import MARK, key_id
from domain.values import Value

COSIGNATURE = b"\x04"  # the algorithm of timestamped Ed25519 signatures, in keys and their ids
MOST_SIZE = 2**63 - 1
MOST_LINES = 100  # lines of an answer that are looked at
_KEY = re.compile(r"([^\s+,]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})", re.ASCII)
_SIZE = re.compile(rb"(0|[1-9]\d{0,18})\n")
_TIME_BYTES = 8


class WitnessKey(Value, frozen=True):
    """The name of a witness and the key by which its cosignatures are verified."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The short id by which a line of a note names the key."""
        return key_id(self.name, self.public, COSIGNATURE)


class Witness(Value, frozen=True):
    """A witness that is asked: where it takes checkpoints, and its key, as text and as what that says."""

    url: str
    verifier_key: str
    key: WitnessKey


class Cosignature(Value, frozen=True):
    """The claim that a witness has seen a checkpoint at a time. It is proved once the signature is verified."""

    HEADER: ClassVar[str] = "cosignature/v1"

    line: str  # as it follows the lines of the checkpoint
    signed_at: int  # seconds since 1970
    signature: bytes

    def message(self, checkpoint: str) -> bytes:
        """Return what is signed: the time, and the text of the checkpoint."""
        return f"{self.HEADER}\ntime {self.signed_at}\n{_signed_text(checkpoint)}".encode()


def read_key(text: str) -> WitnessKey:
    """Return the key of a text like `name+id+base64`. Raises ValueError."""
    match = _KEY.fullmatch(text)
    content = b64decode(match[3]) if match else b""
    if match is None or content[:1] != COSIGNATURE:
        raise ValueError("the key of a witness is name+id+base64, for Ed25519 cosignatures (C2SP tlog-cosignature)")
    key = WitnessKey(name=match[1], public=content[1:])
    if key.id.hex() != match[2]:
        raise ValueError(f"the key of {key.name} is damaged: its id is not that of its name and bytes")
    return key


def address_of(witness: Witness) -> str:
    """Return where a witness takes checkpoints."""
    return f"{witness.url.rstrip('/')}/add-checkpoint"


def request_of(older: int, proof: Sequence[bytes], checkpoint: str) -> bytes:
    """Return the request to cosign a checkpoint, with the proof that it goes on from an older size."""
    lines = [f"old {older}", *(b64encode(one).decode() for one in proof)]
    return ("\n".join(lines) + f"\n\n{checkpoint}").encode()


def known_size(body: bytes) -> int | None:
    """Return the size of the largest checkpoint that a witness knows, as it answers 409 with it; None for other words."""
    size = int(match[1]) if (match := _SIZE.fullmatch(body)) else None
    return size if size is not None and size <= MOST_SIZE else None


def cosignatures(body: bytes, key: WitnessKey) -> list[Cosignature]:
    """Return the lines of an answer that claim to be by this key; lines of other keys are passed over."""
    return [
        line
        for text in body.decode(errors="replace").split("\n")[:MOST_LINES]
        if (line := _parse_cosignature(text, key)) is not None
    ]


def with_cosignatures(checkpoint: str, lines: Sequence[str]) -> str:
    """Return a checkpoint with lines of witnesses."""
    return checkpoint + "".join(f"{line}\n" for line in lines)


def _parse_cosignature(text: str, key: WitnessKey) -> Cosignature | None:
    name, _, encoded = text.removeprefix(MARK).partition(" ")
    try:
        content = b64decode(encoded, validate=True)
    except (Error, ValueError):
        return None
    start = content[: len(key.id)]
    rest = content[len(start) :]
    if not text.startswith(MARK) or (name, start) != (key.name, key.id) or len(rest) <= _TIME_BYTES:
        return None
    return Cosignature(line=text, signed_at=int.from_bytes(rest[:_TIME_BYTES], "big"), signature=rest[_TIME_BYTES:])


def _signed_text(checkpoint: str) -> str:
    return checkpoint.rpartition("\n\n")[0] + "\n"
