"""Runs, pauses and leases that end by themselves and attempts that begin by themselves, and whose time has come."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from domain.values import Value


class Overdue(Value, frozen=True):
    """
    A run that lasts too long, a run whose next attempt is due, or a pause of a routine or a lease on an issue that is
    over, as the read model of deadlines knows it.
    """

    id: UUID  # the run's, the routine's for a pause, or the for a lease
    company_id: UUID
    kind: Literal["run", "attempt", "pause", "lease"]
    ends_at: datetime
