"""Runs and pauses that end by themselves and attempts that begin by themselves, and whose time has come."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from domain.values import Value


class Overdue(Value, frozen=True):
    """
    A run that lasts too long, a run whose next attempt is due, or a pause of a routine that is over, as the read model of
    deadlines knows it.
    """

    id: UUID  # the run's, or the routine's for a pause
    kind: Literal["run", "attempt", "pause"]
    ends_at: datetime
