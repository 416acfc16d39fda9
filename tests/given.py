"""The state that facts lead to."""

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

State = TypeVar("State")


def given(evolve: Callable[[State | None, Any], State], *facts: Any) -> State:
    """The fold of the facts; there must be at least one."""
    state: State | None = reduce(evolve, facts, None)
    assert state is not None
    return state
