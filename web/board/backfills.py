"""Backfills of a schedule: what one would fire, beginning it, its progress, and cancelling it."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from web.board import words
from web.board.api import NOT_FOUND, ApiRefusal
from web.board.confirmations import Confirmation, pending_question
from web.board.triggers import own_trigger
from web.board.visit import NEEDS, Visit

BASE = "/board/companies/{company_id:str}/routines/{routine_id:str}/triggers/{trigger_id:str}/backfills"
OVERLAPS = [("one_at_a_time", "one after the other"), ("policy", "all at once, by the policy of the routine")]
Json = Mapping[str, Any]


@get(BASE, operation_id="boardBackfills")
async def backfills(
    visit: NamedDependency[Visit], routine_id: FromPath[str], trigger_id: FromPath[str]
) -> Response[Any]:
    """Show the backfills of a schedule, and the form of a new one."""
    return await _show_page(visit, routine_id, trigger_id, {}, {})


async def _show_page(  # noqa: PLR0913, PLR0917 what the page shows
    visit: Visit,
    routine_id: str,
    trigger_id: str,
    values: Mapping[str, str],
    errors: Mapping[str, str],
    plan: Json | None = None,
) -> Response[Any]:
    live = await visit.live(trigger=trigger_id)
    trigger = await own_trigger(visit, routine_id, trigger_id)
    query, place = {"cursor": visit.parameter("cursor")}, ("routines", routine_id, "triggers", trigger_id, "backfills")
    answer = await visit.api.page(f"/routine-triggers/{trigger_id}/backfills", query)
    return visit.show(
        "backfills.html",
        status=422 if errors else 200,
        here="routines",
        live=live,
        routine=await visit.own("routines", routine_id),
        trigger=trigger,
        zone=trigger["timezone"] or "UTC",
        backfills=answer.value,
        following=visit.path(*place, query={"cursor": answer.next_cursor}) if answer.next_cursor else None,
        overlaps=OVERLAPS,
        values=values,
        errors=errors,
        preview=plan,
    )


@post(BASE, operation_id="boardBackfill", opt={NEEDS: "assign"})
async def begin(visit: NamedDependency[Visit], routine_id: FromPath[str], trigger_id: FromPath[str]) -> Response[Any]:
    """Show what a backfill would fire, and begin it once that is confirmed."""
    form = visit.form
    trigger = await own_trigger(visit, routine_id, trigger_id)
    zone, errors = trigger["timezone"] or "UTC", dict[str, str]()
    values = {name: form.text(name) for name in ("from", "to", "overlap")}
    body: dict[str, Any] = {"overlap": values["overlap"] or "one_at_a_time"}
    for name in ("from", "to"):
        if (moment := words.read_field(values[name], zone, name, errors)) is not None:
            body[name] = moment
    plan = None
    if not errors:
        try:
            if form.has("confirmed"):
                await visit.api.post(f"/routine-triggers/{trigger_id}/backfills", body)
                return visit.go("routines", routine_id, "triggers", trigger_id, "backfills", done="begun")
            plan = await visit.api.post(f"/routine-triggers/{trigger_id}/backfills/preview", body)
        except ApiRefusal as refusal:
            errors = refusal.by_field()
    return await _show_page(visit, routine_id, trigger_id, values, errors, plan)


@post(f"{BASE}/{{backfill_id:str}}/cancel", operation_id="boardCancelBackfill", opt={NEEDS: "assign"})
async def cancel(
    visit: NamedDependency[Visit],
    routine_id: FromPath[str],
    trigger_id: FromPath[str],
    backfill_id: FromPath[str],
) -> Response[Any]:
    """Cancel a backfill; what it has fired stays."""
    trigger = await own_trigger(visit, routine_id, trigger_id)
    backfill = await visit.own("routine-backfills", backfill_id)
    if backfill["triggerId"] != trigger["id"]:
        raise ApiRefusal(NOT_FOUND, "Backfill not found", None, {})
    occurrences = words.count_noun(backfill["count"], "occurrence")
    consequence = f"What it has run of its {occurrences} stays; it runs no more. Another backfill can run the rest."
    back = visit.path("routines", routine_id, "triggers", trigger_id, "backfills")
    confirmation = Confirmation("Cancel this backfill?", consequence, "Cancel the backfill", back)
    if (question := pending_question(visit, confirmation)) is not None:
        return question
    await visit.api.post(f"/routine-backfills/{backfill_id}/cancel")
    return visit.go("routines", routine_id, "triggers", trigger_id, "backfills", done="cancelled")
