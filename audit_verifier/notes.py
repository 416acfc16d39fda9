"""C2SP signed notes with Ed25519, tlog-checkpoint, tlog-cosignature, and tlog-proof."""

import re
from base64 import b64decode
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519, COSIGNATURE = b"\x01", b"\x04"  # algorithms of keys: of logs, and of witnesses (C2SP tlog-cosignature)
TIME_BYTES = 8
MARK = "\N{EM DASH} "
CHECKPOINT = re.compile(r"([^\s+]+)\n(0|[1-9]\d{0,18})\n([A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*", re.ASCII)
KEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})\s*", re.ASCII)
PROOF = re.compile(
    r"c2sp\.org/tlog-proof@v1\n(?:extra [A-Za-z0-9+/=]*\n)?index (0|[1-9]\d{0,18})\n((?:[A-Za-z0-9+/]{43}=\n)*)\n",
    re.ASCII,
)
OF_COMPANY = re.compile(r".+/companies/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)
SURROGATE = re.compile("[\ud800-\udfff]")  # JSON may hold halves of characters, which no file of text has
MOST_SIGNATURES = 100


class BadNote(Exception):
    """A text is not what it should be, or its signature is not by the key. The message says which."""


class Key(NamedTuple):
    """A key that somebody trusts, and the name of the log that it signs for, or of the witness whose it is."""

    name: str
    number: bytes
    public: bytes
    algorithm: bytes = ED25519

    def with_name(self, name: str) -> "Key":
        """Return the same key under another name: the log and each of its companies have one each."""
        return self._replace(name=name, number=_key_number(name, self.algorithm + self.public))


class Checkpoint(NamedTuple):
    """How large a log was, and its root then. `text` is the whole note."""

    origin: str
    size: int
    root: bytes
    text: str

    @property
    def company(self) -> UUID | None:
        """The company whose log it is; None for the whole log."""
        match = OF_COMPANY.fullmatch(self.origin)
        return UUID(match[1]) if match else None


class Proof(NamedTuple):
    """The proof that a leaf is in the log of a checkpoint."""

    place: int
    hashes: list[bytes]
    checkpoint: Checkpoint


def read_key(text: str) -> Key:
    """Return the key of a log, of a text like `name+id+base64`. Raises BadNote."""
    return _read_key(text, ED25519, "the key is no Ed25519 key like name+id+base64, as `GET /api/log/key` answers it")


def read_witness(text: str) -> Key:
    """Return the key of a witness. Raises BadNote."""
    return _read_key(text, COSIGNATURE, "the key of a witness is no key like name+id+base64 for Ed25519 cosignatures")


def _read_key(text: str, algorithm: bytes, complaint: str) -> Key:
    match = KEY.fullmatch(text)
    content = b64decode(match[3]) if match else b""
    if match is None or content[:1] != algorithm:
        raise BadNote(complaint)
    key = Key(match[1], bytes.fromhex(match[2]), content[1:], algorithm)
    if key.with_name(key.name) != key:
        raise BadNote("the key is damaged: its id is not that of its name and bytes")
    return key


def read_checkpoint(text: str) -> Checkpoint:
    """Return what a checkpoint states, whoever has signed it. Raises BadNote."""
    body = _split(text)[0]
    match = CHECKPOINT.fullmatch(body)
    if match is None or SURROGATE.search(body):
        raise BadNote("it is not a checkpoint")
    return Checkpoint(match[1], int(match[2]), b64decode(match[3]), text)


def read_proof(text: str) -> Proof:
    """Return what a proof states. Raises BadNote."""
    match = PROOF.match(text)
    if match is None:
        raise BadNote("it is not a proof")
    return Proof(int(match[1]), [b64decode(line) for line in match[2].split()], read_checkpoint(text[match.end() :]))


def verify(checkpoint: Checkpoint, key: Key) -> None:
    """Raise BadNote unless the checkpoint is signed by the key, for the key's log or one of its companies."""
    if checkpoint.origin != key.name and checkpoint.origin.split("/companies/")[0] != key.name:
        raise BadNote(f"it is of {checkpoint.origin}, and the key is that of {key.name}")
    key = key.with_name(checkpoint.origin)
    body, signatures = _signatures_of_key(checkpoint, key)
    if not signatures:
        raise BadNote("it is not signed by the key")
    _check(key, signatures[0], body.encode())


def cosigned_at(checkpoint: Checkpoint, witness: Key) -> int | None:
    """Return when a witness has cosigned the checkpoint, in seconds since 1970; None if it has not. Raises BadNote."""
    body, signatures = _signatures_of_key(checkpoint, witness)
    for content in signatures:
        moment = int.from_bytes(content[:TIME_BYTES], "big")
        _check(witness, content[TIME_BYTES:], f"cosignature/v1\ntime {moment}\n{body}".encode())
        return moment
    return None


def _signatures_of_key(checkpoint: Checkpoint, key: Key) -> tuple[str, list[bytes]]:
    """Return the signed text of a checkpoint, and the signatures that claim to be by the key. Raises BadNote."""
    body, lines = _split(checkpoint.text)
    signatures = []
    for line in lines:
        name, _, encoded = line.removeprefix(MARK).partition(" ")
        try:
            content = b64decode(encoded, validate=True)
        except ValueError:  # also of characters beyond ASCII
            raise BadNote("a line of its signatures is damaged") from None
        if (name, content[:4]) == (key.name, key.number):
            signatures.append(content[4:])
    return body, signatures


def _check(key: Key, signature: bytes, message: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except InvalidSignature:
        raise BadNote("its signature is not by the key") from None


def _split(text: str) -> tuple[str, list[str]]:
    """Return the signed text of a note, and the lines of its signatures. Raises BadNote."""
    body, gap, rest = text.rpartition("\n\n")
    lines = rest.split("\n")
    if not gap or lines.pop() != "" or not 1 <= len(lines) <= MOST_SIGNATURES:
        raise BadNote("it is not a signed note")
    if not all(line.startswith(MARK) for line in lines):
        raise BadNote("a line of its signatures is damaged")
    return body + "\n", lines


def _key_number(name: str, content: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + content).digest()[:4]
