"""What the deliveries that events cause cost a company: an event of 300 bytes can become a delivery to 20 endpoints."""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from uuid import UUID

from application.quotas.charge import Charge
from domain.delivery import endpoint
from domain.values import EndpointSettings

DELIVERY_BYTES = 1024  # what one delivery costs; its rows in the read models take up about twice as much
LOOK_AGAIN_S = 30.0  # how long the endpoints of a company are used before they are read again
MOST_COMPANIES = 100_000  # a process remembers the endpoints of so many companies and forgets the oldest first
NEVER_READ = (
    -math.inf,
    (),
)  # when they were read, and which they are, for a company that this process does not remember
# The endpoints by company; one without any may be absent.
Subscriptions = Callable[[Collection[UUID]], Mapping[UUID, Sequence[EndpointSettings]]]


class DeliveryCosts:
    """Counts the deliveries that a charge will cause, by what its companies' endpoints subscribe to."""

    def __init__(self, subscriptions: Subscriptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._subscriptions = subscriptions
        self._clock = clock
        # By a company's id as an integer, which Python hashes faster than a UUID: when its endpoints were read, and those.
        self._known: dict[int, tuple[float, Sequence[EndpointSettings]]] = {}

    def __call__(self, charge: Charge) -> list[int]:
        """Return the bytes that the deliveries of each event cost, in the order of the charge."""
        endpoints = self._endpoints_of(_companies_of(charge))
        if not any(endpoints.values()):
            return [0] * len(charge.batch)
        return [
            DELIVERY_BYTES
            * sum(
                endpoint.wants(settings, recorded.name)
                for settings in (endpoints[recorded.company_id.int] if recorded.company_id is not None else ())
            )
            for recorded in charge.batch
        ]

    def is_outdated(self, charge: Charge) -> bool:
        """Return whether the endpoints of a company of the charge would be looked up."""
        before = self._clock() - LOOK_AGAIN_S
        return any(self._known.get(number, NEVER_READ)[0] <= before for number in _companies_of(charge))

    def _endpoints_of(self, companies: Mapping[int, UUID]) -> Mapping[int, Sequence[EndpointSettings]]:
        now = self._clock()
        # Each is asked for once: another thread may look up, or forget, the same company meanwhile.
        known_companies = {number: self._known.get(number, NEVER_READ) for number in companies}
        if outdated := [
            companies[number] for number, (read_at, _) in known_companies.items() if read_at <= now - LOOK_AGAIN_S
        ]:
            subscriptions = self._subscriptions(outdated)
            for company_id in outdated:
                known_companies[company_id.int] = self._known[company_id.int] = (now, subscriptions.get(company_id, ()))
            while len(self._known) > MOST_COMPANIES:
                self._known.pop(next(iter(self._known)), None)
        return {number: settings for number, (_, settings) in known_companies.items()}


def _companies_of(charge: Charge) -> dict[int, UUID]:
    return {
        recorded.company_id.int: recorded.company_id for recorded in charge.batch if recorded.company_id is not None
    }
