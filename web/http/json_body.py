"""
Bodies as JSON: well-formed, limited in values and depth, and without U+0000, which Postgres cannot store.

What senders get wrong without being misunderstood is read all the same: a byte order mark before the value is skipped,
and the escape of half a surrogate pair, which is no character, becomes U+FFFD.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

import msgspec

from domain.bounds.json_size import values_by_level
from web.http.fair_threads import FairThreads
from web.http.unknown_names import shorten

MAX_DEPTH = 64
MAX_VALUES = 100_000  # checking a value takes far longer than sending it
VALUE_BYTES = 64  # the memory that a value takes, however short its text is
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
QUOTED = re.compile(r'"[^"]*"')
LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"  # a first half without a second
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a second half without a first
)
MOST_SURROGATES = 10_000  # that are replaced; whoever sends more sends no text
ESCAPED_BACKSLASH, PLACEHOLDER = rb"\\", b"\xff\xff"  # the placeholder is never in UTF-8
SMALL = 16 * 1024  # bytes; a body of this size is read at once, in the event loop

P = ParamSpec("P")
R = TypeVar("R")

_READER = FairThreads(1, 1)  # one thread: large bodies are read one after the other, tenants in turn


class Unsound(Exception):
    """A body is not JSON, or is JSON that is not accepted; the message says why. The path leads to the field that it is about."""

    def __init__(self, message: str = "Invalid JSON body", path: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.path = path


class Malformed(Unsound):
    """A body is not JSON at all."""


def is_announced(content_type: str) -> bool:
    """
    Return whether a Content-Type says JSON. It may say so several times, joined by commas.

    Its parameters mean nothing: JSON is in UTF-8, whatever they say (RFC 8259).
    """
    if content_type == "application/json":
        return True
    kinds = (part.partition(";")[0].strip() for part in QUOTED.sub("", content_type.lower()).split(","))
    return all(kind == "application/json" or kind.endswith("+json") for kind in kinds)


async def read_aside(size: int, read: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what `read` returns. For a large body it is called in a thread, so that the event loop goes on."""
    if size <= SMALL:
        return read(*args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_READER, lambda: read(*args, **kwargs))


def weight(body: bytes) -> int:
    """Return how many bytes of memory the values of a body may take, besides its texts."""
    return VALUE_BYTES * min(_count_marks(body), MAX_VALUES)


def read(body: bytes, *, takes_last: bool = False) -> object:
    """
    Return the value of a body. Raise Unsound, also for a name that an object has twice.

    With `takes_last`, the last of its values counts and the others are ignored, as for most readers of JSON.
    """
    _check_count(body)
    try:
        value, text = _decode_text(body.removeprefix(BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise Malformed from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH or len(body) > MAX_VALUES:
        _check_size(value)
    if b"\\u0000" in body and (where := _find_nul(value, "")) is not None:
        raise Unsound(f"The character U+0000 is not allowed{where}")
    if not takes_last:
        _check_names(text)
    return value


def _decode_text(body: bytes) -> tuple[object, bytes]:
    """Return the value of a JSON text, and the text in which halves of surrogate pairs are replaced."""
    try:
        return msgspec.json.decode(body), body
    except msgspec.DecodeError:
        if PLACEHOLDER in body or (whole := _without_lone_surrogates(body)) == body:
            raise
        return msgspec.json.decode(whole), whole


def _check_names(text: bytes) -> None:
    """Raise Unsound, with the path, for a JSON text in which an object has a name twice: one of its values would be ignored, unseen."""
    characters = text.decode("ascii", BYTES)
    try:
        try:
            _NAMES.decode(characters)
        except _RepeatedName:
            path = _find_repeated(characters)
        else:
            return
    except RecursionError:  # too deep in a value that another one of the same name has hidden
        raise Malformed from None
    shown_path = [_shown(step) if isinstance(step, str) else step for step in path]
    raise Unsound(f"Each name in an object must be given once: '{shown_path[-1]}' is given again", shown_path)


class _RepeatedName(Exception):
    """An object has a name twice."""


class _Members(tuple[tuple[str, object], ...]):
    """The names and values of an object."""

    __slots__ = ()


class _Place(NamedTuple):
    """A value, and where it is: a step from the one that it is in. A path for each would be long where much is nested."""

    value: Any
    step: str | int = ""
    outer: "_Place | None" = None

    def path(self) -> list[str | int]:
        steps, place = [], self
        while place.outer is not None:
            steps.append(place.step)
            place = place.outer
        return steps[::-1]


def _check_members(members: list[tuple[str, object]]) -> None:
    if len({_whole(name) for name, _ in members}) < len(members):
        raise _RepeatedName


def _find_repeated(characters: str) -> list[str | int]:
    """Return the path to a name that an object has twice. There has to be one."""
    pending: list[_Place] = [_Place(_MEMBERS.decode(characters))]
    while True:
        place = pending.pop()
        value, steps = place.value, enumerate(place.value) if isinstance(place.value, list) else place.value
        if isinstance(value, _Members):
            counts = Counter(_whole(name) for name, _ in value)
            repeated = next((name for name, _ in value if counts[_whole(name)] > 1), None)
            if repeated is not None:
                return [*place.path(), repeated]
        pending += [_Place(inner, step, place) for step, inner in steps if isinstance(inner, _Members | list)]


def _whole(name: str) -> bytes:
    return name.encode(errors=BYTES)


def _shown(name: str) -> str:
    return shorten(_whole(name).decode())


# Looks at the names of each object of a text that has been read, and keeps no values. Other than as UTF-8, a large text takes two
# bytes of memory for a character and not four; its names are made whole again.
_NAMES, BYTES = json.JSONDecoder(object_pairs_hook=_check_members, parse_int=float), "surrogateescape"
_MEMBERS = json.JSONDecoder(object_pairs_hook=_Members, parse_int=float)  # keeps them all, of a text that is refused


def _without_lone_surrogates(body: bytes) -> bytes:
    """Return the JSON text with U+FFFD for half surrogate pairs; a backslash that is itself escaped begins no escape."""
    plain = body.replace(ESCAPED_BACKSLASH, PLACEHOLDER)
    return LONE_SURROGATE.sub(rb"\\ufffd", plain, count=MOST_SURROGATES).replace(PLACEHOLDER, ESCAPED_BACKSLASH)


def _count_marks(body: bytes) -> int:
    """Return an upper bound on the number of values: each but the first follows a comma or the start of its parent."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _check_count(body: bytes) -> None:
    """Refuse far too many values before any is decoded, since decoding them blocks the whole process."""
    if _count_marks(body) <= MAX_VALUES:
        return
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') <= 4 * MAX_VALUES:  # at most a name and a text for each value
        bare = b"".join(plain.split(b'"')[::2])
        if max(bare.count(b","), bare.count(b"[") + bare.count(b"{")) <= MAX_VALUES:
            return
    raise _too_many()


def _too_many() -> Unsound:
    return Unsound(f"The body must have at most {MAX_VALUES} values")


def _check_size(value: object) -> None:
    depth = values = 0
    for level in values_by_level(value):
        depth, values = depth + 1, values + len(level)
        if values > MAX_VALUES:
            raise _too_many()
    if depth > MAX_DEPTH:
        raise Unsound(f"The body is nested deeper than {MAX_DEPTH} levels")


def _find_nul(value: object, path: str) -> str | None:
    """Return where a text contains U+0000, as the end of an error message; None if none does."""
    if isinstance(value, str):
        return f" (in {path.lstrip('.')})" if "\x00" in value else None
    if isinstance(value, dict):
        if any("\x00" in key for key in value):
            return " (in a name)"
        return next((w for key, item in value.items() if (w := _find_nul(item, f"{path}.{key}")) is not None), None)
    if isinstance(value, list):
        return next((w for i, item in enumerate(value) if (w := _find_nul(item, f"{path}.{i}")) is not None), None)
    return None
