"""
The columns of many rows as Postgres takes them: each is one array in its binary format.

psycopg can make such arrays too, but looks at every value for what it is. Here the type of the field has said it before.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin
from uuid import UUID

import msgspec
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

ONE_DIMENSION, MAY_HAVE_NULLS, FROM_THE_FIRST = 1, 1, 1
NULL = b"\xff\xff\xff\xff"  # what stands in place of a value's length when it is NULL
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # from which Postgres counts microseconds
DAY_S, SECOND_US = 86_400, 1_000_000
# The type of a field whose column is an array of ids. That of a plain tuple may be another, JSON for instance.
Ids = Annotated[tuple[UUID, ...], "uuid[]"]
_head = struct.Struct("!5I").pack
_text = struct.Struct("!I").pack
_number = struct.Struct("!Iq").pack


class SentArray(bytes):
    """An array as Postgres reads it in binary. The statement says of which type it is."""


class SentArrayDumper(Dumper):
    """Makes psycopg send an array as it is."""

    format = Format.BINARY

    def dump(self, obj: SentArray) -> SentArray:
        """Return the array."""
        return obj


psycopg.adapters.register_dumper(SentArray, SentArrayDumper)


def _ids(values: Iterable[UUID | None]) -> list[bytes]:
    return [NULL if value is None else b"\0\0\0\x10" + value.int.to_bytes(16, "big") for value in values]


def _numbers(values: Iterable[int | None]) -> list[bytes]:
    return [NULL if value is None else _number(8, value) for value in values]


def _truths(values: Iterable[bool | None]) -> list[bytes]:
    return [NULL if value is None else b"\0\0\0\1\1" if value else b"\0\0\0\1\0" for value in values]


def _documents(values: Iterable[bytes | None]) -> list[bytes]:
    return [NULL if value is None else _text(len(value)) + value for value in values]


def _texts(values: Sequence[str | None]) -> list[bytes]:
    """Return what is sent of texts, many of which are the same, such as names of events."""
    form_by_value = {value: _text(len(encoded := value.encode())) + encoded for value in {*values} if value is not None}
    return [NULL if value is None else form_by_value[value] for value in values]


def _moments(values: Sequence[datetime | None]) -> list[bytes]:
    """Return what is sent of moments, many of which are the same, since what is recorded together has the same."""
    form_by_value = {value: _number(8, _microseconds(value)) for value in {*values} if value is not None}
    return [NULL if value is None else form_by_value[value] for value in values]


def _microseconds(moment: datetime) -> int:
    since = moment - EPOCH
    return (since.days * DAY_S + since.seconds) * SECOND_US + since.microseconds


def text_of_ids(ids: Ids) -> str:
    """Return what is sent of a value that is an array itself: a text, since Postgres has no arrays of arrays."""
    return f"{{{','.join(map(str, ids))}}}"


class Kind(NamedTuple):
    """A type of Postgres: its name, the number by which Postgres knows it, and how the values of a column are sent."""

    name: str
    number: int
    values: Callable[[Any], list[bytes]]
    becomes: str = ""  # the type of the column, if it is another

    def array(self, column: Sequence[Any]) -> SentArray:
        """Return a column of this type as an array."""
        head = _head(ONE_DIMENSION, MAY_HAVE_NULLS, self.number, len(column), FROM_THE_FIRST)
        return SentArray(b"".join([head, *self.values(column)]))


TEXT, JSON, IDS = Kind("text", 25, _texts), Kind("json", 114, _documents), Kind("uuid", 2950, _ids)
LISTS_OF_IDS = Kind("text", 25, _texts, becomes="uuid[]")
KINDS: Mapping[Any, Kind] = {
    UUID: IDS,
    str: TEXT,
    bool: Kind("boolean", 16, _truths),
    int: Kind("bigint", 20, _numbers),
    datetime: Kind("timestamptz", 1184, _moments),
    Ids: LISTS_OF_IDS,
}


def kind_of(type_of_field: Any) -> Kind | None:
    """Return as what the values of a field are sent; None if it is neither a document nor of one of KINDS."""
    types = get_args(type_of_field) if isinstance(type_of_field, UnionType) else (type_of_field,)
    choices = [each for each in types if each is not NoneType]
    if len(choices) != 1:
        return None
    kind = get_origin(choices[0]) or choices[0]
    if kind is Literal:
        return TEXT if all(isinstance(value, str) for value in get_args(choices[0])) else None
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct | dict):
        return JSON
    return next((sent for one, sent in KINDS.items() if one == choices[0]), None)  # not every type has a hash
