"""A task: a workflow that can be called, by hand or by routines (Jetty contract 7)."""

from typing import Any
from uuid import UUID

from msgspec.structs import replace

from domain.bounds.json_size import size_of
from domain.bounds.limits import DEFAULT, Limits
from domain.errors import ImpossibleHistory, InvalidField, NotFound, RuleViolation
from domain.events import (
    TaskCreated,
    TaskDeleted,
    TaskEvent,
    TaskRoutineAdded,
    TaskRoutineRemoved,
    TaskUpdated,
)
from domain.values import Json, TaskDetails, Value


class Task(Value, frozen=True):
    """The state of a task, with the routines that call it."""

    details: TaskDetails
    routines: tuple[UUID, ...] = ()  # the routines that call it, oldest first
    deleted: bool = False


def evolve(task: Task | None, event: TaskEvent) -> Task:
    """Fold an event into the state of a task. Raise ImpossibleHistory if the event cannot follow."""
    match task, event:
        case None, TaskCreated(details=details):
            return Task(details=details)
        case Task(deleted=False), TaskUpdated(details=details):
            return replace(task, details=details)
        case Task(deleted=False), TaskRoutineAdded(routine_id=id_):
            return replace(task, routines=(*task.routines, id_))
        case Task(deleted=False), TaskRoutineRemoved(routine_id=removed_id):
            return replace(task, routines=tuple(id_ for id_ in task.routines if id_ != removed_id))
        case Task(deleted=False), TaskDeleted():
            return replace(task, deleted=True)
        case _:
            raise ImpossibleHistory(task, event)


def create(details: TaskDetails, limits: Limits = DEFAULT) -> list[TaskEvent]:
    """Create a task. Raise InvalidField if its workflow cannot be called."""
    _must_be_callable(details.workflow, limits)
    return [TaskCreated(details=details)]


def update(task: Task, details: TaskDetails, limits: Limits = DEFAULT) -> list[TaskEvent]:
    """
    Change the details; nothing is recorded when they are the same.

    Raise InvalidField if the workflow is a new one that cannot be called.
    """
    if details.workflow != task.details.workflow:
        _must_be_callable(details.workflow, limits)
    return [] if details == task.details else [TaskUpdated(details=details)]


def add_routine(task: Task, routine_id: UUID, limits: Limits) -> list[TaskEvent]:
    """Record that one more routine calls the task. Raise RuleViolation if it has as many as it may."""
    if len(task.routines) >= limits.max_task_routines:
        raise RuleViolation(f"A task has at most {limits.max_task_routines:,} routines: delete some first")
    return [TaskRoutineAdded(routine_id=routine_id)]


def _must_be_callable(workflow: Json, limits: Limits) -> None:
    """Raise InvalidField for a workflow that is malformed, or already too large to be called."""
    must_be_workflow(workflow)
    must_have_few_steps(workflow, limits)
    if (size := size_of(workflow)) > limits.max_trajectory_bytes:
        raise InvalidField(f"A workflow has at most {limits.max_trajectory_bytes} bytes, got {size}", "workflow")


def must_have_few_steps(workflow: Json, limits: Limits) -> None:
    """Raise InvalidField if the workflow has more steps than a task may have."""
    if (many := len(steps_of(workflow))) > limits.max_task_steps:
        raise InvalidField(f"A task has at most {limits.max_task_steps} steps, got {many}", "workflow.steps")


def must_be_there(task: Task | None) -> Task:
    """Return the task. Raise NotFound if it never was or is deleted."""
    if task is None or task.deleted:
        raise NotFound
    return task


def declared_parameters(workflow: Json) -> dict[str, Any]:
    """Return the parameters that a workflow declares, with their defaults, in its order; empty if there are none."""
    parameters = workflow.get("init_params")
    return parameters if isinstance(parameters, dict) else {}


def steps_of(workflow: Json) -> list[str]:
    """Return the names of a workflow's steps, in its order; empty if there are none."""
    steps = workflow.get("steps")
    return steps if isinstance(steps, list) else []


def configs_of(workflow: Json) -> dict[str, Any]:
    """Return the configuration of a workflow's steps, by their names; empty if there is none."""
    configs = workflow.get("step_configs")
    return configs if isinstance(configs, dict) else {}


def must_be_workflow(workflow: Json) -> None:
    """Raise InvalidField unless the three parts have the right types and every step is configured and named once."""
    for name in ("init_params", "step_configs"):
        if not isinstance(workflow.get(name), dict | None):
            raise InvalidField(f"{name} must be an object", f"workflow.{name}")
    steps = workflow.get("steps")
    steps = [] if steps is None else steps
    if not isinstance(steps, list) or not all(isinstance(step, str) and step for step in steps):
        raise InvalidField("steps must be a list of names", "workflow.steps")
    if len(set(steps)) < len(steps):
        raise InvalidField("steps must name each step once", "workflow.steps")
    for step, config in configs_of(workflow).items():
        if not isinstance(config, dict) or not isinstance(config.get("activity"), str):
            raise InvalidField("a step needs an activity", f"workflow.step_configs.{step}.activity")
    if missing := [step for step in steps if step not in configs_of(workflow)]:
        raise InvalidField(f"steps are not configured: {', '.join(missing)}", "workflow.steps")


def type_hint(default: object) -> str:
    """Return the type of a parameter in the words of JSON Schema, derived from its default (Jetty contract 4)."""
    match default:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "string"
