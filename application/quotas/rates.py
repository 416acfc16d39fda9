"""How much a company and a holder of keys may record within a minute."""

import math
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from application.quotas.charge import Charge, OverQuota
from domain.bounds.limits import Limits

MINUTE_S = 60.0
NEAR = 0.8  # the share of a quota from which monitoring shows a company or key as near it
HALF = 0.5  # the share of a quota that a backfill leaves to what is due
MOST_OWNERS = 100_000  # buckets that a process remembers of each rate; the oldest are forgotten first
TEXTS: dict[str, str] = {
    "max_company_events_per_minute": "The company has recorded more than {most} events in a minute",
    "max_company_bytes_per_minute": (
        "The company has recorded more than {most} bytes in a minute, its deliveries included"
    ),
    "max_key_events_per_minute": "The key's holder has recorded more than {most} events in a minute",
    "max_key_bytes_per_minute": "The key's holder has recorded more than {most} bytes in a minute",
}


class DeliveryBytes(Protocol):
    """The bytes that the deliveries of each event of a charge cost."""

    def __call__(self, charge: Charge) -> Sequence[int]:
        """Return them in the order of the charge."""

    def is_outdated(self, charge: Charge) -> bool:
        """Return whether a call would first look into the database."""


class Rate:
    """A token bucket for each company or holder: it holds the quota of one minute and is refilled within a minute."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        # By the owner's id as a number: the level, and the time at which it was so.
        self._levels: dict[int, tuple[float, float]] = {}

    def remaining(self, payer_id: UUID, now: float) -> float:
        """Return how much may still be recorded now. Less than 1 means that nothing may be."""
        level = self._levels.get(payer_id.int)
        return self.most if level is None else self._refilled(*level, now)

    def _refilled(self, level: float, moment: float, now: float) -> float:
        return min(level + (now - moment) * self.most / MINUTE_S, self.most)

    def spend(self, payer_id: UUID, amount: int, now: float) -> None:
        """
        Take an amount out of the bucket, or put it back when it is negative.

        One unit of work may take more than the bucket holds. Its level is then negative, so that the next unit waits
        longer, but never longer than about a minute.
        """
        level = self.remaining(payer_id, now) - amount
        self._levels.pop(payer_id.int, None)  # so that it is among the newest again
        self._levels[payer_id.int] = (min(max(level, -self.most), self.most), now)
        if len(self._levels) > MOST_OWNERS:
            del self._levels[next(iter(self._levels))]

    def wait_s(self, payer_id: UUID, now: float) -> int:
        """Return the whole seconds until something may be recorded again; 0 when it may be now."""
        level = self.remaining(payer_id, now)
        return 0 if level >= 1 else math.ceil((1 - level) * MINUTE_S / self.most)

    def used_shares(self, now: float) -> list[float]:
        """Return the shares of the quota that companies or holders have used up, for those that are remembered."""
        return [1 - self._refilled(*level, now) / self.most for level in list(self._levels.values())]


Cost = tuple[Rate, UUID, int]  # the rate, whose bucket, and how much is taken out of it


class Rates:
    """The rates of one process: of companies, and of holders of keys. The caller keeps threads apart."""

    def __init__(self, limits: Limits, delivery_bytes: DeliveryBytes | None = None) -> None:
        self._by_company = _rates_of(limits, "max_company_events_per_minute", "max_company_bytes_per_minute")
        self._by_holder = _rates_of(limits, "max_key_events_per_minute", "max_key_bytes_per_minute")
        self._delivery_bytes = delivery_bytes

    @property
    def all(self) -> Sequence[Rate]:
        """The rates of companies, then those of holders of keys."""
        return (*self._by_company, *self._by_holder)

    def costs(self, charge: Charge) -> list[Cost]:
        """
        Return what a charge takes out of which bucket.

        A company pays for the deliveries that its events cause as well: each adds rows to the read models.
        """
        totals: dict[int, tuple[UUID, int, int]] = {}  # by a company's id as an integer, which Python hashes faster
        extra = [0] * len(charge.batch) if self._delivery_bytes is None else self._delivery_bytes(charge)
        for recorded, size, more in zip(charge.batch, charge.sizes, extra, strict=True):
            if (payer_id := recorded.company_id) is not None:
                _, events, total = totals.get(payer_id.int, (payer_id, 0, 0))
                totals[payer_id.int] = (payer_id, events + 1, total + size + more)
        costs = [cost for total in totals.values() for cost in _costs_of(self._by_company, *total)]
        if charge.holder is not None:
            costs += _costs_of(self._by_holder, charge.holder, len(charge.batch), sum(charge.sizes))
        return costs

    def is_outdated(self, charge: Charge) -> bool:
        """Return whether `costs` would first look into the database for this charge."""
        return self._delivery_bytes is not None and self._delivery_bytes.is_outdated(charge)

    def is_over(self, company_id: UUID, now: float) -> bool:
        """Return whether a company has used up what it may record in a minute."""
        return any(rate.wait_s(company_id, now) for rate in self._by_company)

    def is_half_used(self, company_id: UUID, now: float) -> bool:
        """Return whether a company has used up half of what it may record in a minute."""
        return any(rate.remaining(company_id, now) < rate.most * HALF for rate in self._by_company)

    def count_near_limit(self, now: float) -> dict[str, int]:
        """Return how many companies or holders of keys are near the quota of a minute, by quota."""
        return {rate.name: sum(share >= NEAR for share in rate.used_shares(now)) for rate in self.all}


def check_rates(costs: Sequence[Cost], now: float) -> None:
    """Raise OverQuota if one of the buckets is empty."""
    for rate, payer_id, _ in costs:
        if rate.remaining(payer_id, now) < 1:
            text = TEXTS[rate.name].format(most=rate.most)
            raise OverQuota(rate.name, rate.most, text, rate.wait_s(payer_id, now))


def _costs_of(rates: tuple[Rate, Rate], payer_id: UUID, events: int, size: int) -> tuple[Cost, Cost]:
    of_events, of_bytes = rates
    return (of_events, payer_id, events), (of_bytes, payer_id, size)


def _rates_of(limits: Limits, of_events: str, of_bytes: str) -> tuple[Rate, Rate]:
    return Rate(of_events, getattr(limits, of_events)), Rate(of_bytes, getattr(limits, of_bytes))
