"""How large and how deep a JSON value is. Depth is measured level by level, so that no depth can exhaust the stack."""

from collections.abc import Iterable, Iterator

import msgspec


def size_of(*values: object) -> int:
    """Return how many bytes the values take in JSON, all together."""
    return sum(len(msgspec.json.encode(value)) for value in values)


def values_by_level(value: object) -> Iterator[list[object]]:
    """Yield the value alone, then everything directly in it, then everything in those, down to the last level."""
    level = [value]
    while level:
        yield level
        level = [item for parent in level for item in _items_of(parent)]


def depth_of(value: object) -> int:
    """Return how many levels of arrays and objects a value has; 0 for a text or a number."""
    return sum(any(isinstance(item, dict | list) for item in level) for level in values_by_level(value))


def is_within(encoded: bytes, most: int) -> bool:
    """
    Return whether a JSON text has at most `most` levels of arrays and objects.

    A text that is too deep for the decoder is too deep.
    """
    if encoded.count(b"[") + encoded.count(b"{") <= most:
        return True
    try:
        value = msgspec.json.decode(encoded)
    except RecursionError:
        return False
    return all(depth <= most for depth, _ in enumerate(values_by_level(value)))


def _items_of(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
