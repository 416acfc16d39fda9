"""
A routine's call of a task: which parameters it overrides, and what happens to them when the task changes (Jetty
contract 2, 6).
"""

from typing import Any

from domain.errors import RuleViolation
from domain.jetty import task
from domain.values import Json


def check_overrides(overrides: Json, workflow: Json) -> None:
    """Raise RuleViolation, which lists them, for overrides that the task does not declare."""
    if unknown_keys := undeclared_overrides(overrides, workflow):
        raise RuleViolation("Unknown init_params_overrides keys", {"unknown_keys": unknown_keys})


def undeclared_overrides(overrides: Json, workflow: Json) -> list[str]:
    """Return the keys of the overrides that the task does not declare, or not any more."""
    parameters = task.declared_parameters(workflow)
    return [key for key in overrides if key not in parameters]


def init_params(overrides: Json, workflow: Json) -> dict[str, Any]:
    """Return the parameters of a call: the task's own, overridden key by key; keys that it does not declare are left out."""
    parameters = task.declared_parameters(workflow)
    return parameters | {key: value for key, value in overrides.items() if key in parameters}


def warnings(overrides: Json, workflow: Json, task_name: str) -> list[str]:
    """Return what the routine's owner should know: a sentence for each override that has no effect any more."""
    return [
        f"Override key '{key}' is no longer declared on task '{task_name}'"
        for key in undeclared_overrides(overrides, workflow)
    ]
