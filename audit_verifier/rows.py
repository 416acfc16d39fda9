"""Rows of the log: what a verifier knows of an event, the leaf that follows from it, and the export that carries them."""

import json
import re
import struct
from base64 import b64decode
from binascii import unhexlify
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import IO, Any, NamedTuple
from uuid import UUID

FORMAT = "routines-log-export/1"
CHUNK = 1 << 16  # bytes of lines that are read at once: they and what is made of them stay in the processor's cache
HEAD = struct.Struct(">q16sqi")
NUMBER = struct.Struct(">q")
LENGTH = struct.Struct(">i")
HASH_BYTES, STREAM_BYTES = 32, 16
# A line as `routines audit export` writes it; any other JSON object with these names, the body last, is read as well, more slowly.
# What stands where hexadecimal digits are to be is looked at when it is decoded: to match it here takes a third of the time.
LINE = re.compile(
    rb'\{"position":(\d{1,18}),"stream":"(.{8}-.{4}-.{4}-.{4}-.{12})","version":(\d{1,18}),"name":"([a-z_.]+)","recordedAt":(\d{1,18}),'
    rb'"recordedBy":"([\w.@ -]*)","hash":"(.{64})","body":',
    re.ASCII | re.DOTALL,
)
TAIL = re.compile(rb'\},"company_id":"([0-9a-f-]{36})"(?:,"cause":"[^"\\]*")?\}')
TAIL_START = b'},"company_id":"'
COLUMNS = {"position", "stream", "version", "name", "recordedAt", "recordedBy", "hash"}
# In the first line: the newest checkpoint, and the newest one that a witness cosigned.
CHECKPOINTS = ("checkpoint", "witnessed")
BODIES = {
    "body",
    "bodyBase64",
    "bodySha256",
}  # forms of the body: as it was recorded, in Base64, and the hash of one that is erased
CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Row(NamedTuple):
    """One row of the log. An erased body is None; its hash is there still."""

    position: int
    stream: bytes
    version: int
    name: bytes
    body: bytes | None
    digest: bytes  # the SHA-256 of the body
    recorded_us: int
    login: bytes | None
    hash: bytes


# A row as it is read: the columns of a Row, without what it takes to name them.
Columns = tuple[int, bytes, int, bytes, bytes | None, bytes, int, bytes | None, bytes]


class Leaf(NamedTuple):
    """What a leaf says of an event."""

    position: int
    stream: UUID
    version: int
    name: str
    digest: bytes
    recorded_us: int
    login: str | None


class Unreadable(Exception):
    """What was given to be verified cannot be read. The message says where, and why."""


def leaf_of(row: Row, position: int | None = None) -> bytes:
    """Return the leaf of a row, or the one that it would have at another position."""
    place = row.position if position is None else position
    leaf = (
        HEAD.pack(place, row.stream, row.version, len(row.name)) + row.name + row.digest + NUMBER.pack(row.recorded_us)
    )
    return leaf if row.login is None else leaf + LENGTH.pack(len(row.login)) + row.login


def read_leaf(leaf: bytes) -> Leaf:
    """Return what a leaf says. Raises Unreadable."""
    try:
        position, stream, version, length = HEAD.unpack_from(leaf)
        rest = leaf[HEAD.size :]
        name, rest = rest[:length], rest[length:]
        digest, (recorded_us,) = rest[:HASH_BYTES], NUMBER.unpack_from(rest, HASH_BYTES)
        rest = rest[HASH_BYTES + NUMBER.size :]
        login = None
        if rest:
            (length,) = LENGTH.unpack_from(rest)
            login = rest[LENGTH.size :].decode()
            if len(rest) != LENGTH.size + length:
                raise Unreadable("a leaf is too long")
        return Leaf(position, UUID(bytes=stream), version, name.decode(), digest, recorded_us, login)
    except (struct.error, UnicodeError, ValueError) as error:
        raise Unreadable(f"a leaf is damaged: {error}") from None


def company_of(body: bytes | None) -> UUID | None:
    """Return the company that a body names last, in whose tree the event has a leaf; None for one without."""
    if body is None:
        return None
    text: Any = None
    if (start := body.rfind(TAIL_START)) >= 0 and (tail := TAIL.fullmatch(body, start)):
        text = tail[1].decode()
    else:
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            return None
        text = content.get("company_id") if isinstance(content, dict) else None
    return UUID(text) if isinstance(text, str) and CANONICAL.fullmatch(text) else None


def read_header(file: IO[bytes]) -> dict[str, Any]:
    """Return the first line of an export, which says what it is of. Raises Unreadable."""
    try:
        header = json.loads(file.readline())
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise Unreadable(f"it is not an export of the format {FORMAT}")
    try:
        int(header["position"]), bytes.fromhex(header["hash"])
    except (KeyError, TypeError, ValueError, OverflowError):  # of JSON's Infinity there is no whole number
        raise Unreadable("its first line does not say where the log ends") from None
    if not all(isinstance(header.get(name), str | None) for name in CHECKPOINTS):
        raise Unreadable("its first line has a checkpoint that is none")
    return header


def read_lines(file: IO[bytes]) -> Iterator[list[Columns]]:
    """Yield the rows of an export after its header, a part at a time. Raises Unreadable."""
    number = 1
    for lines in _read_lines(file):
        rows: list[Columns] = []
        while len(rows) < len(lines):
            try:
                _read_usual(lines, rows)
            except ValueError:  # the bad line is the one after those that were read
                rows.append(_slow_row(lines[len(rows)], number + len(rows) + 1))
        number += len(lines)
        yield rows


def _read_lines(file: IO[bytes]) -> Iterator[list[bytes]]:
    """Yield lines without their ends, a part at a time."""
    line_parts: list[bytes] = []  # the parts of a line whose end is yet to be read: joined once, however long it is
    while content := file.read(CHUNK):
        if b"\n" in content:
            *lines, rest = b"".join([*line_parts, content]).split(b"\n")
            line_parts = [rest]
            yield lines
        else:
            line_parts.append(content)
    if rest := b"".join(line_parts):
        yield [rest]


def _read_usual(lines: Sequence[bytes], rows: list[Columns]) -> None:
    """Read lines as they are usually written, from the first that is not among the rows. Raises ValueError for another."""
    match, sha, decode = LINE.match, sha256, unhexlify
    for line in lines[len(rows) :]:
        head = match(line)
        if head is None or line[-2:] != b"}}":
            raise ValueError("it is written otherwise")
        position, stream, version, name, recorded_us, login, stored = head.groups()
        body = line[head.end() : -1]
        stream = decode(stream.replace(b"-", b""))
        if len(stream) != STREAM_BYTES:  # dashes stood in the place of digits
            raise ValueError("it is no id")
        rows.append(
            (
                int(position),
                stream,
                int(version),
                name,
                body,
                sha(body).digest(),
                int(recorded_us),
                login,
                decode(stored),
            )
        )


def _columns_of(line: bytes) -> dict[str, Any]:
    """
    Return the columns of a line by their names. Raise ValueError for a line from which another reader could take another body.

    So each name stands there once, and one form of the body.
    """
    pairs = json.JSONDecoder(object_pairs_hook=list).decode(line.decode())
    value = dict(pairs)
    if len(value) != len(pairs) or len(value.keys() & BODIES) != 1 or value.keys() - BODIES != COLUMNS:
        raise ValueError("it has not each of its fields once, and no others")
    return value


def _slow_row(line: bytes, number: int) -> Row:
    try:
        value = _columns_of(line)
        if (encoded := value.get("bodyBase64")) is not None:
            body = b64decode(encoded, validate=True)
        elif "body" in value:
            start = line.index(b',"body":') + len(b',"body":')
            body = line.rstrip(b"\r\n")[start:-1]
        else:
            body = None
        login = value["recordedBy"]
        row = Row(
            int(value["position"]),
            UUID(value["stream"]).bytes,
            int(value["version"]),
            value["name"].encode(),
            body,
            bytes.fromhex(value["bodySha256"]) if body is None else sha256(body).digest(),
            int(value["recordedAt"]),
            None if login is None else login.encode(),
            bytes.fromhex(value["hash"]),
        )
        leaf_of(row)
        if len(row.digest) != HASH_BYTES:
            raise ValueError("its body has no SHA-256")  # noqa: TRY301 as other lines that are no rows
    except (ValueError, ArithmeticError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise Unreadable(f"line {number} is not a row of the log: {type(error).__name__} {error}") from None
    return row
