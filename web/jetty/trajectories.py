"""The routes of trajectories: lists, statuses, labels, runs that were made elsewhere, logs (Jetty contract 7)."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody

from application.access import Caller
from application.event_store.stream_kinds import TRAJECTORY
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.jetty import IngestCreate, LabelCreate
from application.use_cases import names, read_access
from application.use_cases.jetty import trajectories as use_cases
from application.use_cases.names import TaskPath
from domain import disclosure
from domain.errors import InvalidField, NotFound
from domain.events import (
    TrajectoryClaimed,
    TrajectoryLabelled,
    TrajectoryMoved,
    TrajectoryOpened,
    TrajectoryStepReported,
    TrajectoryUsageReported,
)
from domain.jetty.trajectory import LIVE
from domain.recorded import Recorded
from domain.values import TrajectoryStatus
from projections.engine.documents import Part
from projections.engine.table import Connection
from projections.firing import run_logs
from projections.jetty import trajectories
from projections.jetty.responses import Label, Trajectories, Trajectory, time
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, cursor_only, next_page_headers, paging, place_of
from web.http.requests import MOST_NUMBER, parse_whole_number
from web.jetty.requests import number_of
from web.jetty.responses import Ingested, LogLine, Logs, Stats, Statuses, TrajectoryLog, TrajectoryLogPart
from web.jetty.routing import get, post

MODELS = ("trajectories",)
MOST = 200


class TrajectoryLists(Controller):
    """Reads of trajectories and their numbers."""

    path = "/db"
    tags = ("trajectories",)
    dependencies = {"paging": Provide(paging)}

    @get("/trajectories/{collection:str}/{task:str}", operation_id="listTrajectories", response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        task_path: NamedDependency[TaskPath],
        page: FromQuery[str | None] = None,
    ) -> Response[Trajectories]:
        """
        Returns the trajectories of the task, newest first. `limit` is at most 200, and 10 if absent; the first `page`
        is 1. Whoever may not run the task sees `***` as the `webhook_url`.

        Large trajectories may fill a page before its limit. The headers then lead to those that follow, by `cursor`.
        """
        task_ref, addresses = backend.authorize(caller, names.look_with_rights, names.task, task_path)
        most, number = (
            parse_whole_number(paging.limit, "limit", 10, 1, MOST),
            parse_whole_number(page, "page", 1, 1, 10**6),
        )
        list_name = f"trajectories of {task_ref.task_id}"
        before = place_of(paging.cursor, list_name, int)
        offset = 0 if before is not None else most * (number - 1)
        with backend.consistent_read(*MODELS) as conn:
            part = trajectories.page(
                conn, task_ref.task_id, most, offset, before=before, max_bytes=backend.limits.max_page_bytes
            )
            total = trajectories.count(conn, task_ref.task_id)
        rows = disclosure.mask_unless(list(part), addresses=addresses)
        answer = Trajectories(trajectories=rows, total=total, page=number, limit=most, has_more=part.more)
        return Response(
            answer, headers=next_page_headers(paging, list_name, part, lambda trajectory: trajectory.trajectory_id)
        )

    @get("/trajectory/{collection:str}/{task:str}/{trajectory:str}", operation_id="getTrajectory")
    def detail(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
        trajectory: FromPath[str],
    ) -> Trajectory:
        """Returns the trajectory."""
        task_ref, addresses = backend.authorize(caller, names.look_with_rights, names.task, task_path)
        with backend.consistent_read(*MODELS) as conn:
            if (resource := trajectories.find_by_number(conn, task_ref.task_id, number_of(trajectory))) is None:
                raise NotFound
        return disclosure.mask_unless(resource, addresses=addresses)

    @get("/trajectory/{collection:str}/{task:str}/{trajectory:str}/log", operation_id="getTrajectoryLog")
    def log(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
        trajectory: FromPath[str],
        after: FromQuery[str | None] = None,
    ) -> TrajectoryLog:
        """
        Returns what the commands of the trajectory have printed, also while one runs: the parts after the position `after`,
        oldest first. Ask again with `next` as `after`, until there are no parts and `is_over` is true. Logs are kept for
        some days (`ROUTINES_MAX_RUN_LOG_DAYS`).
        """
        task_ref = backend.authorize(caller, names.task, task_path)
        position = parse_whole_number(after, "after", 0, 0, MOST_NUMBER)
        with backend.consistent_read(*MODELS) as conn:
            if (row := trajectories.find_by_number(conn, task_ref.task_id, number_of(trajectory))) is None:
                raise NotFound
            parts = run_logs.parts(conn, row.run_id, position)
        own_parts = [
            TrajectoryLogPart(position=part.position, claim_id=part.session_id, at=part.at, output=part.output)
            for part in parts
        ]
        last = parts[-1].position if parts else position
        return TrajectoryLog(parts=own_parts, next=last, is_over=row.status not in LIVE)

    @get("/stats/{collection:str}/{task:str}", operation_id="getStats")
    def stats(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
    ) -> Stats:
        """Counts the trajectories of the task by status."""
        task_ref = backend.authorize(caller, names.task, task_path)
        with backend.consistent_read(*MODELS) as conn:
            counts = trajectories.counts(conn, task_ref.task_id)
        return Stats(total=sum(counts.values()), by_status=counts)


class TrajectoryChanges(Controller):
    """Changes of trajectories, and their logs."""

    path = "/"
    tags = ("trajectories",)
    dependencies = {"paging": Provide(cursor_only)}

    @post("/trajectory/{collection:str}/{task:str}/statuses", operation_id="setStatuses", status_code=200)
    def statuses(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
        data: JSONBody[dict[str, TrajectoryStatus]],
    ) -> Response[Statuses]:
        """
        Sets the statuses of up to 200 trajectories by their ids, either all or none. Clients with workers of their own
        end trajectories this way.
        """
        task_ref = backend.authorize(caller, names.task, task_path)
        if len(data) > MOST:
            raise InvalidField(f"must name at most {MOST} trajectories, got {len(data)}", "body")
        ids = _ids_by_number(backend, task_ref.company_id, list(data))
        changes = {ids[name]: status for name, status in data.items()}
        changed = backend.change(caller, MODELS, use_cases.set_statuses, task_path, changes)
        return changed.answer(lambda _conn: Statuses(updated=dict(data)))

    @post(
        "/trajectory/{collection:str}/{task:str}/{trajectory:str}/labels",
        operation_id="labelTrajectory",
        status_code=200,
    )
    def label(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
        trajectory: FromPath[str],
        data: JSONBody[LabelCreate],
    ) -> Response[Label]:
        """Adds a label to the trajectory. The same key again replaces its value."""
        task_ref = backend.authorize(caller, names.task, task_path)
        id_ = _ids_by_number(backend, task_ref.company_id, [trajectory])[trajectory]
        changed = backend.change(caller, MODELS, use_cases.label, task_path, id_, data)
        return changed.answer(lambda conn: _find_label(conn, id_, data.key))

    @post("/trajectories/{collection:str}/{task:str}/ingest", operation_id="ingestTrajectory", status_code=200)
    def ingest(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
        data: JSONBody[IngestCreate],
    ) -> Response[Ingested]:
        """Stores a run that was made elsewhere. The same `trajectory_id` again gives the same trajectory."""
        changed = backend.change(caller, MODELS, use_cases.ingest, task_path, data)
        return changed.answer(lambda conn: _ingested_trajectory(trajectories.one(conn, changed.result)))

    @get("/workflows-logs/{workflow_id:str}", operation_id="getWorkflowLogs", response_headers=NEXT)
    def logs(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        workflow_id: FromPath[str],
    ) -> Response[Logs]:
        """
        Returns the events of the trajectory, oldest first. The headers of a long log lead to its next page, by
        `cursor`.
        """
        number = number_of(workflow_id.rpartition("--")[2])
        with backend.consistent_read(*MODELS) as conn:
            trajectory = trajectories.by_number(conn, number)
        backend.authorize(
            caller, lambda work, principal: read_access.find(work, principal, lambda: trajectory, "Trajectory")
        )
        if trajectory is None or trajectory.workflow_id != workflow_id:
            raise NotFound
        list_name = f"log of {trajectory.id}"
        after = place_of(paging.cursor, list_name, int) or 0
        events = backend.executor.query(lambda work: _read_events(work, trajectory.id))
        status = trajectories.trajectory_of(events).status
        part = _first_events(
            [recorded for recorded in events if recorded.version > after], backend.limits.max_page_bytes
        )
        answer = Logs(workflow_id=workflow_id, status=status, logs=list(map(_log_line, part)))
        return Response(answer, headers=next_page_headers(paging, list_name, part, lambda recorded: recorded.version))


def _ids_by_number(backend: Backend, company_id: UUID, numbers: list[str]) -> dict[str, UUID]:
    """Return the ids of trajectories by their numbers, as a path or a body names them. Raise NotFound."""
    with backend.consistent_read(*MODELS) as conn:
        ids = trajectories.ids_by_number(conn, company_id, [number_of(text) for text in numbers])
    if any(number_of(text) not in ids for text in numbers):
        raise NotFound
    return {text: ids[number_of(text)] for text in numbers}


def _find_label(conn: Connection, trajectory_id: UUID, key: str) -> Label | None:
    trajectory = trajectories.one(conn, trajectory_id)
    return next((label for label in trajectory.labels if label.key == key), None) if trajectory else None


def _ingested_trajectory(trajectory: Trajectory | None) -> Ingested | None:
    if trajectory is None:
        return None
    return Ingested(**{name: getattr(trajectory, name) for name in Ingested.__struct_fields__})


def _read_events(work: UnitOfWork, trajectory_id: UUID) -> list[Recorded]:
    return work.history(trajectory_id) if work.get(TRAJECTORY, trajectory_id) is not None else []


def _first_events(events: Sequence[Recorded], max_bytes: int) -> Part[Recorded]:
    """Return the first events, as many as fit into a page of lines, and at least one."""
    sizes = accumulate(len(msgspec.json.encode(_log_line(recorded))) for recorded in events)
    many = max(1, sum(size <= max_bytes for size in sizes))
    return Part(events[:many], more=many < len(events))


def _log_line(recorded: Recorded) -> LogLine:
    return LogLine(at=time(recorded.at), event=recorded.name, text=_describe_event(recorded.event))


def _describe_event(event: Any) -> str:
    match event:
        case TrajectoryOpened(source=source):
            return f"Opened ({source})"
        case TrajectoryClaimed(worker=worker):
            return f"Taken by {worker}"
        case TrajectoryStepReported(step=step, status=status):
            return f"Step {step}: {status}"
        case TrajectoryUsageReported():
            return "Usage reported"
        case TrajectoryMoved(status=status, error=error):
            return f"{status.capitalize()}: {error}" if error else status.capitalize()
        case TrajectoryLabelled(key=key, value=value, author=author):
            return f"Label {key}={value} by {author}"
        case _:
            return "Its worker extended the lease"
