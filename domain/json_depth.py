"""How deeply a JSON text is nested: measured level by level, so that no depth is too much for the measure itself."""

from collections.abc import Iterable

import msgspec


def is_within(encoded: bytes, most: int) -> bool:
    """Whether a JSON text has at most so many levels of arrays and objects. What cannot be decoded is too deep."""
    if encoded.count(b"[") + encoded.count(b"{") <= most:
        return True
    try:
        level = [msgspec.json.decode(encoded)]
    except RecursionError:
        return False
    depth = 0
    while level := [item for parent in level for item in _children(parent)]:
        depth += 1
        if depth > most:
            return False
    return True


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
