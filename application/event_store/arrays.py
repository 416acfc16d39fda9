"""
The arrays of log.append in Postgres's binary form.

psycopg makes an array value by value, and looks for the type of its values first: for a group of commits that takes as long
as deciding one of them. Here no step of Python's is taken for a single value.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import ClassVar, TypeVar
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper

_FILLED, _EMPTY = struct.Struct("!5I"), struct.Struct("!3I")
_LENGTH, _BIGINT = struct.Struct("!I"), struct.Struct("!Iq")  # a length stands before each value
_OF_UUID = _LENGTH.pack(16)
_number_of = attrgetter("int")
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
    if str in map(type, ids):
        ids = [UUID(str(id_)) for id_ in ids]
    contents = map(int.to_bytes, map(_number_of, ids), repeat(16))  # the highest byte first
    return _pack(UuidArray, len(ids), chain.from_iterable(zip(repeat(_OF_UUID), contents, strict=False)))


def bigints(numbers: Sequence[int]) -> BigintArray:
    """Return an array of numbers."""
    return _pack(BigintArray, len(numbers), map(_BIGINT.pack, repeat(8), numbers))


def texts(words: Iterable[str]) -> TextArray:
    """Return an array of texts."""
    return _pack_measured(TextArray, list(map(str.encode, words)))


def byteas(contents: Sequence[bytes]) -> ByteaArray:
    """Return an array of bytes."""
    return _pack_measured(ByteaArray, contents)


def _pack_measured(kind: type[Array], contents: Sequence[bytes]) -> Array:
    lengths = map(_LENGTH.pack, map(len, contents))
    return _pack(kind, len(contents), chain.from_iterable(zip(lengths, contents, strict=True)))


def _pack(kind: type[Array], many: int, parts: Iterable[bytes]) -> Array:
    """Return an array of one dimension of so many values, whose parts are the values, each after its length."""
    head = _FILLED.pack(1, 0, kind.element_oid, many, 1) if many else _EMPTY.pack(0, 0, kind.element_oid)
    return kind(b"".join((head, *parts)))


class _AsItIs(Dumper):
    format = pq.Format.BINARY

    def __init__(self, cls: type[_Array], context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        self.oid = cls.oid  # not of the class: psycopg would use that for lists as well, where it is told their type

    def dump(self, obj: bytes) -> bytes:
        return obj


for _kind in (UuidArray, BigintArray, TextArray, ByteaArray):
    psycopg.adapters.register_dumper(_kind, _AsItIs)
