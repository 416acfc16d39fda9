"""Endpoints that subscribe to events, and deliveries to them, to agents and to callbacks."""

from datetime import datetime
from uuid import UUID

from domain.events.event import Event
from domain.values import DeliveryKind, EndpointSettings


class EndpointCreated(Event, frozen=True, tag="endpoint.created"):
    """An endpoint was created. The company's events of some kinds are sent to it, signed with this secret of the vault."""

    settings: EndpointSettings
    secret_id: UUID


class EndpointUpdated(Event, frozen=True, tag="endpoint.updated"):
    """The settings of the endpoint changed."""

    settings: EndpointSettings


class EndpointSecretRotated(Event, frozen=True, tag="endpoint.secret_rotated"):
    """
    Deliveries to the endpoint are signed with another secret, and until `old_until` with the previous one as well
    (None: not any more).
    """

    secret_id: UUID
    old_until: datetime | None = None


class EndpointDisabled(Event, frozen=True, tag="endpoint.disabled"):
    """Nothing more is sent to the endpoint until somebody enables it: it answered 410, or that it is gone (reason `gone`)."""

    reason: str


class EndpointTested(Event, frozen=True, tag="endpoint.tested"):
    """Somebody asked for a test message to the endpoint, to see whether it arrives."""


class EndpointDeleted(Event, frozen=True, tag="endpoint.deleted"):
    """Nothing more is sent to the endpoint."""


class DeliveryFailed(Event, frozen=True, tag="delivery.failed"):
    """An attempt was made and did not succeed; the next is made at `next_at`."""

    attempt: int
    reason: str
    next_at: datetime
    status: int | None = None  # HTTP status of the answer, if there was one
    took_ms: int = 0


class DeliveryDelivered(Event, frozen=True, tag="delivery.delivered"):
    """The receiver answered 2xx."""

    attempt: int
    status: int
    took_ms: int = 0


class DeliveryDead(Event, frozen=True, tag="delivery.dead"):
    """The delivery is given up; somebody may ask for it again."""

    attempt: int
    reason: str
    status: int | None = None
    took_ms: int = 0


class DeliveryRequested(Event, frozen=True, tag="delivery.requested"):
    """Somebody asked for a delivery to be sent once more: as `kind`, of the event at `position`, to the target."""

    kind: DeliveryKind
    target_id: UUID
    position: int


EndpointEvent = (
    EndpointCreated | EndpointUpdated | EndpointSecretRotated | EndpointDisabled | EndpointTested | EndpointDeleted
)


DeliveryEvent = DeliveryFailed | DeliveryDelivered | DeliveryDead | DeliveryRequested
