"""
The structure of a company: its projects, goals and folders; and forms of these, issues, agents, endpoints and the company.

Each kind of thing is a list of fields, from which its form, its values and the body of the API are made.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Literal, NamedTuple, get_args

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from domain.errors import NotFound
from domain.values import AgentRole, GoalLevel, GoalStatus, Priority, ProjectStatus
from web.board import conflicts, words
from web.board.api import ApiRefusal
from web.board.confirmations import Confirmation, pending_question
from web.board.conflicts import CONFLICT, Difference
from web.board.editing import budget_as_values, budget_of
from web.board.forms import Form
from web.board.visit import Visit

BASE = "/board/companies/{company_id:str}/structure"
COMPANY, FOLDERS, ENDPOINTS = "company", "folders", "webhook-endpoints"
BUDGET = "budget"  # a field of two inputs
Json = Mapping[str, Any]


class Field(NamedTuple):
    """A field of a form: its name in the API, what stands beside it, what one writes there or chooses from."""

    name: str
    label: str
    kind: Literal["text", "area", "words", "check", "date"] = "text"
    choices: Sequence[str] = ()
    of: str = ""  # the kind of things of which it names one
    is_required: bool = False
    hint: str = ""


class Action(NamedTuple):
    """What can be done with a thing by a button: its word, what it does, whether it cannot be undone, and the right to it."""

    word: str
    effect: str
    is_final: bool = False
    needs: str = "administer"


class Kind(NamedTuple):
    """A kind of things: what one is called, its fields, and the page that lists them."""

    word: str
    fields: Sequence[Field]
    place: str
    has_budget: bool = False
    needs: str = "administer"  # the right without which the form could not be sent


KINDS = {
    "projects": Kind(
        "project",
        (
            Field("name", "Name", is_required=True),
            Field("description", "Description", "area"),
            Field("status", "Status", choices=get_args(ProjectStatus)),
            Field("goalId", "Goal", of="goals"),
            Field("leadAgentId", "Led by", of="agents"),
            Field("targetDate", "Target date", "date"),
            Field("color", "Colour"),
        ),
        "structure",
    ),
    "goals": Kind(
        "goal",
        (
            Field("title", "Title", is_required=True),
            Field("description", "Description", "area"),
            Field("level", "Level", choices=get_args(GoalLevel)),
            Field("status", "Status", choices=get_args(GoalStatus)),
            Field("parentId", "Part of", of="goals"),
            Field("ownerAgentId", "Owned by", of="agents"),
        ),
        "structure",
    ),
    FOLDERS: Kind(
        "folder", (Field("name", "Name", is_required=True), Field("parentId", "Lies in", of=FOLDERS)), "structure"
    ),
    "agents": Kind(
        "agent",
        (
            Field("name", "Name", is_required=True),
            Field("role", "Role", choices=get_args(AgentRole)),
            Field("title", "Title"),
            Field("reportsTo", "Reports to", of="agents"),
            Field("heartbeatUrl", "Address that is told when work waits", hint="Empty: it asks by itself."),
        ),
        "people",
    ),
    "issues": Kind(
        "issue",
        (
            Field("title", "Title", is_required=True),
            Field("description", "Description: what is to be done", "area"),
            Field("priority", "Priority", choices=get_args(Priority)),
            Field("assigneeAgentId", "Agent", of="agents"),
            Field("projectId", "Project", of="projects"),
            Field("goalId", "Goal", of="goals"),
            Field("parentId", "Stands below the issue with this id"),
        ),
        "issues",
        needs="assign",
    ),
    ENDPOINTS: Kind(
        "endpoint",
        (
            Field("url", "Address", is_required=True),
            Field("events", "Events", "words", is_required=True, hint="Such as run.failed alert.* or *"),
            Field("description", "Note", "area"),
            Field("ordered", "Send one after the other, in the order of the log", "check"),
        ),
        "deliveries",
    ),
    COMPANY: Kind(
        "company",
        (Field("name", "Name", is_required=True), Field("description", "Description", "area")),
        "structure",
        has_budget=True,
    ),
}
USUAL = {
    "projects": {"status": "backlog"},
    "goals": {"level": "task", "status": "planned"},
    FOLDERS: dict[str, str](),
    "issues": {"priority": "medium"},
}  # what a form of a new thing begins with


@get(BASE, operation_id="boardStructure")
async def structure(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the projects, goals and folders of the company."""
    live = await visit.live()
    lists = {
        kind: await visit.listed("structure", kind, visit.api_path(kind)) for kind in ("projects", "goals", FOLDERS)
    }
    return visit.show(
        "structure.html",
        here="structure",
        live=live,
        lists=lists,
        projects=lists["projects"].rows,
        goals=lists["goals"].rows,
        folders=lists[FOLDERS].rows,
        agents=await visit.names("agents"),
        goal_titles=await visit.names("goals"),
        folder_names=await visit.names(FOLDERS),
    )


@get(f"{BASE}/{{kind:str}}/new", operation_id="boardNewThing")
async def new(visit: NamedDependency[Visit], kind: FromPath[str]) -> Response[Any]:
    """Show the form of a new project, goal, folder or issue."""
    kind_shown = _new(kind)
    await visit.must_have(kind_shown.needs)
    return await _form(visit, kind_shown, None, USUAL[kind], {})


@post(f"{BASE}/{{kind:str}}/new", operation_id="boardCreateThing")
async def create(visit: NamedDependency[Visit], kind: FromPath[str]) -> Response[Any]:
    """Create a project, a goal, a folder or an issue."""
    form, kind_shown = visit.form, _new(kind)
    await visit.must_have(kind_shown.needs)
    if errors := _wrong_dates(kind_shown, form, {}):
        return await _form(visit, kind_shown, None, _values(kind_shown, form), errors)
    try:
        resource = await visit.api.post(visit.api_path(kind), _body(kind_shown, form))
    except ApiRefusal as refusal:
        errors = refusal.by_field(_values(kind_shown, form))
        return await _form(visit, kind_shown, None, _values(kind_shown, form), errors)
    return visit.go(*_place_of(kind, resource), done="added")


@get(f"{BASE}/{{kind:str}}/{{id:str}}", operation_id="boardEditThing")
async def edit(visit: NamedDependency[Visit], kind: FromPath[str], id: FromPath[str]) -> Response[Any]:  # noqa: A002 as the path names it
    """Show the form of a thing as it is."""
    resource = await _thing(visit, kind, id)
    await visit.must_have(KINDS[kind].needs)
    return await _form(visit, KINDS[kind], resource, as_values(KINDS[kind], resource), {})


@post(f"{BASE}/{{kind:str}}/{{id:str}}", operation_id="boardSaveThing")
async def save(visit: NamedDependency[Visit], kind: FromPath[str], id: FromPath[str]) -> Response[Any]:  # noqa: A002 as the path names it
    """Save a thing; if it was changed meanwhile, show both versions."""
    position, errors = await visit.position(), dict[str, str]()
    resource = await _thing(visit, kind, id)
    kind_shown = KINDS[kind]
    await visit.must_have(kind_shown.needs)
    form = visit.form.beside(as_values(kind_shown, resource))
    values = _values(kind_shown, form)
    body = _body(kind_shown, form) | ({BUDGET: budget_of(form, errors)} if kind_shown.has_budget else {})
    errors |= _wrong_dates(kind_shown, form, as_values(kind_shown, resource))
    theirs = conflicts.differences(form, values, as_values(kind_shown, resource))
    if not errors and not theirs:
        try:
            with visit.api.unchanged_since(position):
                secret = await _change(visit, kind, resource, body)
        except ApiRefusal as refusal:
            errors = {_in_form(field): message for field, message in refusal.by_field(values).items()}
        else:
            return _secret(visit, secret) if secret else visit.go(*_place_of(kind, resource), done="thing")
    return await _form(visit, kind_shown, resource, values, errors, theirs)


@post(f"{BASE}/{{kind:str}}/{{id:str}}/action", operation_id="boardActOnThing")
async def act(visit: NamedDependency[Visit], kind: FromPath[str], id: FromPath[str]) -> Response[Any]:  # noqa: A002 as the path names it
    """Pause, resume, approve, end, archive or delete a thing, or make a new secret for its heartbeats."""
    resource = await _thing(visit, kind, id)
    await visit.must_have(KINDS[kind].needs)
    action, path = visit.form.one_of("action", list(_actions(kind, resource))), _path(visit, kind, resource)
    chosen = _actions(kind, resource)[action]
    await visit.must_have(chosen.needs)
    title = f"{chosen.word} the {KINDS[kind].word} “{_title(resource)}”?"
    confirmation = Confirmation(title, chosen.effect, chosen.word, visit.path("structure", kind, resource["id"]))
    if chosen.is_final and (question := pending_question(visit, confirmation)) is not None:
        return question
    try:
        answer = await (visit.api.delete(path) if action == "delete" else visit.api.post(f"{path}/{action}"))
    except ApiRefusal as refusal:
        return await _form(visit, KINDS[kind], resource, as_values(KINDS[kind], resource), refusal.by_field())
    if action == "rotate-heartbeat-secret":
        return _secret(visit, answer["heartbeatSecret"])
    return visit.go(KINDS[kind].place, done="removed" if action == "delete" else "thing")


def _title(resource: Json) -> str:
    return str(resource.get("title") or resource.get("name") or resource.get("url"))


def _place_of(kind: str, resource: Json) -> tuple[str, ...]:
    """Return the path of the page that shows a thing: that of an issue, or the list of its kind."""
    return ("issues", resource["id"]) if kind == "issues" else (KINDS[kind].place,)


def _new(kind: str) -> Kind:
    """Return a kind of which one can be made here. Raise NotFound for any other."""
    if kind not in USUAL:
        raise NotFound("There is no such form")
    return KINDS[kind]


async def _thing(visit: Visit, kind: str, id_: str) -> Json:
    """Return a thing of the company. Raise NotFound or ApiRefusal for any other."""
    match kind:
        case "folders":
            path, wanted_id = visit.api_path(FOLDERS), id_.lower()
            return await visit.one_of(path, lambda folder: folder["id"] == wanted_id, "Folder not found")
        case "webhook-endpoints":
            return dict(await visit.api.get(visit.api_path(kind, id_)))
        case "company" if visit.company is not None and id_.lower() == visit.company_id:
            return visit.company
        case "projects" | "goals" | "agents" | "issues":
            return dict(await visit.own(kind, id_))
        case _:
            raise NotFound("There is no such form")


def _path(visit: Visit, kind: str, resource: Json) -> str:
    """Return the path of a thing in the API."""
    match kind:
        case "company":
            return visit.api_path()
        case "folders" | "webhook-endpoints":
            return visit.api_path(kind, resource["id"])
        case _:
            return f"/{kind}/{resource['id']}"


async def _change(visit: Visit, kind: str, resource: Json, body: dict[str, Any]) -> str | None:
    """Change a thing. Return the secret that it got by that, if it did."""
    answer = await visit.api.patch(_path(visit, kind, resource), body)
    secret: str | None = answer.get("heartbeatSecret")
    return secret


def _secret(visit: Visit, secret: str) -> Response[Any]:
    return visit.show("token.html", here="people", title="The secret that signs what the agent is told", token=secret)


def _actions(kind: str, resource: Json) -> dict[str, Action]:
    """Return what can be done with a thing as it is, by the words of the API."""
    match kind, resource:
        case "projects", {"pausedAt": None}:
            pause = Action("Pause", "While it is paused, none of its routines begins work.")
            return {"pause": pause, "delete": Action("Delete", "Its issues stay.", is_final=True)}
        case "projects", _:
            return {
                "resume": Action("Resume", "Its routines go on with what is planned from now on."),
                "delete": Action("Delete", "Its issues stay.", is_final=True),
            }
        case "goals", _:
            return {"delete": Action("Delete", "What had this goal has none then.", is_final=True)}
        case "folders", _:
            return {"delete": Action("Delete", "It has to be empty.", is_final=True)}
        case "agents", {"status": "terminated"}:
            return {}
        case "agents", _:
            approve = (
                {"approve": Action("Approve", "It begins to work.")} if resource["status"] == "pending_approval" else {}
            )
            text = "What signs with the present secret is no longer believed; the new one is shown once."
            rotate = (
                {"rotate-heartbeat-secret": Action("New secret", text, is_final=True, needs="entrust")}
                if resource["heartbeatUrl"]
                else {}
            )
            end = Action("Terminate", "It works no more, its keys end, and it cannot be brought back.", is_final=True)
            return approve | rotate | {"terminate": end}
        case "company", {"status": "active"}:
            text = "Nothing in it runs or can be changed any more. It stays readable, and cannot be brought back."
            return {"archive": Action("Archive", text, is_final=True)}
        case _:
            return {}


async def _form(  # noqa: PLR0913, PLR0917 what the form shows
    visit: Visit,
    kind: Kind,
    resource: Json | None,
    values: Mapping[str, str],
    errors: Mapping[str, str],
    theirs: Sequence[Difference] = (),
) -> Response[Any]:
    options = {field.name: await _options(visit, field, resource) for field in kind.fields if field.choices or field.of}
    name = next(name for name, own in KINDS.items() if own is kind)
    actions = {} if resource is None else _actions(name, resource)
    return visit.show(
        "thing_form.html",
        status=CONFLICT if theirs else 422 if errors else 200,
        here=kind.place,
        kind=kind,
        kind_name=name,
        thing=resource,
        title="" if resource is None else _title(resource),
        options=options,
        values=values,
        errors=errors,
        theirs=conflicts.in_words(theirs, options),
        base=conflicts.base_after(visit.form, theirs, as_values(kind, resource)) if resource else "",
        actions={word: one for word, one in actions.items() if getattr(visit.rights, one.needs)},
        name_of_thing=words.spell_field,
    )


async def _options(visit: Visit, field: Field, resource: Json | None) -> list[tuple[str, str]]:
    """Return what one can choose from in a field. Nothing can be part of itself."""
    if field.choices:
        return [(word, word.replace("_", " ")) for word in field.choices]
    own_id = resource["id"] if resource else None
    return [("", "none")] + [option for option in await visit.choices(field.of) if option[0] != own_id]


def as_values(kind: Kind, resource: Json) -> dict[str, str]:
    """Return a thing as the fields of its form have it."""
    values = {field.name: _as_value(field, resource[field.name]) for field in kind.fields}
    return values | (budget_as_values(resource["budget"]) if kind.has_budget else {})


def _as_value(field: Field, value: Any) -> str:
    match field.kind:
        case "words":
            return " ".join(value)
        case "check":
            return "yes" if value else ""
        case _:
            return "" if value is None else str(value)


def _values(kind: Kind, form: Form) -> dict[str, str]:
    budget = ("maxCost", "windowSec") if kind.has_budget else ()
    return {name: form.text(name) for name in (*(field.name for field in kind.fields), *budget)}


def _body(kind: Kind, form: Form) -> dict[str, Any]:
    return {field.name: _of_body(field, form) for field in kind.fields}


def _of_body(field: Field, form: Form) -> Any:
    match field.kind:
        case "words":
            return form.text(field.name).replace(",", " ").split()
        case "check":
            return form.has(field.name)
        case "area":
            return form.text(field.name) or None
        case _:
            return form.text(field.name).strip() if field.is_required or field.choices else form.given(field.name)


def _wrong_dates(kind: Kind, form: Form, saved_values: Mapping[str, str]) -> dict[str, str]:
    """Return what stands beside a date that is none. The API takes any text for one, so such a text may be there already."""
    return {
        field.name: "This is no date: write it like 2026-11-30."
        for field in kind.fields
        if field.kind == "date" and form.given(field.name) and form.text(field.name) != saved_values.get(field.name)
        if not _is_date(form.text(field.name).strip())
    }


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _in_form(field: str) -> str:
    """Return the field of the form that a field of the API is."""
    return {"budget.maxCostMicros": "maxCost", "budget.windowSec": "windowSec"}.get(field, field.partition(".")[0])
