"""What an auditor with a login to read the log sees of it: the rows as stored, and the chain of their hashes."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from eventsourcing.persistence import Notification

from application.event_store.codec import all_from_stored, key_of
from application.event_store.recorder import FOREVER
from application.event_store.sealing import Keys
from domain.recorded import Recorded
from domain.values import Value

ROWS = """
    SELECT position, stream_id, version, name, body, recorded_at, recorded_by, hash FROM (
        SELECT *, sum(octet_length(body)) OVER (ORDER BY position) - octet_length(body) AS bytes_before FROM (
            SELECT * FROM log.events
            WHERE position > %b AND position <= %b AND (%b::text[] = '{}' OR name = ANY(%b::text[]))
            ORDER BY position LIMIT %b) AS following) AS measured
    WHERE bytes_before < %b ORDER BY position"""
BACKWARDS = """
    SELECT position, stream_id, version, name, body, recorded_at, recorded_by, hash FROM log.events
    WHERE stream_id = %b AND version < %b ORDER BY version DESC LIMIT %b"""
HEAD = "SELECT position, hash FROM log.head"
OF_STREAM = """
    SELECT position, stream_id, version, name, body, recorded_at, recorded_by, hash FROM log.events
    WHERE stream_id = %s ORDER BY version"""
PAGE, PAGE_BYTES = 1_000, 4 * 1024**2  # rows of one query, and bytes of their bodies, after which it ends
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
Connection = psycopg.Connection[Any]
T = TypeVar("T")


class Row(Value, frozen=True):
    """One row of the log. The service wrote the fields before `recorded_at`, the database the others."""

    position: int
    stream_id: UUID
    version: int
    name: str
    body: bytes
    recorded_at: datetime
    recorded_by: str | None  # the login; None: the row is older than this column
    hash: bytes


class Head(Value, frozen=True):
    """Where the log ends. An auditor who keeps it elsewhere can recognize a log that was rewritten."""

    position: int
    hash: bytes


class Defect(Value, frozen=True):
    """A row, or the head, that cannot be what was recorded, and why."""

    position: int
    reason: str


def read_head(conn: Connection) -> Head:
    """Return the head of the log: position 0 and no hash for a log without one."""
    position, digest = conn.execute(HEAD).fetchone() or (0, b"")
    return Head(position=position, hash=digest)


def read_rows(conn: Connection, end: int, names: Sequence[str] = (), *, start: int = 0) -> Iterator[Row]:
    """Return the rows of the log after position `start` up to `end`; with `names` only those of these names."""
    for page in read_pages(conn, end, names, start=start):
        yield from page


def read_pages(conn: Connection, end: int, names: Sequence[str] = (), *, start: int = 0) -> Iterator[list[Row]]:
    """Return the same rows in pages, none of which is empty: what one query gives and one process can hold."""
    while rows := conn.execute(ROWS, (start, end, list(names), list(names), PAGE, PAGE_BYTES)).fetchall():
        yield [_row_of(columns) for columns in rows]
        start = rows[-1][0]


def read_stream(conn: Connection, stream_id: UUID) -> list[Row]:
    """Return the rows of a stream."""
    return [_row_of(columns) for columns in conn.execute(OF_STREAM, (stream_id,))]


def read_backwards(conn: Connection, stream_id: UUID) -> Iterator[Row]:
    """Return the rows of a stream, the newest first, read page by page."""
    version = FOREVER
    while rows := conn.execute(BACKWARDS, (stream_id, version, PAGE)).fetchall():
        yield from (_row_of(columns) for columns in rows)
        version = rows[-1][2]


def _row_of(columns: tuple[Any, ...]) -> Row:
    return Row(**dict(zip(Row.__struct_fields__, columns, strict=True)))


def recorded_of(row: Row) -> Recorded:
    """Return the event of a row, of which what is sealed stays so; one that this version cannot read is Unreadable."""
    return all_recorded([row])[0]


def all_recorded(rows: Sequence[Row], keys: Keys | None = None) -> list[Recorded]:
    """Return the events of rows; those that this version cannot read are Unreadable."""
    return all_from_stored(
        [Notification(row.stream_id, row.version, row.name, row.body, row.position) for row in rows], keys
    )


def key_of_row(row: Row, keys: Keys) -> bytes | None:
    """Return the key that opens what is sealed of this one event; None where nothing is, or the key is not to be had."""
    return key_of(Notification(row.stream_id, row.version, row.name, row.body, row.position), keys)


def hash_of(previous: bytes, row: Row) -> bytes:
    """
    Return the hash of a row, which follows from the hash of the row before.

    It is computed here as in log.sql. The function there is not used, because somebody who can change the rows can
    change that function as well.
    """
    name = row.name.encode()
    text = (
        previous
        + struct.pack(">q", row.position)
        + row.stream_id.bytes
        + struct.pack(">qi", row.version, len(name))
        + name
        + sha256(row.body).digest()
        + struct.pack(">q", (row.recorded_at - EPOCH) // MICROSECOND)
    )
    if row.recorded_by is not None:
        login = row.recorded_by.encode()
        text += struct.pack(">i", len(login)) + login
    return sha256(text).digest()


def find_defects(rows: Iterable[Row], head: Head) -> Iterator[Defect]:
    """Find what is wrong with a whole log, from first row to head. Each row is checked against the one before it."""
    position, previous, has_logins = 0, b"", False
    for row in rows:
        if row.position != position + 1:
            yield Defect(position=row.position, reason=f"follows {position}: rows between them are gone")
        elif row.hash != hash_of(previous, row):
            yield Defect(position=row.position, reason="its hash does not match it and the row before")
        if has_logins and row.recorded_by is None:
            yield Defect(position=row.position, reason="does not say who recorded it, as rows before it do")
        position, previous, has_logins = row.position, row.hash, has_logins or row.recorded_by is not None
    if (position, previous) != (head.position, head.hash):
        yield Defect(position=head.position, reason=f"the log ends at {position} with another hash than its head has")
