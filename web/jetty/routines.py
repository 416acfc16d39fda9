"""The routes of routines that call a task (Jetty contract 2, 4)."""

from functools import partial
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec.structs import replace

from application.access import Caller
from application.request_bodies.jetty import RoutineChange, RoutineCreate
from application.use_cases import names
from application.use_cases.jetty import collections
from application.use_cases.jetty import task_routines as use_cases
from application.use_cases.names import RoutinePath, TaskPath
from domain import disclosure
from domain.errors import NotFound
from domain.jetty import task as tasks
from projections.engine.table import Connection
from projections.jetty import task_routines, trajectories
from projections.jetty.responses import InitParamsSchema, ParameterKey, RoutineRead, RunSummary
from web.http.backend import Backend, Changed
from web.http.paging import NEXT, Paging, cursor_only, read_page
from web.jetty.requests import limit_of
from web.jetty.responses import WorkflowResponse, read_workflow
from web.jetty.routing import delete, get, patch, post

MODELS = ("calls", "tasks", "collections")
RUNS = ("trajectories",)


class Routines(Controller):
    """Routines: saved, recurring calls of a task."""

    path = "/routines"
    tags = ("routines",)
    dependencies = {"paging": Provide(cursor_only)}
    opt = {"invalid": 400}

    @post("/{collection:str}/{task:str}", operation_id="createRoutine", status_code=201)
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
        data: JSONBody[RoutineCreate],
    ) -> Response[RoutineRead]:
        """Creates a routine: a saved, recurring call of the task."""
        changed = backend.change(caller, MODELS, use_cases.create, task_path, data)
        return _answer_routine(backend, changed, 201)

    @get("/{collection:str}", operation_id="listRoutinesOfCollection", response_headers=NEXT)
    def of_collection(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        collection: FromPath[str],
    ) -> Response[list[RoutineRead]]:
        """
        Returns the routines of the collection, oldest first. Whoever may not change routines sees `***` as their
        `webhook_url`.
        """
        company_id, addresses = backend.authorize(caller, names.look_with_rights, collections.enter, collection)
        read = partial(task_routines.of_collection, company_id=company_id, now=backend.executor.clock())
        return read_page(backend, paging, f"routines of {company_id}", MODELS, read, addresses=addresses)

    @get("/{collection:str}/{task:str}", operation_id="listRoutinesOfTask", response_headers=NEXT)
    def of_task(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        task_path: NamedDependency[TaskPath],
    ) -> Response[list[RoutineRead]]:
        """
        Returns the routines of the task, oldest first. Whoever may not change routines sees `***` as their
        `webhook_url`.
        """
        task_ref, addresses = backend.authorize(caller, names.look_with_rights, names.task, task_path)
        read = partial(task_routines.of_task, task_id=task_ref.task_id, now=backend.executor.clock())
        return read_page(backend, paging, f"routines of {task_ref.task_id}", MODELS, read, addresses=addresses)

    @get("/{collection:str}/{task:str}/{name:str}", operation_id="getRoutine")
    def detail(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_path: NamedDependency[RoutinePath],
    ) -> RoutineRead:
        """
        Returns the routine, with warnings when the task has changed since. Whoever may not change it sees `***` as its
        `webhook_url`.
        """
        routine_ref, addresses = backend.authorize(caller, names.look_with_rights, names.routine, routine_path)
        with backend.consistent_read(*MODELS) as conn:
            if (routine := task_routines.one(conn, routine_ref.routine_id, backend.executor.clock())) is None:
                raise NotFound
        return disclosure.mask_unless(routine, addresses=addresses)

    @patch("/{collection:str}/{task:str}/{name:str}", operation_id="updateRoutine")
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_path: NamedDependency[RoutinePath],
        data: JSONBody[RoutineChange],
    ) -> Response[RoutineRead]:
        """Changes the fields that are given. A secret or a `webhook_url` that is sent as `***` stays as it is, too."""
        changed = backend.change(caller, MODELS, use_cases.update, routine_path, data)
        return _answer_routine(backend, changed)

    @delete("/{collection:str}/{task:str}/{name:str}", operation_id="deleteRoutine", status_code=204)
    def remove(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_path: NamedDependency[RoutinePath],
    ) -> None:
        """Deletes the routine. Its trajectories stay."""
        backend.executor.execute(caller, use_cases.delete, routine_path)

    @post("/{collection:str}/{task:str}/{name:str}/pause", operation_id="pauseRoutine", status_code=200)
    def pause(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_path: NamedDependency[RoutinePath],
    ) -> Response[RoutineRead]:
        """Pauses the routine, which no longer fires by itself."""
        changed = backend.change(caller, MODELS, use_cases.pause, routine_path)
        routine_id, addresses = changed.result
        return _answer_routine(backend, replace(changed, result=routine_id), addresses=addresses)

    @post("/{collection:str}/{task:str}/{name:str}/resume", operation_id="resumeRoutine", status_code=200)
    def resume(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_path: NamedDependency[RoutinePath],
    ) -> Response[RoutineRead]:
        """Resumes the routine from now on. Calls that were due while it was paused are not made up for."""
        changed = backend.change(caller, MODELS, use_cases.resume, routine_path)
        return _answer_routine(backend, changed)

    @post("/{collection:str}/{task:str}/{name:str}/run-now", operation_id="runRoutineNow", status_code=200)
    def run_now(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_path: NamedDependency[RoutinePath],
    ) -> Response[WorkflowResponse]:
        """Fires the routine now, whatever its cadence, even if it is paused or a call of it is still running."""
        changed = backend.change(caller, RUNS, use_cases.run_now, routine_path)
        return changed.answer(lambda conn: read_workflow(conn, changed.result))

    @get("/{collection:str}/{task:str}/{name:str}/runs", operation_id="listRunsOfRoutine")
    def runs(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_path: NamedDependency[RoutinePath],
        limit: FromQuery[str | None] = None,
    ) -> list[RunSummary]:
        """Returns the runs of the routine, newest first. `limit` is 50 if absent, and counts as 200 if larger."""
        routine_ref = backend.authorize(caller, names.routine, routine_path)
        with backend.consistent_read(*RUNS) as conn:
            return trajectories.of_routine(conn, routine_ref.routine_id, limit_of(limit))


class Parameters(Controller):
    """The parameters of a task that its routines may override."""

    path = "/tasks"
    tags = ("routines",)
    opt = {"invalid": 400}

    @get("/{collection:str}/{task:str}/init-params-schema", operation_id="getInitParamsSchema")
    def schema(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
    ) -> InitParamsSchema:
        """Returns the parameters that a routine of the task may override, in the order of the task's declaration."""
        task_ref = backend.authorize(caller, names.task, task_path)
        parameters = tasks.declared_parameters(task_ref.task.details.workflow)
        return InitParamsSchema(
            keys=[
                ParameterKey(name=name, default=default, type_hint=tasks.type_hint(default))  # type: ignore[arg-type]
                for name, default in parameters.items()
            ]
        )


def _answer_routine(
    backend: Backend, changed: Changed, status: int = 200, *, addresses: bool = True
) -> Response[RoutineRead]:
    routine_id: UUID = changed.result

    def read(conn: Connection) -> RoutineRead | None:
        return disclosure.mask_unless(
            task_routines.one(conn, routine_id, backend.executor.clock()), addresses=addresses
        )

    return changed.answer(read, status)
