"""Every event that the types allow, as Hypothesis draws it: whatever their fields may hold, nested as deep as JSON may be."""

from datetime import UTC, date, datetime
from typing import get_args

from hypothesis import strategies as st
from msgspec import inspect

from domain.events import AnyEvent

# What requests may bring: no lone surrogate is JSON, and the guard refuses U+0000.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
DEPTHS = st.integers(0, 1_200)


def nested(depth):
    """An object in which so many arrays and objects are nested."""
    value: object = "end"
    for level in range(depth):
        value = [value] if level % 2 else {"next": value}
    return {"deep": value}


OBJECTS = st.dictionaries(TEXT, JSON, max_size=3) | DEPTHS.map(nested)


def of_type(kind):
    """Values of a type of msgspec's."""
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: of_type(field.type) for field in fields})
        case inspect.UnionType(types=types):
            return st.one_of([of_type(one) for one in types])
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.VarTupleType(item_type=item):
            return st.lists(of_type(item), max_size=3).map(tuple)
        case inspect.TupleType(item_types=items):
            return st.tuples(*map(of_type, items))
        case inspect.DictType(key_type=inspect.UUIDType(), value_type=value):
            return st.dictionaries(st.uuids(), of_type(value), max_size=3)
        case inspect.DictType(value_type=inspect.StrType()):
            return st.dictionaries(TEXT, TEXT, max_size=3)
        case inspect.DictType():
            return OBJECTS
        case _:
            return PLAIN[type(kind)]


PLAIN = {
    inspect.NoneType: st.none(),
    inspect.BoolType: st.booleans(),
    inspect.IntType: st.integers(0, 2**31 - 1),
    inspect.FloatType: st.floats(allow_nan=False, allow_infinity=False),
    inspect.StrType: TEXT,
    inspect.UUIDType: st.uuids(),
    inspect.DateTimeType: MOMENTS,
    inspect.DateType: st.dates(date(1970, 1, 1), date(9999, 1, 1)),
    inspect.TimeDeltaType: st.timedeltas(),
    inspect.AnyType: JSON,
}
EVENTS = {kind: of_type(inspect.type_info(kind)) for kind in get_args(AnyEvent)}
ANY_EVENT = st.sampled_from(list(EVENTS)).flatmap(EVENTS.__getitem__)
