"""Shapes as JSON Schema: what msgspec says of them, and what it cannot know of ours."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, get_args

import msgspec
from msgspec import Meta

from application.request_bodies import Body

Json = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
ANY_JSON = {"description": "any JSON value"}
SPACE = r"\s\x1c-\x1f\x85"  # what Python calls so; the \s of ECMA-262, which schemas speak, is less
NOT_BLANK = rf"[^{SPACE}]|\ufeff"


def _is_given(name: str) -> Json:
    """The field is there, and not null."""
    return {"required": [name], "properties": {name: {"type": "string"}}}


def _either(name: str, other: str) -> Json:
    """At least one of two fields is given."""
    return {"if": _is_given(name), "else": _is_given(other)}


# What bodies say of several fields at once (their `faults`), as far as schemas can. It is said by `if`, which generators
# of clients leave alone: of alternatives they make types of their own, without the other fields.
TOGETHER: dict[str, Json] = {
    "MemberDraft": _either("userId", "name"),
    "ScheduleDraft": _either("cronExpression", "runAt"),
    "SchedulePreview": _either("cronExpression", "runAt"),
    "VariableDraft": {
        "if": {"required": ["type"], "properties": {"type": {"const": "select"}}},
        "then": {"required": ["options"], "properties": {"options": {"minItems": 1}}},
        "else": {"properties": {"options": {"maxItems": 0}}},
    },
}


def of_bodies(shapes: Iterable[Any]) -> tuple[dict[Any, Json], Json]:
    """The schema of each shape that requests come in, and the components that these refer to, by name."""
    schemas, components = _schemas(shapes)
    bodies = {body.__name__: body for body in _bodies(Body)}
    for name, component in components.items():
        if name in bodies:
            _complete(bodies[name], component["properties"])
        component.update(TOGETHER.get(name, {}))
    return schemas, components


def of_answers(shapes: Iterable[Any]) -> tuple[dict[Any, Json], Json]:
    """The same of shapes that answers come in: every field is always there, unless it has no default at all."""
    schemas, components = _schemas(shapes)
    for component in components.values():
        fields = component["properties"]
        defaults = {name for name, field in fields.items() if field.pop("default", ...) is not ...}
        component["required"] = [name for name in fields if name in {*component["required"], *defaults}]
        for text in (text for name, field in fields.items() if name.endswith(("At", "_at")) for text in _texts(field)):
            text["format"] = "date-time"
    return schemas, components


def together(bodies: Json, answers: Json) -> Json:
    """All components. Two of one name must say the same, lest one hides the other."""
    if hidden := [name for name in bodies.keys() & answers.keys() if bodies[name] != answers[name]]:
        raise ValueError(f"Bodies and answers of different shapes have the same names: {hidden}")
    return bodies | answers


def _schemas(shapes: Iterable[Any]) -> tuple[dict[Any, Json], Json]:
    shapes = list(dict.fromkeys(shapes))
    schemas, components = msgspec.json.schema_components(shapes, schema_hook=lambda _: ANY_JSON, ref_template=REFERENCE)
    return dict(zip(shapes, schemas, strict=True)), components


def _complete(body: type[msgspec.Struct], fields: Json) -> None:
    """Moments; text that is trimmed, and must not be blank unless it may be empty; patterns that mean Python's space."""
    for field in msgspec.structs.fields(body):
        trimmed = any((meta.extra or {}).get("trim") for meta in _metas(field.type))
        for text in _texts(fields[field.encode_name]):
            if datetime in (field.type, *get_args(field.type)):
                text["format"] = "date-time"
            if "pattern" in text:
                text["pattern"] = text["pattern"].replace(r"\s", SPACE)
            elif trimmed and "minLength" in text:
                text |= {"pattern": NOT_BLANK, "description": "trimmed, not blank"}


def _bodies(base: type[Body]) -> Iterator[type[Body]]:
    for body in base.__subclasses__():
        yield body
        yield from _bodies(body)


def _metas(annotation: Any) -> Iterator[Meta]:
    for part in get_args(annotation):
        if isinstance(part, Meta):
            yield part
        else:
            yield from _metas(part)


def _texts(schema: Json) -> Iterator[Json]:
    """The schemas of text among the alternatives."""
    yield from (option for option in schema.get("anyOf", [schema]) if option.get("type") == "string")
