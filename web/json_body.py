"""A body as JSON: well-formed, not too much, not too deep, and without the one character that Postgres cannot store."""

from collections.abc import Iterable

import msgspec

MAX_DEPTH = 64
MAX_VALUES = 100_000  # to look at one takes far longer than to send it


class Unsound(Exception):
    """Invalid JSON body"""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


def is_announced(content_type: str) -> bool:
    """Whether a Content-Type says JSON in UTF-8."""
    kind, _, parameters = content_type.lower().partition(";")
    is_json = kind.strip() == "application/json" or kind.strip().endswith("+json")
    return is_json and ("charset" not in parameters or "utf-8" in parameters)


def read(body: bytes) -> object:
    """Its value. Raises Unsound."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise Unsound from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH or len(body) > MAX_VALUES:
        _check_size(value)
    if b"\\u0000" in body and (where := _nul(value, "")) is not None:
        raise Unsound(f"The character U+0000 is not allowed{where}")
    return value


def _check_size(value: object) -> None:
    depth, values, level = 0, 0, [value]
    while level:
        depth, values = depth + 1, values + len(level)
        if values > MAX_VALUES:
            raise Unsound(f"The body must have at most {MAX_VALUES} values")
        level = [item for parent in level for item in _children(parent)]
    if depth > MAX_DEPTH:
        raise Unsound(f"The body is nested deeper than {MAX_DEPTH} levels")


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _nul(value: object, path: str) -> str | None:
    """Where a text holds U+0000; None if nowhere."""
    if isinstance(value, str):
        return f" (in {path.lstrip('.')})" if "\x00" in value else None
    if isinstance(value, dict):
        if any("\x00" in key for key in value):
            return " (in a name)"
        return next((w for key, item in value.items() if (w := _nul(item, f"{path}.{key}")) is not None), None)
    if isinstance(value, list):
        return next((w for i, item in enumerate(value) if (w := _nul(item, f"{path}.{i}")) is not None), None)
    return None
