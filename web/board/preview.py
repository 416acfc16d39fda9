"""What a schedule would do, as one types it: in words, its next times, clock changes, and what it adds and takes away."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from litestar import Response, post
from litestar.di import NamedDependency

from web.board import words
from web.board.api import ApiRefusal
from web.board.forms import Form, whole_number
from web.board.visit import Visit

SHOWN, COUNTED = 10, 1_000
PREVIEWED = timedelta(days=7)
PRESETS = [
    ("Every hour", "0 * * * *"),
    ("Every 15 minutes", "*/15 * * * *"),
    ("Every day at 9", "0 9 * * *"),
    ("Weekdays at 9", "0 9 * * 1-5"),
    ("Mondays at 9", "0 9 * * 1"),
    ("The first of the month", "0 9 1 * *"),
]
Json = Mapping[str, Any]


@post("/board/companies/{company_id:str}/schedule-preview", operation_id="boardPreview", status_code=200)
async def fragment(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show what the schedule of a form would do."""
    form = visit.form
    return visit.show("preview.html", preview=await of_form(visit, form))


async def of_form(visit: Visit, form: Form) -> dict[str, Any] | None:
    """Return what the schedule of a form would do; None if it has none."""
    errors: dict[str, str] = {}
    body = schedule_of(form, errors)
    if errors:
        return {"valid": False, "reason": next(iter(errors.values()))}
    if not body.get("cronExpression") and not body.get("runAt"):
        return None
    before = await _find_trigger(visit, form.text("routine"), form.text("trigger"))
    return await of_schedule(visit, body, form.given("routine"), before)


async def _find_trigger(visit: Visit, routine_id: str, trigger_id: str) -> Json | None:
    if not routine_id or not trigger_id:
        return None
    routine = await visit.own("routines", routine_id)
    return next((one for one in routine["triggers"] if one["id"] == trigger_id), None)


async def of_schedule(visit: Visit, body: Json, routine_id: str | None, before: Json | None) -> dict[str, Any]:
    """Return what a schedule would do, and how that differs from what the trigger does now."""
    request = {name: value for name, value in body.items() if value not in (None, [])}
    request |= {"count": COUNTED, "from": words.utc_text(visit.now)} | ({"routineId": routine_id} if routine_id else {})
    try:
        result = await visit.api.post("/schedule/preview", request)
    except ApiRefusal as refusal:
        return {"valid": False, "reason": "; ".join(refusal.by_field().values())}
    result_fields = dict(result)
    zone = str(body.get("timezone") or "UTC")
    result_fields["zone"] = zone
    until = words.utc_text(visit.now + PREVIEWED)
    after = {moment["at"] for moment in result["times"] if moment["at"] <= until}
    result_fields["times"] = result["times"][:SHOWN]
    result_fields["effect"] = _describe_effect(
        after, await _present_moments(visit, before, until), is_new=before is None
    )
    return result_fields


async def _present_moments(visit: Visit, trigger: Json | None, until: str) -> set[str]:
    """Return the moments that a trigger has in the next days as it is."""
    if trigger is None or not trigger["enabled"]:
        return set()
    names = ("cronExpression", "timezone", "runAt", "startsAt", "endsAt", "excludedDates", "jitterSec")
    request = {name: trigger[name] for name in names if trigger[name] not in (None, [])}
    try:
        result = await visit.api.post(
            "/schedule/preview", request | {"count": COUNTED, "from": words.utc_text(visit.now)}
        )
    except ApiRefusal:
        return set()
    return {moment["at"] for moment in result["times"] if moment["at"] <= until}


def _describe_effect(after: set[str], before: set[str], *, is_new: bool) -> str:
    """Return what changes in the next seven days, as a sentence."""
    if len(after) >= COUNTED or len(before) >= COUNTED:
        return f"In the next 7 days it fires {COUNTED:,} times or more."
    if is_new:
        return f"In the next 7 days it fires {words.count_noun(len(after), 'time')}."
    added_count, removed_count = len(after - before), len(before - after)
    if not added_count and not removed_count:
        return "In the next 7 days nothing changes."
    return f"In the next 7 days it adds {words.count_noun(added_count, 'firing')} and takes away {words.count_noun(removed_count, 'firing')}."


def schedule_of(form: Form, errors: dict[str, str]) -> dict[str, Any]:
    """Return the schedule of a form as the API has it, and note what is no time or number."""
    zone = form.given("timezone") or "UTC"
    body: dict[str, Any] = {"cronExpression": form.given("cronExpression"), "timezone": zone}
    for name in ("runAt", "startsAt", "endsAt"):
        body[name] = words.read_field(form.text(name), zone, name, errors)
    body["excludedDates"] = form.text("excludedDates").replace(",", " ").split()
    body["jitterSec"] = whole_number(form.given("jitterSec") or "0")
    if body["jitterSec"] is None:
        errors["jitterSec"] = "This is no whole number of seconds."
    return body
