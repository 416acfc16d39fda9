"""
The ways to tamper with a log, of those who may change every row and know how rows are hashed.

They cannot change what was signed before and is kept elsewhere. So a log that was hashed anew from the change on is found by
the checkpoints, to the span between two of them; everything else at its position.
"""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from application.audit import log_reader
from application.audit.log_reader import Head, Row
from verification.tampering.logs import Log, chain_rows

Rows = list[Row]


class Tampered(msgspec.Struct, frozen=True):
    """A log that was tampered with: how, where, and whether later hashes were computed anew."""

    kind: str
    log: Log
    position: int
    is_rehashed: bool = False
    file_only: bool = False  # a database cannot hold these rows: two have the same position, or their order counts


def change_column(chance: random.Random, log: Log) -> Tampered:
    """Change one column of a row, and leave its hash."""
    rows = list(log.rows)
    place = chance.randrange(len(rows))
    column, row = _change_column(chance, rows[place])
    rows[place] = row
    return Tampered(f"change {column}", Log(tuple(rows), log.head), place + 1)


def change_with_own_hash(chance: random.Random, log: Log) -> Tampered:
    """Change one column of a row, and compute its own hash anew, but no later one."""
    rows = list(log.rows)
    place = chance.randrange(len(rows))
    rows[place] = _rehash_row(rows, place, _change_column(chance, rows[place], hash_too=False)[1])
    return Tampered("change, with its hash", Log(tuple(rows), log.head), place + 1)


def change_and_rehash(chance: random.Random, log: Log) -> Tampered:
    """Change one column of a row, and compute all later hashes and the head anew."""
    rows = list(log.rows)
    place = chance.randrange(len(rows))
    _, rows[place] = _change_column(chance, rows[place], hash_too=False)
    return _rehash_from("change", rows, place + 1)


def delete(chance: random.Random, log: Log) -> Tampered:
    """Delete rows, and leave the gap."""
    rows = list(log.rows)
    place, count = chance.randrange(len(rows)), chance.randrange(1, 5)
    del rows[place : place + count]
    return Tampered("delete", Log(tuple(rows), log.head), place + 1)


def delete_and_renumber(chance: random.Random, log: Log) -> Tampered:
    """Delete rows, and close the gap."""
    rows = list(log.rows)
    place, count = chance.randrange(len(rows)), chance.randrange(1, 5)
    del rows[place : place + count]
    return Tampered("delete, renumbered", Log(_renumber_rows(rows), _head_of(rows)), place + 1)


def delete_and_rehash(chance: random.Random, log: Log) -> Tampered:
    """Delete rows, close the gap, and compute all later hashes anew."""
    rows = list(log.rows)
    place, count = chance.randrange(len(rows)), chance.randrange(1, 5)
    del rows[place : place + count]
    return _rehash_from("delete", rows, place + 1)


def insert_twice(chance: random.Random, log: Log) -> Tampered:
    """Put a row of an existing position in, before or after the true one."""
    rows = list(log.rows)
    place = chance.randrange(len(rows))
    forged_row = _forge_row(chance, rows, place)
    rows.insert(place + chance.randrange(2), replace(forged_row, position=place + 1))
    return Tampered("insert, position twice", Log(tuple(rows), log.head), place + 1, file_only=True)


def insert_and_renumber(chance: random.Random, log: Log) -> Tampered:
    """Put a row in that follows from the one before, and move the others up, with their hashes."""
    rows = list(log.rows)
    place = chance.randrange(len(rows))
    rows.insert(place, _forge_row(chance, rows, place))
    return Tampered("insert, renumbered", Log(_renumber_rows(rows), _head_of(rows)), place + 1)


def insert_and_rehash(chance: random.Random, log: Log) -> Tampered:
    """Put a row in, and compute all later hashes anew."""
    rows = list(log.rows)
    place = chance.randrange(len(rows))
    rows.insert(place, _forge_row(chance, rows, place))
    return _rehash_from("insert", rows, place + 1)


def swap_lines(chance: random.Random, log: Log) -> Tampered:
    """Exchange two neighbours in the file, with their positions."""
    rows = list(log.rows)
    place = chance.randrange(len(rows) - 1)
    rows[place : place + 2] = reversed(rows[place : place + 2])
    return Tampered("reorder lines", Log(tuple(rows), log.head), place + 1, file_only=True)


def swap_positions(chance: random.Random, log: Log) -> Tampered:
    """Exchange the positions of two rows, which keep their hashes."""
    rows = list(log.rows)
    first, second = _choose_two(chance, rows)
    rows[first], rows[second] = replace(rows[second], position=first + 1), replace(rows[first], position=second + 1)
    return Tampered("reorder", Log(tuple(rows), _head_of(rows)), first + 1)


def swap_contents(chance: random.Random, log: Log) -> Tampered:
    """Exchange the bodies of two rows."""
    rows = list(log.rows)
    first, second = _choose_two(chance, rows)
    if rows[first].body == rows[second].body:
        return change_column(chance, log)
    rows[first], rows[second] = (
        replace(rows[first], body=rows[second].body),
        replace(rows[second], body=rows[first].body),
    )
    return Tampered("exchange bodies", Log(tuple(rows), log.head), first + 1)


def swap_and_rehash(chance: random.Random, log: Log) -> Tampered:
    """Exchange two rows, and compute all later hashes anew."""
    rows = list(log.rows)
    first, second = _choose_two(chance, rows)
    rows[first], rows[second] = rows[second], rows[first]
    return _rehash_from("reorder", rows, first + 1)


def cut_tail(chance: random.Random, log: Log) -> Tampered:
    """Cut the end off, and leave the head."""
    rows = list(log.rows[: chance.randrange(len(log.rows))])
    return Tampered("cut the tail", Log(tuple(rows), log.head), len(rows) + 1)


def cut_tail_and_head(chance: random.Random, log: Log) -> Tampered:
    """Cut the end off, and set the head back: nothing but a checkpoint tells."""
    rows = list(log.rows[: chance.randrange(len(log.rows))])
    return Tampered("cut the tail, and set the head back", Log(tuple(rows), _head_of(rows)), len(rows) + 1)


def replace_tail(chance: random.Random, log: Log) -> Tampered:
    """Replace the end by other events, as a database does that was set back and went on."""
    place = chance.randrange(1, len(log.rows))
    rows = list(log.rows[:place])
    while len(rows) <= len(log.rows):
        rows.append(_forge_row(chance, rows, len(rows)))
    return _rehash_from("replace the tail", rows, place + 1)


def change_head(chance: random.Random, log: Log) -> Tampered:
    """Give the head another hash, or set it back without its rows."""
    head = log.head
    if chance.random() < 0.5:
        head = replace(head, hash=bytes(32))
        return Tampered("change the head's hash", Log(log.rows, head), head.position)
    head = replace(head, position=chance.randrange(head.position))
    return Tampered("set the head back", Log(log.rows, head), head.position)


def empty(_chance: random.Random, _log: Log) -> Tampered:
    """Delete everything, and the head."""
    return Tampered("delete everything", Log((), Head(position=0, hash=b"")), 1)


WAYS: Sequence[Callable[[random.Random, Log], Tampered]] = (
    *(change_column, change_column, change_with_own_hash, change_and_rehash),
    *(delete, delete_and_renumber, delete_and_rehash),
    *(insert_twice, insert_and_renumber, insert_and_rehash),
    *(swap_lines, swap_positions, swap_contents, swap_and_rehash),
    *(cut_tail, cut_tail_and_head, replace_tail, change_head, empty),
)


def _change_column(chance: random.Random, row: Row, *, hash_too: bool = True) -> tuple[str, Row]:
    """Return the name of a column, and the row with another value there; of the hash only if that may change, too."""
    flip = 1 << chance.randrange(8)
    body = bytearray(row.body or b"{}")
    place = chance.randrange(len(body))
    body[place] ^= flip
    others: dict[str, Any] = {
        "body": bytes(body),
        "stream_id": UUID(int=row.stream_id.int ^ flip),
        "version": row.version + chance.choice((-1, 1)),
        "name": row.name + "x",
        "recorded_at": row.recorded_at + timedelta(microseconds=chance.choice((-1, 1))),
        "recorded_by": chance.choice(("mallory", "", "x" * 70)) if row.recorded_by != "" else None,
        "hash": bytes([row.hash[0] ^ flip]) + row.hash[1:],
    }
    column = chance.choice(list(others) if hash_too else list(others)[:-1])
    return column, replace(row, **{column: others[column]})


def _forge_row(chance: random.Random, rows: Rows, place: int) -> Row:
    pattern = chance.choice(rows)
    forged_row = replace(pattern, stream_id=UUID(int=chance.getrandbits(128)), version=1, body=b'{"forged":true}')
    return _rehash_row(rows, place, replace(forged_row, position=place + 1))


def _rehash_row(rows: Rows, place: int, row: Row) -> Row:
    return replace(row, hash=log_reader.hash_of(rows[place - 1].hash if place else b"", row))


def _renumber_rows(rows: Rows) -> tuple[Row, ...]:
    return tuple(replace(row, position=position) for position, row in enumerate(rows, 1))


def _head_of(rows: Rows) -> Head:
    return Head(position=len(rows), hash=rows[-1].hash if rows else b"")


def _rehash_from(kind: str, rows: Rows, position: int) -> Tampered:
    return Tampered(f"{kind}, and hash anew", chain_rows(rows), position, is_rehashed=True)


def _choose_two(chance: random.Random, rows: Rows) -> tuple[int, int]:
    first, second = sorted(chance.sample(range(len(rows)), 2))
    return first, second
