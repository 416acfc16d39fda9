"""Who receives what: a company's endpoints by the events they want, an agent's heartbeats, a trajectory's callback."""

from uuid import NAMESPACE_URL, UUID, uuid5
from zlib import crc32

import msgspec

from domain.delivery import outbound_url
from domain.events import (
    AgentCreated,
    AgentEvent,
    AgentHeartbeatStopped,
    AgentTerminated,
    AgentUpdated,
    EndpointCreated,
    EndpointDeleted,
    EndpointDisabled,
    EndpointEvent,
    EndpointUpdated,
    TrajectoryOpened,
)
from domain.recorded import Recorded
from domain.values import Callback, EndpointSettings
from projections.engine.rows import Rows
from projections.engine.table import Row, Table


class Subscription(msgspec.Struct, frozen=True):
    """An enabled endpoint with its settings, among them which events it wants."""

    endpoint_id: UUID
    settings: EndpointSettings


class SubscriptionsRow(Row, frozen=True):
    """The enabled endpoints of a company; its id is the company's."""

    endpoints: tuple[Subscription, ...]


class ReceiverRow(Row, frozen=True):
    """An agent that wants heartbeats, or a trajectory that has a callback; its id is theirs."""

    kind: str
    lane: UUID


SUBSCRIPTIONS = Table("subscriptions", SubscriptionsRow)
RECEIVER = Table("receiver", ReceiverRow)
CALLBACK_PARTITIONS = 64  # partition keys per company; stored rows depend on it, so it is no setting


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event into the rows that say who receives what."""
    event = recorded.event
    if isinstance(event, EndpointEvent):
        _fold_endpoint(rows, recorded, event)
    elif isinstance(event, AgentEvent):
        _fold_agent(rows, recorded, event)
    elif isinstance(event, TrajectoryOpened) and event.callback is not None:
        lane = callback_partition(recorded.company_id, event.callback)
        rows.put(RECEIVER, ReceiverRow(id=recorded.stream_id, kind="callback", lane=lane))


def _fold_endpoint(rows: Rows, recorded: Recorded, event: EndpointEvent) -> None:
    company_id = recorded.known_company_id
    match event:
        case EndpointCreated(settings=settings) | EndpointUpdated(settings=settings):
            _subscribe(rows, company_id, recorded.stream_id, settings)
        case EndpointDisabled() | EndpointDeleted():
            _subscribe(rows, company_id, recorded.stream_id, None)
        case _:
            pass


def _subscribe(rows: Rows, company_id: UUID, endpoint_id: UUID, settings: EndpointSettings | None) -> None:
    row = rows.get(SUBSCRIPTIONS, company_id)
    other_kinds = (
        tuple(subscription for subscription in row.endpoints if subscription.endpoint_id != endpoint_id)
        if row is not None
        else ()
    )
    own_subscriptions = (Subscription(endpoint_id, settings),) if settings is not None and settings.enabled else ()
    rows.put(SUBSCRIPTIONS, SubscriptionsRow(id=company_id, endpoints=(*other_kinds, *own_subscriptions)))


def _fold_agent(rows: Rows, recorded: Recorded, event: AgentEvent) -> None:
    id_ = recorded.stream_id
    match event:
        case AgentCreated(profile=profile) | AgentUpdated(profile=profile):
            if profile.heartbeat_url is None:
                rows.delete(RECEIVER, id_)
            else:
                rows.put(RECEIVER, ReceiverRow(id=id_, kind="heartbeat", lane=id_))
        case AgentHeartbeatStopped() | AgentTerminated():
            rows.delete(RECEIVER, id_)
        case _:
            pass


def callback_partition(company_id: UUID | None, callback: Callback) -> UUID:
    """
    Return the partition key of a callback: the same for all callbacks of a company to one host.

    Those of another company do not wait for them. Callers may write any host, and looking for what is due takes longer
    with each partition key, so a company has a fixed number of them.
    """
    try:
        host = outbound_url.host_of(callback.url or "")
    except outbound_url.BadTarget:  # the attempt to send will fail and say why
        host = ""
    return uuid5(company_id or NAMESPACE_URL, f"callbacks {crc32(host.encode()) % CALLBACK_PARTITIONS}")
