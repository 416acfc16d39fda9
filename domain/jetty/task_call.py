"""A routine's call of a task: what it overrides, and what becomes of that when the task moves on (Jetty contract 2, 6)."""

from typing import Any

from domain.errors import RuleViolation
from domain.jetty import task
from domain.values import Json


def check_overrides(overrides: Json, workflow: Json) -> None:
    """Only what the task declares can be overridden. Raises Unacceptable, which lists the others."""
    if unknown := drifted(overrides, workflow):
        raise RuleViolation("Unknown init_params_overrides keys", {"unknown_keys": unknown})


def drifted(overrides: Json, workflow: Json) -> list[str]:
    """The keys of the overrides that the task does not declare (any more)."""
    known = task.declared(workflow)
    return [key for key in overrides if key not in known]


def init_params(overrides: Json, workflow: Json) -> dict[str, Any]:
    """What a call is given: the task's own, overlaid key by key; what it does not declare any more is left out."""
    known = task.declared(workflow)
    return known | {key: value for key, value in overrides.items() if key in known}


def warnings(overrides: Json, workflow: Json, task_name: str) -> list[str]:
    """What its owner should know."""
    return [f"Override key '{key}' is no longer declared on task '{task_name}'" for key in drifted(overrides, workflow)]
