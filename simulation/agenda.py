"""The read models that the scheduler works from, in memory: their own folds, over tables that are dicts."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from heapq import heapify, heappop, heappush
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from domain.deadline import Overdue
from domain.recorded import Recorded
from domain.trigger import DueTrigger
from projections import deadlines, triggers_due
from projections.deadlines import DEADLINE
from projections.read_model import Row, Table
from projections.triggers_due import ACTIVATE, SCHEDULE, ScheduleRow

PAGE = 100_000
BEGINNING = datetime.min.replace(tzinfo=UTC)


class Rows:
    """What a fold sees of its tables (projections.read_model.Rows)."""

    def __init__(self, put: Callable[[Table[Any], Row], None]) -> None:
        self.tables: dict[str, dict[UUID, Any]] = {}
        self._noted = put

    def get(self, table: Table[Any], key: UUID) -> Any:
        return self.tables.setdefault(table.name, {}).get(key)

    def put(self, table: Table[Any], row: Row) -> None:
        self.tables.setdefault(table.name, {})[row.id] = row
        self._noted(table, row)

    def change(self, table: Table[Any], key: UUID | None, change: Callable[[Any], Any]) -> None:
        if key is not None and (row := self.get(table, key)) is not None:
            self.put(table, change(row))

    def delete(self, table: Table[Any], key: UUID) -> None:
        self.tables.setdefault(table.name, {}).pop(key, None)

    def execute(self, statement: str, values: Sequence[object]) -> None:
        """The one statement that the folds use."""
        if statement != ACTIVATE:
            raise NotImplementedError(statement)
        active, routine_id = values
        for row in list(self.tables.get(SCHEDULE.name, {}).values()):
            if row.routine_id == routine_id:
                self.put(SCHEDULE, replace(row, routine_active=active))


class Agenda:
    """Stands where the scheduler has its connection; schedulers share it, as they share the tables."""

    def __init__(self) -> None:
        self.position = 0
        self._rows = Rows(self._note)
        self._queue: list[tuple[datetime, UUID]] = []  # moments at which a schedule was to come due; some are stale
        self._between: Callable[[], None] = lambda: None

    def between(self, happens: Callable[[], None]) -> None:
        """What happens between the reading of due rows and their use."""
        self._between = happens

    def follow(self, read: Callable[[int, int], Sequence[Recorded]]) -> int:
        batch = read(self.position, PAGE)
        for recorded in batch:
            triggers_due.fold(recorded, self._rows)  # type: ignore[arg-type]
            deadlines.fold(recorded, self._rows)  # type: ignore[arg-type]
        if batch:
            self.position = batch[-1].position
        return len(batch)

    def due(self, now: datetime) -> list[DueTrigger]:
        due: dict[UUID, tuple[datetime, UUID]] = {}
        while self._queue and self._queue[0][0] <= now:
            entry = heappop(self._queue)
            if self._is_current(entry):
                due[entry[1]] = entry
        for entry in due.values():
            heappush(self._queue, entry)
        rows = [self._due(self._rows.get(SCHEDULE, id_)) for id_ in due]
        if rows:
            self._between()
        return rows

    def waits(self, now: datetime) -> bool:
        """Whether anything has come due."""
        next_due = self.next_due(BEGINNING)
        return (next_due is not None and next_due <= now) or bool(self.overdue(now))

    def overdue(self, now: datetime) -> list[Overdue]:
        rows = [row for row in self._rows.tables.get(DEADLINE.name, {}).values() if row.ends_at <= now]
        if not rows:
            return []
        return [
            Overdue(id=row.id, kind=row.kind, ends_at=row.ends_at)
            for row in sorted(rows, key=lambda row: (row.ends_at, row.id))
        ]

    def next_due(self, after: datetime) -> datetime | None:
        while self._queue and not self._is_current(self._queue[0]):
            heappop(self._queue)
        if self._queue and self._queue[0][0] > after:
            return self._queue[0][0]
        return min((at for at, id_ in self._queue if at > after and self._is_current((at, id_))), default=None)

    def next_overdue(self, after: datetime) -> datetime | None:
        rows = self._rows.tables.get(DEADLINE.name, {}).values()
        return min((row.ends_at for row in rows if row.ends_at > after), default=None)

    def _note(self, table: Table[Any], row: Row) -> None:
        if table is SCHEDULE and row.due_at is not None:  # type: ignore[attr-defined]
            heappush(self._queue, (row.due_at, row.id))  # type: ignore[attr-defined]
        if len(self._queue) > 100 + 20 * len(self._rows.tables.get(SCHEDULE.name, {})):
            self._queue = list({entry for entry in self._queue if self._is_current(entry)})
            heapify(self._queue)

    def _is_current(self, entry: tuple[datetime, UUID]) -> bool:
        row = self._rows.get(SCHEDULE, entry[1])
        return row is not None and row.due_at == entry[0] and row.enabled and row.routine_active

    @staticmethod
    def _due(row: ScheduleRow) -> DueTrigger:
        if row.next_at is None:
            raise ValueError(row)
        return DueTrigger(
            trigger_id=row.id,
            trigger_version=row.trigger_version,
            routine_id=row.routine_id,
            company_id=row.company_id,
            next_at=row.next_at,
        )


class Positions:
    """Stands for projections.positions in the scheduler."""

    @staticmethod
    def advance(agenda: Agenda, _models: object, read: Callable[[int, int], Sequence[Recorded]]) -> int:
        return agenda.follow(read)


class TriggersDue:
    """Stands for projections.triggers_due in the scheduler."""

    @staticmethod
    def due(agenda: Agenda, now: datetime, *, limit: int) -> list[DueTrigger]:
        return agenda.due(now)[:limit]

    @staticmethod
    def next_due(agenda: Agenda, after: datetime) -> datetime | None:
        return agenda.next_due(after)


class Deadlines:
    """Stands for projections.deadlines in the scheduler."""

    @staticmethod
    def due(agenda: Agenda, now: datetime, *, limit: int) -> list[Overdue]:
        return agenda.overdue(now)[:limit]

    @staticmethod
    def next_due(agenda: Agenda, after: datetime) -> datetime | None:
        return agenda.next_overdue(after)
