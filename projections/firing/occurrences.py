"""
The occurrence ledger: one row for each occurrence of a schedule that is settled, or for a range that was missed.

The rows of a trigger do not overlap, so a period is one range of the index. The exception is an occurrence that a
backfill has made up for: its row stands beside the range that was missed.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID, uuid5

from msgspec.structs import replace

from domain.errors import ImpossibleHistory
from domain.events import (
    RoutineCreated,
    RoutineRestored,
    RoutineUpdated,
    RunFired,
    TriggerCreated,
    TriggerMissed,
    TriggerReplanned,
    TriggerRescheduled,
    TriggerRestored,
    TriggerUpdated,
)
from domain.explain.verdicts import reason_of
from domain.recorded import Recorded
from domain.values import CatchUpPolicy, Coalesced, ConcurrencyPolicy, Opened, Outcome, RoutineSettings, Skipped
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.engine.views import View
from projections.responses import ResponseBody, time, time_or_none

OutcomeName = Literal["issue_created", "trajectory_started", "coalesced", "skipped", "missed", "failed", "planned"]


class OccurrenceRow(Row, frozen=True):
    """
    The `count` occurrences from `first` to `last`, which had the same outcome.

    There is more than one of them only where they were missed.
    """

    trigger_id: UUID
    routine_id: UUID
    company_id: UUID | None
    first: datetime
    last: datetime
    count: int
    outcome: str
    reason: str | None
    concurrency_policy: str
    catch_up_policy: str
    run_id: UUID | None
    issue_id: UUID | None
    blocking_run_id: UUID | None
    due_at: datetime | None  # of the first; None if jitter moved it and it was not the next occurrence
    settled_at: datetime
    position: int
    backfill_id: UUID | None = None  # the backfill that has made up for it


class PolicyRow(Row, frozen=True):
    """The policies of a routine; its id is the routine's."""

    concurrency_policy: str
    catch_up_policy: str


class ScheduledRow(Row, frozen=True):
    """A schedule trigger. `next_at` and `due_at` are kept up to date only where jitter makes them differ."""

    routine_id: UUID
    has_jitter: bool
    next_at: datetime | None
    due_at: datetime | None


OCCURRENCE = Table("occurrence", OccurrenceRow, over="run_id IS NOT NULL")
POLICY = Table("occurrence_policy", PolicyRow)
SCHEDULED = Table("occurrence_schedule", ScheduledRow)

SCHEMA = """
CREATE TABLE occurrence (
    id uuid PRIMARY KEY, trigger_id uuid NOT NULL, routine_id uuid NOT NULL, company_id uuid,
    first timestamptz NOT NULL, last timestamptz NOT NULL, count bigint NOT NULL,
    outcome text NOT NULL, reason text, concurrency_policy text NOT NULL, catch_up_policy text NOT NULL,
    run_id uuid, issue_id uuid, blocking_run_id uuid, due_at timestamptz, settled_at timestamptz NOT NULL,
    position bigint NOT NULL, backfill_id uuid);
CREATE INDEX ON occurrence (trigger_id, first, id);
CREATE INDEX ON occurrence (trigger_id, first, id) WHERE backfill_id IS NULL;
CREATE TABLE occurrence_policy (id uuid PRIMARY KEY, concurrency_policy text NOT NULL, catch_up_policy text NOT NULL);
CREATE TABLE occurrence_schedule (
    id uuid PRIMARY KEY, routine_id uuid NOT NULL, has_jitter boolean NOT NULL, next_at timestamptz,
    due_at timestamptz);
"""

OCCURRENCES = View(
    name="occurrences",
    about="An occurrence of a schedule that is settled, or a range of occurrences that were missed.",
    source="occurrence",
    moment="settled_at",
    columns={
        "id": ("id", "The run, or a missed range"),
        "company_id": ("company_id", "Its company"),
        "routine_id": ("routine_id", "Its routine"),
        "trigger_id": ("trigger_id", "Its schedule"),
        "planned_at": ("first", "The planned moment; of a range, the first"),
        "last_planned_at": ("last", "The last planned moment of a range; else the same"),
        "count": ("count", "How many occurrences it is; more than 1 only where they were missed"),
        "outcome": ("outcome", "issue_created, trajectory_started, coalesced, skipped, failed or missed"),
        "reason": ("reason", "Why it began no work"),
        "concurrency_policy": ("concurrency_policy", "The routine's when it was settled"),
        "catch_up_policy": ("catch_up_policy", "The routine's when it was settled"),
        "run_id": ("run_id", "The run; NULL for what was missed"),
        "issue_id": ("issue_id", "The issue that was opened or met"),
        "blocking_run_id": ("blocking_run_id", "The live run that it met"),
        "backfill_id": ("backfill_id", "The backfill that made up for it; its missed range stands beside it"),
        "due_at": ("due_at", "When it came due, after its jitter"),
        "settled_at": ("settled_at", "When its outcome was decided"),
        "lateness_s": (
            "CASE WHEN outcome <> 'missed' AND backfill_id IS NULL THEN extract(epoch FROM settled_at - due_at)::float8 END",
            "Seconds from due to settled; NULL for what was missed or made up for",
        ),
        "position": ("position", "Place in the log of the event that settled it"),
    },
)


def fold(recorded: Recorded, rows: Rows) -> None:
    """
    Fold one event into the ledger: a firing or a missed range adds a row, with the routine's policies at that time.

    Raises ImpossibleHistory when the trigger or the routine of the event is unknown.
    """
    match recorded.event:
        case RunFired(trigger_id=UUID() as trigger_id, occurrence=datetime()) as event:
            _put_fired(rows, recorded, event, trigger_id)
            if event.is_scheduled:
                _move(rows, trigger_id, event)
        case RoutineCreated(settings=settings) | RoutineUpdated(settings=settings) | RoutineRestored(settings=settings):
            (rows.add if recorded.version == 1 else rows.put)(POLICY, _policy_row(recorded.stream_id, settings))
        case (TriggerCreated() | TriggerRestored()) as event if event.kind == "schedule":
            has_jitter = event.settings.jitter_sec > 0
            scheduled_row = ScheduledRow(
                id=recorded.stream_id, routine_id=event.routine_id, has_jitter=has_jitter, next_at=None, due_at=None
            )
            (rows.add if recorded.version == 1 else rows.put)(SCHEDULED, _row_after_move(scheduled_row, event))
        case TriggerUpdated(settings=settings) as event:
            has_jitter = settings.jitter_sec > 0
            rows.change(
                SCHEDULED, recorded.stream_id, lambda row: _row_after_move(replace(row, has_jitter=has_jitter), event)
            )
        case (TriggerRescheduled() | TriggerReplanned()) as event:
            _move(rows, recorded.stream_id, event)
        case TriggerMissed() as event:
            _put_missed(rows, recorded, event)
            _move(rows, recorded.stream_id, event)
        case _:
            pass


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows that `fold` needs, so that they can be fetched together before it."""
    match recorded.event:
        case RunFired(trigger_id=UUID() as trigger_id, occurrence=datetime(), routine_id=routine_id):
            yield SCHEDULED, trigger_id
            yield POLICY, routine_id
        case TriggerUpdated() | TriggerRescheduled() | TriggerReplanned() | TriggerMissed():
            yield SCHEDULED, recorded.stream_id
        case _:
            pass


Moving = (
    TriggerCreated | TriggerRestored | TriggerUpdated | TriggerRescheduled | TriggerReplanned | TriggerMissed | RunFired
)


def _row_after_move(row: ScheduledRow, event: Moving) -> ScheduledRow:
    if not row.has_jitter:
        return replace(row, next_at=None, due_at=None)
    return replace(row, next_at=event.next_at, due_at=event.due_at)


def _move(rows: Rows, trigger_id: UUID, event: Moving) -> None:
    """Update when a schedule with jitter is due; one without jitter is not written again by each of its firings."""
    row = rows.get(SCHEDULED, trigger_id)
    if row is not None and row.has_jitter:
        rows.put(SCHEDULED, _row_after_move(row, event))


def _policy_row(routine_id: UUID, settings: RoutineSettings) -> PolicyRow:
    return PolicyRow(
        id=routine_id, concurrency_policy=settings.concurrency_policy, catch_up_policy=settings.catch_up_policy
    )


def _due_at(scheduled_row: ScheduledRow | None, occurrence: datetime) -> datetime | None:
    if scheduled_row is None or not scheduled_row.has_jitter:
        return occurrence
    return scheduled_row.due_at if scheduled_row.next_at == occurrence else None


def _put_missed(rows: Rows, recorded: Recorded, event: TriggerMissed) -> None:
    scheduled_row = rows.get(SCHEDULED, recorded.stream_id)
    policy = rows.get(POLICY, scheduled_row.routine_id) if scheduled_row is not None else None
    if scheduled_row is None or policy is None:
        raise ImpossibleHistory(None, recorded.event)
    row = OccurrenceRow(
        id=uuid5(recorded.stream_id, f"missed|{recorded.version}"),
        trigger_id=recorded.stream_id,
        routine_id=scheduled_row.routine_id,
        company_id=recorded.company_id,
        first=event.first,
        last=event.last,
        count=event.count,
        outcome="missed",
        reason=event.reason,
        concurrency_policy=policy.concurrency_policy,
        catch_up_policy=policy.catch_up_policy,
        run_id=None,
        issue_id=None,
        blocking_run_id=None,
        due_at=_due_at(scheduled_row, event.first),
        settled_at=recorded.at,
        position=recorded.position,
    )
    rows.add(OCCURRENCE, row)


def _put_fired(rows: Rows, recorded: Recorded, event: RunFired, trigger_id: UUID) -> None:
    policy = rows.get(POLICY, event.routine_id)
    if policy is None or event.occurrence is None:
        raise ImpossibleHistory(None, recorded.event)
    row = OccurrenceRow(
        id=recorded.stream_id,
        trigger_id=trigger_id,
        routine_id=event.routine_id,
        company_id=recorded.company_id,
        first=event.occurrence,
        last=event.occurrence,
        count=1,
        outcome=str(event.outcome.__struct_config__.tag),
        reason=reason_of(event.outcome),
        concurrency_policy=policy.concurrency_policy,
        catch_up_policy=policy.catch_up_policy,
        run_id=recorded.stream_id,
        due_at=_due_at(rows.get(SCHEDULED, trigger_id), event.occurrence),
        settled_at=recorded.at,
        position=recorded.position,
        backfill_id=event.backfill_id,
        **_links_of(event.outcome),
    )
    rows.add(OCCURRENCE, row)


def _links_of(outcome: Outcome) -> dict[str, UUID | None]:
    """Return the issue that was opened or met, and the run whose issue was met."""
    match outcome:
        case Opened(issue_id=issue_id):
            return {"issue_id": issue_id, "blocking_run_id": None}
        case Coalesced(issue_id=issue_id, into_run_id=run_id) | Skipped(issue_id=issue_id, into_run_id=run_id):
            return {"issue_id": issue_id, "blocking_run_id": run_id}
        case _:
            return {"issue_id": None, "blocking_run_id": None}


occurrences = ReadModel(
    name="occurrences",
    version=3,
    tables=(OCCURRENCE, POLICY, SCHEDULED),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset({RoutineCreated, RoutineUpdated, RoutineRestored, *get_args(Moving)}),
    views=(OCCURRENCES,),
)


class Occurrence(ResponseBody, frozen=True, kw_only=True):
    """
    One occurrence, or a range of `count` missed ones from `plannedAt` to `lastPlannedAt`.

    `dueAt` differs from `plannedAt` by the jitter. `issueId` is the issue that was opened or met, `blockingRunId` the
    run whose issue was met. `latenessMs` is from due to settled, null for what is planned, missed or made up for by
    the backfill `backfillId`.
    """

    planned_at: str
    last_planned_at: str
    count: int = 1
    due_at: str | None
    outcome: OutcomeName
    reason: str | None = None
    concurrency_policy: ConcurrencyPolicy
    catch_up_policy: CatchUpPolicy
    run_id: UUID | None = None
    issue_id: UUID | None = None
    blocking_run_id: UUID | None = None
    settled_at: str | None = None
    lateness_ms: int | None = None
    position: int | None = None
    backfill_id: UUID | None = None


class Place(NamedTuple):
    """The place where a page ended: the first moment of its last row, and the row's id."""

    first: datetime
    id: UUID


_COLUMNS = ", ".join(OccurrenceRow.__struct_fields__)
_WITHIN = f"""
    SELECT {_COLUMNS} FROM occurrence WHERE trigger_id = %(trigger_id)s
    AND first >= coalesce(
        (SELECT first FROM occurrence WHERE trigger_id = %(trigger_id)s AND first <= %(since)s
        AND backfill_id IS NULL ORDER BY first DESC, id DESC LIMIT 1), %(since)s)
    AND first <= %(until)s AND last >= %(since)s AND (first, id) > (%(after)s, %(after_id)s)
    ORDER BY first, id LIMIT %(limit)s"""
_LATEST = (
    "SELECT last FROM occurrence WHERE trigger_id = %s AND backfill_id IS NULL ORDER BY first DESC, id DESC LIMIT 1"
)


def rows_within(
    conn: Connection, trigger_id: UUID, period: tuple[datetime, datetime], *, after: Place | None, limit: int
) -> list[OccurrenceRow]:
    """Return the rows that overlap a period, both ends included, oldest first, after a place."""
    start_at, end_at = period
    start = after or Place(start_at - timedelta(days=36_525), UUID(int=0))
    values = {"trigger_id": trigger_id, "since": start_at, "until": end_at, "limit": limit}
    cursor = conn.execute(_WITHIN, {**values, "after": start.first, "after_id": start.id}, prepare=True)
    return [OccurrenceRow(**dict(zip(OccurrenceRow.__struct_fields__, row, strict=True))) for row in cursor]


def latest_occurrence(conn: Connection, trigger_id: UUID) -> datetime | None:
    """Return the last occurrence of a trigger that is settled, backfills aside, or None."""
    row = conn.execute(_LATEST, (trigger_id,), prepare=True).fetchone()
    return row[0] if row else None


def occurrence_of_row(row: OccurrenceRow) -> Occurrence:
    """Return a row as clients read it."""
    is_missed = row.outcome == "missed"
    lateness = None if row.due_at is None or is_missed or row.backfill_id else row.settled_at - row.due_at
    return Occurrence(
        planned_at=time(row.first),
        last_planned_at=time(row.last),
        count=row.count,
        due_at=time_or_none(row.due_at),
        outcome=row.outcome,  # type: ignore[arg-type]
        reason=row.reason,
        concurrency_policy=row.concurrency_policy,  # type: ignore[arg-type]
        catch_up_policy=row.catch_up_policy,  # type: ignore[arg-type]
        run_id=row.run_id,
        issue_id=row.issue_id,
        blocking_run_id=row.blocking_run_id,
        settled_at=time(row.settled_at),
        lateness_ms=None if lateness is None else lateness // timedelta(milliseconds=1),
        position=row.position,
        backfill_id=row.backfill_id,
    )
