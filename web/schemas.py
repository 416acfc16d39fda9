"""Shapes as JSON Schema: what msgspec says of them, and what it cannot know of ours."""

from collections.abc import Iterable, Iterator
from typing import Any, get_args

import msgspec
from msgspec import Meta

from application.commands import Body

Json = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
ANY_JSON = {"description": "any JSON value"}
SPACE = r"\s\x1c-\x1f\x85"  # what Python calls so; the \s of ECMA-262, which schemas speak, is less
NOT_BLANK = rf"[^{SPACE}]|\ufeff"
CRON_OR_ONCE: list[Json] = [
    {"required": ["cronExpression"], "properties": {"cronExpression": {"type": "string"}}},
    {"required": ["runAt"], "properties": {"runAt": {"type": "string"}}},
]
TOGETHER: dict[str, list[Json]] = {  # what bodies say of several fields at once (their `faults`), as far as schemas can
    "MemberDraft": [
        {"required": ["userId"], "properties": {"userId": {"type": "string"}}},
        {"required": ["name"], "properties": {"name": {"type": "string"}}},
    ],
    "ScheduleDraft": CRON_OR_ONCE,
    "SchedulePreview": CRON_OR_ONCE,
    "VariableDraft": [
        {"required": ["type", "options"], "properties": {"type": {"const": "select"}, "options": {"minItems": 1}}},
        {"properties": {"type": {"not": {"const": "select"}}, "options": {"maxItems": 0}}},
    ],
}


def of_bodies(shapes: Iterable[Any]) -> tuple[dict[Any, Json], Json]:
    """The schema of each shape that requests come in, and the components that these refer to, by name."""
    schemas, components = _schemas(shapes)
    bodies = {body.__name__: body for body in Body.__subclasses__()}
    for name, component in components.items():
        if name in bodies:
            _tell_of_space(bodies[name], component["properties"])
        if name in TOGETHER:
            component["anyOf"] = TOGETHER[name]
    return schemas, components


def of_answers(shapes: Iterable[Any]) -> tuple[dict[Any, Json], Json]:
    """The same of shapes that answers come in: every field is always there, unless it has no default at all."""
    schemas, components = _schemas(shapes)
    for component in components.values():
        defaults = {name for name, field in component["properties"].items() if field.pop("default", ...) is not ...}
        component["required"] = [
            name for name in component["properties"] if name in {*component["required"], *defaults}
        ]
    return schemas, components


def _schemas(shapes: Iterable[Any]) -> tuple[dict[Any, Json], Json]:
    shapes = list(dict.fromkeys(shapes))
    found, components = msgspec.json.schema_components(shapes, schema_hook=lambda _: ANY_JSON, ref_template=REFERENCE)
    for component in components.values():
        for name, field in component["properties"].items():
            for text in _texts(field) if name.endswith("At") else ():
                text["format"] = "date-time"
    return dict(zip(shapes, found, strict=True)), components


def _tell_of_space(body: type[msgspec.Struct], fields: Json) -> None:
    """Text that is trimmed must not be blank, unless it may be empty; patterns mean the space of Python."""
    for field in msgspec.structs.fields(body):
        trimmed = any((meta.extra or {}).get("trim") for meta in _metas(field.type))
        for text in _texts(fields[field.encode_name]):
            if "pattern" in text:
                text["pattern"] = text["pattern"].replace(r"\s", SPACE)
            elif trimmed and "minLength" in text:
                text |= {"pattern": NOT_BLANK, "description": "trimmed, not blank"}


def _metas(annotation: Any) -> Iterator[Meta]:
    for part in get_args(annotation):
        if isinstance(part, Meta):
            yield part
        else:
            yield from _metas(part)


def _texts(schema: Json) -> Iterator[Json]:
    """The schemas of text among the alternatives."""
    yield from (one for one in schema.get("anyOf", [schema]) if one.get("type") == "string")
