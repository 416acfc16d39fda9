"""The read model of deliveries: which events are sent to whom, what waits to be sent, and how each attempt ended."""

from collections.abc import Iterable, Iterator
from typing import Any, get_args
from uuid import UUID

from msgspec.structs import replace

from domain.delivery import endpoint
from domain.events import (
    AgentEvent,
    DeliveryDead,
    DeliveryDelivered,
    DeliveryEvent,
    DeliveryFailed,
    DeliveryRequested,
    EndpointEvent,
    IssueOpened,
    RunAttemptBegun,
    TrajectoryMoved,
    TrajectoryOpened,
)
from domain.identity import delivery_of
from domain.jetty.trajectory import TOLD
from domain.recorded import Recorded
from projections.delivery import receivers
from projections.delivery.delivery_history import DELIVERIES, DELIVERY, DeliveryRow, new_delivery, note_attempt
from projections.delivery.pending_deliveries import PENDING_DELIVERY, PendingDeliveryRow
from projections.delivery.receivers import RECEIVER, SUBSCRIPTIONS
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Table
from projections.responses import time

# The events that mean something here even where nobody subscribes to any.
ACTED_ON = {
    *(kind for union in (AgentEvent, DeliveryEvent, EndpointEvent) for kind in get_args(union)),
    *(IssueOpened, RunAttemptBegun, TrajectoryMoved, TrajectoryOpened),
}

SCHEMA = """
CREATE TABLE subscriptions (id uuid PRIMARY KEY, endpoints json NOT NULL);
CREATE TABLE receiver (id uuid PRIMARY KEY, kind text NOT NULL, lane uuid NOT NULL);
CREATE TABLE letter (
    id uuid PRIMARY KEY, version bigint NOT NULL, kind text NOT NULL, target_id uuid NOT NULL, lane uuid NOT NULL,
    ordered boolean NOT NULL, company_id uuid NOT NULL, position bigint NOT NULL, attempts bigint NOT NULL,
    next_at timestamptz NOT NULL);
CREATE INDEX ON letter (lane, next_at, position);
CREATE INDEX ON letter (lane, position);
CREATE INDEX ON letter (next_at);
CREATE TABLE delivery (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, target_id uuid NOT NULL, lane uuid NOT NULL,
    ordered boolean NOT NULL, position bigint NOT NULL, status text NOT NULL, doc json NOT NULL);
CREATE INDEX ON delivery (target_id, position DESC, id);
CREATE INDEX ON delivery (company_id, position DESC, id);
CREATE INDEX ON delivery (company_id, status, position DESC, id);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """
    Fold one event into the rows of deliveries.

    An event about a delivery changes that delivery. Any other event updates who receives what, and then becomes a
    pending delivery for each endpoint, agent or callback that receives it.
    """
    event = recorded.event
    if type(event) not in ACTED_ON and not _is_anything_told(recorded, rows):
        return
    if isinstance(event, DeliveryEvent):
        _follow(rows, recorded, event)
        return
    receivers.fold(recorded, rows)
    for pending in _pending_deliveries(rows, recorded):
        rows.put(PENDING_DELIVERY, pending)
        rows.add(DELIVERY, new_delivery(pending, recorded))


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows that `fold` will change, so that they can be fetched together before it."""
    if recorded.company_id is not None:
        yield SUBSCRIPTIONS, recorded.company_id
    if type(recorded.event) not in ACTED_ON:
        return
    match recorded.event:
        case IssueOpened(details=details) if details.assignee_agent_id is not None:
            yield RECEIVER, details.assignee_agent_id
        case RunAttemptBegun(agent_id=UUID() as agent_id):
            yield RECEIVER, agent_id
        case TrajectoryMoved():
            yield RECEIVER, recorded.stream_id
        case DeliveryFailed() | DeliveryDelivered() | DeliveryDead() | DeliveryRequested():
            yield PENDING_DELIVERY, recorded.stream_id
            yield DELIVERY, recorded.stream_id
        case _:
            pass


def _is_anything_told(recorded: Recorded, rows: Rows) -> bool:
    """Return whether the company of an event has endpoints."""
    return recorded.company_id is not None and rows.get(SUBSCRIPTIONS, recorded.company_id) is not None


def _pending_deliveries(rows: Rows, recorded: Recorded) -> Iterator[PendingDeliveryRow]:
    """Yield a pending delivery for each receiver of an event."""
    if recorded.company_id is None:
        return
    name = recorded.name
    row = rows.get(SUBSCRIPTIONS, recorded.company_id)
    for subscription in row.endpoints if row is not None else ():
        if endpoint.wants(subscription.settings, name) or (
            name == endpoint.TEST and subscription.endpoint_id == recorded.stream_id
        ):
            yield _pending_delivery(
                recorded,
                "webhook",
                subscription.endpoint_id,
                subscription.endpoint_id,
                ordered=subscription.settings.ordered,
            )
    match recorded.event:
        case IssueOpened(details=details) if details.assignee_agent_id is not None:
            kind, target_id = "heartbeat", details.assignee_agent_id
        case RunAttemptBegun(agent_id=UUID() as agent_id):
            kind, target_id = "heartbeat", agent_id
        case TrajectoryMoved(status=status) if status in TOLD:
            kind, target_id = "callback", recorded.stream_id
        case _:
            return
    if (receiver := rows.get(RECEIVER, target_id)) is not None:
        yield _pending_delivery(recorded, kind, target_id, receiver.lane)


def _pending_delivery(
    recorded: Recorded, kind: str, target_id: UUID, lane: UUID, *, ordered: bool = False
) -> PendingDeliveryRow:
    return PendingDeliveryRow(
        id=delivery_of(recorded.stream_id, recorded.version, target_id),
        version=0,
        kind=kind,
        target_id=target_id,
        lane=lane,
        ordered=ordered,
        company_id=recorded.known_company_id,
        position=recorded.position,
        attempts=0,
        next_at=recorded.at,
    )


def _follow(rows: Rows, recorded: Recorded, event: DeliveryEvent) -> None:
    """Record the outcome of an attempt, or that the delivery is to be sent once more."""
    id_ = recorded.stream_id
    match event:
        case DeliveryFailed(next_at=next_at, attempt=attempt):
            rows.change(
                PENDING_DELIVERY,
                id_,
                lambda row: replace(row, version=recorded.version, attempts=attempt, next_at=next_at),
            )
            note_attempt(rows, recorded, event, "waiting", next_at)
        case DeliveryDelivered():
            rows.delete(PENDING_DELIVERY, id_)
            note_attempt(rows, recorded, event, "delivered")
        case DeliveryDead():
            rows.delete(PENDING_DELIVERY, id_)
            note_attempt(rows, recorded, event, "dead")
        case DeliveryRequested():
            if (row := rows.get(DELIVERY, id_)) is not None:
                rows.put(PENDING_DELIVERY, _repeated_row(row, recorded))
                timestamp = time(recorded.at)
                doc = replace(row.doc, status="waiting", next_attempt_at=timestamp, updated_at=timestamp)
                rows.put(DELIVERY, replace(row, status="waiting", doc=doc))


def _repeated_row(row: DeliveryRow, recorded: Recorded) -> PendingDeliveryRow:
    return PendingDeliveryRow(
        id=row.id,
        version=recorded.version,
        kind=row.doc.kind,
        target_id=row.target_id,
        lane=row.lane,
        ordered=row.ordered,
        company_id=row.company_id,
        position=row.position,
        attempts=0,
        next_at=recorded.at,
    )


deliveries = ReadModel(
    name="deliveries",
    version=2,
    tables=(SUBSCRIPTIONS, RECEIVER, PENDING_DELIVERY, DELIVERY),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    polled_by="delivery",
    views=(DELIVERIES,),
)
