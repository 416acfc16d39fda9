"""
Triggers due: when the scheduler has to look at each schedule next.

What is due is one range of an index, however many schedules there are.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

from msgspec.structs import replace

from domain.events import (
    ProbeAnswered,
    ProbeRequested,
    RoutineCreated,
    RoutineRestored,
    RoutineUpdated,
    RunFired,
    TriggerCreated,
    TriggerDeleted,
    TriggerMissed,
    TriggerReplanned,
    TriggerRescheduled,
    TriggerRestored,
    TriggerUpdated,
)
from domain.recorded import Recorded
from domain.routines import activity_gate
from domain.routines.trigger import DueTrigger
from domain.values import RoutineSettings
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table


class ScheduleRow(Row, frozen=True):
    """A schedule trigger; it is due when `due_at` has come, it is enabled and its routine is active."""

    routine_id: UUID
    company_id: UUID
    trigger_version: int
    next_at: datetime | None  # None when there is no further occurrence
    due_at: datetime | None
    rests: bool  # whether it comes due later because its company was over a quota
    enabled: bool
    routine_active: bool
    gated: bool  # whether its routine has an activity gate


class ActivityRow(Row, frozen=True):
    """Whether a routine is active, and whether it has an activity gate; its id is the routine's."""

    active: bool
    gated: bool


Scheduled = (
    TriggerCreated | TriggerRestored | TriggerUpdated | TriggerRescheduled | TriggerReplanned | TriggerMissed | RunFired
)
SCHEDULE = Table("schedule", ScheduleRow)
ACTIVITY = Table("routine_activity", ActivityRow)

SCHEMA = """
CREATE TABLE schedule (
    id uuid PRIMARY KEY, routine_id uuid NOT NULL, company_id uuid NOT NULL, trigger_version bigint NOT NULL,
    next_at timestamptz, due_at timestamptz, rests boolean NOT NULL, enabled boolean NOT NULL, routine_active boolean NOT NULL,
    gated boolean NOT NULL);
CREATE INDEX ON schedule (due_at, id) WHERE enabled AND routine_active;
CREATE INDEX ON schedule (company_id, next_at) WHERE rests AND enabled AND routine_active;
CREATE INDEX ON schedule (routine_id);
CREATE TABLE routine_activity (id uuid PRIMARY KEY, active boolean NOT NULL, gated boolean NOT NULL);
"""
BEGINNING = datetime.min.replace(tzinfo=UTC)
ACTIVATE = "UPDATE schedule SET routine_active = %s, gated = %s WHERE routine_id = %s"


def fold(recorded: Recorded, rows: Rows) -> None:
    """
    Fold one event into the schedules.

    When a routine becomes active or stops being so, or its gate is opened or closed, all its schedules are changed by one statement.
    """
    match recorded.event:
        case RunFired(trigger_id=trigger_id, is_scheduled=True) as event:
            rows.change(SCHEDULE, trigger_id, lambda row: replace(row, **_next_fields(event)))
        case RoutineCreated(settings=settings):
            rows.add(ACTIVITY, _activity_row(recorded.stream_id, settings))
        case RoutineUpdated(settings=settings) | RoutineRestored(settings=settings):
            _set_activity(rows, _activity_row(recorded.stream_id, settings))
        case (TriggerCreated() | TriggerRestored()) as event if event.kind == "schedule":
            (rows.add if recorded.version == 1 else rows.put)(SCHEDULE, _schedule(rows, recorded, event))
        case TriggerUpdated(settings=settings) as event:
            _move(rows, recorded, event, enabled=settings.enabled)
        case (TriggerRescheduled() | TriggerReplanned() | TriggerMissed()) as event:
            _move(rows, recorded, event)
        case TriggerDeleted():
            rows.delete(SCHEDULE, recorded.stream_id)
        case ProbeRequested(trigger_id=trigger_id, occurrence=occurrence, until=until):
            _wait(rows, trigger_id, occurrence, until)
        case ProbeAnswered(trigger_id=trigger_id, occurrence=occurrence):
            _wait(rows, trigger_id, occurrence, recorded.at)
        case _:
            pass


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows that `fold` needs, so that they can be fetched together before it."""
    match recorded.event:
        case RunFired(trigger_id=UUID() as trigger_id, is_scheduled=True):
            yield SCHEDULE, trigger_id
        case RoutineUpdated() | RoutineRestored():
            yield ACTIVITY, recorded.stream_id
        case TriggerUpdated() | TriggerRescheduled() | TriggerReplanned() | TriggerMissed():
            yield SCHEDULE, recorded.stream_id
        case ProbeRequested(trigger_id=trigger_id) | ProbeAnswered(trigger_id=trigger_id):
            yield SCHEDULE, trigger_id
        case TriggerCreated(routine_id=routine_id) | TriggerRestored(routine_id=routine_id):
            yield ACTIVITY, routine_id
        case _:
            pass


def _activity_row(routine_id: UUID, settings: RoutineSettings) -> ActivityRow:
    return ActivityRow(id=routine_id, active=settings.status == "active", gated=activity_gate.is_on(settings))


def _set_activity(rows: Rows, activity: ActivityRow) -> None:
    if rows.get(ACTIVITY, activity.id) != activity:
        rows.put(ACTIVITY, activity)
        rows.execute(ACTIVATE, (activity.active, activity.gated, activity.id))


def _next_fields(event: Scheduled) -> dict[str, Any]:
    due_at = event.due_at or event.next_at
    rests_until = event.rests_until if isinstance(event, TriggerMissed) else None
    rests = due_at is not None and rests_until is not None and rests_until > due_at
    return {"next_at": event.next_at, "due_at": rests_until if rests else due_at, "rests": rests}


def _schedule(rows: Rows, recorded: Recorded, event: TriggerCreated | TriggerRestored) -> ScheduleRow:
    activity = rows.get(ACTIVITY, event.routine_id)
    return ScheduleRow(
        id=recorded.stream_id,
        routine_id=event.routine_id,
        company_id=recorded.known_company_id,
        trigger_version=recorded.version,
        **_next_fields(event),
        enabled=event.settings.enabled,
        routine_active=activity is not None and activity.active,
        gated=activity is not None and activity.gated,
    )


def _move(rows: Rows, recorded: Recorded, event: Scheduled, **changes: Any) -> None:
    rows.change(
        SCHEDULE,
        recorded.stream_id,
        lambda row: replace(row, trigger_version=recorded.version, **_next_fields(event), **changes),
    )


def _wait(rows: Rows, trigger_id: UUID, occurrence: datetime, until: datetime) -> None:
    """Let a schedule that waits for its probe come due at a moment, unless it goes on with a later occurrence by now."""
    row = rows.get(SCHEDULE, trigger_id)
    if row is not None and row.next_at is not None and row.next_at <= occurrence:
        rows.put(SCHEDULE, replace(row, due_at=until))


triggers_due = ReadModel(
    name="triggers_due",
    version=4,
    tables=(SCHEDULE, ACTIVITY),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(
        {
            RoutineCreated,
            RoutineUpdated,
            RoutineRestored,
            TriggerDeleted,
            ProbeRequested,
            ProbeAnswered,
            *get_args(Scheduled),
        }
    ),
    polled_by="scheduler",
)


DUE = """
    SELECT id, trigger_version, routine_id, company_id, next_at, gated FROM schedule
    WHERE enabled AND routine_active AND due_at > %s AND due_at <= %s ORDER BY due_at, id LIMIT %s"""
COMING = """
    SELECT id, trigger_version, routine_id, company_id, next_at, gated FROM schedule
    WHERE enabled AND routine_active AND next_at > %s AND id > %s ORDER BY id LIMIT %s"""
RESTING = "SELECT DISTINCT company_id FROM schedule WHERE rests AND enabled AND routine_active"
AWAKE = """
    SELECT id, trigger_version, routine_id, company_id, next_at, gated FROM schedule
    WHERE rests AND enabled AND routine_active AND company_id = ANY(%s) AND next_at <= %s ORDER BY next_at, id LIMIT %s"""
NEXT = "SELECT min(due_at) FROM schedule WHERE enabled AND routine_active AND due_at > %s"


def due(conn: Connection, now: datetime, *, after: datetime = BEGINNING, limit: int) -> list[DueTrigger]:
    """Return the schedules that have come due after one moment and until another, longest waiting first."""
    return [_due_trigger(*row) for row in conn.execute(DUE, (after, now, limit), prepare=True)]


def coming_schedules(conn: Connection, now: datetime, *, after_id: UUID, limit: int) -> list[DueTrigger]:
    """Return schedules whose next occurrence is to come, by their ids, which are later than the given one."""
    return [_due_trigger(*row) for row in conn.execute(COMING, (now, after_id, limit), prepare=True)]


def resting_companies(conn: Connection) -> list[UUID]:
    """Return the companies that have resting schedules, because they were over a quota."""
    return [company_id for (company_id,) in conn.execute(RESTING, prepare=True)]


def awake(conn: Connection, companies: Sequence[UUID], now: datetime, *, limit: int) -> list[DueTrigger]:
    """Return the resting schedules of these companies that have an occurrence waiting, longest waiting first."""
    return [_due_trigger(*row) for row in conn.execute(AWAKE, (list(companies), now, limit), prepare=True)]


def _due_trigger(  # noqa: PLR0913, PLR0917 the columns of a query
    id_: UUID,
    version: int,
    routine_id: UUID,
    company_id: UUID,
    next_at: datetime,
    gated: bool,
) -> DueTrigger:
    return DueTrigger(
        trigger_id=id_,
        trigger_version=version,
        routine_id=routine_id,
        company_id=company_id,
        next_at=next_at,
        is_gated=gated,
    )


def next_due(conn: Connection, after: datetime) -> datetime | None:
    """Return when the first schedule after a moment comes due, or None."""
    row = conn.execute(NEXT, (after,), prepare=True).fetchone()
    return row[0] if row else None
