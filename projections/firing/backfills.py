"""Backfills: the period of each, how far it has come, and which of them the scheduler can carry on."""

from collections.abc import Iterable
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.events import (
    BackfillAdvanced,
    BackfillCancelled,
    BackfillCompleted,
    BackfillRequested,
    SlotFreed,
)
from domain.recorded import Recorded
from domain.routines.backfill import WaitingBackfill
from domain.values import Overlap
from projections.engine.documents import Docs, Part
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.sent_columns import Ids
from projections.engine.table import Connection, Row, Table
from projections.responses import ResponseBody, agent_of, time, user_of

Status = Literal["running", "waiting", "completed", "cancelled"]


class Backfill(ResponseBody, frozen=True, kw_only=True):
    """
    A backfill of the occurrences of a schedule from `from` to `to`, `count` of them.

    `fired` of them were run by the backfill; `leftOut` had run before, or wait for their schedule. While `waiting`, the backfill waits for live
    work of the routine to end or, with the reason `over_quota`, until the company has recorded less in a minute.
    Otherwise `reason` says why it was cancelled: `cancelled` by somebody, or what keeps its routine from working.
    """

    id: UUID
    company_id: UUID
    routine_id: UUID
    trigger_id: UUID
    status: Status
    overlap: Overlap
    from_: str = msgspec.field(name="from")
    to: str
    count: int
    fired: int = 0
    left_out: int = 0
    reached_at: str | None = None
    reason: str | None = None
    created_by_agent_id: UUID | None
    created_by_user_id: str | None
    created_at: str
    updated_at: str


class BackfillRow(Row, frozen=True):
    """A backfill as clients read it; `can_go_on` is true while the scheduler can carry it on."""

    trigger_id: UUID
    position: int
    can_go_on: bool
    doc: Backfill


class HeldUpRow(Row, frozen=True):
    """The backfills of a routine that wait for its live work to end; its id is the routine's."""

    backfill_ids: Ids


BACKFILL = Table("backfill", BackfillRow)
HELD_UP = Table("backfill_held_up", HeldUpRow)

SCHEMA = """
CREATE TABLE backfill (
    id uuid PRIMARY KEY, trigger_id uuid NOT NULL, position bigint NOT NULL, can_go_on boolean NOT NULL,
    doc json NOT NULL);
CREATE INDEX ON backfill (trigger_id, position);
CREATE INDEX ON backfill (position) WHERE can_go_on;
CREATE TABLE backfill_held_up (id uuid PRIMARY KEY, backfill_ids uuid[] NOT NULL);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """
    Fold one event into the rows of backfills.

    When live work of a routine ends, the backfills that waited for it can go on.
    """
    match recorded.event:
        case BackfillRequested() as event:
            doc = _new_backfill(recorded, event)
            rows.put(
                BACKFILL,
                BackfillRow(id=doc.id, trigger_id=doc.trigger_id, position=recorded.position, can_go_on=True, doc=doc),
            )
        case BackfillAdvanced() as event:
            _advance_backfill(rows, recorded, event)
        case BackfillCompleted():
            _end(rows, recorded, status="completed", reason=None)
        case BackfillCancelled(reason=reason):
            _end(rows, recorded, status="cancelled", reason=reason)
        case SlotFreed(routine_id=routine_id):
            _let_go(rows, recorded, routine_id)
        case _:
            pass


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows that `fold` will change, so that they can be fetched together before it."""
    match recorded.event:
        case BackfillAdvanced() | BackfillCompleted() | BackfillCancelled():
            yield BACKFILL, recorded.stream_id
        case SlotFreed(routine_id=routine_id):
            yield HELD_UP, routine_id
        case _:
            pass


def _new_backfill(recorded: Recorded, event: BackfillRequested) -> Backfill:
    timestamp = time(recorded.at)
    return Backfill(
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        routine_id=event.routine_id,
        trigger_id=event.trigger_id,
        status="running",
        overlap=event.overlap,
        from_=time(event.since),
        to=time(event.until),
        count=event.count,
        created_by_agent_id=agent_of(recorded.actor),
        created_by_user_id=user_of(recorded.actor),
        created_at=timestamp,
        updated_at=timestamp,
    )


def _advance_backfill(rows: Rows, recorded: Recorded, event: BackfillAdvanced) -> None:
    if (row := rows.get(BACKFILL, recorded.stream_id)) is None:
        return
    doc = replace(
        row.doc,
        status="waiting" if event.waits or event.over_quota else "running",
        reason="over_quota" if event.over_quota else None,
        fired=row.doc.fired + event.fired,
        left_out=row.doc.left_out + event.left_out,
        reached_at=time(event.reached) if event.fired or event.left_out else row.doc.reached_at,
        updated_at=time(recorded.at),
    )
    rows.put(BACKFILL, replace(row, can_go_on=not event.waits, doc=doc))
    if event.waits:
        held_up = rows.get(HELD_UP, doc.routine_id)
        others = [id_ for id_ in held_up.backfill_ids if id_ != row.id] if held_up else []
        rows.put(HELD_UP, HeldUpRow(id=doc.routine_id, backfill_ids=(*others, row.id)))


def _end(rows: Rows, recorded: Recorded, **changes: Any) -> None:
    timestamp = time(recorded.at)
    rows.change(
        BACKFILL,
        recorded.stream_id,
        lambda row: replace(row, can_go_on=False, doc=replace(row.doc, updated_at=timestamp, **changes)),
    )


def _let_go(rows: Rows, recorded: Recorded, routine_id: UUID) -> None:
    """Let the backfills go on that waited for live work of the routine, since some of it has ended."""
    held_up = rows.get(HELD_UP, routine_id)
    if held_up is None:
        return
    for id_ in held_up.backfill_ids:
        row = rows.get(BACKFILL, id_)
        if row is not None and row.doc.status == "waiting":
            doc = replace(row.doc, status="running", updated_at=time(recorded.at))
            rows.put(BACKFILL, replace(row, can_go_on=True, doc=doc))
    rows.delete(HELD_UP, routine_id)


backfills = ReadModel(
    name="backfills",
    version=1,
    tables=(BACKFILL, HELD_UP),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset({BackfillRequested, BackfillAdvanced, BackfillCompleted, BackfillCancelled, SlotFreed}),
    polled_by="scheduler",
)

# Companies take turns, so that one with many backfills does not hide those of others.
_CAN_GO_ON = """
    SELECT id, trigger_id, (doc->>'routineId')::uuid, (doc->>'companyId')::uuid FROM (
        SELECT b.*, row_number() OVER (PARTITION BY doc->>'companyId' ORDER BY position) AS turn
        FROM backfill b WHERE can_go_on) waiting
    ORDER BY turn, position LIMIT %s"""
_BACKFILL = Docs("SELECT doc FROM backfill WHERE id = %(id)s", Backfill)
_BACKFILLS = Docs(
    "SELECT doc FROM backfill WHERE trigger_id = %(trigger_id)s "
    "AND (%(before)s::bigint IS NULL OR position < %(before)s) ORDER BY position DESC LIMIT %(limit)s",
    Backfill,
    prepared=False,
)
_POSITION = "SELECT position FROM backfill WHERE trigger_id = %s AND id = %s"


def waiting(conn: Connection, *, limit: int) -> list[WaitingBackfill]:
    """Return the backfills that the scheduler can carry on, oldest first, the companies in turns."""
    names = WaitingBackfill.__struct_fields__
    return [
        WaitingBackfill(**dict(zip(names, row, strict=True)))
        for row in conn.execute(_CAN_GO_ON, (limit,), prepare=True)
    ]


def backfill(conn: Connection, id_: UUID) -> Backfill | None:
    """Return the backfill with this id, or None."""
    return _BACKFILL.one(conn, id=id_)


def of_trigger(conn: Connection, trigger_id: UUID, limit: int, *, before: int | None = None) -> Part[Backfill]:
    """Return the backfills of a trigger, newest first, before a position."""
    return _BACKFILLS.part(conn, trigger_id=trigger_id, limit=limit, before=before)


def position(conn: Connection, trigger_id: UUID, backfill_id: UUID) -> int | None:
    """Return the position of a backfill in the log; None if the trigger has no such backfill."""
    row = conn.execute(_POSITION, (trigger_id, backfill_id), prepare=True).fetchone()
    return row[0] if row else None
