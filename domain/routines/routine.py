"""
A routine: what recurs, for whom, and under which policies. Lifecycle: contract 3.5.

Every event is one revision, so the revision number is the version of the stream, and the routine as it was at a
revision is the fold of the stream up to there.
"""

from uuid import UUID

from msgspec.structs import replace

from domain.bounds.json_size import size_of
from domain.bounds.limits import DEFAULT, Limits
from domain.errors import Conflict, ImpossibleHistory, RuleViolation
from domain.events import (
    RoutineCreated,
    RoutineEvent,
    RoutineRestored,
    RoutineSecretRotated,
    RoutineTriggerAdded,
    RoutineTriggerChanged,
    RoutineTriggerRemoved,
    RoutineUpdated,
)
from domain.routines import variables
from domain.values import RoutineSettings, TriggerState, Value

ARCHIVED = "Routine is archived"
MOST_VARIABLES = 200


class Routine(Value, frozen=True):
    settings: RoutineSettings
    revision: int = 1
    triggers: dict[UUID, TriggerState] = {}  # oldest first
    responsible_user_id: UUID | None = None


def evolve(routine: Routine | None, event: RoutineEvent) -> Routine:
    match routine, event:
        case None, RoutineCreated(settings=settings, responsible_user_id=responsible):
            return Routine(settings=settings, responsible_user_id=responsible)
        case Routine(revision=revision), RoutineUpdated(settings=settings):
            return replace(routine, revision=revision + 1, settings=settings)
        case Routine(revision=revision), RoutineRestored(settings=settings, triggers=triggers):
            return replace(routine, revision=revision + 1, settings=settings, triggers=triggers)
        case Routine(revision=revision), RoutineTriggerAdded(trigger_id=id_, kind=kind, state=state):
            added = {id_: state or TriggerState(kind=kind)}
            return replace(routine, revision=revision + 1, triggers=routine.triggers | added)
        case Routine(revision=revision), RoutineTriggerChanged(trigger_id=id_, state=TriggerState() as state):
            return replace(routine, revision=revision + 1, triggers=routine.triggers | {id_: state})
        case Routine(revision=revision), RoutineTriggerChanged() | RoutineSecretRotated():
            return replace(routine, revision=revision + 1)
        case Routine(revision=revision), RoutineTriggerRemoved(trigger_id=gone):
            left = {id_: state for id_, state in routine.triggers.items() if id_ != gone}
            return replace(routine, revision=revision + 1, triggers=left)
        case _:
            raise ImpossibleHistory(routine, event)


def create(
    settings: RoutineSettings, responsible_user_id: UUID | None = None, limits: Limits = DEFAULT
) -> list[RoutineEvent]:
    """Without an assignee it cannot be active, so it is stored paused (contract 3.2). Raises Unacceptable."""
    settings = _without_pause(_paused_without_assignee(_synced(settings)))
    _must_fit(settings, None, limits)
    return [RoutineCreated(settings=settings, responsible_user_id=responsible_user_id)]


def update(routine: Routine, settings: RoutineSettings, limits: Limits = DEFAULT) -> list[RoutineEvent]:
    """The new settings, or nothing when they are the old ones."""
    old = routine.settings
    if old.status == "archived" and settings.status != "archived":
        raise Conflict(ARCHIVED)
    if settings.status == "active" and has_nobody(settings) and old.status != "active":
        raise RuleViolation("Default agent required")
    if _template(settings) != _template(old):
        settings = _synced(_without_orphans(settings, old))
    settings = _without_pause(_paused_without_assignee(settings))
    _must_fit(settings, old, limits)
    return [] if settings == old else [RoutineUpdated(settings=settings)]


def restore(routine: Routine, earlier: Routine, triggers: dict[UUID, TriggerState]) -> list[RoutineEvent]:
    """The settings of an earlier revision, with these triggers (contract 3.6)."""
    must_not_be_archived(routine)
    settings = _without_pause(_paused_without_assignee(earlier.settings))
    return [RoutineRestored(from_revision=earlier.revision, settings=settings, triggers=triggers)]


def has_nobody(settings: RoutineSettings) -> bool:
    """Whether there is neither an agent nor a task to do the work."""
    return settings.assignee_agent_id is None and settings.call is None


def must_not_call_a_task(routine: Routine) -> None:
    """What a call of a task recurs by is its cadence, which Jetty's clients set. Raises Conflict."""
    if routine.settings.call is not None:
        raise Conflict("The routine calls a task: change it through the Jetty API")


def must_not_be_archived(routine: Routine) -> None:
    """Archived is the end: nothing fires it."""
    if routine.settings.status == "archived":
        raise Conflict(ARCHIVED)


def must_be_schedulable(settings: RoutineSettings) -> None:
    """A schedule fires with nobody there to give values (contract 3.4)."""
    if missing := variables.without_value(settings.variables):
        raise RuleViolation(f"Scheduled routines require defaults for required variables: {', '.join(missing)}")


def has_enabled_schedule(routine: Routine) -> bool:
    return any(state.kind == "schedule" and state.settings.enabled for state in routine.triggers.values())


def _must_fit(new: RoutineSettings, old: RoutineSettings | None, limits: Limits) -> None:
    """Each revision repeats all settings. One that holds too much from before the limits may only not grow."""
    if (size := _weight(new)) > limits.max_routine_bytes and (old is None or size > _weight(old)):
        raise RuleViolation(
            f"A routine has at most {limits.max_routine_bytes} bytes of title, description, variables and overrides, "
            f"got {size}"
        )


def _weight(settings: RoutineSettings) -> int:
    """In bytes of JSON, without what a pause or an end changes."""
    call = settings.call and replace(settings.call, secrets=None, callback=None)
    return size_of(replace(settings, status="active", pause_note=None, resume_at=None, call=call))


def _template(settings: RoutineSettings) -> tuple[object, ...]:
    return settings.title, settings.description, settings.variables


def _synced(settings: RoutineSettings) -> RoutineSettings:
    """What its title and description name is declared (contract 2.1)."""
    synced = variables.synced(settings.variables, settings.title, settings.description)
    if len(synced) > MOST_VARIABLES:
        raise RuleViolation(f"A routine can have at most {MOST_VARIABLES} variables")
    return replace(settings, variables=synced)


def _without_orphans(settings: RoutineSettings, old: RoutineSettings) -> RoutineSettings:
    """Variables that were declared only because the text named them, and that it names no more, go with it."""
    if settings.variables != old.variables:
        return settings
    gone = set(variables.names_in(old.title, old.description)) - set(
        variables.names_in(settings.title, settings.description)
    )
    kept = (v for v in settings.variables if v.name not in gone or v != variables.undeclared(v.name))
    return replace(settings, variables=tuple(kept))


def _paused_without_assignee(settings: RoutineSettings) -> RoutineSettings:
    if settings.status == "active" and has_nobody(settings):
        return replace(settings, status="paused")
    return settings


def _without_pause(settings: RoutineSettings) -> RoutineSettings:
    """Only a paused routine says why, and until when."""
    return settings if settings.status == "paused" else replace(settings, pause_note=None, resume_at=None)
