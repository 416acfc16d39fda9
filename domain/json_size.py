"""How large and how deep a JSON value is."""

from collections.abc import Iterable

import msgspec


def size_of(*values: object) -> int:
    """How many bytes the values take in JSON."""
    return sum(len(msgspec.json.encode(value)) for value in values)


def depth_of(value: object) -> int:
    """How many levels of arrays and objects a value has; 0 for a text or a number."""
    depth, level = 0, [value]
    while level := [container for container in level if isinstance(container, dict | list)]:
        depth += 1
        level = [item for container in level for item in _items(container)]
    return depth


def _items(container: dict[str, object] | list[object]) -> Iterable[object]:
    return container.values() if isinstance(container, dict) else container
