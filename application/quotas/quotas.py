"""
The quotas of one process: what a commit costs is taken here before it is recorded, or refused.

The executor checks them after a decision is taken and before it is recorded. A caller is refused, unless the change
only stops or ends something (domain/endings.py). What the service decides itself (the scheduler, the delivery process)
is recorded in any case and counts as well, so that every occurrence has its outcome.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Lock
from uuid import UUID

import msgspec

from application.quotas import rates, standing_counts
from application.quotas.charge import Charge, OverQuota, TooMany
from application.quotas.rates import Cost, DeliveryBytes, Rates
from application.quotas.standing_counts import Additions, Count, CountAll, StandingCounts
from domain.bounds.limits import Limits


class Reservation(msgspec.Struct, frozen=True):
    """What a charge has taken of the quotas: how many things it adds, and what it takes out of which bucket."""

    additions: Additions
    costs: Sequence[Cost]


class Quotas:
    """
    Checks the quotas within one process.

    Each process counts for itself, so n processes let through up to n times as much in a minute.
    """

    def __init__(
        self,
        limits: Limits,
        count: Count | None = None,
        clock: Callable[[], float] = time.monotonic,
        count_all: CountAll | None = None,
        delivery_bytes: DeliveryBytes | None = None,
    ) -> None:
        self.limits = limits
        self.refusals: Counter[str] = Counter()
        self._rates = Rates(limits, delivery_bytes)
        self._standing_counts = StandingCounts(limits, clock, count, count_all)
        self._clock = clock
        self._lock = Lock()

    def take(self, charge: Charge) -> Reservation:
        """
        Reserve a charge, and return what may be given back if it is not recorded.

        Raises OverQuota for too much in a minute, and TooMany for too many things.
        """
        additions = self._standing_counts.additions(charge)
        if charge.may_be_refused:
            self._standing_counts.count_outdated(additions)
        return self._reserve_room(charge, additions)

    def take_if_known(self, charge: Charge) -> Reservation | None:
        """Do the same as `take`, or return None if that would first look into the database."""
        additions = self._standing_counts.additions(charge)
        if self._rates.is_outdated(charge) or (charge.may_be_refused and self._standing_counts.is_outdated(additions)):
            return None
        return self._reserve_room(charge, additions)

    def _reserve_room(self, charge: Charge, additions: Additions) -> Reservation:
        costs = self._rates.costs(charge)
        with self._lock:
            now = self._clock()
            if charge.may_be_refused:
                try:
                    self._standing_counts.check(additions)
                    rates.check_rates(costs, now)
                except (TooMany, OverQuota) as refusal:
                    self.refusals[refusal.quota] += 1
                    raise
            for rate, payer_id, amount in costs:
                rate.spend(payer_id, amount, now)
            self._standing_counts.add(additions)
        return Reservation(additions, costs)

    def give_back(self, reservation: Reservation) -> None:
        """Release the reservation of a charge that was not recorded after all."""
        with self._lock:
            now = self._clock()
            for rate, payer_id, amount in reservation.costs:
                rate.spend(payer_id, -amount, now)
            self._standing_counts.add(reservation.additions, sign=-1)

    def is_over(self, company_id: UUID) -> bool:
        """
        Return whether the schedules of a company may not fire now.

        They may not when the company has used up the quota of a minute, or has as much open work or log as it may have.
        """
        with self._lock:
            is_over = self._rates.is_over(company_id, self._clock())
        return is_over or self._standing_counts.stops_schedules(company_id)

    def is_half_used(self, company_id: UUID) -> bool:
        """Return whether work that can wait should wait, so that half of a minute's quota stays for what is due."""
        with self._lock:
            is_half_used = self._rates.is_half_used(company_id, self._clock())
        return is_half_used or self.is_over(company_id)

    def refusals_by_quota(self) -> dict[str, int]:
        """Return how many requests this process has refused, by quota."""
        names = (*(rate.name for rate in self._rates.all), *standing_counts.NAMES)
        return {name: self.refusals[name] for name in names}

    def count_near_limit(self) -> dict[str, int]:
        """Return how many companies or holders of keys are near the quota of a minute, by quota."""
        with self._lock:
            return self._rates.count_near_limit(self._clock())
