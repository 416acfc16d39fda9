"""A delivery: one event on its way to one receiver, and the result of each attempt."""

from datetime import datetime, timedelta
from uuid import UUID

from domain.delivery import retry
from domain.errors import ImpossibleHistory
from domain.events import DeliveryDead, DeliveryDelivered, DeliveryEvent, DeliveryFailed, DeliveryRequested
from domain.values import DeliveryKind, Value

GONE = 410  # HTTP status: the receiver is gone for good


class Answer(Value, frozen=True):
    """The result of an attempt: the status of the answer, or why there is none."""

    status: int | None
    reason: str | None = None
    retry_after: timedelta | None = None
    took_ms: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the receiver accepted the delivery: it answered 2xx."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 HTTP's

    @property
    def words(self) -> str:
        """The reason of a failure in words, as it is recorded."""
        return self.reason or f"The receiver answered {self.status}"


class PendingDelivery(Value, frozen=True):
    """A delivery that waits to be sent, as the read model of due deliveries knows it."""

    id: UUID
    version: int  # of its stream when it was listed; if the stream has another version now, this is stale
    kind: DeliveryKind
    target_id: UUID  # the endpoint, the agent or the trajectory
    partition_key: UUID  # deliveries to one receiver share it: a slow receiver holds up only its own
    ordered: bool  # whether it waits for the previous delivery with the same partition key
    company_id: UUID
    position: int  # the position of the event that the delivery is about
    attempts: int


class Delivery(Value, frozen=True):
    """The state of a delivery: the attempts so far, and whether there will be no more."""

    attempts: int = 0  # since it was last requested
    ended: bool = False
    requests: int = 0  # since an outcome was last recorded


def evolve(delivery: Delivery | None, event: DeliveryEvent) -> Delivery:
    """
    Fold an event into the state of a delivery; None is one that was not tried yet.

    Raise ImpossibleHistory if the event cannot follow.
    """
    match delivery, event:
        case None | Delivery(ended=False), DeliveryFailed(attempt=attempt):
            return Delivery(attempts=attempt)
        case None | Delivery(ended=False), DeliveryDelivered(attempt=attempt) | DeliveryDead(attempt=attempt):
            return Delivery(attempts=attempt, ended=True)
        case _, DeliveryRequested():
            return Delivery(requests=1 if delivery is None else delivery.requests + 1)
        case _:
            raise ImpossibleHistory(delivery, event)


def request(pending: PendingDelivery) -> DeliveryRequested:
    """Ask for the delivery to be sent once more."""
    return DeliveryRequested(kind=pending.kind, target_id=pending.target_id, position=pending.position)


def record_attempt(
    delivery_id: UUID, attempts: int, answer: Answer, now: datetime, *, has_moved: bool = False
) -> list[DeliveryEvent]:
    """
    Record the result of an attempt: delivered, failed with the moment of the next attempt, or dead after the last one.

    `attempts` is how many there were before. A receiver that `has_moved` meanwhile is not gone, whatever its old address
    has answered.
    """
    attempt = attempts + 1
    if answer.is_good and answer.status is not None:
        return [DeliveryDelivered(attempt=attempt, status=answer.status, took_ms=answer.took_ms)]
    again_at = (
        None
        if answer.status == GONE and not has_moved
        else retry.next_at(delivery_id, attempt, now, answer.retry_after)
    )
    if again_at is None:
        return [DeliveryDead(attempt=attempt, reason=answer.words, status=answer.status, took_ms=answer.took_ms)]
    return [
        DeliveryFailed(
            attempt=attempt, reason=answer.words, next_at=again_at, status=answer.status, took_ms=answer.took_ms
        )
    ]


def given_up(delivery: Delivery | None, reason: str) -> list[DeliveryEvent]:
    """Record that the delivery cannot be sent: its receiver is gone or disabled, or its secret is gone."""
    return [DeliveryDead(attempt=delivery.attempts if delivery else 0, reason=reason)]
