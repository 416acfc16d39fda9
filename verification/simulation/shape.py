"""What a simulated world is to be, and what came of it."""

from collections import Counter
from datetime import datetime, timedelta
from typing import NamedTuple, get_args
from uuid import UUID

import msgspec

from verification.simulation.faults import Kind, Mutation
from verification.simulation.laws.state import Violation

DAY = timedelta(days=1)
YEAR = timedelta(days=365.25)
STORE: frozenset[Kind] = frozenset(get_args(Kind))


class Shape(NamedTuple):
    """How large a world is, and what may happen in it."""

    seed: int
    routines: int = 100
    days: int = 365
    kinds: frozenset[Kind] = STORE
    outages: bool = True
    clock_steps: bool = True
    people: bool = True
    past: bool = False  # whether people change schedules while the clock is behind what was recorded
    mutation: Mutation | None = None

    @property
    def is_stormy(self) -> bool:
        """Whether schedules run by the hour and schedulers are down most of the time, as in every other world."""
        return self.seed % 2 == 1


class StoryLine(NamedTuple):
    """A line of the story; `position` in the log, None for what happened outside it."""

    position: int | None
    text: str
    routine_id: UUID | None  # the routine that the line is about; None: about all


class WorldResult(NamedTuple):
    """What a world came to."""

    shape: Shape
    violations: list[Violation]
    occurrences: Counter[str]
    faults: Counter[str]
    events: int
    story: list[StoryLine]  # when asked for

    @property
    def routine_years(self) -> float:
        return self.shape.routines * (self.shape.days * DAY / YEAR)


def abbreviate(value: object) -> str:
    """Return the text without what goes without saying: defaults, and most of an id."""
    match value:
        case UUID():
            return str(value)[:8]
        case datetime():
            return f"{value:%Y-%m-%dT%H:%M:%S}"
        case tuple():
            return f"({', '.join(map(abbreviate, value))})"
        case msgspec.Struct():
            defaults = [(one.name, one.default) for one in msgspec.structs.fields(value)]
            changed_fields = [
                (name, getattr(value, name)) for name, default in defaults if getattr(value, name) != default
            ]
            return (
                f"{type(value).__name__}({', '.join(f'{name}={abbreviate(field)}' for name, field in changed_fields)})"
            )
        case _:
            return repr(value)
