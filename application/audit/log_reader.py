"""What an auditor reads of the log, by a login that may read it: each row as it is stored, and its chain of hashes."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from domain.values import Value

ROWS = """
    SELECT position, stream_id, version, name, body, recorded_at, recorded_by, hash FROM log.events
    WHERE position > %b AND position <= %b AND (%b::text[] = '{}' OR name = ANY(%b::text[]))
    ORDER BY position LIMIT %b"""
HEAD = "SELECT position, hash FROM log.head"
ENTRIES = "SELECT position, recorded_at, recorded_by FROM log.events WHERE position = ANY(%b)"
PAGE = 200  # rows, each of which may be of some megabytes
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
Connection = psycopg.Connection[Any]
T = TypeVar("T")


class Row(Value, frozen=True):
    """One row of the log. The service wrote what stands before `recorded_at`, the database the rest."""

    position: int
    stream_id: UUID
    version: int
    name: str
    body: bytes
    recorded_at: datetime
    recorded_by: str | None  # the login; None: recorded before the log kept it
    hash: bytes


class Head(Value, frozen=True):
    """Where the log ends. Who notes it elsewhere will know a log that was written anew."""

    position: int
    hash: bytes


class Defect(Value, frozen=True):
    """A row that is not what was recorded."""

    position: int
    reason: str


def read_head(conn: Connection) -> Head:
    position, digest = conn.execute(HEAD).fetchone() or (0, b"")
    return Head(position=position, hash=digest)


def read_rows(conn: Connection, until: int, names: Sequence[str] = ()) -> Iterator[Row]:
    """The log from its beginning to a position; of these names only, if any are given."""
    after = 0
    while rows := conn.execute(ROWS, (after, until, list(names), list(names), PAGE)).fetchall():
        for position, stream_id, version, name, body, recorded_at, recorded_by, digest in rows:
            yield Row(
                position=position,
                stream_id=stream_id,
                version=version,
                name=name,
                body=body,
                recorded_at=recorded_at,
                recorded_by=recorded_by,
                hash=digest,
            )
        after = rows[-1][0]


def read_entries(conn: Connection, positions: Sequence[int]) -> dict[int, tuple[datetime, str | None]]:
    """When each of these was recorded, and by which login."""
    return {position: (at, by) for position, at, by in conn.execute(ENTRIES, (list(positions),))}


def hash_of(previous: bytes, row: Row) -> bytes:
    """As in log.sql, and not by its function: who could change the rows could change that, too."""
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
    """What is wrong with a whole log, from its first row to its head; each row is judged from the one before it."""
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
