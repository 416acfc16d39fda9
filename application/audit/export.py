"""The export of the log for auditors: a file that `routines audit verify` reads, and that anybody can read as JSON."""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from application.audit.log_reader import EPOCH, MICROSECOND, Head, Row

FORMAT = "routines-log-export/1"
_validate = msgspec.json.Decoder(msgspec.Raw).decode


def lines(head: Head, checkpoints: Sequence[str], rows: Iterable[Row]) -> Iterator[bytes]:
    """
    Yield the lines of an export: the first says where the log ends and what is signed of it, each further one is a row.

    The body of an event stands at the end of its line byte for byte as it is recorded, since its hash is under the chain; in
    Base64 where it is no JSON object. The first of the checkpoints is the newest one; another is the newest cosigned one.
    """
    header = {"format": FORMAT, "position": head.position, "hash": head.hash.hex(), "checkpoint": None}
    header |= dict(zip(("checkpoint", "witnessed"), checkpoints, strict=False))
    yield json.dumps(header).encode() + b"\n"
    for row in rows:
        recorded_us = (row.recorded_at - EPOCH) // MICROSECOND
        name, login = json.dumps(row.name), json.dumps(row.recorded_by)
        columns = f'{{"position":{row.position},"stream":"{row.stream_id}","version":{row.version},"name":{name}'
        more = f'"recordedAt":{recorded_us},"recordedBy":{login},"hash":"{row.hash.hex()}"'
        yield f"{columns},{more},".encode() + _body_member(row.body) + b"}\n"


def _body_member(body: bytes) -> bytes:
    if body.startswith(b"{") and body.endswith(b"}") and b"\n" not in body and b"\r" not in body and _is_json(body):
        return b'"body":' + body
    return b'"bodyBase64":"' + b64encode(body) + b'"'


def _is_json(body: bytes) -> bool:
    try:
        body.decode()  # the decoder does not look into texts
        _validate(body)
    except (UnicodeDecodeError, msgspec.DecodeError):
        return False
    return True
