"""The forms of triggers: schedules, webhooks with their secrets shown once, chains; rotation, samples, deletion."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from domain.values import ChainOutcome, SigningMode
from web.board import conflicts, preview, words
from web.board.api import ApiRefusal
from web.board.confirmations import Confirmation, pending_question
from web.board.conflicts import CONFLICT, Difference
from web.board.forms import Form, whole_number, without_credentials
from web.board.visit import NEEDS, Visit

MOST_ROUTINES = 200  # of which a form offers one
KINDS = {"schedule": "Schedule", "webhook": "Webhook", "chain": "After another routine", "api": "Named by the API"}
SIGNING = [
    ("bearer", "the secret itself, as a bearer token"),
    ("github_hmac", "GitHub's signature"),
    ("standard_webhooks", "Standard Webhooks"),
    ("hmac_sha256", "HMAC-SHA256 with a timestamp"),
    ("none", "nothing: whoever knows the address may call it"),
]
SIGNING += [(mode, mode) for mode in get_args(SigningMode) if mode not in dict(SIGNING)]
OUTCOMES = [(outcome, outcome.replace("_", " ")) for outcome in get_args(ChainOutcome)]
OVERLAPS = [("0", "no longer"), ("3600", "1 hour more"), ("86400", "24 hours more")]
BASE = "/board/companies/{company_id:str}/routines/{routine_id:str}/triggers"
Json = Mapping[str, Any]
MOMENTS = ("runAt", "startsAt", "endsAt")
FIELDS = {  # of the form of each kind, beside its label and whether it is enabled
    "schedule": ("cronExpression", "timezone", *MOMENTS, "excludedDates", "jitterSec"),
    "webhook": ("signingMode", "replayWindowSec"),
    "chain": ("afterRoutineId", "afterOutcome"),
    "api": (),
}


@get(f"{BASE}/new", operation_id="boardNewTrigger", opt={NEEDS: "assign"})
async def new(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Show the form of a new trigger of a kind."""
    kind = visit.parameter("kind") if visit.parameter("kind") in KINDS else "schedule"
    values = {"cronExpression": "0 9 * * 1-5", "timezone": visit.zone, "enabled": "yes", "signingMode": "bearer"}
    return await _show_form(visit, routine_id, None, kind, values | {"replayWindowSec": "300", "jitterSec": "0"}, {})


@post(f"{BASE}/new", operation_id="boardCreateTrigger", opt={NEEDS: "assign"})
async def create(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Create a trigger; show the secret of a webhook, once."""
    form = visit.form
    kind, errors = form.one_of("kind", tuple(KINDS)), dict[str, str]()
    await visit.own("routines", routine_id)
    body = _read_body(form, kind, errors)
    if not errors and not form.has("check"):
        try:
            answer = await visit.api.post(f"/routines/{routine_id}/triggers", {"kind": kind, **body})
        except ApiRefusal as refusal:
            errors = _beside_fields(refusal)
        else:
            return await _show_saved(visit, routine_id, answer["trigger"], answer["secretMaterial"])
    return await _show_form(visit, routine_id, None, kind, _typed_values(form, kind), errors, checked_form=form)


@get(f"{BASE}/{{trigger_id:str}}", operation_id="boardEditTrigger", opt={NEEDS: "assign"})
async def edit(visit: NamedDependency[Visit], routine_id: FromPath[str], trigger_id: FromPath[str]) -> Response[Any]:
    """Show the form of a trigger as it is."""
    trigger = await own_trigger(visit, routine_id, trigger_id)
    return await _show_form(visit, routine_id, trigger, trigger["kind"], as_values(trigger), {})


@post(f"{BASE}/{{trigger_id:str}}", operation_id="boardSaveTrigger", opt={NEEDS: "assign"})
async def save(visit: NamedDependency[Visit], routine_id: FromPath[str], trigger_id: FromPath[str]) -> Response[Any]:
    """Save a trigger and show the new secret of a webhook that needed one; if it was changed meanwhile, show both versions."""
    position = await visit.position()
    trigger, errors = await own_trigger(visit, routine_id, trigger_id), dict[str, str]()
    form = visit.form.beside(as_values(trigger))
    kind, values = trigger["kind"], _typed_values(form, trigger["kind"])
    body = _read_body(form, kind, errors)
    theirs = conflicts.differences(form, values, as_values(trigger))
    if not errors and not theirs and not form.has("check"):
        try:
            with visit.api.unchanged_since(position):
                answer = await visit.api.patch(f"/routine-triggers/{trigger_id}", body)
        except ApiRefusal as refusal:
            errors = _beside_fields(refusal)
        else:
            return await _show_saved(visit, routine_id, answer, answer.get("secretMaterial"))
    return await _show_form(visit, routine_id, trigger, kind, values, errors, checked_form=form, theirs=theirs)


@post(f"{BASE}/{{trigger_id:str}}/rotate", operation_id="boardRotateSecret", opt={NEEDS: "assign"})
async def rotate(visit: NamedDependency[Visit], routine_id: FromPath[str], trigger_id: FromPath[str]) -> Response[Any]:
    """Make a new secret and show it, once; the old one goes on for the overlap that was chosen."""
    form = visit.form
    await own_trigger(visit, routine_id, trigger_id)
    body = {"overlapSec": int(form.one_of("overlap", [seconds for seconds, _ in OVERLAPS]))}
    answer = await visit.api.post(f"/routine-triggers/{trigger_id}/rotate-secret", body)
    return await _show_saved(visit, routine_id, answer["trigger"], answer["secretMaterial"])


@post(f"{BASE}/{{trigger_id:str}}/delete", operation_id="boardDeleteTrigger", opt={NEEDS: "assign"})
async def delete(visit: NamedDependency[Visit], routine_id: FromPath[str], trigger_id: FromPath[str]) -> Response[Any]:
    """Delete a trigger. An older revision brings it back."""
    trigger = await own_trigger(visit, routine_id, trigger_id)
    title = f"Delete the trigger “{_name(trigger)}”?"
    consequence = "An older revision of the routine brings it back; a webhook then has a new address and secret."
    back = visit.path("routines", routine_id, "triggers", trigger_id)
    if (question := pending_question(visit, Confirmation(title, consequence, "Delete it", back))) is not None:
        return question
    await visit.api.delete(f"/routine-triggers/{trigger_id}")
    return visit.go("routines", routine_id, done="deleted")


@post(f"{BASE}/{{trigger_id:str}}/sample", operation_id="boardTrySample", status_code=200, opt={NEEDS: "assign"})
async def try_sample(
    visit: NamedDependency[Visit], routine_id: FromPath[str], trigger_id: FromPath[str]
) -> Response[Any]:
    """Say what would become of a call of the webhook, and start nothing."""
    form = visit.form
    trigger = await own_trigger(visit, routine_id, trigger_id)
    headers = dict(_parse_header(line) for line in form.text("headers").split("\n") if ":" in line)
    try:
        verdict = await visit.api.post(
            f"/routine-triggers/{trigger_id}/test", {"headers": headers, "body": form.text("body")}
        )
    except ApiRefusal as refusal:
        verdict = {"error": "; ".join(refusal.by_field().values()), "status": refusal.status}
    values = as_values(trigger) | {"headers": without_credentials(form.text("headers")), "body": form.text("body")}
    return await _show_form(visit, routine_id, trigger, trigger["kind"], values, {}, verdict=verdict)


def _parse_header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _name(trigger: Json) -> str:
    return str(trigger["label"] or trigger["cronExpression"] or trigger["kind"])


async def own_trigger(visit: Visit, routine_id: str, trigger_id: str) -> Json:
    """Return a trigger of a routine of this company. Raise ApiRefusal for any other."""
    routine = await visit.own("routines", routine_id)
    trigger = next((one for one in routine["triggers"] if one["id"] == trigger_id), None)
    if trigger is None:
        raise ApiRefusal(404, "Routine trigger not found", None, {})
    return dict(trigger)


async def _show_saved(visit: Visit, routine_id: str, trigger: Json, material: Json | None) -> Response[Any]:
    if material is None:
        return visit.go("routines", routine_id, done="trigger")
    routine = await visit.own("routines", routine_id)
    return visit.show("secrets.html", here="routines", routine=routine, materials=[material], trigger=trigger)


async def _show_form(  # noqa: PLR0913, PLR0917 what the form shows
    visit: Visit,
    routine_id: str,
    trigger: Json | None,
    kind: str,
    values: Mapping[str, str],
    errors: Mapping[str, str],
    *,
    checked_form: Form | None = None,
    verdict: Json | None = None,
    theirs: Sequence[Difference] = (),
) -> Response[Any]:
    routine = await visit.own("routines", routine_id)
    is_chain, filters = kind == "chain", {"limit": MOST_ROUTINES, "status": "active,paused"}
    other_routines = await visit.choices("routines", filters) if is_chain else []
    plan = None
    if kind == "schedule" and not errors:
        shown_form = checked_form or Form({name: [value] for name, value in values.items()})
        body = preview.schedule_of(shown_form, {})
        if body.get("cronExpression") or body.get("runAt"):
            plan = await preview.of_schedule(visit, body, routine_id, trigger)
    options = {
        "signingMode": SIGNING,
        "afterOutcome": OUTCOMES,
        "afterRoutineId": [option for option in other_routines if option[0] != routine_id],
    }
    return visit.show(
        "trigger_form.html",
        status=CONFLICT if theirs else 422 if errors else 200,
        here="routines",
        routine=routine,
        trigger=trigger,
        kind=kind,
        kinds=KINDS,
        values=values,
        errors=errors,
        theirs=conflicts.in_words(theirs, options),
        base=conflicts.base_after(visit.form, theirs, as_values(trigger)) if trigger else "",
        signing=SIGNING,
        outcomes=OUTCOMES,
        others=options["afterRoutineId"],
        preview=plan,
        presets=preview.PRESETS,
        verdict=verdict,
        overlaps=OVERLAPS,
    )


def _beside_fields(refusal: ApiRefusal) -> dict[str, str]:
    """Return the messages by field. What the API says of a schedule as a whole stands beside the field that it speaks of."""
    return refusal.by_field(FIELDS["schedule"])


def as_values(trigger: Json) -> dict[str, str]:
    """Return a trigger as the fields of the form have it."""
    names = ("label", *FIELDS[trigger["kind"]])
    values = {name: "" if trigger.get(name) is None else str(trigger[name]) for name in names}
    if trigger["kind"] == "schedule":
        zone = trigger["timezone"] or "UTC"
        values |= {name: words.exact_local_text(words.parse(trigger[name]), zone) for name in MOMENTS}
        values["excludedDates"] = " ".join(trigger["excludedDates"])
    return values | {"enabled": "yes" if trigger["enabled"] else ""}


def _typed_values(form: Form, kind: str) -> dict[str, str]:
    return {name: form.text(name) for name in ("label", *FIELDS[kind], "enabled")}


def _read_body(form: Form, kind: str, errors: dict[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {"label": form.given("label"), "enabled": form.has("enabled")}
    if kind == "schedule":
        return body | preview.schedule_of(form, errors)
    if kind == "webhook":
        body["signingMode"] = form.text("signingMode")
        body["replayWindowSec"] = whole_number(form.given("replayWindowSec") or "300")
        if body["replayWindowSec"] is None:
            errors["replayWindowSec"] = "This is no whole number of seconds."
    if kind == "chain":
        body |= {"afterRoutineId": form.text("afterRoutineId"), "afterOutcome": form.text("afterOutcome")}
    return body
