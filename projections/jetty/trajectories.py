"""Trajectories: calls of tasks, newest first, and which of them wait for a worker."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, get_args
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.bounds.limits import DEFAULT
from domain.errors import ImpossibleHistory
from domain.events import (
    RoutineCreated,
    TrajectoryClaimed,
    TrajectoryEvent,
    TrajectoryLabelled,
    TrajectoryLeaseExtended,
    TrajectoryMoved,
    TrajectoryOpened,
    TrajectoryStepReported,
    TrajectoryUsageReported,
)
from domain.jetty import task
from domain.recorded import Recorded
from projections.engine.documents import Docs, Part
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.jetty.responses import Label, RunSummary, Step, Trajectory, TrajectoryFields, time


class TrajectoryRow(Row, frozen=True):
    """A trajectory as clients read it, and until when a worker has its lease."""

    company_id: UUID
    task_id: UUID
    routine_id: UUID | None
    number: int
    status: str
    lease_until: datetime | None
    doc: TrajectoryFields


class RoutineNumberRow(Row, frozen=True):
    """The number by which clients know a routine, even after it was deleted; its id is the routine's."""

    number: int


USAGE = ("cost_micros", "input_tokens", "output_tokens")
TRAJECTORY = Table("trajectory", TrajectoryRow, over="status NOT IN ('pending', 'running')")
NUMBER = Table("routine_number", RoutineNumberRow)

SCHEMA = """
CREATE TABLE trajectory (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, task_id uuid NOT NULL, routine_id uuid, number bigint NOT NULL,
    status text NOT NULL, lease_until timestamptz, doc json NOT NULL);
CREATE UNIQUE INDEX ON trajectory (number);
CREATE INDEX ON trajectory (task_id, number);
CREATE INDEX ON trajectory (routine_id, number);
CREATE INDEX ON trajectory (company_id, number) WHERE status IN ('pending', 'running');
CREATE TABLE routine_number (id uuid PRIMARY KEY, number bigint NOT NULL);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event into the rows of trajectories, and number each routine that calls a task."""
    event = recorded.event
    if isinstance(event, TrajectoryOpened):
        rows.add(TRAJECTORY, _trajectory_row(recorded, event))
    elif isinstance(event, RoutineCreated) and event.settings.call is not None:
        rows.put(NUMBER, RoutineNumberRow(id=recorded.stream_id, number=recorded.position))
    elif isinstance(event, TrajectoryEvent):
        rows.change(TRAJECTORY, recorded.stream_id, lambda row: _row_after(row, recorded))


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the key of the row that `fold` will change, so that it can be fetched before it."""
    if isinstance(recorded.event, TrajectoryEvent) and not isinstance(recorded.event, TrajectoryOpened):
        yield TRAJECTORY, recorded.stream_id


def trajectory_of(events: Sequence[Recorded]) -> TrajectoryFields:
    """Return a trajectory as clients read it, folded from its stream or the beginning of its stream."""
    first, *others = events
    doc = doc_after(None, first)
    for recorded in others:
        doc = doc_after(doc, recorded)
    return doc


def doc_after(doc: TrajectoryFields | None, recorded: Recorded) -> TrajectoryFields:
    """
    Return a trajectory as it is after an event; before its first event it is None.

    Raises ImpossibleHistory for an event that cannot follow.
    """
    timestamp = time(recorded.at)
    match doc, recorded.event:
        case None, TrajectoryOpened() as opening:
            return _new_document(recorded, opening, timestamp)
        case TrajectoryFields(), TrajectoryClaimed(worker=worker):
            return replace(doc, status="running", worker=worker, updated=timestamp)
        case TrajectoryFields(), TrajectoryStepReported() as step:
            return _document_after_step(doc, step, timestamp)
        case TrajectoryFields(), TrajectoryUsageReported() as usage:
            reported_usage = {name: value for name in USAGE if (value := getattr(usage, name)) is not None}
            return replace(doc, **reported_usage, updated=timestamp)
        case TrajectoryFields(), TrajectoryMoved(status=status, error=error):
            return replace(doc, status=status, error=error, updated=timestamp)
        case TrajectoryFields(), TrajectoryLabelled() as labelling:
            label = Label(key=labelling.key, value=labelling.value, created=timestamp, author=labelling.author)
            others = [other for other in doc.labels if other.key != label.key]
            return replace(doc, labels=[*others, label], updated=timestamp)
        case TrajectoryFields(), _:
            return doc
        case _:
            raise ImpossibleHistory(None, recorded.event)


def workflow_id(name: str, number: int) -> str:
    """Return the workflow id: clients take what follows its last `--` for the trajectory (Jetty contract 5.1)."""
    return f"flow-{name.replace('/', '-')}--{number}"


def _trajectory_row(recorded: Recorded, event: TrajectoryOpened) -> TrajectoryRow:
    return TrajectoryRow(
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        task_id=event.task_id,
        routine_id=event.routine_id,
        number=recorded.position,
        status="pending",
        lease_until=None,
        doc=_new_document(recorded, event, time(recorded.at)),
    )


def _new_document(recorded: Recorded, event: TrajectoryOpened, timestamp: str) -> TrajectoryFields:
    """Return a new trajectory. Its number is the position of its first event in the log, equal in every rebuild."""
    number = recorded.position
    return TrajectoryFields(
        name=event.name,
        trajectory_id=number,
        workflow_id=workflow_id(event.name, number),
        run_id=event.run_id or recorded.stream_id,
        storage_path=f"trajectories/{event.name}/{number}",
        status="pending",
        created=timestamp,
        created_at=timestamp,
        updated=timestamp,
        author=event.author,
        source=event.source,
        steps={},
        labels=[],
        total_steps=task.steps_of(event.workflow),
        completed_steps=[],
        init_params=event.init_params,
        step_configs=task.configs_of(event.workflow),
        error=None,
        webhook_url=event.callback.url if event.callback else None,
        metadata=event.metadata,
        worker=None,
    )


def _document_after_step(doc: TrajectoryFields, report: TrajectoryStepReported, timestamp: str) -> TrajectoryFields:
    config = doc.step_configs.get(report.step)
    activity = config.get("activity") if isinstance(config, dict) else None
    step = Step(activity=activity, status=report.status, inputs=report.inputs, outputs=report.outputs)
    others = [name for name in doc.completed_steps if name != report.step]
    completed_steps = [*others, report.step] if report.status == "completed" else others
    return replace(doc, steps=doc.steps | {report.step: step}, completed_steps=completed_steps, updated=timestamp)


def _row_after(row: TrajectoryRow, recorded: Recorded) -> TrajectoryRow:
    doc = doc_after(row.doc, recorded)
    match recorded.event:
        case TrajectoryClaimed(until=until) | TrajectoryLeaseExtended(until=until):
            return replace(row, doc=doc, status=doc.status, lease_until=until)
        case _:
            return replace(row, doc=doc, status=doc.status)


trajectories = ReadModel(
    name="trajectories",
    version=2,
    tables=(TRAJECTORY, NUMBER),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset({RoutineCreated, *get_args(TrajectoryEvent)}),
)


class _FoundTrajectory(msgspec.Struct):
    trajectory: TrajectoryFields
    routine: int | None

    def with_routine_number(self) -> Trajectory:
        """Return the trajectory with the number of its routine."""
        return Trajectory(**msgspec.structs.asdict(self.trajectory), triggered_by_routine_id=self.routine)


class TrajectoryPlace(msgspec.Struct):
    """A trajectory by its own id, with its company and its workflow id."""

    id: UUID
    company_id: UUID
    workflow_id: str


class _NumberedTrajectory(msgspec.Struct):
    id: UUID
    number: int


_FOUND = """
    SELECT json_build_object('trajectory', j.doc, 'routine', n.number) AS doc FROM ({}) j
    LEFT JOIN routine_number n ON n.id = j.routine_id ORDER BY j.number DESC"""
_ONE = Docs(_FOUND.format("SELECT * FROM trajectory WHERE id = %(id)s"), _FoundTrajectory)
_NUMBERED = Docs(
    _FOUND.format("SELECT * FROM trajectory WHERE task_id = %(task_id)s AND number = %(number)s"), _FoundTrajectory
)
_PAGE = Docs(
    _FOUND.format(
        """SELECT * FROM trajectory WHERE task_id = %(task_id)s AND (%(before)s::bigint IS NULL OR number < %(before)s)
        ORDER BY number DESC LIMIT %(limit)s OFFSET %(offset)s"""
    ),
    _FoundTrajectory,
)
_SUMMARY = ", ".join(f"'{name}', doc->'{name}'" for name in RunSummary.__struct_fields__)
_OF_ROUTINE = Docs(
    f"SELECT json_build_object({_SUMMARY}) AS doc FROM trajectory WHERE routine_id = %(routine_id)s "
    "ORDER BY number DESC LIMIT %(limit)s",
    RunSummary,
)
_BY_NUMBER = Docs(
    "SELECT json_build_object('id', id, 'company_id', company_id, 'workflow_id', doc->'workflow_id') AS doc "
    "FROM trajectory WHERE number = %(number)s",
    TrajectoryPlace,
)
_KNOWN = Docs(
    "SELECT json_build_object('id', id, 'number', number) AS doc FROM trajectory "
    "WHERE company_id = %(company_id)s AND number = ANY(%(numbers)s)",
    _NumberedTrajectory,
)
_WAITING = Docs(
    "SELECT to_json(id) AS doc FROM trajectory WHERE company_id = %(company_id)s AND status IN ('pending', 'running') "
    "AND (status = 'pending' OR lease_until <= %(now)s) AND (%(task_id)s::uuid IS NULL OR task_id = %(task_id)s) "
    "ORDER BY number LIMIT %(limit)s",
    UUID,
)
_COUNTS = "SELECT status, count(*) FROM trajectory WHERE task_id = %s GROUP BY status"
_COUNT = "SELECT count(*) FROM trajectory WHERE task_id = %s"


def one(conn: Connection, id_: UUID) -> Trajectory | None:
    """Return the trajectory with this id, or None."""
    row = _ONE.one(conn, id=id_)
    return None if row is None else row.with_routine_number()


def find_by_number(conn: Connection, task_id: UUID, number: int) -> Trajectory | None:
    """Return the trajectory with this number if it calls the task, else None."""
    row = _NUMBERED.one(conn, task_id=task_id, number=number)
    return None if row is None else row.with_routine_number()


def page(  # noqa: PLR0913 the arguments narrow the list
    conn: Connection,
    task_id: UUID,
    limit: int,
    offset: int,
    *,
    before: int | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[Trajectory]:
    """Return the trajectories of a task, newest first, before a number."""
    rows = _PAGE.part(conn, task_id=task_id, limit=limit, offset=offset, before=before, max_bytes=max_bytes)
    return rows.of(row.with_routine_number() for row in rows)


def of_routine(conn: Connection, routine_id: UUID, limit: int) -> list[RunSummary]:
    """Return the newest trajectories that a routine has started, newest first."""
    return _OF_ROUTINE.all(conn, routine_id=routine_id, limit=limit)


def by_number(conn: Connection, number: int) -> TrajectoryPlace | None:
    """Return the trajectory with this number by its own id, or None."""
    return _BY_NUMBER.one(conn, number=number)


def ids_by_number(conn: Connection, company_id: UUID, numbers: Sequence[int]) -> dict[int, UUID]:
    """Return the ids of those of the numbered trajectories that the company has, by their numbers."""
    return {row.number: row.id for row in _KNOWN.all(conn, company_id=company_id, numbers=list(numbers))}


def waiting_trajectories(
    conn: Connection, company_id: UUID, task_id: UUID | None, now: datetime, limit: int
) -> list[UUID]:
    """Return the trajectories that are pending or whose worker has let its lease run out, oldest first."""
    return _WAITING.all(conn, company_id=company_id, task_id=task_id, now=now, limit=limit)


def counts(conn: Connection, task_id: UUID) -> dict[str, int]:
    """Return the number of a task's trajectories in each status; a status without any is missing."""
    return dict(conn.execute(_COUNTS, (task_id,)).fetchall())


def count(conn: Connection, task_id: UUID) -> int:
    """Return the number of a task's trajectories."""
    row = conn.execute(_COUNT, (task_id,)).fetchone()
    return row[0] if row else 0
