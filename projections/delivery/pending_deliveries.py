"""The queue: deliveries that wait to be sent, for the first time or again, and which of them is next."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from domain.delivery.delivery import PendingDelivery
from projections.engine.table import Connection, Row, Table


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


PENDING_DELIVERY = Table("letter", PendingDeliveryRow)

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


def due(  # noqa: PLR0913 the arguments narrow the list
    conn: Connection,
    now: datetime,
    *,
    of_lane: int,
    limit: int,
    left_out: Collection[UUID] = (),
    without_lanes: Collection[UUID] = (),
) -> list[PendingDelivery]:
    """
    Return what is to be sent now, longest waiting first: at most `of_lane` for each receiver, the companies in turns.

    So whatever waits for one receiver or company does not hide what waits for another. `left_out` and `without_lanes`
    leave out deliveries and partition keys.
    """
    names = PendingDelivery.__struct_fields__
    bounds = {"of_lane": of_lane, "limit": limit, "without": list(left_out), "without_lanes": list(without_lanes)}
    rows = conn.execute(_DUE, {"now": now, **bounds}, prepare=True)
    return [PendingDelivery(**dict(zip(names, row, strict=True))) for row in rows]


def next_due(conn: Connection, after: datetime) -> datetime | None:
    """Return when the next delivery after a moment comes due, or None."""
    row = conn.execute(_NEXT, (after,), prepare=True).fetchone()
    return row[0] if row else None


def tallies(conn: Connection) -> dict[str, tuple[int, datetime]]:
    """Return how many deliveries wait and when the first of them comes due, by kind."""
    return {kind: (count, first_at) for kind, count, first_at in conn.execute(_TALLY)}
