"""Every delivery as clients read it, pending or not, with the outcome of all its attempts."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec.structs import replace

from domain.bounds.limits import DEFAULT
from domain.events import DeliveryDead, DeliveryDelivered, DeliveryFailed
from domain.recorded import Recorded
from domain.values import DeliveryKind
from projections.delivery.pending_deliveries import PendingDeliveryRow
from projections.engine.documents import Docs, Part
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.engine.views import View
from projections.responses import ResponseBody, time, time_or_none

Status = Literal["waiting", "delivered", "dead"]


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


DELIVERY = Table("delivery", DeliveryRow, over="status <> 'waiting'")
DELIVERIES = View(
    name="deliveries",
    about="A delivery: one event that is sent to one receiver, in as many attempts as it takes.",
    source="delivery",
    moment="created_at",
    columns={
        "id": ("id", "The delivery"),
        "company_id": ("company_id", "Its company"),
        "kind": ("doc->>'kind'", "webhook, heartbeat or callback"),
        "target_id": ("target_id", "The endpoint, the agent or the trajectory that receives it"),
        "event_name": ("doc->>'eventType'", "The kind of event that is sent"),
        "event_position": ("(doc->>'eventPosition')::bigint", "Place of that event in the log"),
        "status": ("status", "waiting, delivered or dead"),
        "attempts": ("json_array_length(doc->'attempts')", "How many attempts there were"),
        "next_attempt_at": (
            "(doc->>'nextAttemptAt')::timestamptz",
            "When the next is made; NULL if there is none to come",
        ),
        "created_at": ("(doc->>'createdAt')::timestamptz", "When the event happened"),
        "updated_at": ("(doc->>'updatedAt')::timestamptz", "When it was attempted last"),
    },
)

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


def new_delivery(pending: PendingDeliveryRow, recorded: Recorded) -> DeliveryRow:
    """Return the row of a delivery of which nothing has been attempted yet."""
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


def note_attempt(
    rows: Rows,
    recorded: Recorded,
    event: DeliveryFailed | DeliveryDelivered | DeliveryDead,
    status: Status,
    next_at: datetime | None = None,
) -> None:
    """Record an attempt, and what has become of the delivery by it."""
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
