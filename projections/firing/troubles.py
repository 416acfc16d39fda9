"""
Troubles of routines: what is an alert already, or will be once it has gone on for too long. The scheduler acts on them.

A row is about the work of a run (an issue or a trajectory, whose id it has), about a schedule, or about a routine. It
has the troubles that there are, by their kind.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.events import (
    AlertClosed,
    AlertEvent,
    AlertFailing,
    AlertMissed,
    AlertOverdue,
    AlertRecovered,
    AlertStuck,
    AlertUntaken,
    IssueCheckedOut,
    IssueFreed,
    IssueMoved,
    IssueReleased,
    RoutineCreated,
    RoutineRestored,
    RoutineUpdated,
    RunCompleted,
    RunFailed,
    RunFired,
    SlotFreed,
    TrajectoryClaimed,
    TrajectoryMoved,
    TriggerCreated,
    TriggerDeleted,
    TriggerMissed,
    TriggerRestored,
)
from domain.identity import issue_of_run, trajectory_of_run
from domain.recorded import Recorded
from domain.routines.alert import DueAlert
from domain.routines.settlement import OVER_QUOTA
from domain.values import AlertBounds, AlertKind, Failed, Opened, RoutineSettings, Started
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.sent_columns import Ids
from projections.engine.table import Connection, Row, Table

BY_PEOPLE = "user:"  # a run that a person has cancelled has not failed
# Reasons of missed occurrences that count as trouble; occurrences dropped by an edit of the schedule do not.
TOO_LATE = ("skip_missed", "catch_up_cap", OVER_QUOTA)
TO_DO, AT_WORK = ("todo", "pending"), ("in_progress", "running")  # the statuses of an issue and of a trajectory
MOST_WATCHED = 10  # live runs that are watched per routine, so that many open issues do not cause a flood of alerts
UNWATCHED = AlertBounds(untaken_after_sec=None, stuck_after_sec=None, overdue_after_sec=None, missed_in_a_row=None)
OF_WORK: tuple[AlertKind, ...] = ("untaken", "stuck", "overdue")


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A trouble: since when, when it is an alert, whether that is on the record, and whether it is over."""

    since: datetime
    alert_at: datetime
    run_id: UUID | None = None
    bound_sec: int = 0
    count: int = 0
    is_raised: bool = False
    is_over: bool = False
    over_run_id: UUID | None = None  # the run that succeeded, if that is what ended it


Troubles = dict[AlertKind, Trouble]


class TroubleRow(Row, frozen=True):
    """The troubles of a run, a schedule or a routine, and when there is something to do about one."""

    company_id: UUID
    routine_id: UUID
    run_id: UUID | None = None
    bounds: AlertBounds = AlertBounds()
    has_failed: bool | None = None  # how the run ended; None: it has not, or a person ended it
    is_left: bool = False  # whether the work of the run has left the slot
    missed: int = 0  # occurrences of a schedule, since the last one that ran
    watched: int | None = None  # live runs of a routine that are watched; None: it has one at a time
    missing: Ids = ()  # schedules of a routine that have missed too many occurrences at some time
    troubles: Troubles = {}
    due_at: datetime | None = None


TROUBLE = Table("trouble", TroubleRow)

SCHEMA = """
CREATE TABLE trouble (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, routine_id uuid NOT NULL, run_id uuid, bounds json NOT NULL, has_failed boolean,
    is_left boolean NOT NULL, missed integer NOT NULL, watched integer, missing uuid[] NOT NULL, troubles json NOT NULL, due_at timestamptz);
CREATE INDEX ON trouble (due_at, id);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event into the troubles."""
    id_, moment = recorded.stream_id, recorded.at
    match recorded.event:
        case RoutineCreated(settings=settings):
            rows.add(TROUBLE, _with_settings(_new_row(recorded, id_, id_), settings))
        case RoutineUpdated(settings=settings) | RoutineRestored(settings=settings):
            _change_row(rows, id_, lambda row: _with_settings(row, settings))
            if settings.status == "archived" and (routine := rows.get(TROUBLE, id_)) is not None:
                for trigger_id in routine.missing:
                    _change_row(rows, trigger_id, lambda row: _end(row, "missed"))
        case (
            TriggerCreated(routine_id=routine_id, kind="schedule")
            | TriggerRestored(routine_id=routine_id, kind="schedule")
        ):
            if rows.get(TROUBLE, id_) is None:
                rows.put(TROUBLE, _new_row(recorded, id_, routine_id))
        case TriggerDeleted():
            _change_row(rows, id_, lambda row: _run_again(row, moment))
        case TriggerMissed(reason=reason, count=count) if reason in TOO_LATE:
            _count_missed(rows, id_, count, moment)
        case RunFired() as event:
            _fire(rows, recorded, event)
        case IssueMoved(status=status) | TrajectoryMoved(status=status):
            _change_row(rows, id_, lambda row: _note_work(row, status, moment))
        case IssueCheckedOut() | TrajectoryClaimed():
            _change_row(rows, id_, lambda row: _note_work(row, "in_progress", moment))
        case IssueFreed():
            _change_row(rows, id_, lambda row: _note_work(row, "todo", moment))
        case IssueReleased():
            _change_row(rows, id_, lambda row: _note_work(row, "todo", moment) if "stuck" in row.troubles else row)
        case RunCompleted() | RunFailed():
            has_failed = _has_failed(recorded)
            for work_id in (issue_of_run(id_), trajectory_of_run(id_)):
                _change_row(rows, work_id, lambda row: replace(row, has_failed=has_failed))
        case SlotFreed(routine_id=routine_id, issue_id=work_id):
            _end_work(rows, routine_id, work_id, moment)
        case event if isinstance(event, AlertEvent):
            _change_row(rows, event.subject_id, lambda row: _follow(row, event, moment))
        case _:
            pass


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows that `fold` will change, so that they can be fetched together before it."""
    match recorded.event:
        case RoutineCreated():
            pass
        case RunFired(routine_id=routine_id, trigger_id=trigger_id):
            yield TROUBLE, routine_id
            if trigger_id is not None:
                yield TROUBLE, trigger_id
        case RunCompleted() | RunFailed():
            yield TROUBLE, issue_of_run(recorded.stream_id)
            yield TROUBLE, trajectory_of_run(recorded.stream_id)
        case SlotFreed(routine_id=routine_id, issue_id=work_id):
            yield TROUBLE, routine_id
            yield TROUBLE, work_id
        case event if isinstance(event, AlertEvent):
            yield TROUBLE, event.subject_id
        case _:
            yield TROUBLE, recorded.stream_id


def _new_row(recorded: Recorded, id_: UUID, routine_id: UUID) -> TroubleRow:
    """Return the row of what is in no trouble yet."""
    return TroubleRow(id=id_, company_id=recorded.known_company_id, routine_id=routine_id)


def _change_row(rows: Rows, key: UUID, change: Callable[[TroubleRow], TroubleRow]) -> None:
    """Change a row, if there is one; delete that of a run whose work is over and in no trouble any more."""
    if (old := rows.get(TROUBLE, key)) is None or (row := change(old)) == old:
        return
    if row.is_left and not row.troubles:
        rows.delete(TROUBLE, key)
        return
    rows.put(TROUBLE, _planned_row(row))


def _planned_row(row: TroubleRow) -> TroubleRow:
    """Return a row with the moment when there is something to do about one of its troubles."""
    moments = [trouble.alert_at for trouble in row.troubles.values() if trouble.is_over or not trouble.is_raised]
    return replace(row, due_at=min(moments, default=None))


def _has_failed(recorded: Recorded) -> bool | None:
    """Return whether the end of a run is a failure; None for one that a person, or its successor, has cancelled."""
    match recorded.event:
        case RunCompleted():
            return False
        case RunFailed(successor_run_id=None):
            return None if recorded.actor.startswith(BY_PEOPLE) else True
        case _:
            return None


def _with_settings(row: TroubleRow, settings: RoutineSettings) -> TroubleRow:
    piles = settings.concurrency_policy == "always_enqueue"
    row = _end(row, "failing") if settings.status == "archived" else row
    return replace(row, bounds=settings.alert_bounds, watched=(row.watched or 0) if piles else None)


def _begin(row: TroubleRow, kind: AlertKind, trouble: Trouble) -> TroubleRow:
    """Note a trouble; one that was over, and has not been closed yet, goes on."""
    old = row.troubles.get(kind)
    trouble = trouble if old is None else replace(old, count=trouble.count, is_over=False, over_run_id=None)
    return replace(row, troubles=row.troubles | {kind: trouble})


def _begin_late(row: TroubleRow, kind: AlertKind, since: datetime, bound_sec: int | None) -> TroubleRow:
    """Note what is an alert once it has gone on for too long, if there is a bound."""
    if bound_sec is None:
        return row
    alert_at = since + timedelta(seconds=bound_sec)
    return _begin(row, kind, Trouble(since=since, alert_at=alert_at, run_id=row.run_id, bound_sec=bound_sec))


def _end(row: TroubleRow, *kinds: AlertKind, run_id: UUID | None = None) -> TroubleRow:
    """Note that these troubles are over; those that were no alert yet are forgotten."""
    troubles: Troubles = {}
    for kind, trouble in row.troubles.items():
        if kind not in kinds:
            troubles[kind] = trouble
        elif trouble.is_raised:
            troubles[kind] = replace(trouble, is_over=True, over_run_id=run_id)
    return replace(row, troubles=troubles)


def _count_missed(rows: Rows, trigger_id: UUID, count: int, moment: datetime) -> None:
    """Count occurrences that did not run, and note the trouble once they are too many in a row."""
    if (row := rows.get(TROUBLE, trigger_id)) is None:
        return
    routine, missed_count = rows.get(TROUBLE, row.routine_id), row.missed + count
    most_missed = None if routine is None else routine.bounds.missed_in_a_row
    too_many = most_missed is not None and missed_count >= most_missed
    noted_row = _begin(row, "missed", Trouble(since=moment, alert_at=moment, count=missed_count)) if too_many else row
    _change_row(rows, trigger_id, lambda _row: replace(noted_row, missed=missed_count))
    if too_many and routine is not None and trigger_id not in routine.missing:
        _change_row(rows, routine.id, lambda routine: replace(routine, missing=(*routine.missing, trigger_id)))


def _run_again(row: TroubleRow, moment: datetime) -> TroubleRow:
    """Note that occurrences run; what runs in the same transaction as others are missed does not end that trouble."""
    trouble = row.troubles.get("missed")
    return replace(row if trouble is None or trouble.since == moment else _end(row, "missed"), missed=0)


def _fire(rows: Rows, recorded: Recorded, event: RunFired) -> None:
    """Note that an occurrence ran, and the work of the run or its failure."""
    moment = recorded.at
    if event.is_scheduled and event.trigger_id is not None:
        _change_row(rows, event.trigger_id, lambda row: _run_again(row, moment))
    match event.outcome:
        case Opened(issue_id=work_id) | Started(trajectory_id=work_id):
            routine = rows.get(TROUBLE, event.routine_id)
            bounds = UNWATCHED if routine is None or (routine.watched or 0) >= MOST_WATCHED else routine.bounds
            row = replace(_new_row(recorded, work_id, event.routine_id), run_id=recorded.stream_id, bounds=bounds)
            planned_at = event.occurrence if event.is_scheduled and event.occurrence is not None else moment
            row = _begin_late(_note_work(row, "todo", moment), "overdue", planned_at, bounds.overdue_after_sec)
            rows.add(TROUBLE, _planned_row(row))
            _count(rows, row, 1)
        case Failed():
            _change_row(rows, event.routine_id, lambda row: _fail(row, recorded.stream_id, moment))
        case _:
            pass


def _count(rows: Rows, row: TroubleRow, more: int) -> None:
    """Count a run that is watched from now on, or no more, if its routine may have many."""
    routine = rows.get(TROUBLE, row.routine_id)
    if routine is not None and routine.watched is not None and row.bounds != UNWATCHED and not row.is_left:
        _change_row(
            rows, row.routine_id, lambda routine: replace(routine, watched=max((routine.watched or 0) + more, 0))
        )


def _note_work(row: TroubleRow, status: str, moment: datetime) -> TroubleRow:
    """Note that the work of a run is to do since now, is under way since now, or neither."""
    if status in TO_DO:
        waits = _end(row, "stuck")
        return (
            waits
            if "untaken" in waits.troubles
            else _begin_late(waits, "untaken", moment, row.bounds.untaken_after_sec)
        )
    if status in AT_WORK:
        ended_row = _end(row, "untaken")
        return (
            ended_row
            if "stuck" in ended_row.troubles
            else _begin_late(ended_row, "stuck", moment, row.bounds.stuck_after_sec)
        )
    return _end(row, "untaken", "stuck")


def _fail(row: TroubleRow, run_id: UUID | None, moment: datetime) -> TroubleRow:
    """Note one more failed run of a routine."""
    old = row.troubles.get("failing")
    count = 1 if old is None else old.count + 1
    return _begin(row, "failing", Trouble(since=moment, alert_at=moment, run_id=run_id, count=count))


def _end_work(rows: Rows, routine_id: UUID, work_id: UUID, moment: datetime) -> None:
    """Note that the work of a run is over, and what its end says of the routine."""
    if (row := rows.get(TROUBLE, work_id)) is None:
        return
    _count(rows, row, -1)
    _change_row(rows, work_id, lambda row: replace(_end(row, *OF_WORK), is_left=True))
    if row.has_failed is True:
        _change_row(rows, routine_id, lambda routine: _fail(routine, row.run_id, moment))
    elif row.has_failed is False:
        _change_row(rows, routine_id, lambda routine: _end(routine, "failing", run_id=row.run_id))


def _follow(row: TroubleRow, event: AlertEvent, moment: datetime) -> TroubleRow:
    """Note that an alert was raised or closed; a trouble that has begun anew meanwhile is another."""
    kind = KIND.get(type(event)) or event.kind  # type: ignore[union-attr]
    trouble = row.troubles.get(kind)
    if not isinstance(event, AlertRecovered | AlertClosed):
        return replace(row, troubles=row.troubles | _raised_trouble(kind, trouble, event.since))
    if trouble is None:
        return row
    others = {name: other for name, other in row.troubles.items() if name != kind}
    anew = {} if trouble.is_over else {kind: replace(trouble, since=moment, is_raised=False)}
    return replace(row, troubles=others | anew)


def _raised_trouble(kind: AlertKind, trouble: Trouble | None, since: datetime | None) -> Troubles:
    """
    Return the trouble of an alert that was raised, which is about what began at `since`; older events do not say that.

    While the scheduler raised it, that trouble may have ended, and another one may have begun: the alert then is of the
    other one, or there is nothing left but to close it.
    """
    if trouble is not None:
        return {kind: replace(trouble, since=since or trouble.since, is_raised=True)}
    return {} if since is None else {kind: Trouble(since=since, alert_at=since, is_raised=True, is_over=True)}


KIND: dict[type, AlertKind] = {
    AlertFailing: "failing",
    AlertRecovered: "failing",
    AlertMissed: "missed",
    AlertOverdue: "overdue",
    AlertUntaken: "untaken",
    AlertStuck: "stuck",
}

troubles = ReadModel(
    name="troubles",
    version=3,
    tables=(TROUBLE,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(
        {
            RoutineCreated,
            RoutineUpdated,
            RoutineRestored,
            TriggerCreated,
            TriggerRestored,
            TriggerDeleted,
            TriggerMissed,
            RunFired,
            RunCompleted,
            RunFailed,
            SlotFreed,
            IssueMoved,
            IssueCheckedOut,
            IssueFreed,
            IssueReleased,
            TrajectoryClaimed,
            TrajectoryMoved,
            *get_args(AlertEvent),
        }
    ),
    polled_by="scheduler",
)

_DUE = """SELECT coalesce(json_agg(t), '[]')::text FROM (
    SELECT * FROM trouble WHERE due_at <= %s ORDER BY due_at, id LIMIT %s) t"""
_NEXT = "SELECT min(due_at) FROM trouble WHERE due_at > %s"
_decode = msgspec.json.Decoder(list[TroubleRow]).decode


def due(conn: Connection, now: datetime, *, limit: int) -> list[DueAlert]:
    """Return the alerts that are to be raised or closed, those of `limit` rows, longest waiting first."""
    answer = conn.execute(_DUE, (now, limit), prepare=True).fetchone()
    return [alert for row in (_decode(answer[0]) if answer else ()) for alert in due_alerts(row, now)]


def due_alerts(row: TroubleRow, now: datetime) -> Iterator[DueAlert]:
    """Yield the alerts of a row that are to be raised or closed."""
    for kind, trouble in row.troubles.items():
        is_closing = trouble.is_raised and trouble.is_over
        if is_closing or (not trouble.is_raised and trouble.alert_at <= now):
            yield DueAlert(
                id=row.id,
                company_id=row.company_id,
                kind=kind,
                step="close" if is_closing else "raise",
                since=trouble.since,
                routine_id=row.routine_id,
                run_id=trouble.over_run_id if is_closing else trouble.run_id,
                bound_sec=trouble.bound_sec,
                count=trouble.count,
            )


def next_due(conn: Connection, after: datetime) -> datetime | None:
    """Return when the next alert after a moment is to be raised, or None."""
    row = conn.execute(_NEXT, (after,), prepare=True).fetchone()
    return row[0] if row else None
