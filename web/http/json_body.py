"""A body as JSON: well-formed, not too much, not too deep, and without the one character that Postgres cannot store."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import msgspec

from domain.bounds.json_size import levels
from web.http.fair_threads import FairThreads

MAX_DEPTH = 64
MAX_VALUES = 100_000  # to look at one takes far longer than to send it
VALUE_BYTES = 64  # that a value takes of our memory, however short its text is
SMALL = 16 * 1024  # bytes of a body that is read in no time

P = ParamSpec("P")
R = TypeVar("R")

_READER = FairThreads(1, 1)  # one: large ones are read one after the other, those of each tenant in turn


class Unsound(Exception):
    """Invalid JSON body"""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


def is_announced(content_type: str) -> bool:
    """Whether a Content-Type says JSON in UTF-8."""
    kind, _, parameters = content_type.lower().partition(";")
    is_json = kind.strip() == "application/json" or kind.strip().endswith("+json")
    return is_json and ("charset" not in parameters or "utf-8" in parameters)


async def aside(size: int, read: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Reads what is made of a body of this size: a small one at once, any other in a thread, so that nobody waits."""
    if size <= SMALL:
        return read(*args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_READER, lambda: read(*args, **kwargs))


def weight(body: bytes) -> int:
    """How much of our memory its values may take, beside its texts."""
    return VALUE_BYTES * min(_marks(body), MAX_VALUES)


def read(body: bytes) -> object:
    """Its value. Raises Unsound."""
    _check_count(body)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise Unsound from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH or len(body) > MAX_VALUES:
        _check_size(value)
    if b"\\u0000" in body and (where := _nul(value, "")) is not None:
        raise Unsound(f"The character U+0000 is not allowed{where}")
    return value


def _marks(body: bytes) -> int:
    """As many as there are values, or more: each but the first follows a comma or the beginning of its parent."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _check_count(body: bytes) -> None:
    """Far too many values are refused before any is made: to make them stops whatever else the process does."""
    if _marks(body) <= MAX_VALUES:
        return
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') <= 4 * MAX_VALUES:  # a name and a text for each value
        bare = b"".join(plain.split(b'"')[::2])
        if max(bare.count(b","), bare.count(b"[") + bare.count(b"{")) <= MAX_VALUES:
            return
    raise _too_many()


def _too_many() -> Unsound:
    return Unsound(f"The body must have at most {MAX_VALUES} values")


def _check_size(value: object) -> None:
    depth = values = 0
    for level in levels(value):
        depth, values = depth + 1, values + len(level)
        if values > MAX_VALUES:
            raise _too_many()
    if depth > MAX_DEPTH:
        raise Unsound(f"The body is nested deeper than {MAX_DEPTH} levels")


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
