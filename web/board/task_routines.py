"""Routines of a task: when each recurs, what it is called with, its trajectories, and its form."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from litestar import Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath

from application.use_cases import names
from application.use_cases.names import RoutinePath
from domain.disclosure import MASK
from domain.jetty import task as workflows
from domain.values import CadenceType, DayOfWeek
from web.board import conflicts, words
from web.board.api import ApiRefusal
from web.board.confirmations import Confirmation, pending_question
from web.board.conflicts import CONFLICT, Difference
from web.board.forms import Form, read_object, whole_number
from web.board.tasks import BASE, cadence_in_words, collection_of, not_repeated
from web.board.visit import NEEDS, Visit

ONE = f"{BASE}/tasks/{{task:str}}/routines/{{name:str}}"
CADENCES = {
    "manual": "only by hand",
    "hourly": "every hour, at the minute",
    "daily": "every day, at the hour and minute",
    "weekdays": "Monday to Friday, at the hour and minute",
    "weekly": "once a week, on the day, at the hour and minute",
}
TYPES = [(kind, CADENCES.get(kind, kind)) for kind in get_args(CadenceType)]
DAYS = [("", "choose"), *((day, day.capitalize()) for day in get_args(DayOfWeek))]
TIMES = ("hour_utc", "minute_utc")
FIELDS = ("name", "type", *TIMES, "day_of_week", "webhook_url", "init_params_overrides")  # that hold no secret
NOT_SHOWN = "what you have typed, which is not shown"
Json = Mapping[str, Any]


@get(ONE, operation_id="boardTaskRoutine")
async def routine(visit: NamedDependency[Visit], task: FromPath[str], name: FromPath[str]) -> Response[Any]:
    """Show a routine of a task, with its newest trajectories."""
    live = await visit.live()
    collection = await collection_of(visit)
    shown_routine = await visit.api.get(collection.of("routines", task, name))
    path = RoutinePath(collection=collection.name, task=task, name=name)
    routine_ref = await sync_to_thread(visit.authorize, names.routine, path)
    return visit.show(
        "task_routine.html",
        here="tasks",
        live=live,
        task=task,
        routine=shown_routine,
        routine_id=routine_ref.routine_id,
        cadence=cadence_in_words(shown_routine["cadence"]),
        overrides=words.as_json(shown_routine["init_params_overrides"])
        if shown_routine["init_params_overrides"]
        else "",
        trajectories=await visit.api.get(collection.of("routines", task, name, "runs")),
    )


@get(f"{BASE}/tasks/{{task:str}}/new-routine", operation_id="boardNewTaskRoutine", opt={NEEDS: "assign"})
async def new(visit: NamedDependency[Visit], task: FromPath[str]) -> Response[Any]:
    """Show the form of a new routine of a task."""
    values = {"type": "daily", "hour_utc": "9", "minute_utc": "0"}
    return await _show_form(visit, task, None, values, {})


@post(f"{BASE}/tasks/{{task:str}}/new-routine", operation_id="boardCreateTaskRoutine", opt={NEEDS: "assign"})
async def create(visit: NamedDependency[Visit], task: FromPath[str]) -> Response[Any]:
    """Create a routine of a task."""
    return await _save_routine(visit, task, None)


@get(f"{ONE}/edit", operation_id="boardEditTaskRoutine", opt={NEEDS: "assign"})
async def edit(visit: NamedDependency[Visit], task: FromPath[str], name: FromPath[str]) -> Response[Any]:
    """Show the form of a routine of a task as it is, its secrets masked."""
    collection = await collection_of(visit)
    values = _as_values(await visit.api.get(collection.of("routines", task, name)))
    return await _show_form(visit, task, name, values, {}, base=conflicts.base_of(values))


@post(f"{ONE}/edit", operation_id="boardSaveTaskRoutine", opt={NEEDS: "assign"})
async def save(visit: NamedDependency[Visit], task: FromPath[str], name: FromPath[str]) -> Response[Any]:
    """Save a routine of a task."""
    return await _save_routine(visit, task, name)


@post(f"{ONE}/action", operation_id="boardChangeTaskRoutine", opt={NEEDS: "administer"})
async def change(visit: NamedDependency[Visit], task: FromPath[str], name: FromPath[str]) -> Response[Any]:
    """Run a routine of a task now, pause it, resume it or delete it."""
    action = visit.form.one_of("action", ("run-now", "pause", "resume", "delete"))
    collection = await collection_of(visit)
    path = collection.of("routines", task, name)
    if action == "delete":
        await visit.api.get(path)
        title, back = f"Delete the routine “{name}” of {task}?", visit.path("tasks", task, "routines", name)
        consequence = "It cannot be brought back. Its trajectories stay."
        if (question := pending_question(visit, Confirmation(title, consequence, "Delete it", back))) is not None:
            return question
        await visit.api.delete(path)
        return visit.go("tasks", task, done="removed")
    answer = await visit.api.post(f"{path}/{action}")
    if action == "run-now":
        return visit.go("tasks", task, "trajectories", answer["trajectory_id"], done="called")
    return visit.go("tasks", task, "routines", name, done={"pause": "paused", "resume": "resumed"}[action])


async def _save_routine(visit: Visit, task: str, name: str | None) -> Response[Any]:
    """
    Create or change a routine as the form says.

    Show the form again if something is wrong with it, and both versions if the routine was changed meanwhile.
    """
    form, errors, position = visit.form, dict[str, str](), await visit.position()
    collection = await collection_of(visit)
    body, values = _read_body(form, errors), {field: form.text(field) for field in FIELDS}
    theirs, base = list[Difference](), ""
    typed_secrets = form.text("secret_params")
    if name is not None:
        present = _as_values(await visit.api.get(collection.of("routines", task, name)))
        values |= {field: present[field] for field in ("secret_params", "is_signed")} | {
            "unsigned": form.text("unsigned")
        }
        mine = values if typed_secrets == present["secret_params"] else values | {"secret_params": NOT_SHOWN}
        theirs = conflicts.differences(form, mine, present)
        base = conflicts.base_after(form, theirs, present)
    if not errors and not theirs:
        try:
            if name is None:
                saved_routine = await visit.api.post(collection.of("routines", task), body)
            else:
                with visit.api.unchanged_since(position):
                    saved_routine = await visit.api.patch(collection.of("routines", task, name), body)
        except ApiRefusal as refusal:
            if refusal.status in (401, 403, 404):
                raise
            errors = {_in_form(field): message for field, message in refusal.by_field().items()}
        else:
            return visit.go("tasks", task, "routines", saved_routine["name"], done="saved" if name else "created")
    typed = ("webhook_secret", *(("secret_params",) if typed_secrets != values.get("secret_params", "") else ()))
    errors |= not_repeated(form, typed, errors)
    return await _show_form(visit, task, name, values, errors, theirs=theirs, base=base)


async def _show_form(  # noqa: PLR0913 what the form shows
    visit: Visit,
    task: str,
    name: str | None,
    values: Mapping[str, str],
    errors: Mapping[str, str],
    *,
    theirs: Sequence[Difference] = (),
    base: str = "",
) -> Response[Any]:
    collection = await collection_of(visit)
    called_task = await visit.api.get(collection.of("tasks", task))
    return visit.show(
        "task_routine_form.html",
        status=CONFLICT if theirs else 422 if errors else 200,
        here="tasks",
        task=task,
        name=name,
        declared=_describe_parameters(workflows.declared_parameters(called_task["workflow"])),
        types=TYPES,
        days=DAYS,
        values=values,
        errors=errors,
        theirs=theirs,
        base=base,
    )


def _describe_parameters(parameters: Mapping[str, object]) -> str:
    """Return what a routine may override, as a sentence."""
    parameter_list = ", ".join(f"{name} ({words.as_json(value)[:60]})" for name, value in parameters.items())
    return f"The task declares {parameter_list}." if parameter_list else "The task declares no parameters."


def _as_values(routine: Json) -> dict[str, str]:
    """Return a routine as the fields of its form have it."""
    recurrence = routine["cadence"]
    fields = {
        name: "" if recurrence[name] is None else str(recurrence[name]) for name in ("type", *TIMES, "day_of_week")
    }
    objects = {
        name: words.as_json(routine[name]) if routine[name] else ""
        for name in ("init_params_overrides", "secret_params")
    }
    callback = {"webhook_url": routine["webhook_url"] or "", "is_signed": "yes" if routine["webhook_secret"] else ""}
    return {"name": routine["name"], **callback, **fields, **objects}


def _read_body(form: Form, errors: dict[str, str]) -> dict[str, Any]:
    """Return the body of the API. Times that a cadence of this type does not have are left out."""
    kind = form.text("type")
    shown_fields = {"manual": (), "hourly": ("minute_utc",)}.get(kind, TIMES)
    recurrence: dict[str, Any] = {"type": kind}
    for name in shown_fields:
        if (text := form.given(name)) is not None:
            recurrence[name] = whole_number(text)
            if recurrence[name] is None:
                errors[name] = "This is no whole number."
    if kind == "weekly":
        recurrence["day_of_week"] = form.given("day_of_week")
    body: dict[str, Any] = {"name": form.text("name").strip(), "cadence": recurrence}
    body |= {name: read_object(form, name, errors) or {} for name in ("init_params_overrides", "secret_params")}
    body["webhook_url"] = form.given("webhook_url")
    if form.has("unsigned"):
        body["webhook_secret"] = None
    elif (secret := form.given("webhook_secret")) is not None and secret != MASK:
        body["webhook_secret"] = secret
    return body


def _in_form(field: str) -> str:
    """Return the field of the form that a field of the API is."""
    first, _, rest = field.partition(".")
    return rest or "type" if first == "cadence" else first
