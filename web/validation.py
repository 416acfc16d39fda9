"""
Bodies against their shapes: every wrong field is reported, in the form that clients print (contract 1.1, zod 3 issues).

`parse(shape, value)` trims what is marked so, then converts; it raises Invalid with all issues.
"""

import math
import re
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

T = TypeVar("T")
Path = tuple[str | int, ...]
Issue = dict[str, Any]
UUID_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
NO_META = Meta()


class Invalid(Exception):
    """Validation error"""

    def __init__(self, issues: list[Issue]) -> None:
        self.issues = issues
        super().__init__("Validation error")


def parse(shape: type[T], value: object) -> T:
    """The value in its shape. Raises Invalid with every issue there is."""
    issues: list[Issue] = []
    clean = _walk(shape, value, (), issues)
    if issues:
        raise Invalid(issues)
    try:
        return msgspec.convert(clean, shape)
    except (msgspec.ValidationError, ValueError) as error:
        raise Invalid([{"code": "custom", "message": str(error), "path": []}]) from error


def _walk(shape: Any, value: object, path: Path, issues: list[Issue]) -> object:
    meta, shape = _unwrap(shape)
    if get_origin(shape) in (Union, types.UnionType):
        return _union(shape, meta, value, path, issues)
    if get_origin(shape) is Literal:
        return _literal(shape, value, path, issues)
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return _struct(shape, value, path, issues)
    if get_origin(shape) is tuple:
        return _array(shape, meta, value, path, issues)
    if get_origin(shape) is dict:
        return _object(shape, value, path, issues)
    return value if shape is object else SCALARS[shape](value, meta, path, issues)


def _unwrap(shape: Any) -> tuple[Meta, Any]:
    if get_origin(shape) is Annotated:
        inner, *metas = get_args(shape)
        return next((meta for meta in metas if isinstance(meta, Meta)), NO_META), inner
    return NO_META, shape


def _union(shape: Any, meta: Meta, value: object, path: Path, issues: list[Issue]) -> object:
    members = [member for member in get_args(shape) if member is not UnsetType]
    if value is None and types.NoneType in members:
        return None
    members = [member for member in members if member is not types.NoneType]
    if len(members) == 1:
        return _walk(Annotated[members[0], meta] if meta is not NO_META else members[0], value, path, issues)
    attempts: list[list[Issue]] = []
    for member in members:
        attempts.append([])
        clean = _walk(member, value, path, attempts[-1])
        if not attempts[-1]:
            return clean
    errors = [{"issues": attempt, "name": "ZodError"} for attempt in attempts]
    issues.append({"code": "invalid_union", "unionErrors": errors, "path": list(path), "message": "Invalid input"})
    return value


def _literal(shape: Any, value: object, path: Path, issues: list[Issue]) -> object:
    options = get_args(shape)
    expected = " | ".join(f"'{option}'" for option in options)
    if not isinstance(value, str):
        received = _kind(value)
        message = "Required" if value is UNSET else f"Expected {expected}, received {received}"
        issues.append(
            {"expected": expected, "received": received, "code": "invalid_type", "path": list(path), "message": message}
        )
    elif value not in options:
        message = f"Invalid enum value. Expected {expected}, received '{value}'"
        issues.append(
            {
                "received": value,
                "code": "invalid_enum_value",
                "options": list(options),
                "path": list(path),
                "message": message,
            }
        )
    return value


def _struct(shape: type[msgspec.Struct], value: object, path: Path, issues: list[Issue]) -> object:
    if not isinstance(value, Mapping):
        return _wrong("object", value, path, issues)
    clean: dict[str, object] = {}
    for field in msgspec.structs.fields(shape):
        name = field.encode_name
        if name in value or field.required:
            clean[name] = _walk(field.type, value.get(name, UNSET), (*path, name), issues)
    return clean


def _array(shape: Any, meta: Meta, value: object, path: Path, issues: list[Issue]) -> object:
    if not isinstance(value, list):
        return _wrong("array", value, path, issues)
    _check_size(len(value), meta.min_length, meta.max_length, "array", "Array", "element(s)", path, issues)
    return [_walk(get_args(shape)[0], item, (*path, index), issues) for index, item in enumerate(value)]


def _object(shape: Any, value: object, path: Path, issues: list[Issue]) -> object:
    if not isinstance(value, Mapping):
        return _wrong("object", value, path, issues)
    return {key: _walk(get_args(shape)[1], item, (*path, key), issues) for key, item in value.items()}


def _text(value: object, meta: Meta, path: Path, issues: list[Issue]) -> object:
    if not isinstance(value, str):
        return _wrong("string", value, path, issues)
    text = value.strip() if (meta.extra or {}).get("trim") else value
    _check_size(len(text), meta.min_length, meta.max_length, "string", "String", "character(s)", path, issues)
    if meta.pattern is not None and not re.search(meta.pattern, text):
        issues.append({"validation": "regex", "code": "invalid_string", "message": "Invalid", "path": list(path)})
    return text


def _uuid(value: object, _meta: Meta, path: Path, issues: list[Issue]) -> object:
    if not isinstance(value, str):
        return _wrong("string", value, path, issues)
    if not UUID_TEXT.fullmatch(value):
        issues.append({"validation": "uuid", "code": "invalid_string", "message": "Invalid uuid", "path": list(path)})
    return value


def _moment(value: object, _meta: Meta, path: Path, issues: list[Issue]) -> object:
    if not isinstance(value, str):
        return _wrong("string", value, path, issues)
    try:
        aware = datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        message = "Invalid datetime: ISO 8601 with a zone is expected"
        issues.append({"validation": "datetime", "code": "invalid_string", "message": message, "path": list(path)})
    return value


def _boolean(value: object, _meta: Meta, path: Path, issues: list[Issue]) -> object:
    return value if isinstance(value, bool) else _wrong("boolean", value, path, issues)


def _integer(value: object, meta: Meta, path: Path, issues: list[Issue]) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _wrong("number", value, path, issues)
    if isinstance(value, float):
        issues.append(_mistyped("integer", "float", path, "Expected integer, received float"))
        return value
    if meta.ge is not None and value < meta.ge:
        issues.append(_bound("too_small", "minimum", meta.ge, f"Number must be greater than or equal to {meta.ge}", path))
    if meta.le is not None and value > meta.le:
        issues.append(_bound("too_big", "maximum", meta.le, f"Number must be less than or equal to {meta.le}", path))
    return value


def _number(value: object, _meta: Meta, path: Path, issues: list[Issue]) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return _wrong("number", value, path, issues)
    return value


SCALARS: dict[Any, Callable[[object, Meta, Path, list[Issue]], object]] = {
    str: _text,
    UUID: _uuid,
    datetime: _moment,
    bool: _boolean,
    int: _integer,
    float: _number,
}


def _check_size(  # noqa: PLR0913 what the message needs
    size: int, least: int | None, most: int | None, kind: str, name: str, unit: str, path: Path, issues: list[Issue]
) -> None:
    if least is not None and size < least:
        message = f"{name} must contain at least {least} {unit}"
        issues.append(_bound("too_small", "minimum", least, message, path, kind))
    if most is not None and size > most:
        message = f"{name} must contain at most {most} {unit}"
        issues.append(_bound("too_big", "maximum", most, message, path, kind))


def _bound(  # noqa: PLR0913 what the issue has
    code: str, side: str, bound: float, message: str, path: Path, kind: str = "number"
) -> Issue:
    return {
        "code": code,
        side: bound,
        "type": kind,
        "inclusive": True,
        "exact": False,
        "message": message,
        "path": list(path),
    }


def _wrong(expected: str, value: object, path: Path, issues: list[Issue]) -> object:
    received = _kind(value)
    message = "Required" if value is UNSET else f"Expected {expected}, received {received}"
    issues.append(_mistyped(expected, received, path, message))
    return value


def _mistyped(expected: str, received: str, path: Path, message: str) -> Issue:
    return {"code": "invalid_type", "expected": expected, "received": received, "path": list(path), "message": message}


def _kind(value: object) -> str:
    kinds: Iterator[tuple[Any, str]] = iter(
        (
            (UnsetType, "undefined"),
            (types.NoneType, "null"),
            (bool, "boolean"),
            (int | float, "number"),
            (str, "string"),
            (list, "array"),
        )
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "object")
