"""How large and how deep a JSON value is: measured level by level, so that no depth is too much for the measure itself."""

from collections.abc import Iterable, Iterator

import msgspec


def size_of(*values: object) -> int:
    """How many bytes the values take in JSON."""
    return sum(len(msgspec.json.encode(value)) for value in values)


def levels(value: object) -> Iterator[list[object]]:
    """The value alone, then all that is directly in it, then all that is in those, until there is no more."""
    level = [value]
    while level:
        yield level
        level = [item for parent in level for item in _items(parent)]


def depth_of(value: object) -> int:
    """How many levels of arrays and objects a value has; 0 for a text or a number."""
    return sum(any(isinstance(item, dict | list) for item in level) for level in levels(value))


def is_within(encoded: bytes, most: int) -> bool:
    """Whether a JSON text has at most so many levels of arrays and objects. What cannot be decoded is too deep."""
    if encoded.count(b"[") + encoded.count(b"{") <= most:
        return True
    try:
        value = msgspec.json.decode(encoded)
    except RecursionError:
        return False
    return all(depth <= most for depth, _ in enumerate(levels(value)))


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
