"""What the deliveries that events cause cost a company: an event of 300 bytes can become a delivery to 20 endpoints."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from uuid import UUID

from application.quotas.charge import Charge
from domain.delivery import endpoint
from domain.values import EndpointSettings

DELIVERY_BYTES = 1024  # what one delivery costs; its rows in the read models take up about twice as much
LOOK_AGAIN_S = 30.0  # how long the endpoints of a company are used before they are read again
MOST_COMPANIES = 100_000  # a process remembers the endpoints of so many companies and forgets the oldest first
# The endpoints by company; one without any may be absent.
Subscriptions = Callable[[Collection[UUID]], Mapping[UUID, Sequence[EndpointSettings]]]


class DeliveryCosts:
    """Counts the deliveries that a charge will cause, by what its companies' endpoints subscribe to."""

    def __init__(self, subscriptions: Subscriptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._subscriptions = subscriptions
        self._clock = clock
        # By company: its endpoints, and when they were read.
        self._known: dict[UUID, tuple[float, Sequence[EndpointSettings]]] = {}

    def __call__(self, charge: Charge) -> list[int]:
        """Return the bytes that the deliveries of each event cost, in the order of the charge."""
        endpoints = self._endpoints_of(_companies_of(charge))
        if not any(endpoints.values()):
            return [0] * len(charge.batch)
        return [
            DELIVERY_BYTES
            * sum(
                endpoint.wants(settings, recorded.name)
                for settings in (endpoints[recorded.company_id] if recorded.company_id is not None else ())
            )
            for recorded in charge.batch
        ]

    def is_outdated(self, charge: Charge) -> bool:
        """Return whether the endpoints of a company of the charge would be looked up."""
        return bool(self._outdated_companies(_companies_of(charge), self._clock()))

    def _outdated_companies(self, companies: Collection[UUID], now: float) -> list[UUID]:
        return [id_ for id_ in companies if id_ not in self._known or now - self._known[id_][0] >= LOOK_AGAIN_S]

    def _endpoints_of(self, companies: Collection[UUID]) -> Mapping[UUID, Sequence[EndpointSettings]]:
        now = self._clock()
        known_companies = {company_id: self._known[company_id] for company_id in companies if company_id in self._known}
        if outdated := self._outdated_companies(companies, now):
            subscriptions = self._subscriptions(outdated)
            for company_id in outdated:
                known_companies[company_id] = self._known[company_id] = (now, subscriptions.get(company_id, ()))
            while len(self._known) > MOST_COMPANIES:
                self._known.pop(next(iter(self._known)), None)
        return {company_id: settings for company_id, (_, settings) in known_companies.items()}


def _companies_of(charge: Charge) -> set[UUID]:
    return {recorded.company_id for recorded in charge.batch if recorded.company_id is not None}
