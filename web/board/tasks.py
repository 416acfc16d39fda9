"""
Tasks: the workflows that clients of the Jetty API call in a company, which is a collection to them.

Each page asks the Jetty API as its reader, so it shows and does what that lets them.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import UUID

from litestar import Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath

from application.use_cases.jetty import collections
from domain.jetty import built_in, cadence
from domain.jetty import task as workflows
from domain.values import Cadence
from web.board import conflicts, schedules, words
from web.board.api import NOT_FOUND, ApiRefusal
from web.board.confirmations import Confirmation, pending_question
from web.board.conflicts import CONFLICT, Difference
from web.board.forms import Form, read_object
from web.board.visit import NEEDS, Visit

BASE = "/board/companies/{company_id:str}"
NEWEST = 20  # trajectories on the page of a task
EXAMPLE = {
    "init_params": {"text": "hello"},
    "steps": ["say"],
    "step_configs": {"say": {"activity": built_in.TEXT_ECHO, "text_path": "init_params.text"}},
}
Json = Mapping[str, Any]


class Collection:
    """The company of a visit as the Jetty API knows it: its name, and the paths below it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def of(self, kind: str, *parts: object) -> str:
        """Return the path of the API for a kind of things of the collection, or for one of them."""
        return f"/v1/{kind}/" + "/".join(quote(str(part), safe="") for part in (self.name, *parts))


async def collection_of(visit: Visit) -> Collection:
    """Return the company of a visit as a collection."""
    name = await sync_to_thread(visit.authorize, collections.name_of, UUID(visit.company_id))
    return Collection(name)


@get(f"{BASE}/tasks", operation_id="boardTasks")
async def tasks(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the tasks of the company, and how clients of the Jetty API reach it."""
    return await _show_tasks(visit, {}, {})


async def _show_tasks(visit: Visit, values: Mapping[str, str], errors: Mapping[str, str]) -> Response[Any]:
    live = await visit.live()
    collection, parameters = await collection_of(visit), visit.parameters(("q",))
    query = {**parameters, "cursor": visit.parameter("cursor")}
    path = collection.of("tasks", "search") if parameters else collection.of("tasks")
    answer = await visit.api.page(path, query)
    following = visit.path("tasks", query={**parameters, "cursor": answer.next_cursor}) if answer.next_cursor else None
    return visit.show(
        "tasks.html",
        status=422 if errors else 200,
        here="tasks",
        live=live,
        collection=collection.name,
        tasks=[(task, workflows.steps_of(task["workflow"])) for task in answer.value],
        parameters=parameters,
        following=following,
        values=values,
        errors=errors,
    )


@post(f"{BASE}/collection-keys", operation_id="boardCreateCollectionKey")
async def create_key(visit: NamedDependency[Visit]) -> Response[Any]:
    """Make a key for clients of the Jetty API and show it, once."""
    collection, name = await collection_of(visit), visit.form.text("name")
    try:
        key = await visit.api.post("/v1/api-keys", {"name": name, "collection_name": collection.name})
    except ApiRefusal as refusal:
        return await _show_tasks(visit, {"key": name}, refusal.by_field())
    return visit.show(
        "token.html", here="people", title=f"A key of the collection “{collection.name}”", token=key["api_key"]
    )


@get(f"{BASE}/new-task", operation_id="boardNewTask", opt={NEEDS: "administer"})
async def new(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the form of a new task, with a workflow that needs no worker."""
    return _show_form(visit, None, {"workflow": words.as_json(EXAMPLE)}, {})


@post(f"{BASE}/new-task", operation_id="boardCreateTask", opt={NEEDS: "administer"})
async def create(visit: NamedDependency[Visit]) -> Response[Any]:
    """Create a task."""
    collection, errors = await collection_of(visit), dict[str, str]()
    body = _read_body(visit.form, errors)
    if not errors:
        try:
            task = await visit.api.post(collection.of("tasks"), body)
        except ApiRefusal as refusal:
            errors = _beside_fields(refusal)
        else:
            return visit.go("tasks", task["name"], done="added")
    return _show_form(visit, None, _typed_values(visit.form), errors)


@get(f"{BASE}/tasks/{{task:str}}", operation_id="boardTask")
async def task(visit: NamedDependency[Visit], task: FromPath[str]) -> Response[Any]:
    """Show a task: its steps and parameters, its routines, and its trajectories, newest first."""
    live = await visit.live()
    collection = await collection_of(visit)
    shown_task = await visit.api.get(collection.of("tasks", task))
    cursor = visit.parameter("cursor")
    answer = await visit.api.page(collection.of("db/trajectories", task), {"limit": NEWEST, "cursor": cursor})
    # None where the service has no routines of tasks (ENABLE_ROUTINES)
    routines = await visit.api.get_or_none(collection.of("routines", task))
    following = visit.path("tasks", task, query={"cursor": answer.next_cursor}) if answer.next_cursor else None
    return visit.show(
        "task.html",
        here="tasks",
        live=live,
        task=shown_task,
        steps=[(step, workflows.configs_of(shown_task["workflow"]).get(step, {})) for step in _step_names(shown_task)],
        parameters={
            name: words.as_json(value) for name, value in workflows.declared_parameters(shown_task["workflow"]).items()
        },
        runs_by_itself=built_in.runs_by_itself(shown_task["workflow"]),
        routines=routines,
        in_words=cadence_in_words,
        stats=await visit.api.get(collection.of("db/stats", task)),
        trajectories=answer.value["trajectories"],
        following=following,
    )


def _step_names(task: Json) -> list[str]:
    return workflows.steps_of(task["workflow"])


def cadence_in_words(recurrence: Json) -> str:
    """Return when a routine of a task recurs, which is in UTC."""
    expression = cadence.cron_of(Cadence(**recurrence))
    return "Only by hand" if expression is None else f"{schedules.cron_in_words(expression)}, UTC time"


@get(f"{BASE}/tasks/{{task:str}}/edit", operation_id="boardEditTask", opt={NEEDS: "administer"})
async def edit(visit: NamedDependency[Visit], task: FromPath[str]) -> Response[Any]:
    """Show the form of a task as it is."""
    collection = await collection_of(visit)
    values = _as_values(await visit.api.get(collection.of("tasks", task)))
    return _show_form(visit, task, values, {}, base=conflicts.base_of(values))


@post(f"{BASE}/tasks/{{task:str}}/edit", operation_id="boardSaveTask", opt={NEEDS: "administer"})
async def save(visit: NamedDependency[Visit], task: FromPath[str]) -> Response[Any]:
    """Save a task, or show both versions if it was changed meanwhile. Trajectories keep the workflow that they began with."""
    position = await visit.position()
    collection, errors = await collection_of(visit), dict[str, str]()
    saved_values = _as_values(await visit.api.get(collection.of("tasks", task)))
    form = visit.form.beside(saved_values)
    body, values = _read_body(form, errors), _typed_values(form)
    theirs = conflicts.differences(form, values, saved_values)
    if not errors and not theirs:
        try:
            with visit.api.unchanged_since(position):
                answer = await visit.api.call("PUT", collection.of("tasks", task), body)
        except ApiRefusal as refusal:
            errors = _beside_fields(refusal)
        else:
            return visit.go("tasks", answer.value["name"], done="saved")
    return _show_form(visit, task, values, errors, theirs=theirs, base=conflicts.base_after(form, theirs, saved_values))


@post(f"{BASE}/tasks/{{task:str}}/delete", operation_id="boardDeleteTask", opt={NEEDS: "administer"})
async def delete(visit: NamedDependency[Visit], task: FromPath[str]) -> Response[Any]:
    """Delete a task with its routines."""
    collection = await collection_of(visit)
    await visit.api.get(collection.of("tasks", task))
    routines = await visit.api.get_or_none(collection.of("routines", task)) or []
    count = f" {words.count_noun(len(routines), 'routine is', 'routines are')} deleted with it." if routines else ""
    consequence = f"It cannot be brought back.{count} What its trajectories did stays in the log."
    confirmation = Confirmation(f"Delete the task “{task}”?", consequence, "Delete it", visit.path("tasks", task))
    if (question := pending_question(visit, confirmation)) is not None:
        return question
    await visit.api.delete(collection.of("tasks", task))
    return visit.go("tasks", done="removed")


def _show_form(  # noqa: PLR0913 what the form shows
    visit: Visit,
    task: str | None,
    values: Mapping[str, str],
    errors: Mapping[str, str],
    *,
    theirs: Sequence[Difference] = (),
    base: str = "",
) -> Response[Any]:
    return visit.show(
        "task_form.html",
        status=CONFLICT if theirs else 422 if errors else 200,
        here="tasks",
        task=task,
        values=values,
        errors=errors,
        theirs=theirs,
        base=base,
    )


def _as_values(task: Json) -> dict[str, str]:
    """Return a task as the fields of its form have it."""
    description, workflow = task["description"] or "", words.as_json(task["workflow"])
    return {"name": task["name"], "description": description, "workflow": workflow}


def _typed_values(form: Form) -> dict[str, str]:
    return {name: form.text(name) for name in ("name", "description", "workflow")}


def _read_body(form: Form, errors: dict[str, str]) -> dict[str, Any]:
    body = {"name": form.text("name"), "description": form.text("description") or None}
    return body | {"workflow": read_object(form, "workflow", errors) or {}}


def _beside_fields(refusal: ApiRefusal) -> dict[str, str]:
    """Return the messages by field of the form: what is wrong within the workflow stands beside the workflow, with its place."""
    errors: dict[str, str] = {}
    for path, message in refusal.by_field().items():
        field, _, inner_path = path.partition(".")
        errors.setdefault(field, f"{inner_path}: {message}" if inner_path else message)
    return errors


@get(f"{BASE}/tasks/{{task:str}}/run", operation_id="boardRunTaskPage", opt={NEEDS: "assign"})
async def run_page(visit: NamedDependency[Visit], task: FromPath[str]) -> Response[Any]:
    """Ask for the parameters of a call."""
    return await _run_form(visit, task, {}, {})


@post(f"{BASE}/tasks/{{task:str}}/run", operation_id="boardRunTask", opt={NEEDS: "assign"})
async def run(visit: NamedDependency[Visit], task: FromPath[str]) -> Response[Any]:
    """Call a task and lead to the trajectory."""
    collection, form, errors = await collection_of(visit), visit.form, dict[str, str]()
    body: dict[str, Any] = {name: read_object(form, name, errors) or {} for name in ("init_params", "secret_params")}
    body |= {name: form.given(name) for name in ("webhook_url", "webhook_secret")}
    if not errors:
        try:
            trajectory = await visit.api.post(collection.of("run", task), body)
        except ApiRefusal as refusal:
            if refusal.status == NOT_FOUND:
                raise
            errors = _beside_fields(refusal)
        else:
            return visit.go("tasks", task, "trajectories", trajectory["trajectory_id"], done="called")
    values = {name: form.text(name) for name in ("init_params", "webhook_url")}
    return await _run_form(
        visit, task, values, errors | not_repeated(form, ("secret_params", "webhook_secret"), errors)
    )


async def _run_form(visit: Visit, task: str, values: Mapping[str, str], errors: Mapping[str, str]) -> Response[Any]:
    collection = await collection_of(visit)
    shown_task = await visit.api.get(collection.of("tasks", task))
    usual = {"init_params": words.as_json(workflows.declared_parameters(shown_task["workflow"]))}
    return visit.show(
        "task_run.html",
        status=422 if errors else 200,
        here="tasks",
        task=task,
        values={**usual, **values},
        errors=errors,
    )


def not_repeated(form: Form, names: tuple[str, ...], errors: Mapping[str, str]) -> dict[str, str]:
    """Return what stands beside fields with secrets on a page that shows a form again: it never has what was typed there."""
    again = "Type it again: a page never shows what was typed here."
    return {name: again for name in names if form.given(name) is not None and name not in errors}
