"""Kinds of events whose fields alone say how deep they are and how many parts they have, so that nobody need measure them."""

from functools import cache

import msgspec.inspect

SINGLE = (
    msgspec.inspect.NoneType,
    msgspec.inspect.BoolType,
    msgspec.inspect.IntType,
    msgspec.inspect.FloatType,
    msgspec.inspect.StrType,
    msgspec.inspect.LiteralType,
    msgspec.inspect.DateTimeType,
    msgspec.inspect.DateType,
    msgspec.inspect.UUIDType,
)


@cache
def is_flat(kind: type[msgspec.Struct]) -> bool:
    """Return whether events of a kind hold no array, mapping or free JSON. It is found out when it is first asked."""
    return _is_flat(msgspec.inspect.type_info(kind))


def _is_flat(kind: msgspec.inspect.Type) -> bool:
    """Return whether the type holds no array, mapping or free JSON, in its fields or theirs."""
    match kind:
        case msgspec.inspect.StructType(fields=fields):
            return all(_is_flat(field.type) for field in fields)
        case msgspec.inspect.UnionType(types=types):
            return all(_is_flat(member) for member in types)
        case _:
            return isinstance(kind, SINGLE)
