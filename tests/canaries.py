"""An event of each kind in which everything that can be erased is a canary: a text that is looked for afterwards."""

import types
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import cache
from itertools import count
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID, uuid4

import msgspec

from domain.events import STORED_NAMES, RunFired
from domain.values import ERASABLE, Failed

CANARY = "canary"


def is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def build_value(hint: Any, number: Iterator[int]) -> Any:
    """A value of a type in which each text that can be erased is a canary, and every field is there."""
    if get_origin(hint) is Annotated:
        return (
            build_value_of(get_args(hint)[0], number)
            if ERASABLE in hint.__metadata__
            else build_value(get_args(hint)[0], number)
        )
    if is_union(hint):
        return build_value(next(member for member in get_args(hint) if member is not type(None)), number)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint, include_extras=True)
        return hint(**{name: build_value(hints[name], number) for name in hint.__struct_fields__})
    return plain(hint)


def build_value_of(hint: Any, number: Iterator[int]) -> Any:
    """A value of a type all of whose texts are canaries."""
    if hint is str or is_union(hint):
        return f"{CANARY}-{next(number)}"
    if get_origin(hint) is dict:
        key, value = get_args(hint)
        if key is UUID:
            return {uuid4(): all_canaries(value, number)}
        return {f"{CANARY}-{next(number)}": f"{CANARY}-{next(number)}"}
    if get_origin(hint) is tuple:
        return (all_canaries(get_args(hint)[0], number),)
    raise AssertionError(hint)


def all_canaries(hint: Any, number: Iterator[int]) -> Any:
    if hint is str:
        return f"{CANARY}-{next(number)}"
    hints = get_type_hints(hint)
    texts = {name: f"{CANARY}-{next(number)}" for name in hint.__struct_fields__ if hints[name] in (str, str | None)}
    return hint(**{"kind": "api", **texts} if "kind" in hints else texts)


def plain(hint: Any) -> Any:
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if get_origin(hint) in (tuple, dict):
        return get_origin(hint)()
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    return {str: "word", int: 3, float: 1.5, bool: True, UUID: uuid4(), datetime: moment, date: moment.date()}[hint]


@cache
def canaries() -> list[Any]:
    number = count(1)
    events = [build_value(kind, number) for kind in STORED_NAMES.values()]
    fired = next(event for event in events if isinstance(event, RunFired))
    return [*events, msgspec.structs.replace(fired, outcome=Failed(reason=f"{CANARY}-{next(number)}"))]
