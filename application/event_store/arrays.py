"""
The arrays of log.append in Postgres's binary form.

psycopg makes an array value by value, and looks for the type of its values first: for a group of commits that takes as long
as deciding one of them.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeVar
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper

_FILLED, _EMPTY = struct.Struct("!5I"), struct.Struct("!3I")
_LENGTH = struct.Struct("!I")
_OF_UUID, _OF_BIGINT = _LENGTH.pack(16), _LENGTH.pack(8)  # stand before each value
Array = TypeVar("Array", bound="_Array")


class _Array(bytes):
    oid: ClassVar[int]  # Postgres' number of the array's type
    element_oid: ClassVar[int]  # Postgres' number of the type of its values


class UuidArray(_Array):
    """An array of uuid."""

    oid, element_oid = 2951, 2950


class BigintArray(_Array):
    """An array of bigint."""

    oid, element_oid = 1016, 20


class TextArray(_Array):
    """An array of text."""

    oid, element_oid = 1009, 25


class ByteaArray(_Array):
    """An array of bytea."""

    oid, element_oid = 1001, 17


def uuids(ids: Sequence[UUID | str]) -> UuidArray:
    """Return an array of ids."""
    return _pack(
        UuidArray, [_OF_UUID + (id_ if isinstance(id_, UUID) else UUID(id_)).int.to_bytes(16, "big") for id_ in ids]
    )


def bigints(numbers: Sequence[int]) -> BigintArray:
    """Return an array of numbers."""
    return _pack(BigintArray, [_OF_BIGINT + number.to_bytes(8, "big", signed=True) for number in numbers])


def texts(words: Iterable[str]) -> TextArray:
    """Return an array of texts."""
    return _pack(TextArray, _measured([word.encode() for word in words]))


def byteas(contents: Sequence[bytes]) -> ByteaArray:
    """Return an array of bytes."""
    return _pack(ByteaArray, _measured(contents))


def _measured(contents: Sequence[bytes]) -> list[bytes]:
    return [_LENGTH.pack(len(content)) + content for content in contents]


def _pack(kind: type[Array], values: Sequence[bytes]) -> Array:
    """Return an array of one dimension, whose values each follow their length."""
    head = _FILLED.pack(1, 0, kind.element_oid, len(values), 1) if values else _EMPTY.pack(0, 0, kind.element_oid)
    return kind(b"".join((head, *values)))


class _AsItIs(Dumper):
    format = pq.Format.BINARY

    def __init__(self, cls: type[_Array], context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        self.oid = cls.oid  # not of the class: psycopg would use that for lists as well, where it is told their type

    def dump(self, obj: bytes) -> bytes:
        return obj


for _kind in (UuidArray, BigintArray, TextArray, ByteaArray):
    psycopg.adapters.register_dumper(_kind, _AsItIs)
