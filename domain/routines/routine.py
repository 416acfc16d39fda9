"""
A routine: work that recurs, for whom, and under which policies. Its lifecycle is that of contract 3.5.

Every event is one revision, so the revision number is the version of the stream, and the routine as it was at a
revision is the fold of the stream up to there.
"""

from datetime import datetime
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
from domain.routines import activity_gate, template, variables
from domain.values import RoutineSettings, TriggerState, Value

ARCHIVED = "Routine is archived"
MOST_VARIABLES = 200


class Routine(Value, frozen=True):
    """The state of a routine: its settings, its triggers, and the number of its revision."""

    settings: RoutineSettings
    revision: int = 1
    triggers: dict[UUID, TriggerState] = {}  # oldest first
    responsible_user_id: UUID | None = None


def evolve(routine: Routine | None, event: RoutineEvent) -> Routine:
    """
    Fold an event into the state of a routine; each event adds one revision. Raise ImpossibleHistory if it cannot
    follow.
    """
    match routine, event:
        case None, RoutineCreated(settings=settings, responsible_user_id=responsible):
            return Routine(settings=settings, responsible_user_id=responsible)
        case Routine(revision=revision), RoutineUpdated(settings=settings):
            return replace(routine, revision=revision + 1, settings=settings)
        case Routine(revision=revision), RoutineRestored(settings=settings, triggers=triggers):
            return replace(routine, revision=revision + 1, settings=settings, triggers=triggers)
        case Routine(revision=revision), RoutineTriggerAdded(trigger_id=id_, kind=kind, state=state):
            new = {id_: state or TriggerState(kind=kind)}
            return replace(routine, revision=revision + 1, triggers=routine.triggers | new)
        case Routine(revision=revision), RoutineTriggerChanged(trigger_id=id_, state=TriggerState() as state):
            return replace(routine, revision=revision + 1, triggers=routine.triggers | {id_: state})
        case Routine(revision=revision), RoutineTriggerChanged() | RoutineSecretRotated():
            return replace(routine, revision=revision + 1)
        case Routine(revision=revision), RoutineTriggerRemoved(trigger_id=removed_id):
            remaining = {id_: state for id_, state in routine.triggers.items() if id_ != removed_id}
            return replace(routine, revision=revision + 1, triggers=remaining)
        case _:
            raise ImpossibleHistory(routine, event)


def create(
    settings: RoutineSettings, responsible_user_id: UUID | None = None, limits: Limits = DEFAULT
) -> list[RoutineCreated]:
    """
    Create a routine; without an assignee it is stored as paused (contract 3.2).

    Raise RuleViolation for too many variables, or for settings that are too large.
    """
    activity_gate.check(settings)
    settings = _without_pause(_paused_without_assignee(_declare_variables(settings)))
    _must_fit(settings, None, limits)
    return [RoutineCreated(settings=settings, responsible_user_id=responsible_user_id)]


def update(routine: Routine, settings: RoutineSettings, limits: Limits = DEFAULT) -> list[RoutineEvent]:
    """
    Change the settings; nothing is recorded when they are the same.

    Raise Conflict if the routine is archived, RuleViolation if nobody is there to do the work or the settings are too
    large.
    """
    old = routine.settings
    if old.status == "archived" and settings.status != "archived":
        raise Conflict(ARCHIVED)
    if settings.status == "active" and has_nobody(settings) and old.status != "active":
        raise RuleViolation("Default agent required")
    if settings != old:
        activity_gate.check(settings)
    if _template_of(settings) != _template_of(old):
        settings = _declare_variables(_without_orphans(settings, old))
    settings = _without_pause(_paused_without_assignee(settings))
    _must_fit(settings, old, limits)
    if settings.call is not None and settings.retry_policy is not None:
        raise RuleViolation("A routine that calls a task has no retryPolicy: its trajectory is tried once")
    return [] if settings == old else [RoutineUpdated(settings=settings)]


def restore(
    routine: Routine, earlier: Routine, triggers: dict[UUID, TriggerState], now: datetime
) -> list[RoutineRestored]:
    """
    Restore the settings of an earlier revision, with these triggers (contract 3.6). Raise Conflict if it is archived.

    The environment stays as it is: values that were replaced are not kept. A pause that was to end before now has no end any more: the routine would go on at once.
    """
    must_not_be_archived(routine)
    settings = _without_pause(
        _paused_without_assignee(replace(earlier.settings, bulk_pause_id=None, env=routine.settings.env))
    )
    if settings.resume_at is not None and settings.resume_at <= now:
        settings = replace(settings, resume_at=None)
    return [RoutineRestored(from_revision=earlier.revision, settings=settings, triggers=triggers)]


def has_nobody(settings: RoutineSettings) -> bool:
    """Return whether there is neither an agent nor a task to do the work."""
    return settings.assignee_agent_id is None and settings.call is None


def must_not_call_a_task(routine: Routine) -> None:
    """Raise Conflict if the routine calls a task: its schedule is the cadence that Jetty's clients set."""
    if routine.settings.call is not None:
        raise Conflict("The routine calls a task: change it through the Jetty API")


def must_not_be_archived(routine: Routine) -> None:
    """Raise Conflict if the routine is archived: nothing fires it any more."""
    if routine.settings.status == "archived":
        raise Conflict(ARCHIVED)


def must_be_schedulable(settings: RoutineSettings) -> None:
    """
    Raise RuleViolation if a required variable has no default, since nobody gives a value when a schedule fires
    (contract 3.4).
    """
    if missing := variables.without_value(settings.variables):
        raise RuleViolation(f"Scheduled routines require defaults for required variables: {', '.join(missing)}")


def has_enabled_schedule(routine: Routine) -> bool:
    """Return whether any of the routine's triggers is an enabled schedule."""
    return any(state.kind == "schedule" and state.settings.enabled for state in routine.triggers.values())


def _must_fit(new: RoutineSettings, old: RoutineSettings | None, limits: Limits) -> None:
    """
    Raise RuleViolation for settings that are too large, since each revision repeats all of them.

    Settings that were too large before the limit existed may change, but not grow.
    """
    if (size := _size_of_settings(new)) > limits.max_routine_bytes and (old is None or size > _size_of_settings(old)):
        raise RuleViolation(
            f"A routine has at most {limits.max_routine_bytes} bytes of title, description, variables and overrides, "
            f"got {size}"
        )


def _size_of_settings(settings: RoutineSettings) -> int:
    """Return the size of the settings in bytes of JSON, without the parts that a pause or an ending changes."""
    call = settings.call and replace(settings.call, secrets=None, callback=None)
    return size_of(replace(settings, status="active", pause_note=None, resume_at=None, bulk_pause_id=None, call=call))


def _template_of(settings: RoutineSettings) -> tuple[object, ...]:
    return settings.title, settings.description, settings.variables


def _declare_variables(settings: RoutineSettings) -> RoutineSettings:
    """Return the settings with a declaration for every variable that the title and description name (contract 2.1)."""
    declarations = variables.sync_declarations(settings.variables, settings.title, settings.description)
    if len(declarations) > MOST_VARIABLES:
        raise RuleViolation(f"A routine can have at most {MOST_VARIABLES} variables")
    if len(template.paths_in(settings.title, settings.description)) > template.MOST_PATHS:
        raise RuleViolation(f"A routine can name at most {template.MOST_PATHS} paths of the payload")
    return replace(settings, variables=declarations)


def _without_orphans(settings: RoutineSettings, old: RoutineSettings) -> RoutineSettings:
    """Drop variables that were declared only because the text named them, once it does not name them any more."""
    if settings.variables != old.variables:
        return settings
    dropped_names = set(template.names_in(old.title, old.description)) - set(
        template.names_in(settings.title, settings.description)
    )
    remaining = (
        v for v in settings.variables if v.name not in dropped_names or v != variables.declare_variable(v.name)
    )
    return replace(settings, variables=tuple(remaining))


def _paused_without_assignee(settings: RoutineSettings) -> RoutineSettings:
    if settings.status == "active" and has_nobody(settings):
        return replace(settings, status="paused")
    return settings


def _without_pause(settings: RoutineSettings) -> RoutineSettings:
    """Clear what belongs to a pause unless the routine is paused."""
    if settings.status == "paused":
        return settings
    return replace(settings, pause_note=None, resume_at=None, bulk_pause_id=None)
