"""
Logs to tamper with: rows as the log keeps them, its head, and the checkpoints that were signed of it.

They are hashed and written as the service does it, and read and judged by the verifier, which shares no code with that.
"""

import io
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from application.audit import export, log_reader
from application.audit.log_reader import Head, Row
from application.proof.log_key import LogKey
from audit_verifier import notes, rows
from audit_verifier.chain import Head as VerifiedHead
from audit_verifier.chain import LogCheck, Report
from audit_verifier.notes import Checkpoint
from domain.proof.checkpoints import Head as TreeHead
from domain.proof.checkpoints import origin_of
from domain.proof.leaves import company_of, hash_body, leaf_of
from domain.proof.merkle import Frontier, hash_leaf

NAME = "tampered/log"
START = datetime(2026, 11, 29, tzinfo=UTC)
NAMES = ("run.fired", "run.completed", "issue.opened", "key.issued")
COMPANIES = (None, UUID(int=1), UUID(int=2))


class Log(msgspec.Struct, frozen=True):
    """A log as the database holds it."""

    rows: tuple[Row, ...]
    head: Head


class Anchors(msgspec.Struct, frozen=True):
    """What was signed of a log, and kept by somebody else."""

    key: LogKey
    checkpoints: tuple[str, ...]


def chain_rows(loose: Sequence[Row]) -> Log:
    """Return the log of these rows: each with its position and its hash."""
    previous, chain = b"", []
    for position, loose_row in enumerate(loose, 1):
        row = msgspec.structs.replace(loose_row, position=position)
        row = msgspec.structs.replace(row, hash=log_reader.hash_of(previous, row))
        chain.append(row)
        previous = row.hash
    return Log(tuple(chain), Head(position=len(chain), hash=previous))


def random_log(chance: random.Random, size: int, *, old: int = 0) -> Log:
    """Return a log of so many events, of which the first `old` are from before the log kept logins."""
    streams: dict[UUID, int] = {}
    loose = []
    moment = START
    for place in range(size):
        stream_ids = [*streams]
        is_new = not stream_ids or chance.random() < 0.4
        stream = UUID(int=chance.getrandbits(128)) if is_new else chance.choice(stream_ids)
        streams[stream] = streams.get(stream, 0) + 1
        moment += timedelta(microseconds=chance.randrange(3) * chance.randrange(10**7))
        loose.append(
            Row(
                position=0,
                stream_id=stream,
                version=streams[stream],
                name=chance.choice(NAMES),
                body=_random_body(chance),
                recorded_at=moment,
                recorded_by=None if place < old else chance.choice(("routines_service", "web_of_acme", 'a "b" ç')),
                hash=b"",
            )
        )
    return chain_rows(loose)


def _random_body(chance: random.Random) -> bytes:
    """Return a body: mostly as the store writes them, but a log takes any bytes."""
    company = chance.choice(COMPANIES)
    content = {"at": "2026-11-29T00:00:00Z", "actor": "system", "event": {"type": "x", "n": chance.random()}}
    if company is not None:
        content["company_id"] = str(company)
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=chance.random() < 0.5).encode()
    return chance.choice(
        (body, body, body, body, b"", b"\xff\n{", json.dumps(content, indent=1).encode(), b"[1]", b"{}")
    )


def sign_checkpoints(log: Log, interval: int) -> Anchors:
    """Return the checkpoints that were signed after each `interval` events and at the end, of the log and of a company."""
    key = LogKey(NAME, Ed25519PrivateKey.from_private_bytes(b"k" * 32))
    frontiers = {company: Frontier() for company in COMPANIES}
    checkpoints = []
    for row in log.rows:
        us = (row.recorded_at - log_reader.EPOCH) // log_reader.MICROSECOND
        leaf = leaf_of(
            row.position, row.stream_id.bytes, row.version, row.name, hash_body(row.body), us, row.recorded_by
        )
        for company in {None, company_of(row.body)}:
            list(frontiers[company].push(hash_leaf(leaf)))
        if row.position % interval == 0 or row.position == len(log.rows):
            for company, frontier in frontiers.items():
                head = TreeHead(size=frontier.size, root=frontier.root)
                if company is None or row.position == len(log.rows):
                    checkpoints.append(key.sign(origin_of(NAME, company), head))
    return Anchors(key, tuple(checkpoints))


def export_log(log: Log) -> bytes:
    """Return the export of a log."""
    return b"".join(export.lines(log.head, (), log.rows))


def verify(content: bytes, anchors: Anchors | None) -> Report:
    """Return what the verifier says of an export, with these checkpoints."""
    checkpoints = [] if anchors is None else parse_checkpoints(anchors)
    file = io.BytesIO(content)
    header = rows.read_header(file)
    check = LogCheck(checkpoints)
    for batch in rows.read_lines(file):
        check.add(batch)
    return check.finish(VerifiedHead(header["position"], bytes.fromhex(header["hash"])))


def parse_checkpoints(anchors: Anchors) -> list[Checkpoint]:
    """Return the checkpoints as the verifier reads them, with their signatures verified."""
    key = notes.read_key(anchors.key.verifier_key(NAME))
    checkpoints = [notes.read_checkpoint(text) for text in anchors.checkpoints]
    for checkpoint in checkpoints:
        notes.verify(checkpoint, key)
    return checkpoints
