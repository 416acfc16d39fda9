"""Triggers due: when each schedule is to be looked at next. A range scan of one index, however many there are."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from domain.events import (
    RoutineCreated,
    RoutineRestored,
    RoutineUpdated,
    RunFired,
    TriggerCreated,
    TriggerDeleted,
    TriggerMissed,
    TriggerRescheduled,
    TriggerRestored,
    TriggerUpdated,
)
from domain.recorded import Recorded
from domain.trigger import DueTrigger
from projections.read_model import Connection, ReadModel, Row, Rows, Table


class ScheduleRow(Row, frozen=True):
    """A schedule trigger; due when `next_at` has come, it is enabled and its routine is active."""

    routine_id: UUID
    trigger_version: int
    next_at: datetime
    enabled: bool
    routine_active: bool


class ActivityRow(Row, frozen=True):
    """Whether a routine is active."""

    active: bool


SCHEDULE = Table("schedule", ScheduleRow)
ACTIVITY = Table("routine_activity", ActivityRow)

SCHEMA = """
CREATE TABLE schedule (
    id uuid PRIMARY KEY, routine_id uuid NOT NULL, trigger_version bigint NOT NULL, next_at timestamptz NOT NULL,
    enabled boolean NOT NULL, routine_active boolean NOT NULL);
CREATE INDEX ON schedule (next_at, id) WHERE enabled AND routine_active;
CREATE INDEX ON schedule (routine_id);
CREATE TABLE routine_activity (id uuid PRIMARY KEY, active boolean NOT NULL);
"""
ACTIVATE = "UPDATE schedule SET routine_active = %s WHERE routine_id = %s"


def fold(recorded: Recorded, rows: Rows) -> None:
    match recorded.event:
        case RoutineCreated(settings=settings):
            rows.put(ACTIVITY, ActivityRow(id=recorded.stream_id, active=settings.status == "active"))
        case RoutineUpdated(settings=settings) | RoutineRestored(settings=settings):
            _activate(rows, recorded.stream_id, active=settings.status == "active")
        case (TriggerCreated() | TriggerRestored()) as event if event.next_at is not None:
            rows.put(SCHEDULE, _schedule(rows, recorded, event, event.next_at))
        case TriggerUpdated(next_at=datetime() as next_at, settings=settings):
            _move(rows, recorded, next_at, enabled=settings.enabled)
        case TriggerRescheduled(next_at=next_at) | TriggerMissed(next_at=next_at):
            _move(rows, recorded, next_at)
        case TriggerDeleted():
            rows.delete(SCHEDULE, recorded.stream_id)
        case RunFired(trigger_id=trigger_id, next_at=datetime() as next_at):
            rows.change(SCHEDULE, trigger_id, lambda row: replace(row, next_at=next_at))
        case _:
            pass


def touches(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    match recorded.event:
        case RoutineUpdated() | RoutineRestored():
            yield ACTIVITY, recorded.stream_id
        case TriggerUpdated() | TriggerRescheduled() | TriggerMissed():
            yield SCHEDULE, recorded.stream_id
        case RunFired(trigger_id=UUID() as trigger_id):
            yield SCHEDULE, trigger_id
        case TriggerCreated(routine_id=routine_id) | TriggerRestored(routine_id=routine_id):
            yield ACTIVITY, routine_id
        case _:
            pass


def _activate(rows: Rows, routine_id: UUID, *, active: bool) -> None:
    known = rows.get(ACTIVITY, routine_id)
    if known is None or known.active != active:
        rows.put(ACTIVITY, ActivityRow(id=routine_id, active=active))
        rows.execute(ACTIVATE, (active, routine_id))


def _schedule(
    rows: Rows, recorded: Recorded, event: TriggerCreated | TriggerRestored, next_at: datetime
) -> ScheduleRow:
    activity = rows.get(ACTIVITY, event.routine_id)
    return ScheduleRow(
        id=recorded.stream_id,
        routine_id=event.routine_id,
        trigger_version=recorded.version,
        next_at=next_at,
        enabled=event.settings.enabled,
        routine_active=activity is not None and activity.active,
    )


def _move(rows: Rows, recorded: Recorded, next_at: datetime, **changes: Any) -> None:
    rows.change(
        SCHEDULE,
        recorded.stream_id,
        lambda row: replace(row, next_at=next_at, trigger_version=recorded.version, **changes),
    )


triggers_due = ReadModel(name="triggers_due", tables=(SCHEDULE, ACTIVITY), schema=SCHEMA, fold=fold, touches=touches)


_DUE = """
    SELECT id, trigger_version, routine_id, next_at FROM schedule
    WHERE enabled AND routine_active AND next_at <= %s AND (next_at, id) > (%s, %s)
    ORDER BY next_at, id LIMIT %s"""
_NEXT = "SELECT min(next_at) FROM schedule WHERE enabled AND routine_active AND next_at > %s"


def due(conn: Connection, now: datetime, *, after: tuple[datetime, UUID], limit: int) -> list[DueTrigger]:
    """The schedules whose time has come, longest waiting first, after the row `after` (time and trigger)."""
    return [DueTrigger(*row) for row in conn.execute(_DUE, (now, *after, limit), prepare=True)]


def next_due(conn: Connection, after: datetime) -> datetime | None:
    """When the first schedule after a moment comes due; None when there is none."""
    row = conn.execute(_NEXT, (after,), prepare=True).fetchone()
    return row[0] if row else None
