"""The history of a routine or a trigger as differences: which field, from what to what, by which event."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

import msgspec

from domain import disclosure
from domain.events import (
    RoutineCreated,
    RoutineRestored,
    RoutineSecretRotated,
    RoutineTriggerAdded,
    RoutineTriggerChanged,
    RoutineTriggerRemoved,
    RoutineUpdated,
    TriggerCreated,
    TriggerDeleted,
    TriggerRestored,
    TriggerSecretRotated,
    TriggerUpdated,
)
from domain.recorded import Recorded
from domain.values import TriggerState, Value

Fields = dict[str, Any]
SECRET = "secret"  # noqa: S105 the name of a field, whose values nobody is shown


class Change(Value, frozen=True):
    """One field of a thing before and after an event. None is a value that is not there; a secret is never shown."""

    recorded: Recorded
    field: str
    before: object = None
    after: object = None


def changes_of(history: Iterable[Recorded]) -> Iterator[Change]:
    """Return what each event of a routine, or of a trigger, has changed, in their order. Addresses are masked."""
    fields: Fields = {}
    for recorded in history:
        event = recorded.event
        if isinstance(event, RoutineSecretRotated | TriggerSecretRotated):
            place = f"triggers.{event.trigger_id}." if isinstance(event, RoutineSecretRotated) else ""
            yield Change(recorded=recorded, field=f"{place}{SECRET}")
            continue
        new_fields = _fields_after(fields, event)
        for field in sorted(fields.keys() | new_fields.keys()):
            before, after = fields.get(field), new_fields.get(field)
            if before != after:
                yield Change(recorded=recorded, field=field, before=before, after=after)
        if isinstance(event, RoutineRestored | TriggerRestored):  # a webhook that is there again has another secret
            for field in sorted(new_fields.keys() - fields.keys()):
                if _name_of_field(field) == "kind" and new_fields[field] == "webhook":
                    yield Change(recorded=recorded, field=field.removesuffix("kind") + SECRET)
        fields = new_fields


def _fields_after(fields: Fields, event: Any) -> Fields:
    """Return the fields of the thing after an event."""
    match event:
        case RoutineCreated(settings=settings) | RoutineUpdated(settings=settings):
            return {**_of_triggers(fields), **_fields_of_settings(settings)}
        case RoutineRestored(settings=settings, triggers=triggers):
            states = (_of_state(id_, state) for id_, state in triggers.items())
            return {
                **_fields_of_settings(settings),
                **{name: value for state in states for name, value in state.items()},
            }
        case (
            RoutineTriggerAdded(trigger_id=id_, kind=kind, state=state)
            | RoutineTriggerChanged(trigger_id=id_, kind=kind, state=state)
        ):
            return {**_without_trigger(fields, id_), **_of_state(id_, state or TriggerState(kind=kind))}
        case RoutineTriggerRemoved(trigger_id=id_):
            return _without_trigger(fields, id_)
        case TriggerCreated(kind=kind, settings=settings) | TriggerRestored(kind=kind, settings=settings):
            return {"kind": kind, **_fields_of_settings(settings)}
        case TriggerUpdated(settings=settings):
            return {"kind": fields.get("kind"), **_fields_of_settings(settings)}
        case TriggerDeleted():
            return {}
        case _:
            return fields


def _of_triggers(fields: Mapping[str, Any]) -> Fields:
    return {name: value for name, value in fields.items() if name.startswith("triggers.")}


def _without_trigger(fields: Mapping[str, Any], trigger_id: UUID) -> Fields:
    return {name: value for name, value in fields.items() if not name.startswith(f"triggers.{trigger_id}.")}


def _of_state(trigger_id: UUID, state: TriggerState) -> Fields:
    fields = {"kind": state.kind, **_fields_of_settings(state.settings)}
    return {f"triggers.{trigger_id}.{name}": value for name, value in fields.items()}


def _fields_of_settings(settings: Any) -> Fields:
    """Return the fields of settings as JSON, by the names that clients know; an empty value is as one that is not there."""
    values = msgspec.to_builtins(disclosure.mask_addresses(settings))
    return {_camel_case(name): value for name, value in values.items() if value not in (None, "", (), [], {})}


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class Difference(Value, frozen=True):
    """One field of a thing at two positions of the log, and what changed it in between. A secret is never shown."""

    field: str
    before: object
    after: object
    changes: tuple[Change, ...]


def differences(history: Iterable[Recorded], begin: int, end: int) -> list[Difference]:
    """
    Return the fields that are not the same at two positions, and the secrets that are new, in the order of their names.

    Of a trigger that was added and removed in between there is nothing: it was there at neither.
    """
    changes_by_field: dict[str, list[Change]] = {}
    for change in changes_of(history):
        if begin < change.recorded.position <= end:
            changes_by_field.setdefault(change.field, []).append(change)
    candidates = [
        Difference(field=field, before=changes[0].before, after=changes[-1].after, changes=tuple(changes))
        for field, changes in sorted(changes_by_field.items())
    ]
    passing = {
        _thing_of_field(one.field)
        for one in candidates
        if _name_of_field(one.field) == "kind" and one.before is one.after is None
    }
    return [
        one
        for one in candidates
        if one.before != one.after
        or (_name_of_field(one.field) == SECRET and _thing_of_field(one.field) not in passing)
    ]


def _thing_of_field(field: str) -> str:
    return field.rpartition(".")[0]


def _name_of_field(field: str) -> str:
    return field.rpartition(".")[2]
