"""
What can be erased of an event: the parts that people have written, sent or are called, which are marked ERASABLE where the
event or its value is defined.

They are taken out of an event before it is stored, and stand beside it under the data key of whom they belong to. Without
that key an event is read with words and empty objects in their places, so that every fold goes on.
"""

import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from domain.events import AnyEvent, KeyIssued, NameClaimed, UserErased, UserRegistered
from domain.values import ERASABLE, Payload, Text, Value

KEPT_APART = "[sealed]"  # what the log holds in the place of a text that is sealed
ERASED = "[erased]"  # what readers get in the place of a text that is erased
EMAILS = "email|"  # the scopes of claimed names begin so if the names are email addresses
T = TypeVar("T", bound=msgspec.Struct)
Parts = dict[str, Any]  # by field: the part that can be erased; for a field that holds a struct, a mapping of its parts


class _Plan(Value, frozen=True):
    """
    The fields of a kind of value that can be erased, and those that hold values with such fields. Beside the former stands
    the type that JSON has to be converted to, None for texts and free JSON.
    """

    erasable: dict[str, Any]
    nested: tuple[str, ...]


def subject_of(stream_id: UUID, company_id: UUID | None, event: AnyEvent) -> UUID | None:
    """Return whose texts an event carries: a user's id for their own name and address, otherwise its company's."""
    match event:
        case UserRegistered() | UserErased():
            return stream_id
        case KeyIssued(user_id=UUID() as user_id):
            return user_id
        case NameClaimed(scope=scope, holder_id=holder_id) if scope.startswith(EMAILS):
            return holder_id
        case _:
            return company_id


def split_erasable(value: T, word: str = KEPT_APART) -> tuple[T, Parts]:
    """Return the value with `word` in place of texts and nothing in place of objects and lists, and what was there."""
    parts: Parts = {}
    changes: dict[str, Any] = {}
    plan = _plan_of(type(value))
    for name in plan.erasable:
        if (content := getattr(value, name)) is not None and content not in ("", {}, ()):
            parts[name], changes[name] = content, _stand_in(content, word)
    for name in plan.nested:
        child = getattr(value, name)
        if isinstance(child, msgspec.Struct):
            rest, of_child = split_erasable(child, word)
            if of_child:
                parts[name], changes[name] = of_child, rest
    return (msgspec.structs.replace(value, **changes), parts) if changes else (value, parts)


def join_erasable(value: T, parts: Parts) -> T:
    """Return the value with its parts, as they come out of JSON, in their places. Raises ValidationError."""
    erasable, changes = _plan_of(type(value)).erasable, parts.copy()
    for name, part in parts.items():
        if name not in erasable:
            changes[name] = join_erasable(getattr(value, name), part)
        elif (kind := erasable[name]) is not None:
            changes[name] = msgspec.convert(part, kind, str_keys=True)
    return msgspec.structs.replace(value, **changes)


def read_erased(value: T) -> T:
    """Return the value as it is read when its parts are erased."""
    return split_erasable(value, ERASED)[0]


def has_erasable(kind: type[msgspec.Struct]) -> bool:
    """Return whether values of a kind may have parts that can be erased."""
    plan = _plan_of(kind)
    return bool(plan.erasable or plan.nested)


def _stand_in(content: Any, word: str) -> Any:
    match content:
        case dict():
            return {}
        case tuple():
            return ()
        case _:
            return word


@cache
def _plan_of(kind: type[msgspec.Struct]) -> _Plan:
    hints = get_type_hints(kind, include_extras=True)
    fields = {name: hints[name] for name in kind.__struct_fields__}
    erasable = {name: _converted_to(hint) for name, hint in fields.items() if _is_marked(hint)}
    nested = tuple(name for name, hint in fields.items() if any(map(has_erasable, _structs_in(hint))))
    return _Plan(erasable=erasable, nested=tuple(name for name in nested if name not in erasable))


def _converted_to(hint: Any) -> Any:
    return None if {*_members_of(hint)} <= {Text, Payload, Annotated[dict[str, str], ERASABLE], type(None)} else hint


def _members_of(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if _is_union(hint) else (hint,)


def _is_marked(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return ERASABLE in hint.__metadata__
    return _is_union(hint) and any(map(_is_marked, _members_of(hint)))


def _structs_in(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if _is_union(hint):
        for member in get_args(hint):
            yield from _structs_in(member)
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)
