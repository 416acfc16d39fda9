"""How many calls of run-sync a process holds open: for all companies together, and for each."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from domain.bounds.limits import Limits
from web.http.errors import Overloaded

TOO_MANY = "Too many calls of run-sync wait for their end: nothing was started; try again, or use run"


class SyncWaits:
    """Counted in the event loop's thread alone."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: Counter[UUID] = Counter()  # calls by company; none that has no call

    @contextmanager
    def hold(self, company_id: UUID) -> Iterator[None]:
        """A place for one call of a company, for as long as it waits. Raises Overloaded when there is none."""
        limits = self._limits
        if self._waiting.total() >= limits.max_sync_waits or self.count(company_id) >= limits.max_company_sync_waits:
            raise Overloaded(TOO_MANY)
        self._waiting[company_id] += 1
        try:
            yield
        finally:
            self._waiting[company_id] -= 1
            if not self._waiting[company_id]:
                del self._waiting[company_id]

    def count(self, company_id: UUID) -> int:
        """How many calls of a company wait."""
        return self._waiting[company_id]
