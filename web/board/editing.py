"""The form of a routine: to create one with its first schedule, and to edit one; a conflict shows both versions."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from domain.values import (
    ActivityGatePolicy,
    ActivityGateScope,
    CatchUpPolicy,
    ConcurrencyPolicy,
    FailureCause,
    IfUnanswered,
    Priority,
    VariableType,
)
from web.board import conflicts, environment, preview
from web.board.api import ApiRefusal
from web.board.conflicts import BASE, CONFLICT, Difference
from web.board.forms import Form, read_number
from web.board.variables import names_of
from web.board.visit import NEEDS, Visit

SPARE_VARIABLES = 2  # empty rows for further ones
MOST_VARIABLES = 200
# A number such as 1,204.5; elsewhere a comma stands for something else.
GROUPED = re.compile(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")
LARGEST = 10**12  # number of a field
Json = Mapping[str, Any]
TEXTS = (
    "title",
    "description",
    "priority",
    "concurrencyPolicy",
    "catchUpPolicy",
    "activityGatePolicy",
    "activityGateScope",
)
IDS = ("assigneeAgentId", "projectId", "goalId", "folderId", "parentIssueId")
RETRY = {"maxAttempts": int, "backoffSeconds": int, "backoffFactor": float, "maxBackoffSeconds": int}
PROBE = ("url", "status", "path", "equals", "ifUnanswered")
ALERTS = ("untakenAfterSec", "stuckAfterSec", "overdueAfterSec", "missedInARow")
CHOICES = {
    "priority": [(word, word) for word in get_args(Priority)],
    "concurrencyPolicy": [
        ("coalesce_if_active", "join it (coalesce_if_active)"),
        ("skip_if_active", "skip the new run (skip_if_active)"),
        ("always_enqueue", "open another issue (always_enqueue)"),
        ("cancel_previous", "cancel it and begin anew (cancel_previous)"),
    ],
    "catchUpPolicy": [
        ("skip_missed", "leave them out (skip_missed)"),
        ("enqueue_missed_with_cap", "run them later, up to a number (enqueue_missed_with_cap)"),
    ],
    "activityGatePolicy": [(word, word.replace("_", " ")) for word in get_args(ActivityGatePolicy)],
    "activityGateScope": [(word, word.replace("_", " ")) for word in get_args(ActivityGateScope)],
    "ifUnanswered": [(word, word) for word in get_args(IfUnanswered)],
    "variableType": [(word, word) for word in get_args(VariableType)],
    "retryOn": [(word, word.replace("_", " ")) for word in get_args(FailureCause)],
}
for _name, _policy in (("concurrencyPolicy", ConcurrencyPolicy), ("catchUpPolicy", CatchUpPolicy)):
    _known = {word for word, _ in CHOICES[_name]}
    CHOICES[_name] += [(word, word) for word in get_args(_policy) if word not in _known]


@get("/board/companies/{company_id:str}/routines/new", operation_id="boardNewRoutine", opt={NEEDS: "assign"})
async def new(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the empty form."""
    values = {"priority": "medium", "concurrencyPolicy": "coalesce_if_active", "catchUpPolicy": "skip_missed"}
    values |= {"cronExpression": "0 9 * * 1-5", "timezone": visit.zone}
    return await _show_form(visit, None, values, {})


@post("/board/companies/{company_id:str}/routines/new", operation_id="boardCreateRoutine", opt={NEEDS: "assign"})
async def create(visit: NamedDependency[Visit]) -> Response[Any]:
    """Create a routine, with a schedule if one is given."""
    form = visit.form
    errors: dict[str, str] = {}
    body = _read_body(form, errors)
    if form.given("cronExpression"):
        schedule = {
            "kind": "schedule",
            "cronExpression": form.text("cronExpression"),
            "timezone": form.text("timezone").strip() or "UTC",
        }
        body["triggers"] = [schedule]
    if not errors and not form.has("check"):
        try:
            routine = await visit.api.post(visit.api_path("routines"), body)
        except ApiRefusal as refusal:
            errors = _beside_fields(form, refusal)
        else:
            return visit.go("routines", routine["id"], done="created")
    return await _show_form(visit, None, _typed_values(form), errors, checked_form=form)


@get(
    "/board/companies/{company_id:str}/routines/{routine_id:str}/edit",
    operation_id="boardEditRoutine",
    opt={NEEDS: "assign"},
)
async def edit(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Show the form with the routine as it is."""
    routine = await visit.own("routines", routine_id)
    return await _show_form(visit, routine, as_values(routine), {})


@post(
    "/board/companies/{company_id:str}/routines/{routine_id:str}/edit",
    operation_id="boardSaveRoutine",
    opt={NEEDS: "assign"},
)
async def save(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Save the routine; if it was changed meanwhile, show what differs, and keep what was typed."""
    errors: dict[str, str] = {}
    routine = await visit.own("routines", routine_id)
    form = visit.form.beside(as_values(routine))
    body = _read_body(form, errors) | {"baseRevisionId": form.given(BASE)}
    if errors:
        return await _show_form(visit, routine, _typed_values(form), errors)
    try:
        saved_routine = await visit.api.patch(f"/routines/{routine_id}", body)
    except ApiRefusal as refusal:
        errors = _beside_fields(form, refusal)
        theirs: list[Difference] = []
        if refusal.status == CONFLICT and routine["latestRevisionId"] != form.text(BASE):
            theirs, errors = conflicts.changed_fields(_typed_values(form), as_values(routine)), {}
        return await _show_form(
            visit, routine, _typed_values(form), errors, theirs=theirs, status=refusal.status if theirs else 422
        )
    is_same = saved_routine["latestRevisionId"] == form.text(BASE)
    return visit.go("routines", routine_id, done="same" if is_same else "saved")


async def _show_form(  # noqa: PLR0913 what the form shows
    visit: Visit,
    routine: Json | None,
    values: Mapping[str, str],
    errors: Mapping[str, str],
    *,
    theirs: Sequence[Difference] = (),
    status: int = 200,
    checked_form: Form | None = None,
) -> Response[Any]:
    options = {}
    for field, kind in (
        ("assigneeAgentId", "agents"),
        ("projectId", "projects"),
        ("goalId", "goals"),
        ("folderId", "folders"),
    ):
        options[field] = [("", "none"), *await visit.choices(kind)]
    count = sum(1 for name in values if name.startswith("variables.") and name.endswith(".name"))
    shown_form = checked_form or Form({name: [value] for name, value in values.items()})
    plan = await preview.of_form(visit, shown_form) if routine is None and not errors else None
    return visit.show(
        "routine_form.html",
        status=status if status != 200 or not errors else 422,  # noqa: PLR2004
        here="routines",
        routine=routine,
        values=values,
        errors=errors,
        theirs=conflicts.in_words(theirs, {**CHOICES, **options}),
        base=_base(visit.form, routine, theirs) if routine else "",
        options=options,
        choices=CHOICES,
        env_rows=environment.rows_of(values),
        env_types=environment.TYPES,
        company_variables=await names_of(visit),
        variable_rows=range(min(count + SPARE_VARIABLES, MOST_VARIABLES)),
        preview=plan,
        presets=preview.PRESETS,
    )


def _base(form: Form, routine: Json, theirs: Sequence[Difference]) -> str:
    """Return the revision that the form rests on: until a later one was shown, the one that it was opened with."""
    return str(routine["latestRevisionId"]) if theirs or not form.has(BASE) else form.text(BASE)


def as_values(routine: Json) -> dict[str, str]:
    """Return a routine as the fields of the form have it."""
    values = {name: _field_text(routine[name]) for name in (*TEXTS, *IDS, "maxRunDurationSec")}
    retry, alerts, budget = routine["retryPolicy"], routine["alertBounds"], routine["budget"]
    values["retry"] = "yes" if retry else ""
    values |= {f"retryPolicy.{name}": _field_text(retry[name]) for name in RETRY} if retry else {}
    values |= {f"retryOn.{cause}": "yes" for cause in retry["retryOn"]} if retry else {}
    values |= {f"alertBounds.{name}": _field_text(alerts[name]) for name in ALERTS}
    values |= budget_as_values(budget) | _probe_as_values(routine["probe"])
    values |= environment.as_values(routine["env"])
    for index, variable in enumerate(routine["variables"]):
        row = f"variables.{index}."
        values |= {f"{row}{name}": _field_text(variable[name]) for name in ("name", "label", "type", "defaultValue")}
        values |= {
            f"{row}required": "yes" if variable["required"] else "",
            f"{row}options": ", ".join(variable["options"]),
        }
    return values


def _probe_as_values(probe: Json | None) -> dict[str, str]:
    if probe is None:
        return {}
    values = {f"probe.{name}": _field_text(probe[name]) for name in ("url", "status", "ifUnanswered")}
    if (condition := probe["json"]) is not None:
        expected = condition["equals"]
        is_plain = isinstance(expected, str) and _json_of(expected) == expected
        values |= {"probe.path": condition["path"], "probe.equals": expected if is_plain else json.dumps(expected)}
    return values


def _json_of(text: str) -> Any:
    """Return the value that a text is as JSON: a number, true, false, null or a text in quotes; else the text itself."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, list | dict) else value


def _field_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _typed_values(form: Form) -> dict[str, str]:
    """Return what was typed, so that nothing of it is lost."""
    names = [*TEXTS, *IDS, "maxRunDurationSec", "retry", "maxCost", "windowSec", "cronExpression", "timezone"]
    names += [f"retryPolicy.{name}" for name in RETRY] + [f"retryOn.{cause}" for cause, _ in CHOICES["retryOn"]]
    names += [f"alertBounds.{name}" for name in ALERTS] + [f"probe.{name}" for name in PROBE]
    values = {name: form.text(name) for name in names if form.has(name)} | environment.typed_values(form)
    for index in range(MOST_VARIABLES):
        row = f"variables.{index}."
        if not form.has(f"{row}name"):
            break
        if _is_filled(form, row):
            values |= {
                f"{row}{name}": form.text(f"{row}{name}")
                for name in ("name", "label", "type", "defaultValue", "required", "options")
            }
    return values


def _read_body(form: Form, errors: dict[str, str]) -> dict[str, Any]:
    """Return the body of the API, and note what is no number."""
    body: dict[str, Any] = {name: form.text(name) for name in TEXTS if form.has(name)}
    body["description"] = form.text("description") or None
    body |= {name: form.given(name) for name in IDS if form.has(name)}
    body["maxRunDurationSec"] = _read_number_field(form, "maxRunDurationSec", errors)
    body["alertBounds"] = {name: _read_number_field(form, f"alertBounds.{name}", errors) for name in ALERTS}
    if form.has("retry"):
        numbers = {name: _read_number_field(form, f"retryPolicy.{name}", errors, kind) for name, kind in RETRY.items()}
        causes = [cause for cause, _ in CHOICES["retryOn"] if form.has(f"retryOn.{cause}")]
        body["retryPolicy"] = {name: value for name, value in numbers.items() if value is not None} | {
            "retryOn": causes
        }
    else:
        body["retryPolicy"] = None
    body["budget"] = budget_of(form, errors)
    body["probe"] = _read_probe(form, errors) if form.given("probe.url") else None
    body["variables"] = _read_variables(form, errors)
    return body | environment.body(form, errors)


def budget_as_values(budget: Json | None) -> dict[str, str]:
    """Return a budget as the fields of a form have it."""
    if budget is None:
        return {"maxCost": "", "windowSec": ""}
    return {
        "maxCost": f"{budget['maxCostMicros'] / 1_000_000:.6f}".rstrip("0").rstrip("."),
        "windowSec": _field_text(budget["windowSec"]),
    }


def budget_of(form: Form, errors: dict[str, str]) -> dict[str, Any] | None:
    """Return the budget that a form has, as the API takes it, and note what is no number; None if nothing is filled in."""
    cost, window = _read_number_field(form, "maxCost", errors, float), _read_number_field(form, "windowSec", errors)
    if cost is None and window is None:
        return None
    return {"maxCostMicros": None if cost is None else round(cost * 1_000_000), "windowSec": window}


def _read_probe(form: Form, errors: dict[str, str]) -> dict[str, Any]:
    path, expected = form.given("probe.path"), form.text("probe.equals").strip()
    if expected and path is None:
        errors["probe.path"] = "Say where in the answer this value is wanted."
    return {
        "url": form.text("probe.url").strip(),
        "status": _read_number_field(form, "probe.status", errors),
        "json": None if path is None else {"path": path, "equals": _json_of(expected)},
        "ifUnanswered": form.text("probe.ifUnanswered") or "skip",
    }


def _read_number_field(form: Form, name: str, errors: dict[str, str], kind: type = int) -> Any:
    text = form.given(name)
    if text is None:
        return None
    try:
        number = kind(text if GROUPED.fullmatch(text) is None else text.replace(",", ""))
    except ValueError:
        errors[name] = "This is no whole number." if kind is int else "This is no number."
        return None
    if not abs(number) <= LARGEST:  # nor is what is not a number
        errors[name] = "This is too large, or no number."
        return None
    return number


def _read_variables(form: Form, errors: dict[str, str]) -> list[dict[str, Any]]:
    variables = []
    for index in range(MOST_VARIABLES):
        row = f"variables.{index}."
        if not form.has(f"{row}name"):
            break
        name, default = form.given(f"{row}name"), form.text(f"{row}defaultValue")
        if not _is_filled(form, row):
            continue
        kind = form.text(f"{row}type") or "text"
        variables.append(
            {
                "name": name or "",
                "label": form.given(f"{row}label"),
                "type": kind,
                "defaultValue": _read_default(default, kind, f"{row}defaultValue", errors),
                "required": form.has(f"{row}required") and bool(form.text(f"{row}required")),
                "options": [part.strip() for part in form.text(f"{row}options").split(",") if part.strip()],
            }
        )
    return variables


def _is_filled(form: Form, row: str) -> bool:
    """Return whether anything is typed in the row of a variable; an empty one is none."""
    return any(form.given(f"{row}{name}") for name in ("name", "label", "defaultValue", "options"))


def _read_default(text: str, kind: str, name: str, errors: dict[str, str]) -> Any:
    if text == "":
        return None
    if kind == "number":
        try:
            return read_number(text)
        except ValueError:
            errors[name] = "This is no number."
            return None
    if kind == "boolean":
        if text.strip().lower() in ("true", "false"):
            return text.strip().lower() == "true"
        errors[name] = "Write true or false."
        return None
    return text


def _beside_fields(form: Form, refusal: ApiRefusal) -> dict[str, str]:
    """Return what the API says by the fields of the form, which may have empty rows before a variable."""
    rows = [f"variables.{index}." for index in range(MOST_VARIABLES) if _is_filled(form, f"variables.{index}.")]
    errors = {_in_form(field, rows): message for field, message in refusal.by_field((*TEXTS, *IDS)).items()}
    return environment.beside_rows(form, errors)


def _in_form(field: str, rows: Sequence[str]) -> str:
    """Return the field of the form that a field of the API is; the variables that it is sent are in these rows."""
    if field.startswith("triggers.0."):
        return field.removeprefix("triggers.0.")
    match field.split("."):
        case ["variables", index, name, *_] if index.isdecimal() and int(index) < len(rows):
            return f"{rows[int(index)]}{name}"
    return {
        "budget.maxCostMicros": "maxCost",
        "budget.windowSec": "windowSec",
        "retryPolicy.retryOn": "retryPolicy.maxAttempts",
        "probe.json.path": "probe.path",
        "probe.json.equals": "probe.equals",
    }.get(field, field)
