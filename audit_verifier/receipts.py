"""Receipts: files that prove that a run happened, and when, without the service and for ever."""

import json
from base64 import b64decode
from binascii import Error
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit_verifier.merkle import hash_leaf, root_by_proof
from audit_verifier.notes import BadNote, Checkpoint, Key, Proof, cosigned_at, read_proof, verify
from audit_verifier.rows import Leaf, Unreadable, read_leaf

FORMAT = "routines-receipt/1"
SALT_BYTES, DIGEST_BYTES = 16, 32  # what is sealed begins with a salt and the hash of its key
BEGINS = SALT_BYTES + DIGEST_BYTES
NONCE = bytes(12)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ProvedEvent(NamedTuple):
    """
    One event of the run, which the log has held. `body` is None where it was not handed on.

    `parts` are what was sealed of the event, by field; None where the receipt does not open it.
    """

    leaf: Leaf
    body: bytes | None
    parts: dict[str, Any] | None = None

    @property
    def content(self) -> Any:
        """The JSON of the body, with what was sealed of the event in its places."""
        if self.body is None:
            return None
        value = json.loads(self.body)
        if self.parts is not None:
            del value["sealed"]
            _put_in(value["event"], self.parts)
        return value

    @property
    def recorded_at(self) -> datetime:
        """When the database recorded it, by its clock."""
        return EPOCH + timedelta(microseconds=self.leaf.recorded_us)


class Receipt(NamedTuple):
    """What a receipt has proved: these are the first events of the run in the log that is signed. Later ones may lack."""

    run: UUID
    log: str
    size: int
    events: list[ProvedEvent]
    seen_at: dict[str, int]  # when the witnesses have cosigned it, in seconds since 1970


def check(content: bytes, key: Key, witnesses: Sequence[Key] = ()) -> Receipt:
    """Return what a receipt proves to those who trust the key, if these witnesses have cosigned. Raises BadNote and Unreadable."""
    try:
        value = json.loads(content)
        if value["format"] != FORMAT:
            raise Unreadable(f"it is not a receipt of the format {FORMAT}")
        run, entries = UUID(value["run"]), list(value["events"])
        proofs = [read_proof(entry["proof"]) for entry in entries]
        proved_events = [_check_event(entry, proof, key) for entry, proof in zip(entries, proofs, strict=True)]
    except (ValueError, KeyError, TypeError, AttributeError, Error, RecursionError) as error:
        raise Unreadable(f"it is not a receipt: {type(error).__name__} {error}") from None
    if not proved_events:
        raise Unreadable("it has no event")
    for version, event in enumerate(proved_events, 1):
        if event.leaf.stream != run or event.leaf.version != version:
            raise BadNote(f"event {version} is not event {version} of run {run}")
    checkpoint = proofs[0].checkpoint
    if any(proof.checkpoint.text != checkpoint.text for proof in proofs):
        raise BadNote("its events are proved by several checkpoints")
    seen_at = {witness.name: _seen_at(checkpoint, witness) for witness in witnesses}
    return Receipt(run, checkpoint.origin, checkpoint.size, proved_events, seen_at)


def _seen_at(checkpoint: Checkpoint, witness: Key) -> int:
    moment = cosigned_at(checkpoint, witness)
    if moment is None:
        raise BadNote(f"{witness.name} has not cosigned it")
    return moment


def _check_event(entry: Any, proof: Proof, key: Key) -> ProvedEvent:
    encoded = b64decode(entry["leaf"], validate=True)
    leaf = read_leaf(encoded)
    body = entry.get("body")
    content = None if body is None else body.encode()
    if content is not None and sha256(content).digest() != leaf.digest:
        raise BadNote(f"the body of the event at position {leaf.position} is not the one that was recorded")
    parts = None
    if content is not None and entry.get("key") is not None:
        parts = _open(json.loads(content)["sealed"], b64decode(entry["key"], validate=True), leaf.position)
    verify(proof.checkpoint, key)
    if root_by_proof(hash_leaf(encoded), proof.place, proof.checkpoint.size, proof.hashes) != proof.checkpoint.root:
        raise BadNote(f"the event at position {leaf.position} is not in the log that the checkpoint signs")
    return ProvedEvent(leaf, content, parts)


def _open(sealed: str, key: bytes, position: int) -> dict[str, Any]:
    """Return what was sealed of an event. The hash of its key is recorded, so there is one key that opens it."""
    content = b64decode(sealed, validate=True)
    if sha256(key).digest() != content[SALT_BYTES:BEGINS]:
        raise BadNote(f"the key of the event at position {position} is not the one under which it was sealed")
    try:
        parts = json.loads(AESGCM(key).decrypt(NONCE, content[BEGINS:], None))
    except (InvalidTag, ValueError):
        raise BadNote(f"what was sealed of the event at position {position} does not open") from None
    return dict(parts)


def _put_in(value: dict[str, Any], parts: dict[str, Any]) -> None:
    for name, part in parts.items():
        if isinstance(part, dict) and isinstance(value.get(name), dict) and value[name]:
            _put_in(value[name], part)
        else:
            value[name] = part
