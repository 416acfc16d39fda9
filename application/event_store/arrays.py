"""
The arrays of log.append in Postgres's binary form.

psycopg makes an array value by value, and looks for the type of its values first: for a group of commits that takes as long
as deciding one of them.
"""

import struct
from collections.abc import Iterable, Sequence
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

_FILLED, _EMPTY = struct.Struct("!5I"), struct.Struct("!3I")
_LENGTH = struct.Struct("!I")
_OF_UUID, _OF_BIGINT = _LENGTH.pack(16), _LENGTH.pack(8)  # stand before each value
UUID_OID, BIGINT_OID, TEXT_OID, BYTEA_OID = 2950, 20, 25, 17


class UuidArray(bytes):
    """An array of uuid."""


class BigintArray(bytes):
    """An array of bigint."""


class TextArray(bytes):
    """An array of text."""


class ByteaArray(bytes):
    """An array of bytea."""


def uuids(ids: Sequence[UUID | str]) -> UuidArray:
    """Return an array of ids."""
    values = [_OF_UUID + (id_ if isinstance(id_, UUID) else UUID(id_)).bytes for id_ in ids]
    return UuidArray(_array(UUID_OID, values))


def bigints(numbers: Sequence[int]) -> BigintArray:
    """Return an array of numbers."""
    return BigintArray(_array(BIGINT_OID, [_OF_BIGINT + number.to_bytes(8, "big", signed=True) for number in numbers]))


def texts(words: Iterable[str]) -> TextArray:
    """Return an array of texts."""
    return TextArray(_array(TEXT_OID, _measured([word.encode() for word in words])))


def byteas(contents: Sequence[bytes]) -> ByteaArray:
    """Return an array of bytes."""
    return ByteaArray(_array(BYTEA_OID, _measured(contents)))


def _measured(contents: Sequence[bytes]) -> list[bytes]:
    return [_LENGTH.pack(len(content)) + content for content in contents]


def _array(oid: int, values: Sequence[bytes]) -> bytes:
    """Return an array of one dimension, whose values each follow their length."""
    return _FILLED.pack(1, 0, oid, len(values), 1) + b"".join(values) if values else _EMPTY.pack(0, 0, oid)


class _AsItIs(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


def _register() -> None:
    for kind, oid in ((UuidArray, 2951), (BigintArray, 1016), (TextArray, 1009), (ByteaArray, 1001)):
        psycopg.adapters.register_dumper(kind, type(f"_{kind.__name__}", (_AsItIs,), {"oid": oid}))


_register()
