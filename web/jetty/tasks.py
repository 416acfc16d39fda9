"""Tasks (Jetty contract 7)."""

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from application.access import Caller
from application.jetty_commands import TaskChange, TaskCreate
from application.use_cases import collections, names
from application.use_cases import tasks as use_cases
from application.use_cases.names import TaskPath
from domain.errors import NotFound
from projections import tasks
from projections.jetty_shapes import Task
from web.backend import Backend
from web.jetty.routing import delete, get, post, put
from web.jetty.shapes import Message

MODELS = ("tasks", "collections")


class Tasks(Controller):
    path = "/tasks"
    tags = ("tasks",)

    @get("/{collection:str}", operation_id="listTasks")
    def list_(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], collection: FromPath[str]
    ) -> list[Task]:
        """Oldest first."""
        company_id = backend.ask(caller, collections.enter, collection)
        with backend.shown(*MODELS) as conn:
            return tasks.of(conn, company_id)

    @post("/{collection:str}", operation_id="createTask", status_code=201, opt={"taken": 400})
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        data: JSONBody[TaskCreate],
    ) -> Response[Task]:
        made = backend.change(caller, MODELS, use_cases.create, collection, data)
        return made.answer(lambda conn: tasks.one(conn, made.result), 201)

    @get("/{collection:str}/search", operation_id="searchTasks")
    def search(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        q: FromQuery[str] = "",
    ) -> list[Task]:
        """Those with `q` in their name or description, in whatever case."""
        company_id = backend.ask(caller, collections.enter, collection)
        with backend.shown(*MODELS) as conn:
            return tasks.like(conn, company_id, q)

    @get("/{collection:str}/{task:str}", operation_id="getTask")
    def detail(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
    ) -> Task:
        at = backend.ask(caller, names.task, task_path)
        with backend.shown(*MODELS) as conn:
            if (found := tasks.one(conn, at.task_id)) is None:
                raise NotFound
            return found

    @put("/{collection:str}/{task:str}", operation_id="updateTask", opt={"taken": 400})
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
        data: JSONBody[TaskChange],
    ) -> Response[Task]:
        """Any of name, description and workflow; the workflow as a whole."""
        changed = backend.change(caller, MODELS, use_cases.update, task_path, data)
        return changed.answer(lambda conn: tasks.one(conn, changed.result))

    @delete("/{collection:str}/{task:str}", operation_id="deleteTask", status_code=200)
    def remove(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
    ) -> Message:
        """Its routines go with it; its trajectories stay in the log."""
        backend.executor.execute(caller, use_cases.delete, task_path)
        return Message(message="Task deleted successfully")
