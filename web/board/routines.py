"""The list of routines: search, filters and order in the address, actions of a row, and pausing or resuming many at once."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID, uuid4

import msgspec
from litestar import Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath

from application.use_cases import read_access
from domain.values import RoutineStatus
from projections import overview
from projections.overview import LIST_MODELS, ListedRoutine, ListPlace, Order
from projections.routines.routine_list import Filters, select
from web.board import conflicts, schedules, strips, words
from web.board.api import ApiRefusal
from web.board.confirmations import Confirmation, pending_question
from web.board.conflicts import CONFLICT, Difference
from web.board.forms import Form, read_number, read_object
from web.board.routine import titles_of
from web.board.sign_in import own_path
from web.board.visit import NEEDS, Visit, see_other
from web.http.paging import cursor_of, not_of_list, place_of
from web.http.validation import parse

PAGE = 50
MOST_AT_ONCE = 1_000  # routines that the API changes at once
SHOWN: tuple[RoutineStatus, ...] = ("active", "paused")  # unless the reader asks for another status
ORDERS = {"next": "Next run", "title": "Title", "changed": "Last changed"}
STATUSES = {"": "Active and paused", "active": "Active", "paused": "Paused", "archived": "Archived", "all": "All"}
FILTERS = ("q", "status", "agent", "project", "folder", "sort")
# What is done with many routines, and what is said of it then; the status of those that an action is for.
ACTIONS = {"pause": "paused", "resume": "resumed", "move": "moved"}
MEANT_BY: Mapping[str, RoutineStatus] = {"pause": "active", "resume": "paused"}
PAUSE_FIELDS = {"pauseNote": "note", "resumeAt": "until"}  # the fields of the forms, by those of the API
Column = Literal["strip", "outcome", "next", "agent", "project", "folder", "priority", "triggers", "changed"]
COLUMNS: Mapping[
    Column, str
] = {  # that the list can have beside the routines; those of USUAL unless the address names others
    "strip": "Last runs",
    "outcome": "Last outcome",
    "next": "Next run",
    "agent": "Agent",
    "project": "Project",
    "folder": "Folder",
    "priority": "Priority",
    "triggers": "Triggers",
    "changed": "Last changed",
}
USUAL = ("strip", "outcome", "next")


class Layout(msgspec.Struct, frozen=True):
    """The order and the columns that an address asks for."""

    sort: Order
    column: tuple[Column, ...]


@get("/board/companies/{company_id:str}/routines", operation_id="boardRoutines")
async def routines(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the routines that match, a page of them."""
    live = await visit.live()
    parameters: dict[str, Any] = visit.parameters(FILTERS)
    layout_parameters = {
        "sort": parameters.get("sort", "next"),
        "column": visit.request.query_params.getall("column", []),
    }
    layout = parse(Layout, layout_parameters)
    order, columns = layout.sort, tuple(name for name in COLUMNS if name in layout.column)
    filters = _read_filters(parameters)
    list_name = f"board {order} {visit.company_id}"
    after = place_of(visit.parameter("cursor"), list_name, ListPlace)
    if after is not None and order == "next":
        after = msgspec.structs.replace(after, key=_moment_of(after.key))
    is_narrowed = any(name != "sort" for name in parameters)
    if columns not in ((), USUAL):
        parameters["column"] = columns
    (part, bars), agents, projects, folders = await asyncio.gather(
        sync_to_thread(_read, visit, filters, order, after),
        visit.names("agents", parameters.get("agent")),
        visit.names("projects", parameters.get("project")),
        visit.names("folders"),
    )
    rows = [_routine_row(visit, row, bars.get(row.item.id, [])) for row in part]
    following = cursor_of(list_name, ListPlace(part[-1].key, part[-1].item.id)) if part.more else None
    return visit.show(
        "routines.html",
        here="routines",
        live=live,
        rows=rows,
        parameters=parameters,
        is_narrowed=is_narrowed,
        all_columns=COLUMNS,
        columns=columns or USUAL,
        agents=agents,
        projects=projects,
        folders=folders,
        statuses=STATUSES,
        orders=ORDERS,
        order=order,
        key=uuid4(),
        back=visit.path("routines", query=parameters).removeprefix(visit.base),
        following=visit.path("routines", query={**parameters, "cursor": following}) if following else None,
    )


def _moment_of(key: str) -> str:
    """Return the moment in a cursor, as the database reads it. Raise Invalid for none: anybody can make a cursor."""
    try:
        return datetime.fromisoformat(key).isoformat()
    except ValueError:
        raise not_of_list() from None


def _read_filters(parameters: dict[str, str]) -> Filters:
    status = parameters.get("status", "")
    statuses = None if status == "all" else [status] if status else list(SHOWN)
    query = {"q": "q", "agent": "assigneeAgentId", "project": "projectId", "folder": "folderId"}
    return parse(Filters, {"status": statuses, **{field: parameters.get(name) for name, field in query.items()}})


def _read(visit: Visit, filters: Filters, order: Order, after: ListPlace | None) -> Any:
    backend, company_id = visit.backend, UUID(visit.company_id)
    visit.authorize(read_access.company, company_id)
    with backend.consistent_read(*LIST_MODELS) as conn:
        part = overview.in_order(
            conn, company_id, filters, order, after=after, limit=PAGE, max_bytes=backend.limits.max_page_bytes
        )
        return part, overview.strips(conn, [row.item.id for row in part])


def _routine_row(visit: Visit, row: ListedRoutine, bars: list[overview.Bar]) -> dict[str, Any]:
    item = msgspec.to_builtins(row.item)
    return {
        "routine": item,
        "cadence": schedules.cadence(item["triggers"]),
        "next": schedules.next_run(item, visit.now),
        "strip": strips.draw(bars),
    }


@get(
    "/board/companies/{company_id:str}/routines/{routine_id:str}/run",
    operation_id="boardRunPage",
    opt={NEEDS: "assign"},
)
async def run_page(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Ask for the variables and the payload of a run."""
    return await _run_form(visit, routine_id, {}, {})


async def _run_form(
    visit: Visit, routine_id: str, values: Mapping[str, str], errors: Mapping[str, str]
) -> Response[Any]:
    routine = await visit.own("routines", routine_id)
    status = 422 if errors else 200
    return visit.show(
        "run_form.html", status=status, here="routines", routine=routine, values=values, errors=errors, key=uuid4()
    )


@post("/board/companies/{company_id:str}/routines/{routine_id:str}/run", operation_id="boardRun", opt={NEEDS: "assign"})
async def run_now(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """
    Run a routine, once for each time that its button was shown, and lead to the run or back to the list.

    Where it lacks what it needs, ask for that.
    """
    form = visit.form
    routine = await visit.own("routines", routine_id)
    names = {f"variable.{variable['name']}": variable for variable in routine["variables"]}
    values, errors = {name: form.text(name) for name in (*names, "payload")}, dict[str, str]()
    body: dict[str, Any] = {"idempotencyKey": f"board {form.given('key') or uuid4()}"}
    variables = {
        one["name"]: _read_variable(values[name], one["type"], name, errors)
        for name, one in names.items()
        if values[name]
    }
    payload = read_object(form, "payload", errors)
    body |= ({"variables": variables} if variables else {}) | ({"payload": payload} if payload is not None else {})
    if not errors:
        try:
            run = await visit.api.post(f"/routines/{routine_id}/run", body)
        except ApiRefusal as refusal:
            if refusal.status in (401, 403, 404):
                raise
            errors = refusal.by_field()
    if errors:
        return await _run_form(visit, routine_id, values, errors)
    if back := own_path(form.text("back")):
        return see_other(f"{visit.base}{_with_done(back, 'fired')}")
    return visit.go("runs", run["id"], done="fired")


def _read_variable(text: str, kind: str, name: str, errors: dict[str, str]) -> str | float | bool:
    """Return the value of a variable of a type, and note what is none."""
    try:
        match kind:
            case "number":
                return read_number(text)
            case "boolean":
                return {"true": True, "false": False}[text.strip().lower()]
    except (ValueError, KeyError):
        errors[name] = "This is no number." if kind == "number" else "Write true or false."
    return text


def _with_done(path: str, done: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}done={done}"


@get(
    "/board/companies/{company_id:str}/routines/{routine_id:str}/pause",
    operation_id="boardPausePage",
    opt={NEEDS: "assign"},
)
async def pause_page(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Ask for the note of a pause."""
    routine = await visit.own("routines", routine_id)
    values = _pause_as_values(visit, routine)
    back = own_path(visit.parameter("back"))
    return _pause_form(visit, routine, values, {}, back, base=conflicts.base_of(values))


def _pause_as_values(visit: Visit, routine: Mapping[str, Any]) -> dict[str, str]:
    """Return the pause of a routine as the fields of its form have it; they are empty while it is active."""
    until = words.exact_local_text(words.parse(routine["resumeAt"]), visit.zone)
    return {"note": routine["pauseNote"] or "", "until": until}


def _pause_form(  # noqa: PLR0913, PLR0917 what the form shows
    visit: Visit,
    routine: Mapping[str, Any],
    values: Mapping[str, str],
    errors: Mapping[str, str],
    back: str,
    theirs: Sequence[Difference] = (),
    *,
    base: str,
) -> Response[Any]:
    return visit.show(
        "pause.html",
        status=CONFLICT if theirs else 422 if errors else 200,
        here="routines",
        routine=routine,
        values=values,
        errors=errors,
        back=back,
        theirs=theirs,
        base=base,
    )


@post(
    "/board/companies/{company_id:str}/routines/{routine_id:str}/pause",
    operation_id="boardPause",
    opt={NEEDS: "assign"},
)
async def pause(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Pause a routine with a note, until a moment if one is given."""
    position, errors = await visit.position(), dict[str, str]()
    routine = await visit.own("routines", routine_id)
    present = _pause_as_values(visit, routine)
    form = visit.form.beside(present)
    values = {name: form.text(name) for name in PAUSE_FIELDS.values()}
    theirs = conflicts.differences(form, values, present)
    until = words.read_field(form.text("until"), visit.zone, "until", errors)
    body = {"status": "paused", "pauseNote": form.given("note"), "resumeAt": until}
    back = own_path(form.text("back"))
    if not errors and not theirs:
        try:
            with visit.api.unchanged_since(position):
                await visit.api.patch(f"/routines/{routine_id}", body)
        except ApiRefusal as refusal:
            errors = {PAUSE_FIELDS.get(field, ""): message for field, message in refusal.by_field().items()}
    if errors or theirs:
        base = conflicts.base_after(form, theirs, present)
        return _pause_form(visit, routine, values, errors, back, theirs, base=base)
    return (
        see_other(f"{visit.base}{_with_done(back, 'paused')}")
        if back
        else visit.go("routines", routine_id, done="paused")
    )


@post(
    "/board/companies/{company_id:str}/routines/{routine_id:str}/status",
    operation_id="boardStatus",
    opt={NEEDS: "assign"},
)
async def change_status(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Resume or archive a routine."""
    form = visit.form
    status = form.one_of("status", get_args(RoutineStatus))
    routine = await visit.own("routines", routine_id)
    consequence = (
        "It runs no more, is gone from the lists, and cannot be made active again. It stays readable, with all its runs; "
        "what waits is recorded as missed."
    )
    title, where = f"Archive the routine “{routine['title']}”?", visit.path("routines", routine_id, "edit")
    confirmation = Confirmation(title, consequence, "Archive it", where)
    if status == "archived" and (question := pending_question(visit, confirmation)) is not None:
        return question
    await visit.api.patch(f"/routines/{routine_id}", {"status": status})
    done, back = {"active": "resumed"}.get(status, status), own_path(form.text("back"))
    return see_other(f"{visit.base}{_with_done(back, done)}") if back else visit.go("routines", routine_id, done=done)


@post("/board/companies/{company_id:str}/routines/many", operation_id="boardChangeMany", opt={NEEDS: "assign"})
async def change_many(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show what pausing, resuming or moving the chosen routines would do, and do it once that is confirmed."""
    form = visit.form
    action = form.one_of("action", tuple(ACTIONS))
    ids, note, errors, outcome = form.all("routine")[:PAGE], form.text("note"), dict[str, str](), None
    list_filters = {name: form.given(name) for name in ("q", "agent", "project")}
    if action == "move":
        return await _move(visit, ids, list_filters | {"status": form.given("status")})
    until = words.read_field(form.text("until"), visit.zone, "until", errors)
    selection = _read_selection(form, ids, list_filters)
    if selection is not None and form.has("confirmed") and not errors:
        pause = {"pauseNote": note.strip() or None, "resumeAt": until} if action == "pause" else {}
        body = {**selection, **pause}
        try:
            outcome = await visit.api.post(visit.api_path("routines", action), body)
        except ApiRefusal as refusal:
            errors = {PAUSE_FIELDS.get(field, ""): message for field, message in refusal.by_field().items()}
    is_all = selection is not None and not ids
    return visit.show(
        "many.html",
        status=422 if errors else 200,
        here="routines",
        action=action,
        done_word=ACTIONS[action],
        titles=await titles_of(visit, outcome["refused"]) if outcome else {},
        chosen=await _routine_titles(visit, ids) if outcome is None else [],
        matching=len(await sync_to_thread(_find_matching, visit, list_filters, MEANT_BY[action]))
        if is_all and outcome is None
        else 0,
        is_chosen=selection is not None,
        narrowed={name: value for name, value in list_filters.items() if value},
        outcome_=outcome,
        back=own_path(form.text("back")),
        note=note,
        until=form.text("until"),
        errors=errors,
    )


async def _move(visit: Visit, ids: list[str], list_filters: Mapping[str, str | None]) -> Response[Any]:
    """Ask into which folder the chosen routines, or all that match, are to be moved; move them once one is chosen."""
    form, errors, outcome = visit.form, dict[str, str](), None
    is_all = not ids and form.has("all")
    matching = await sync_to_thread(_find_matching, visit, list_filters) if is_all else []
    if (ids or matching) and form.has("confirmed"):
        try:
            body = {"routineIds": ids or matching, "folderId": form.given("folder")}
            outcome = await visit.api.post(visit.api_path("folders", "items", "move"), body)
        except ApiRefusal as refusal:
            errors = {"folder" if field == "folderId" else "": text for field, text in refusal.by_field().items()}
    return visit.show(
        "many.html",
        status=422 if errors else 200,
        here="routines",
        action="move",
        done_word=ACTIONS["move"],
        titles=await titles_of(visit, outcome["refused"]) if outcome else {},
        chosen=await _routine_titles(visit, ids) if outcome is None else [],
        matching=len(matching),
        is_chosen=bool(ids) or is_all,
        narrowed={name: value for name, value in list_filters.items() if value},
        outcome_=outcome,
        back=own_path(form.text("back")),
        folders=[("", "none"), *(await visit.names("folders")).items()],
        folder=form.text("folder"),
        errors=errors,
    )


def _read_selection(form: Form, ids: list[str], list_filters: Mapping[str, str | None]) -> dict[str, object] | None:
    """Return which routines a form means, as the API selects them; None if it means none."""
    if ids:
        return {"routineIds": ids}
    if form.has("pause_id"):
        return {"pauseId": form.text("pause_id")}
    if not form.has("all"):
        return None
    names = {"q": "q", "agent": "assigneeAgentId", "project": "projectId"}
    conditions: dict[str, object] = {names[name]: value for name, value in list_filters.items() if value}
    return conditions or {"all": True}


def _find_matching(
    visit: Visit, list_filters: Mapping[str, str | None], status: RoutineStatus | None = None
) -> Sequence[UUID]:
    """Return the routines that match, of one status if that is given, up to one more than may be changed at once."""
    backend, company_id = visit.backend, UUID(visit.company_id)
    visit.authorize(read_access.company, company_id)
    filters = _read_filters({name: value for name, value in list_filters.items() if value})
    if status is not None:
        filters = msgspec.structs.replace(filters, status=(status,))
    with backend.consistent_read("routines") as conn:
        matching = select(conn, company_id, filters, limit=MOST_AT_ONCE + 1)
    return [routine.id for routine in matching]


async def _routine_titles(visit: Visit, ids: list[str]) -> list[dict[str, str]]:
    rows = []
    for id_ in ids:
        routine = await visit.own("routines", id_)
        rows.append({"id": id_, "title": routine["title"], "status": routine["status"]})
    return rows
