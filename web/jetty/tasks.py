"""The routes of tasks (Jetty contract 7)."""

from functools import partial

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody

from application.access import Caller
from application.request_bodies.jetty import TaskChange, TaskCreate
from application.use_cases import names
from application.use_cases.jetty import collections
from application.use_cases.jetty import tasks as use_cases
from application.use_cases.names import TaskPath
from domain.errors import NotFound
from projections.jetty import tasks
from projections.jetty.responses import Task
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, cursor_only, read_page
from web.jetty.responses import Message
from web.jetty.routing import delete, get, post, put

MODELS = ("tasks", "collections")


class Tasks(Controller):
    """Tasks: workflows of steps with parameters."""

    path = "/tasks"
    tags = ("tasks",)
    dependencies = {"paging": Provide(cursor_only)}

    @get("/{collection:str}", operation_id="listTasks", response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        collection: FromPath[str],
    ) -> Response[list[Task]]:
        """Returns the tasks of the collection, oldest first."""
        company_id = backend.authorize(caller, collections.enter, collection)
        read = partial(tasks.of_collection, company_id=company_id)
        return read_page(backend, paging, f"tasks of {company_id}", MODELS, read)

    @post("/{collection:str}", operation_id="createTask", status_code=201, opt={"taken": 400})
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        data: JSONBody[TaskCreate],
    ) -> Response[Task]:
        """Creates a task."""
        changed = backend.change(caller, MODELS, use_cases.create, collection, data)
        return changed.answer(lambda conn: tasks.one(conn, changed.result), 201)

    @get("/{collection:str}/search", operation_id="searchTasks", response_headers=NEXT)
    def search(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        collection: FromPath[str],
        q: FromQuery[str] = "",
    ) -> Response[list[Task]]:
        """Returns the tasks with `q` in their name or description; upper and lower case are the same."""
        company_id = backend.authorize(caller, collections.enter, collection)
        read = partial(tasks.search_tasks, company_id=company_id, text=q)
        return read_page(backend, paging, f"tasks of {company_id} like {q}", MODELS, read)

    @get("/{collection:str}/{task:str}", operation_id="getTask")
    def detail(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
    ) -> Task:
        """Returns the task."""
        task_ref = backend.authorize(caller, names.task, task_path)
        with backend.consistent_read(*MODELS) as conn:
            if (task := tasks.one(conn, task_ref.task_id)) is None:
                raise NotFound
            return task

    @put("/{collection:str}/{task:str}", operation_id="updateTask", opt={"taken": 400})
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
        data: JSONBody[TaskChange],
    ) -> Response[Task]:
        """Changes those of name, description and workflow that are given; the workflow is replaced as a whole."""
        changed = backend.change(caller, MODELS, use_cases.update, task_path, data)
        return changed.answer(lambda conn: tasks.one(conn, changed.result))

    @delete("/{collection:str}/{task:str}", operation_id="deleteTask", status_code=200)
    def remove(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
    ) -> Message:
        """Deletes the task and its routines. Its trajectories stay in the log."""
        while not backend.executor.execute(caller, use_cases.delete, task_path).result:
            pass
        return Message(message="Task deleted successfully")
