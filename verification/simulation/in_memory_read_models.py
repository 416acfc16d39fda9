"""The read models that the scheduler works from, in memory: their own folds, over tables that are dicts."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from heapq import heappop, heappush
from itertools import takewhile
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from domain.events import (
    IssueEdited,
    IssueOpened,
    RoutineCreated,
    RoutineRestored,
    RoutineUpdated,
    RunFired,
)
from domain.recorded import Recorded
from domain.routines.activity_gate import Activity, Window
from domain.routines.alert import DueAlert
from domain.routines.backfill import WaitingBackfill
from domain.routines.chain import DueChain
from domain.routines.deadline import Overdue
from domain.routines.trigger import DueTrigger
from domain.values import Coalesced, RoutineSettings, Skipped
from projections.engine.table import Row, Table
from projections.firing import activity, backfills, chains, deadlines, triggers_due, troubles
from projections.firing.activity import ActivityRow
from projections.firing.backfills import BackfillRow
from projections.firing.chains import DUE_CHAIN
from projections.firing.deadlines import DEADLINE
from projections.firing.triggers_due import ACTIVATE, SCHEDULE, ScheduleRow
from projections.firing.troubles import TROUBLE

PAGE = 100_000
BEGINNING = AT_ONCE = datetime.min.replace(tzinfo=UTC)


class Rows:
    """What a fold sees of its tables (projections.read_model.Rows)."""

    def __init__(self, put: Callable[[Table[Any], Row], None]) -> None:
        self.tables: dict[str, dict[UUID, Any]] = {}
        self._put_schedule = put

    def get(self, table: Table[Any], key: UUID) -> Any:
        rows = self.tables.get(table.name)
        return None if rows is None else rows.get(key)

    def put(self, table: Table[Any], row: Row) -> None:
        self.tables.setdefault(table.name, {})[row.id] = row
        self._put_schedule(table, row)

    def add(self, table: Table[Any], row: Row) -> None:
        self.put(table, row)

    def change(self, table: Table[Any], key: UUID | None, change: Callable[[Any], Any]) -> None:
        if key is not None and (row := self.get(table, key)) is not None:
            self.put(table, change(row))

    def delete(self, table: Table[Any], key: UUID) -> None:
        self.tables.setdefault(table.name, {}).pop(key, None)

    def execute(self, statement: str, values: Sequence[object]) -> None:
        """Carry out the one statement that the folds use."""
        if statement != ACTIVATE:
            raise NotImplementedError(statement)
        active, only_gated, routine_id = values
        for row in list(self.tables.get(SCHEDULE.name, {}).values()):
            if row.routine_id == routine_id:
                self.put(SCHEDULE, replace(row, routine_active=active, gated=only_gated))


class Queue:
    """Which rows of a table come due when; entries that a later row has overtaken are dropped on the way."""

    def __init__(self, moment: Callable[[UUID], datetime | None]) -> None:
        self._moment = moment  # at which a row comes due; None: never
        self._entries: list[tuple[datetime, UUID]] = []

    def put(self, id_: UUID) -> None:
        if (moment := self._moment(id_)) is not None:
            heappush(self._entries, (moment, id_))

    def first_moment(self) -> datetime | None:
        while self._entries and self._moment(self._entries[0][1]) != self._entries[0][0]:
            heappop(self._entries)
        return self._entries[0][0] if self._entries else None

    def due_ids(self, now: datetime) -> list[UUID]:
        """Return the ids of what is due, those first that have waited longest."""
        entries: dict[tuple[datetime, UUID], None] = {}
        while (first := self.first_moment()) is not None and first <= now:
            entries[heappop(self._entries)] = None
        for entry in entries:
            heappush(self._entries, entry)
        return [id_ for _, id_ in entries]

    def next_moment_after(self, moment: datetime) -> datetime | None:
        first = self.first_moment()
        if first is None or first > moment:
            return first
        return min(
            (due_at for due_at, id_ in self._entries if due_at > moment and due_at == self._moment(id_)), default=None
        )


class Activities:
    """Stands for the query of projections.firing.activity: the windows of activity gates."""

    def __init__(self) -> None:
        self._rows: dict[UUID | None, dict[UUID, ActivityRow]] = defaultdict(dict)  # by project and of all (None),
        # the newest last
        self._runs: dict[
            UUID, tuple[int, datetime]
        ] = {}  # the last one that was neither skipped nor coalesced, by routine
        self._settings: dict[UUID, RoutineSettings] = {}  # by routine
        self._origins: dict[UUID, UUID | None] = {}  # the routine of each issue
        self._projects: dict[UUID, UUID | None] = {}  # of each issue and routine

    def put(self, row: ActivityRow) -> None:
        """Keep the row where its subject is now; `follow` has seen the event that may have moved it."""
        for rows in self._rows.values():
            rows.pop(row.id, None)
        project_id = row.subject_id if row.event.startswith("project.") else self._projects.get(row.subject_id)
        for scope in {None, project_id}:
            self._rows[scope][row.id] = row

    def follow(self, recorded: Recorded) -> None:
        match recorded.event:
            case RunFired(outcome=outcome, routine_id=routine_id) if not isinstance(outcome, Skipped | Coalesced):
                self._runs[routine_id] = recorded.position, recorded.at
            case RoutineCreated(settings=new) | RoutineUpdated(settings=new) | RoutineRestored(settings=new):
                self._settings[recorded.stream_id] = new
                self._projects[recorded.stream_id] = new.project_id
            case IssueOpened(routine_id=routine_id, details=details):
                self._origins[recorded.stream_id] = routine_id
                self._projects[recorded.stream_id] = details.project_id
            case IssueEdited(details=details):
                self._projects[recorded.stream_id] = details.project_id
            case _:
                pass

    def window(self, routine_id: UUID) -> Window:
        if (run := self._runs.get(routine_id)) is None:
            return Window()
        settings, (position, since) = self._settings[routine_id], run
        scope = None if settings.activity_gate_scope == "company" else settings.project_id
        for row in takewhile(lambda row: row.position > position, reversed(self._rows[scope].values())):
            if self._origins.get(row.subject_id) != routine_id:
                return Window(since=since, activity=Activity(id=row.subject_id, event=row.event, at=row.at))
        return Window(since=since)


class InMemoryReadModels:
    """Stands where the scheduler has its connection; schedulers share it, as they share the tables."""

    def __init__(self) -> None:
        self.position = 0
        self._rows = Rows(self._note_row)
        self._schedules = Queue(self._due_at)
        self._deadlines = Queue(self._ends_at)
        self._troubles = Queue(self._alert_at)
        self._backfills: dict[UUID, BackfillRow] = {}  # backfills that can go on, oldest first
        self._after_reading_due: Callable[[], None] = lambda: None
        self._activities = Activities()

    def call_after_reading_due(self, action: Callable[[], None]) -> None:
        """Set what is called between the reading of due rows and their use."""
        self._after_reading_due = action

    def follow(self, read: Callable[[int, int], Sequence[Recorded]]) -> int:
        batch = read(self.position, PAGE)
        for recorded in batch:
            triggers_due.fold(recorded, self._rows)  # type: ignore[arg-type]
            deadlines.fold(recorded, self._rows)  # type: ignore[arg-type]
            troubles.fold(recorded, self._rows)  # type: ignore[arg-type]
            backfills.fold(recorded, self._rows)  # type: ignore[arg-type]
            chains.fold(recorded, self._rows)  # type: ignore[arg-type]
            self._activities.follow(recorded)
            activity.fold(recorded, self._rows)  # type: ignore[arg-type]
        if batch:
            self.position = batch[-1].position
        return len(batch)

    def due(self, now: datetime) -> list[DueTrigger]:
        rows = [self._due_trigger(self._rows.get(SCHEDULE, id_)) for id_ in self._schedules.due_ids(now)]
        if rows:
            self._after_reading_due()
        return rows

    def with_windows(self, rows: Sequence[DueTrigger]) -> list[DueTrigger]:
        return [replace(row, window=self._activities.window(row.routine_id)) if row.is_gated else row for row in rows]

    def overdue(self, now: datetime) -> list[Overdue]:
        rows = [self._rows.get(DEADLINE, id_) for id_ in self._deadlines.due_ids(now)]
        return [Overdue(id=row.id, company_id=row.company_id, kind=row.kind, ends_at=row.ends_at) for row in rows]

    def alerts(self, now: datetime) -> list[DueAlert]:
        rows = [self._rows.get(TROUBLE, id_) for id_ in self._troubles.due_ids(now)]
        return [alert for row in rows for alert in troubles.due_alerts(row, now)]

    def backfills(self) -> list[WaitingBackfill]:
        backfills = ((row.id, row.doc) for row in self._backfills.values())
        return [
            WaitingBackfill(id=id_, trigger_id=doc.trigger_id, routine_id=doc.routine_id, company_id=doc.company_id)
            for id_, doc in backfills
        ]

    def chains(self) -> list[DueChain]:
        rows = self._rows.tables.get(DUE_CHAIN.name, {}).values()
        return [
            DueChain(id=row.id, trigger_id=row.trigger_id, cause_run_id=row.cause_run_id, company_id=row.company_id)
            for row in rows
        ]

    def next_due(self, after: datetime) -> datetime | None:
        return self._schedules.next_moment_after(after)

    def next_overdue(self, after: datetime) -> datetime | None:
        return self._deadlines.next_moment_after(after)

    def next_alert(self, after: datetime) -> datetime | None:
        return self._troubles.next_moment_after(after)

    def next_moment(self) -> datetime | None:
        """Return when the first of all comes due, or has."""
        if self._backfills or self.chains():
            return AT_ONCE
        next_moments = self._schedules.first_moment(), self._deadlines.first_moment(), self._troubles.first_moment()
        return min((moment for moment in next_moments if moment is not None), default=None)

    def has_due_work(self, now: datetime) -> bool:
        """Return whether anything has come due."""
        moment = self.next_moment()
        return moment is not None and moment <= now

    def _note_row(self, table: Table[Any], row: Row) -> None:
        if table is SCHEDULE:
            self._schedules.put(row.id)
        elif table is DEADLINE:
            self._deadlines.put(row.id)
        elif table is TROUBLE:
            self._troubles.put(row.id)
        elif isinstance(row, ActivityRow):
            self._activities.put(row)
        elif isinstance(row, BackfillRow):
            self._backfills.pop(row.id, None)
            if row.can_go_on:
                self._backfills[row.id] = row

    def _due_at(self, id_: UUID) -> datetime | None:
        row = self._rows.get(SCHEDULE, id_)
        return row.due_at if row is not None and row.enabled and row.routine_active else None

    def _ends_at(self, id_: UUID) -> datetime | None:
        row = self._rows.get(DEADLINE, id_)
        return None if row is None else row.ends_at

    def _alert_at(self, id_: UUID) -> datetime | None:
        row = self._rows.get(TROUBLE, id_)
        return None if row is None else row.due_at

    @staticmethod
    def _due_trigger(row: ScheduleRow) -> DueTrigger:
        if row.next_at is None:
            raise ValueError(row)
        return DueTrigger(
            trigger_id=row.id,
            trigger_version=row.trigger_version,
            routine_id=row.routine_id,
            company_id=row.company_id,
            next_at=row.next_at,
            is_gated=row.gated,
        )


class Follower:
    """Stands for processes.follower.Follower in the scheduler; nobody keeps it waiting."""

    is_kept_waiting = False

    def __init__(self, _models: object, read: Callable[[int, int], Sequence[Recorded]], **_options: object) -> None:
        self._read = read

    def try_step(self, read_models: InMemoryReadModels) -> int:
        return read_models.follow(self._read)


class GateWindows:
    """Stands for processes.scheduler.gate_windows in the scheduler."""

    @staticmethod
    def look(read_models: InMemoryReadModels, rows: Sequence[DueTrigger]) -> list[DueTrigger]:
        return read_models.with_windows(rows)


class TriggersDue:
    """Stands for projections.triggers_due in the scheduler."""

    @staticmethod
    def due(
        read_models: InMemoryReadModels, now: datetime, *, after: datetime = BEGINNING, limit: int
    ) -> list[DueTrigger]:
        return [row for row in read_models.due(now) if row.next_at > after][:limit]

    @staticmethod
    def next_due(read_models: InMemoryReadModels, after: datetime) -> datetime | None:
        return read_models.next_due(after)


class Deadlines:
    """Stands for projections.deadlines in the scheduler."""

    @staticmethod
    def due(read_models: InMemoryReadModels, now: datetime, *, limit: int) -> list[Overdue]:
        return read_models.overdue(now)[:limit]

    @staticmethod
    def next_due(read_models: InMemoryReadModels, after: datetime) -> datetime | None:
        return read_models.next_overdue(after)


class Troubles:
    """Stands for projections.troubles in the scheduler."""

    @staticmethod
    def due(read_models: InMemoryReadModels, now: datetime, *, limit: int) -> list[DueAlert]:
        return read_models.alerts(now)[:limit]

    @staticmethod
    def next_due(read_models: InMemoryReadModels, after: datetime) -> datetime | None:
        return read_models.next_alert(after)


class Chains:
    """Stands for projections.chains in the scheduler."""

    @staticmethod
    def due(read_models: InMemoryReadModels, *, limit: int) -> list[DueChain]:
        return read_models.chains()[:limit]


class Backfills:
    """Stands for projections.backfills in the scheduler."""

    @staticmethod
    def waiting(read_models: InMemoryReadModels, *, limit: int) -> list[WaitingBackfill]:
        return read_models.backfills()[:limit]
