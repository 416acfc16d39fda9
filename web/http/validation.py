"""
Checks of bodies against types. Every wrong field is reported in the form of zod 3 issues (contract 1.1).

`parse(shape, value)` trims the texts that are marked so, then converts the value; it raises Invalid with all issues. If
every field of a struct is right by itself, its `faults()`, if it has that method, say what is wrong with them together.
A field that a struct does not have is refused, unless web/http/tolerated_fields.py lists it.
"""

import re
import sys
import types
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application.request_bodies.fields import REQUIRED
from domain.routines.trigger import TOO_FAR
from web.http.tolerated_fields import COPY_MARK, tolerated_in
from web.http.unknown_names import describe_unknown

T = TypeVar("T")
Issue = dict[str, Any]
UUID_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
NO_META = Meta()
MOST_UNKNOWN = 10  # fields of one object that are reported
MOST_ISSUES = 100  # nobody reads more, and finding more takes far longer than sending the body
Aware = Annotated[datetime, Meta(tz=True)]


class Invalid(Exception):
    """A body, a query or a header is wrong; `issues` lists what and where."""

    def __init__(self, issues: list[Issue]) -> None:
        self.issues = issues
        super().__init__("Validation error")


def invalid(message: str, *path: str | int) -> Invalid:
    """Return the error with this one message, about the field, the parameter or the header at the path."""
    return Invalid([{"code": "custom", "message": message, "path": list(path)}])


class Place(NamedTuple):
    """A place in a body, and the issues that were found so far."""

    path: tuple[str | int, ...]
    issues: list[Issue]

    def at(self, step: str | int) -> "Place":
        """Return the place of a field or an element of the value at this place."""
        return Place((*self.path, step), self.issues)

    def report(self, code: str, message: str, **more: Any) -> None:
        """Add an issue. Raise Invalid when there are MOST_ISSUES."""
        self.issues.append({"code": code, **more, "message": message, "path": list(self.path)})
        if len(self.issues) >= MOST_ISSUES:
            raise Invalid(self.issues)

    def wrong_type(self, expected: str, value: object) -> object:
        """Report a value of a wrong type, or an absent one (UNSET). Return the value."""
        received = _javascript_type(value)
        message = "Required" if value is UNSET else f"Expected {expected}, received {received}"
        self.report("invalid_type", message, expected=expected, received=received)
        return value


def must_be_future(moment: datetime | None | UnsetType, field: str, now: datetime) -> None:
    """Raise Invalid for a moment that is over. `field` is its name in the body."""
    if isinstance(moment, datetime) and moment <= now:
        raise invalid(f"{field} must be in the future", field)


def must_resume(resume_at: datetime | None | UnsetType, now: datetime) -> None:
    """Raise Invalid for an end of a pause that is over, or so far away that zones have no time for it."""
    must_be_future(resume_at, "resumeAt", now)
    if isinstance(resume_at, datetime) and resume_at >= TOO_FAR:
        raise invalid(f"resumeAt must lie before the year {TOO_FAR.year}", "resumeAt")


def parse(shape: type[T], value: object) -> T:
    """Return the value as the type. Raise Invalid with all issues."""
    place = Place((), [])
    try:
        clean = _check_value(shape, value, place)
        if place.issues:
            raise Invalid(place.issues)
        return msgspec.convert(clean, shape)
    except (msgspec.ValidationError, ValueError) as error:
        raise invalid(str(error)) from error


def _check_value(shape: Any, value: object, place: Place) -> object:
    meta, shape = _unwrap_annotation(shape)
    if get_origin(shape) in (Union, types.UnionType):
        return _check_union(shape, meta, value, place)
    if get_origin(shape) is Literal:
        return _check_literal(shape, value, place)
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return _check_struct(shape, value, place)
    if get_origin(shape) is tuple:
        return _check_array(shape, meta, value, place)
    if get_origin(shape) is dict:
        return _check_object(shape, meta, value, place)
    return value if shape is object else SCALARS[shape](value, meta, place)


def _unwrap_annotation(shape: Any) -> tuple[Meta, Any]:
    if get_origin(shape) is Annotated:
        inner, *metas = get_args(shape)
        return next((meta for meta in metas if isinstance(meta, Meta)), NO_META), inner
    return NO_META, shape


def _check_union(shape: Any, meta: Meta, value: object, place: Place) -> object:
    members = [member for member in get_args(shape) if member is not UnsetType]
    if value is None and types.NoneType in members:
        return None
    members = [member for member in members if member is not types.NoneType]
    if len(members) == 1:
        return _check_value(Annotated[members[0], meta] if meta is not NO_META else members[0], value, place)
    if (by_tag := _by_tag(members)) is not None:
        return _check_tagged(*by_tag, value, place)
    attempts: list[list[Issue]] = []
    for member in members:
        attempts.append([])
        clean = _check_value(member, value, Place(place.path, attempts[-1]))
        if not attempts[-1]:
            return clean
    for attempt in attempts:
        if all(issue["code"].startswith("too_") and issue["path"] == [*place.path] for issue in attempt):
            place.issues.extend(attempt)  # the value has the type of this member, and only its size is wrong
            return value
    errors = [{"issues": attempt, "name": "ZodError"} for attempt in attempts]
    place.report("invalid_union", "Invalid input", unionErrors=errors)
    return value


def _by_tag(members: list[Any]) -> tuple[str, dict[object, Any]] | None:
    """Return the tag field of a union of structs and its member for each tag, or None if it is no such union."""
    configs: list[Any] = [getattr(member, "__struct_config__", None) for member in members]
    if not all(config is not None and config.tag_field for config in configs):
        return None
    return configs[0].tag_field, {config.tag: member for config, member in zip(configs, members, strict=True)}


def _check_tagged(field: str, members: dict[object, Any], value: object, place: Place) -> object:
    if not isinstance(value, Mapping):
        return place.wrong_type("object", value)
    tag = value.get(field)
    if not isinstance(tag, str) or tag not in members:
        expected = " | ".join(f"'{option}'" for option in members)
        message = f"Invalid discriminator value. Expected {expected}"
        place.at(field).report("invalid_union_discriminator", message, options=list(members))
        return value
    return {field: tag, **_check_struct(members[tag], value, place)}  # type: ignore[dict-item]


def _check_literal(shape: Any, value: object, place: Place) -> object:
    options = get_args(shape)
    expected = " | ".join(f"'{option}'" for option in options)
    if not isinstance(value, str):
        return place.wrong_type(expected, value)
    if value not in options:
        message = f"Invalid enum value. Expected {expected}, received '{value}'"
        place.report("invalid_enum_value", message, options=list(options), received=value)
    return value


def _check_struct(shape: type[msgspec.Struct], value: object, place: Place) -> object:
    if not isinstance(value, Mapping):
        return place.wrong_type("object", value)
    before = len(place.issues)
    clean: dict[str, object] = {}
    _check_names(shape, value, place)
    for name, kind, is_required in _fields_of(shape):
        if name in value or is_required:
            clean[name] = _check_value(kind, value.get(name, UNSET), place.at(name))
    faults = getattr(shape, "faults", None)
    if faults is not None and len(place.issues) == before:
        for name, message in faults(msgspec.convert(clean, shape)):
            if message == REQUIRED:
                place.at(name).wrong_type("string", UNSET)
            else:
                place.at(name).report("custom", message)
    return clean


def _check_names(shape: type[msgspec.Struct], value: Mapping[str, object], place: Place) -> None:
    """Report the fields that a body of this type does not have and may not hold."""
    own = _names_of(shape)
    tolerated, unknown_names = tolerated_in(shape), []
    for name in (name for name in value if name not in own):
        if name in tolerated.unused:
            if not _is_one_of(value[name], tolerated.unused[name]):
                default = msgspec.json.encode(tolerated.unused[name][0]).decode()
                place.at(name).report("custom", f"{name} is not supported yet: leave it out, or send {default}")
        elif name not in tolerated.ignored and not (COPY_MARK in value and name in tolerated.of_copies):
            unknown_names.append(name)
    for name in unknown_names[:MOST_UNKNOWN]:
        short_name, message = describe_unknown("field", name, own)
        place.at(short_name).report("unrecognized_keys", message, keys=[short_name])


@cache
def _fields_of(shape: type[msgspec.Struct]) -> tuple[tuple[str, Any, bool], ...]:
    """
    Return the fields of a type: the name in JSON, the type, and whether there must be one.

    It takes longer to look them up than to check a body.
    """
    return tuple((field.encode_name, field.type, field.required) for field in msgspec.structs.fields(shape))


@cache
def _names_of(shape: type[msgspec.Struct]) -> frozenset[str]:
    """Return the names that a JSON object of this type may have."""
    tag = shape.__struct_config__.tag_field
    return frozenset(name for name, _, _ in _fields_of(shape)) | ({tag} if tag is not None else set())


def _is_one_of(value: object, accepted: tuple[object, ...]) -> bool:
    return any(type(value) is type(one) and value == one for one in accepted)  # 0 is not false


def _check_array(shape: Any, meta: Meta, value: object, place: Place) -> object:
    if not isinstance(value, list):
        return place.wrong_type("array", value)
    _check_size(len(value), meta, "array", place)
    return [
        _check_value(get_args(shape)[0], item, place.at(index)) for index, item in enumerate(value[: meta.max_length])
    ]


def _check_object(shape: Any, meta: Meta, value: object, place: Place) -> object:
    if not isinstance(value, Mapping):
        return place.wrong_type("object", value)
    most = (meta.extra or {}).get("max_bytes")
    if most is not None and len(msgspec.json.encode(value)) > most:
        place.report("too_big", f"Object must have at most {most} bytes of JSON", maximum=most, type="object")
        return value
    return {key: _check_value(get_args(shape)[1], item, place.at(key)) for key, item in value.items()}


def _check_text(value: object, meta: Meta, place: Place) -> object:
    if not isinstance(value, str):
        return place.wrong_type("string", value)
    text = value.strip() if (meta.extra or {}).get("trim") else value
    _check_size(len(text), meta, "string", place)
    if meta.pattern is not None and not _matches(meta.pattern, text):
        place.report("invalid_string", "Invalid", validation="regex", pattern=meta.pattern)
    return text


def _matches(pattern: str, text: str) -> bool:
    """Return whether the text has the pattern. `$` is the end of the text alone, as the description's readers take it."""
    match = re.search(pattern, text)
    return match is not None and not (pattern.endswith("$") and match.end() < len(text))


def _check_uuid(value: object, _meta: Meta, place: Place) -> object:
    if not isinstance(value, str):
        return place.wrong_type("string", value)
    if not UUID_TEXT.fullmatch(value):
        place.report("invalid_string", "Invalid uuid", validation="uuid")
    return value


def _check_moment(value: object, _meta: Meta, place: Place) -> object:
    if not isinstance(value, str):
        return place.wrong_type("string", value)
    try:
        msgspec.convert(value, Aware).astimezone(UTC)  # near year 1 and 9999 there is no such moment in UTC
    except (msgspec.ValidationError, OverflowError):
        place.report("invalid_string", "Invalid datetime: ISO 8601 with a zone is expected", validation="datetime")
    return value


def _check_date(value: object, _meta: Meta, place: Place) -> object:
    if not isinstance(value, str):
        return place.wrong_type("string", value)
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        place.report("invalid_string", "Invalid date: YYYY-MM-DD is expected", validation="date")
    return value


def _check_boolean(value: object, _meta: Meta, place: Place) -> object:
    return value if isinstance(value, bool) else place.wrong_type("boolean", value)


def _check_integer(value: object, meta: Meta, place: Place) -> object:
    if isinstance(value, float) and value.is_integer() and not (meta.extra or {}).get("whole"):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return place.wrong_type("number", value)
    if isinstance(value, float):
        place.report("invalid_type", "Expected integer, received float", expected="integer", received="float")
    else:
        _check_bounds(value, meta, place)
    return value


def _check_number(value: object, meta: Meta, place: Place) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return place.wrong_type("number", value)
    if not _check_bounds(value, meta, place) and not abs(value) <= sys.float_info.max:
        return place.wrong_type("number", value)
    return value


def _check_bounds(value: float, meta: Meta, place: Place) -> bool:
    """Report a number that is too small or too big; return whether it is."""
    if meta.ge is not None and value < meta.ge:
        message = f"Number must be greater than or equal to {meta.ge}"
        place.report("too_small", message, minimum=meta.ge, type="number", inclusive=True, exact=False)
        return True
    if meta.le is not None and value > meta.le:
        message = f"Number must be less than or equal to {meta.le}"
        place.report("too_big", message, maximum=meta.le, type="number", inclusive=True, exact=False)
        return True
    return False


SCALARS: dict[Any, Callable[[object, Meta, Place], object]] = {
    str: _check_text,
    UUID: _check_uuid,
    datetime: _check_moment,
    date: _check_date,
    bool: _check_boolean,
    int: _check_integer,
    float: _check_number,
}
UNITS = {"string": "character(s)", "array": "element(s)"}


def _check_size(size: int, meta: Meta, kind: str, place: Place) -> None:
    sized = {"type": kind, "inclusive": True, "exact": False}
    if meta.min_length is not None and size < meta.min_length:
        message = f"{kind.capitalize()} must contain at least {meta.min_length} {UNITS[kind]}"
        place.report("too_small", message, minimum=meta.min_length, **sized)
    if meta.max_length is not None and size > meta.max_length:
        message = f"{kind.capitalize()} must contain at most {meta.max_length} {UNITS[kind]}"
        place.report("too_big", message, maximum=meta.max_length, **sized)


KINDS: tuple[tuple[Any, str], ...] = (
    (UnsetType, "undefined"),
    (types.NoneType, "null"),
    (bool, "boolean"),
    (int | float, "number"),
    (str, "string"),
    (list, "array"),
)


def _javascript_type(value: object) -> str:
    """Return the type of a value as JavaScript calls it."""
    return next((name for kind, name in KINDS if isinstance(value, kind)), "object")
