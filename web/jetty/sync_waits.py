"""The limits on the calls of run-sync that a process holds open, in all and for each company."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from domain.bounds.limits import Limits
from web.http.errors import Overloaded

TOO_MANY = "Too many run-sync calls are waiting for their end; nothing was started. Try again, or use run"


class SyncWaits:
    """Counts the calls of run-sync that are held open, in the event loop's thread only."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: Counter[UUID] = Counter()  # calls by company; a company without calls has no entry

    @contextmanager
    def hold(self, company_id: UUID) -> Iterator[None]:
        """Hold a place for one call of a company while it waits. Raise Overloaded if there is none."""
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
        """Return how many calls of a company wait."""
        return self._waiting[company_id]
