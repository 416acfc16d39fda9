"""
A routine: what recurs, for whom, and under which policies. Lifecycle: contract 3.5.

Every event is one revision, so the revision number is the version of the stream.
"""

from uuid import UUID

from msgspec.structs import replace

from domain.errors import Conflict, ImpossibleHistory, Unacceptable
from domain.events import (
    RoutineCreated,
    RoutineEvent,
    RoutineTriggerAdded,
    RoutineTriggerChanged,
    RoutineTriggerRemoved,
    RoutineUpdated,
)
from domain.values import RoutineSettings, TriggerKind, Value


class Routine(Value, frozen=True):
    settings: RoutineSettings
    revision: int = 1
    triggers: dict[UUID, TriggerKind] = {}


def evolve(routine: Routine | None, event: RoutineEvent) -> Routine:
    match routine, event:
        case None, RoutineCreated(settings=settings):
            return Routine(settings=settings)
        case Routine(revision=revision), RoutineUpdated(settings=settings):
            return replace(routine, revision=revision + 1, settings=settings)
        case Routine(revision=revision), RoutineTriggerAdded(trigger_id=id_, kind=kind):
            return replace(routine, revision=revision + 1, triggers=routine.triggers | {id_: kind})
        case Routine(revision=revision), RoutineTriggerChanged():
            return replace(routine, revision=revision + 1)
        case Routine(revision=revision), RoutineTriggerRemoved(trigger_id=gone):
            left = {id_: kind for id_, kind in routine.triggers.items() if id_ != gone}
            return replace(routine, revision=revision + 1, triggers=left)
        case _:
            raise ImpossibleHistory(routine, event)


def create(settings: RoutineSettings) -> list[RoutineEvent]:
    """Without an assignee it cannot be active, so it is stored paused (contract 3.2)."""
    return [RoutineCreated(settings=_paused_without_assignee(settings))]


def update(routine: Routine, settings: RoutineSettings) -> list[RoutineEvent]:
    """The new settings, or nothing when they are the old ones."""
    old = routine.settings
    if old.status == "archived" and settings.status != "archived":
        raise Conflict("Routine is archived")
    if settings.status == "active" and settings.assignee_agent_id is None and old.status != "active":
        raise Unacceptable("Default agent required")
    settings = _paused_without_assignee(settings)
    return [] if settings == old else [RoutineUpdated(settings=settings)]


def must_not_be_archived(routine: Routine) -> None:
    """Archived is the end: nothing fires it."""
    if routine.settings.status == "archived":
        raise Conflict("Routine is archived")


def variables_without_value(settings: RoutineSettings) -> list[str]:
    """Required variables that a schedule could not fill, since they have no default."""
    return [v.name for v in settings.variables if v.required and v.default_value is None]


def must_be_schedulable(settings: RoutineSettings) -> None:
    """A schedule fires with nobody there to give values (contract 3.4)."""
    if missing := variables_without_value(settings):
        raise Unacceptable(f"Scheduled routines require defaults for required variables: {', '.join(missing)}")


def _paused_without_assignee(settings: RoutineSettings) -> RoutineSettings:
    if settings.status == "active" and settings.assignee_agent_id is None:
        return replace(settings, status="paused")
    return settings
