"""JSON Schemas of bodies and answers: those that msgspec makes, completed by rules that it does not know."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, get_args

import msgspec
from msgspec import Meta

from application.request_bodies.fields import Body

Json = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
ANY_JSON = {"description": "any JSON value"}  # msgspec adds to what it gets, so each gets a copy
SPACE = r"\s\x1c-\x1f\x85"  # whitespace in Python; the \s of ECMA-262, which schemas use, is less
NOT_BLANK = rf"[^{SPACE}]|\ufeff"


def _is_given(name: str) -> Json:
    """Return a schema that requires a field that is present and not null."""
    return {"required": [name], "properties": {name: {"type": "string"}}}


def _require_either(name: str, other: str) -> Json:
    """Return a schema that requires at least one of two fields."""
    return {"if": _is_given(name), "else": _is_given(other)}


def _all_or(*conditions: str) -> Json:
    """Return a schema that requires either `all` or at least one of these conditions."""
    absent = {"properties": {name: {"type": "null"} for name in conditions}}
    says_all = {"required": ["all"], "properties": {"all": {"const": True}}}
    return {"if": says_all, "then": absent, "else": {"not": absent}}


CONDITIONS = ("projectId", "assigneeAgentId", "routineIds", "q")
# The rules on several fields of a body (its `faults`), as far as a schema can express them. They use `if`, which
# generators of clients ignore. From alternatives (`anyOf`) they would make separate types without the other fields.
TOGETHER: dict[str, Json] = {
    "BulkPause": _all_or(*CONDITIONS),
    "BulkResume": _all_or(*CONDITIONS, "pauseId"),
    "MemberDraft": _require_either("userId", "name"),
    "ScheduleDraft": _require_either("cronExpression", "runAt"),
    "SchedulePreview": _require_either("cronExpression", "runAt"),
    "VariableDraft": {
        "if": {"required": ["type"], "properties": {"type": {"const": "select"}}},
        "then": {"required": ["options"], "properties": {"options": {"minItems": 1}}},
        "else": {"properties": {"options": {"maxItems": 0}}},
    },
}


def of_bodies(shapes: Iterable[Any]) -> tuple[dict[Any, Json], Json]:
    """Return the schema of each type of a body, and the components to which these refer, by name."""
    schemas, components = _make_schemas(shapes)
    bodies = {body.__name__: body for body in _all_bodies(Body)}
    for name, component in components.items():
        component["additionalProperties"] = False  # web/http/tolerated_fields.py lists what is accepted all the same
        for field in component["properties"].values():
            _tell_default(field)
        if name in bodies:
            _complete_texts(bodies[name], component["properties"])
        component.update(_open(TOGETHER.get(name, {})))
    return schemas, components


def of_answers(shapes: Iterable[Any]) -> tuple[dict[Any, Json], Json]:
    """Return the same for the types of answers. Every field with a default is required, since it is always sent."""
    schemas, components = _make_schemas(shapes)
    for component in components.values():
        fields = component["properties"]
        defaults = {name for name, field in fields.items() if field.pop("default", ...) is not ...}
        component["required"] = [name for name in fields if name in {*component["required"], *defaults}]
        for text in (
            text for name, field in fields.items() if name.endswith(("At", "_at")) for text in _text_schemas(field)
        ):
            text["format"] = "date-time"
    return schemas, components


def merge_components(bodies: Json, answers: Json) -> Json:
    """Return all components. Raise ValueError if two of the same name differ, since one would hide the other."""
    if differing_names := [name for name in bodies.keys() & answers.keys() if bodies[name] != answers[name]]:
        raise ValueError(f"Bodies and answers of different shapes have the same names: {differing_names}")
    return bodies | answers


def _make_schemas(shapes: Iterable[Any]) -> tuple[dict[Any, Json], Json]:
    shapes = list(dict.fromkeys(shapes))
    schemas, components = msgspec.json.schema_components(
        shapes, schema_hook=lambda _: dict(ANY_JSON), ref_template=REFERENCE
    )
    return dict(zip(shapes, schemas, strict=True)), components


def _complete_texts(body: type[msgspec.Struct], fields: Json) -> None:
    """Complete the schemas of texts: moments, texts that are trimmed and must not be blank, Python's whitespace."""
    for field in msgspec.structs.fields(body):
        is_trimmed = any((meta.extra or {}).get("trim") for meta in _metas_of(field.type))
        for text in _text_schemas(fields[field.encode_name]):
            if datetime in (field.type, *get_args(field.type)):
                text["format"] = "date-time"
            if "pattern" in text:
                pattern = text["pattern"]
                text["pattern"] = NOT_BLANK if pattern == r"\S" else pattern.replace(r"\s", SPACE)
            elif is_trimmed and "minLength" in text:
                text |= {"pattern": NOT_BLANK, "description": "trimmed, not blank"}


def _open(rule: Json) -> Json:
    """Return a rule whose parts say that there may be other fields, as some validators of examples want to be told."""
    parts = ("if", "then", "else", "not")
    return {key: {**_open(part), "unevaluatedProperties": True} if key in parts else part for key, part in rule.items()}


def _tell_default(field: Json) -> None:
    """Say in words what an optional field is without a value: a field with a `default` is required by some generators."""
    if default := field.pop("default", None):
        default_text = f"default {msgspec.json.encode(default).decode()}"
        field["description"] = f"{field['description']}, {default_text}" if "description" in field else default_text


def _all_bodies(base: type[Body]) -> Iterator[type[Body]]:
    for body in base.__subclasses__():
        yield body
        yield from _all_bodies(body)


def _metas_of(annotation: Any) -> Iterator[Meta]:
    for part in get_args(annotation):
        if isinstance(part, Meta):
            yield part
        else:
            yield from _metas_of(part)


def _text_schemas(schema: Json) -> Iterator[Json]:
    """Yield the schemas of text among the alternatives of a schema."""
    yield from (option for option in schema.get("anyOf", [schema]) if option.get("type") == "string")
