"""
The texts that prove: checkpoints (C2SP tlog-checkpoint), the notes that sign them (signed-note), proofs (tlog-proof).

A verifier needs the text of the key (`name+id+key`, as Go's sumdb writes it) and nothing of ours.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

from domain.values import Value

ED25519 = b"\x01"
ID_BYTES = 4
MARK = "\N{EM DASH} "  # begins each line of a signature
ORIGIN = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
_CHECKPOINT = re.compile(r"(\S+)\n(0|[1-9]\d{0,18})\n([A-Za-z0-9+/]{43}=)\n", re.ASCII)


class Head(Value, frozen=True):
    """How large a tree was, and its root then."""

    size: int
    root: bytes


def origin_of(log: str, company_id: UUID | None) -> str:
    """Return the name of the tree of a company, or of the whole log, as its checkpoints say it."""
    return log if company_id is None else f"{log}/companies/{company_id}"


def checkpoint_text(origin: str, head: Head) -> str:
    """Return what is signed."""
    return f"{origin}\n{head.size}\n{b64encode(head.root).decode()}\n"


def head_of(checkpoint: str) -> Head:
    """Return the head that a checkpoint states, signed or not. Raises ValueError."""
    if (match := _CHECKPOINT.match(checkpoint)) is None:
        raise ValueError("it is not a checkpoint")
    return Head(size=int(match[2]), root=b64decode(match[3]))


def note_of(text: str, name: str, public_key: bytes, signature: bytes) -> str:
    """Return the signed note of a text."""
    return f"{text}\n{MARK}{name} {b64encode(key_id(name, public_key) + signature).decode()}\n"


def key_id(name: str, public_key: bytes, algorithm: bytes = ED25519) -> bytes:
    """Return the short id of a key of this name."""
    return sha256(name.encode() + b"\n" + algorithm + public_key).digest()[:ID_BYTES]


def verifier_key(name: str, public_key: bytes) -> str:
    """Return the text of the key that verifiers take."""
    return f"{name}+{key_id(name, public_key).hex()}+{b64encode(ED25519 + public_key).decode()}"


def proof_text(place: int, hashes: Sequence[bytes], checkpoint: str) -> str:
    """Return the proof that the leaf at a place is in the tree of a checkpoint, as a file of its own (tlog-proof)."""
    lines = ["c2sp.org/tlog-proof@v1", f"index {place}", *(b64encode(one).decode() for one in hashes)]
    return "\n".join(lines) + f"\n\n{checkpoint}"
