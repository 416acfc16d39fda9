"""Kinds of events whose fields alone say how deep they are and how many parts they have, so that nobody need measure them."""

import msgspec.inspect

from domain.events import STORED_NAMES

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


def _is_flat(kind: msgspec.inspect.Type) -> bool:
    """Return whether the type holds no array, mapping or free JSON, in its fields or theirs."""
    match kind:
        case msgspec.inspect.StructType(fields=fields):
            return all(_is_flat(field.type) for field in fields)
        case msgspec.inspect.UnionType(types=types):
            return all(_is_flat(member) for member in types)
        case _:
            return isinstance(kind, SINGLE)


# Events without arrays, mappings and free JSON.
FLAT_EVENTS = frozenset(
    kind
    for kind, info in zip(STORED_NAMES.values(), msgspec.inspect.multi_type_info(STORED_NAMES.values()), strict=True)
    if _is_flat(info)
)
