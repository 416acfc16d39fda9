"""What all laws know of the log so far, and the violations that they have found."""

from collections import Counter, defaultdict
from datetime import timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from domain.values import RoutineSettings

Kind = Literal["lost", "doubled", "early", "half-made", "against rule"]
KINDS: tuple[Kind, ...] = ("lost", "doubled", "early", "half-made", "against rule")
GRACE = timedelta(seconds=60)  # contract 4.2
INSTANT = timedelta(microseconds=1)


class Violation(NamedTuple):
    kind: Kind
    text: str
    routine_id: UUID | None
    position: int


class State:
    """What the laws share; `violations` is empty as long as all is well."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.occurrences: Counter[str] = Counter()  # by outcome
        self.open: dict[UUID, dict[UUID, None]] = defaultdict(dict)  # live execution issues, by routine
        self.owner: dict[UUID, UUID] = {}  # routines, by issue and by run
        self.routines: dict[UUID, RoutineSettings] = {}
        self.stopped: set[UUID] = set()  # agents and projects that are paused, agents that are gone
        self.position = 0

    def report_violation(self, kind: Kind, routine_id: UUID | None, text: str) -> None:
        self.violations.append(Violation(kind, text, routine_id, self.position))

    def report_broken_rule(self, routine_id: UUID | None, text: str) -> None:
        self.report_violation("against rule", routine_id, text)

    def is_active(self, routine_id: UUID) -> bool:
        return self.routines[routine_id].status == "active"
