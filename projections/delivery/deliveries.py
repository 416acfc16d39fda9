"""Deliveries: which events are sent to whom, which deliveries wait to be sent, and the outcome of every attempt."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5
from zlib import crc32

import msgspec
from msgspec.structs import replace

from domain.bounds.limits import DEFAULT
from domain.delivery import endpoint, outbound_url
from domain.delivery.delivery import PendingDelivery
from domain.errors import ImpossibleHistory
from domain.events import (
    AgentCreated,
    AgentEvent,
    AgentHeartbeatStopped,
    AgentTerminated,
    AgentUpdated,
    DeliveryDead,
    DeliveryDelivered,
    DeliveryEvent,
    DeliveryFailed,
    DeliveryRequested,
    EndpointCreated,
    EndpointDeleted,
    EndpointDisabled,
    EndpointEvent,
    EndpointUpdated,
    IssueOpened,
    RunAttemptBegun,
    TrajectoryMoved,
    TrajectoryOpened,
)
from domain.identity import delivery_of
from domain.jetty.trajectory import TOLD
from domain.recorded import Recorded
from domain.values import Callback, DeliveryKind, EndpointSettings
from projections.engine.documents import Docs, Part
from projections.engine.read_model import Connection, ReadModel, Row, Rows, Table
from projections.responses import ResponseBody, time, time_or_none

CALLBACK_LANES = 64  # partition keys per company; stored rows depend on it, so it is no setting

Status = Literal["waiting", "delivered", "dead"]


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


class PendingDeliveryRow(Row, frozen=True):
    """A delivery that waits to be sent, for the first time or again."""

    version: int
    kind: str
    target_id: UUID
    lane: UUID
    ordered: bool
    company_id: UUID
    position: int
    attempts: int
    next_at: datetime


class Attempt(ResponseBody, frozen=True, kw_only=True):
    """
    An attempt to send a delivery.

    `status` is the HTTP status of the answer, null if there was none; `reason` says why it failed, null if it was
    delivered.
    """

    at: str
    status: int | None
    reason: str | None
    took_ms: int


class Delivery(ResponseBody, frozen=True, kw_only=True):
    """A delivery; `attempts` holds all attempts that there were, oldest first."""

    id: UUID
    message_id: str
    company_id: UUID
    kind: DeliveryKind
    target_id: UUID
    event_type: str
    event_position: int
    status: Status
    attempts: tuple[Attempt, ...] = ()
    next_attempt_at: str | None
    created_at: str
    updated_at: str


class DeliveryRow(Row, frozen=True):
    """A delivery as clients read it, pending or not, with what is needed to send it again."""

    company_id: UUID
    target_id: UUID
    lane: UUID
    ordered: bool
    position: int
    status: Status
    doc: Delivery


SUBSCRIPTIONS = Table("subscriptions", SubscriptionsRow)
RECEIVER = Table("receiver", ReceiverRow)
PENDING_DELIVERY = Table("letter", PendingDeliveryRow)
DELIVERY = Table("delivery", DeliveryRow)

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
    if isinstance(event, DeliveryEvent):
        _follow(rows, recorded, event)
        return
    if isinstance(event, EndpointEvent):
        _endpoint(rows, recorded, event)
    elif isinstance(event, AgentEvent):
        _agent(rows, recorded, event)
    elif isinstance(event, TrajectoryOpened) and event.callback is not None:
        lane = _lane_of(recorded.company_id, event.callback)
        rows.put(RECEIVER, ReceiverRow(id=recorded.stream_id, kind="callback", lane=lane))
    for pending in _pending_deliveries(rows, recorded):
        rows.put(PENDING_DELIVERY, pending)
        rows.put(DELIVERY, _delivery(pending, recorded))


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows that `fold` will change, so that they can be fetched together before it."""
    if recorded.company_id is not None:
        yield SUBSCRIPTIONS, recorded.company_id
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
    if recorded.company_id is None:
        raise ImpossibleHistory(None, recorded.event)
    return PendingDeliveryRow(
        id=delivery_of(recorded.stream_id, recorded.version, target_id),
        version=0,
        kind=kind,
        target_id=target_id,
        lane=lane,
        ordered=ordered,
        company_id=recorded.company_id,
        position=recorded.position,
        attempts=0,
        next_at=recorded.at,
    )


def _delivery(pending: PendingDeliveryRow, recorded: Recorded) -> DeliveryRow:
    timestamp = time(recorded.at)
    doc = Delivery(
        id=pending.id,
        message_id=f"msg_{pending.id.hex}",
        company_id=pending.company_id,
        kind=pending.kind,  # type: ignore[arg-type]
        target_id=pending.target_id,
        event_type=recorded.name,
        event_position=recorded.position,
        status="waiting",
        next_attempt_at=timestamp,
        created_at=timestamp,
        updated_at=timestamp,
    )
    return DeliveryRow(
        id=pending.id,
        company_id=pending.company_id,
        target_id=pending.target_id,
        lane=pending.lane,
        ordered=pending.ordered,
        position=pending.position,
        status="waiting",
        doc=doc,
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
            _note(rows, recorded, event, "waiting", next_at)
        case DeliveryDelivered():
            rows.delete(PENDING_DELIVERY, id_)
            _note(rows, recorded, event, "delivered")
        case DeliveryDead():
            rows.delete(PENDING_DELIVERY, id_)
            _note(rows, recorded, event, "dead")
        case DeliveryRequested():
            if (row := rows.get(DELIVERY, id_)) is not None:
                rows.put(PENDING_DELIVERY, _again(row, recorded))
                timestamp = time(recorded.at)
                doc = replace(row.doc, status="waiting", next_attempt_at=timestamp, updated_at=timestamp)
                rows.put(DELIVERY, replace(row, status="waiting", doc=doc))


def _again(row: DeliveryRow, recorded: Recorded) -> PendingDeliveryRow:
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


def _note(
    rows: Rows,
    recorded: Recorded,
    event: DeliveryFailed | DeliveryDelivered | DeliveryDead,
    status: Status,
    next_at: datetime | None = None,
) -> None:
    timestamp, reason = time(recorded.at), None if isinstance(event, DeliveryDelivered) else event.reason
    attempt = Attempt(at=timestamp, status=event.status, reason=reason, took_ms=event.took_ms)
    rows.change(
        DELIVERY,
        recorded.stream_id,
        lambda row: replace(
            row,
            status=status,
            doc=replace(
                row.doc,
                status=status,
                attempts=(*row.doc.attempts, attempt),
                next_attempt_at=time_or_none(next_at),
                updated_at=timestamp,
            ),
        ),
    )


def _endpoint(rows: Rows, recorded: Recorded, event: EndpointEvent) -> None:
    if (company_id := recorded.company_id) is None:
        raise ImpossibleHistory(None, recorded.event)
    match event:
        case EndpointCreated(settings=settings) | EndpointUpdated(settings=settings):
            _subscribe(rows, company_id, recorded.stream_id, settings)
        case EndpointDisabled() | EndpointDeleted():
            _subscribe(rows, company_id, recorded.stream_id, None)
        case _:
            pass


def _subscribe(rows: Rows, company_id: UUID, endpoint_id: UUID, settings: EndpointSettings | None) -> None:
    row = rows.get(SUBSCRIPTIONS, company_id)
    others = (
        tuple(subscription for subscription in row.endpoints if subscription.endpoint_id != endpoint_id)
        if row is not None
        else ()
    )
    own_subscriptions = (Subscription(endpoint_id, settings),) if settings is not None and settings.enabled else ()
    rows.put(SUBSCRIPTIONS, SubscriptionsRow(id=company_id, endpoints=(*others, *own_subscriptions)))


def _agent(rows: Rows, recorded: Recorded, event: AgentEvent) -> None:
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


def _lane_of(company_id: UUID | None, callback: Callback) -> UUID:
    """
    Return the partition key of a callback: the same for all callbacks of a company to one host.

    Those of another company do not wait for them. Callers may write any host, and looking for what is due takes longer
    with each partition key, so a company has a fixed number of them.
    """
    try:
        host = outbound_url.host_of(callback.url or "")
    except outbound_url.BadTarget:  # the attempt to send will fail and say why
        host = ""
    return uuid5(company_id or NAMESPACE_URL, f"callbacks {crc32(host.encode()) % CALLBACK_LANES}")


deliveries = ReadModel(
    name="deliveries",
    version=1,
    tables=(SUBSCRIPTIONS, RECEIVER, PENDING_DELIVERY, DELIVERY),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    polled_by="delivery",
)

_PENDING_DELIVERY = "id, version, kind, target_id, lane, ordered, company_id, position, attempts"
# This finds the partition keys (column `lane`) by skipping from one to the next, so that one with many rows costs no
# more than one with few. Of each it takes a few rows that are due, but only the first row where the endpoint wants its
# events in order. Of these rows the companies take turns.
_DUE = f"""
    WITH RECURSIVE lanes AS (
        (SELECT lane FROM letter ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT l.lane FROM letter l WHERE l.lane > lanes.lane ORDER BY l.lane LIMIT 1)
        FROM lanes WHERE lanes.lane IS NOT NULL),
    due AS (
        SELECT found.*, row_number() OVER (PARTITION BY found.company_id ORDER BY found.next_at, found.position) AS turn
        FROM lanes, LATERAL (
            SELECT l.* FROM letter l WHERE l.lane = lanes.lane AND l.next_at <= %(now)s
            AND (NOT l.ordered OR l.position = (SELECT min(f.position) FROM letter f WHERE f.lane = lanes.lane))
            AND l.id <> ALL (%(without)s::uuid[])
            ORDER BY l.next_at, l.position LIMIT %(of_lane)s) found
        WHERE lanes.lane IS NOT NULL AND lanes.lane <> ALL (%(without_lanes)s::uuid[]))
    SELECT {_PENDING_DELIVERY} FROM due ORDER BY turn, next_at, position LIMIT %(limit)s"""
_NEXT = "SELECT min(next_at) FROM letter WHERE next_at > %s"
_TALLY = "SELECT kind, count(*), min(next_at) FROM letter GROUP BY kind"
_TRY_HOLD = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
_LET_GO = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"

_DELIVERIES = Docs(
    "SELECT doc FROM delivery WHERE company_id = %(company_id)s "
    "AND (%(target_id)s::uuid IS NULL OR target_id = %(target_id)s) "
    "AND (%(status)s::text IS NULL OR status = %(status)s) "
    "AND (%(position)s::bigint IS NULL OR (position, id) < (%(position)s, %(id)s::uuid)) "
    "ORDER BY position DESC, id DESC LIMIT %(limit)s",
    Delivery,
    prepared=False,
)
_DELIVERY = Docs("SELECT doc FROM delivery WHERE id = %(id)s", Delivery)


def due(  # noqa: PLR0913 the arguments narrow the list
    conn: Connection,
    now: datetime,
    *,
    of_lane: int,
    limit: int,
    without: Collection[UUID] = (),
    without_lanes: Collection[UUID] = (),
) -> list[PendingDelivery]:
    """
    Return what is to be sent now, longest waiting first: at most `of_lane` for each receiver, the companies in turns.

    So whatever waits for one receiver or company does not hide what waits for another. `without` and `without_lanes`
    leave out deliveries and partition keys.
    """
    names = PendingDelivery.__struct_fields__
    bounds = {"of_lane": of_lane, "limit": limit, "without": list(without), "without_lanes": list(without_lanes)}
    rows = conn.execute(_DUE, {"now": now, **bounds}, prepare=True)
    return [PendingDelivery(**dict(zip(names, row, strict=True))) for row in rows]


def next_due(conn: Connection, after: datetime) -> datetime | None:
    """Return when the next delivery after a moment comes due, or None."""
    row = conn.execute(_NEXT, (after,), prepare=True).fetchone()
    return row[0] if row else None


def hold(conn: Connection, key: str) -> bool:
    """
    Try to take the lock on this key; return whether this connection holds it.

    While it does, no other connection sends what the key stands for. The lock ends with `release` or with the
    connection.
    """
    row = conn.execute(_TRY_HOLD, (key,), prepare=True).fetchone()
    return bool(row and row[0])


def release(conn: Connection, key: str) -> None:
    """Release the lock on this key that `hold` has taken."""
    conn.execute(_LET_GO, (key,), prepare=True)


def tallies(conn: Connection) -> dict[str, tuple[int, datetime]]:
    """Return how many deliveries wait and when the first of them comes due, by kind."""
    return {kind: (count, first_at) for kind, count, first_at in conn.execute(_TALLY)}


def one(conn: Connection, id_: UUID) -> Delivery | None:
    """Return the delivery with this id, or None."""
    return _DELIVERY.one(conn, id=id_)


def of_company(  # noqa: PLR0913 the arguments narrow the list
    conn: Connection,
    company_id: UUID,
    limit: int,
    *,
    target_id: UUID | None = None,
    status: Status | None = None,
    after: tuple[int, UUID] | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[Delivery]:
    """
    Return the deliveries of a company, newest first, after a place in the list: a position and an id.

    `target_id` and `status` narrow the list.
    """
    position, id_ = after or (None, None)
    values = {"company_id": company_id, "target_id": target_id, "status": status, "position": position, "id": id_}
    return _DELIVERIES.part(conn, limit=limit, max_bytes=max_bytes, **values)
