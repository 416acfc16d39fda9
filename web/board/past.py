"""A routine as it was at a moment, and what has become different of it since, by whom."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from web.board import differences, environment, schedules, words
from web.board.api import ApiRefusal
from web.board.differences import Change
from web.board.forms import whole_number
from web.board.routine import RUNS, took, with_names
from web.board.visit import Visit

USUAL = timedelta(days=1)
UNREADABLE = "This is no time in {zone}, and no position of the log: write it like 2026-11-30 09:00, or 48211."
Json = Mapping[str, Any]


@get("/board/companies/{company_id:str}/routines/{routine_id:str}/past", operation_id="boardPastRoutine")
async def past_routine(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Show a routine as it was at a time or at a position of the log, beside what differs now."""
    routine = await visit.own("routines", routine_id)
    text, error, was, rows = visit.parameter("at").strip(), "", None, []
    if text:
        moment = _read_moment(text, visit.zone)
        error = "" if moment else UNREADABLE.format(zone=visit.zone)
        try:
            was = await visit.api.get(f"/routines/{routine_id}", {"asOf": moment}) if moment else None
            rows = (
                await _difference_rows(visit, await visit.api.get(f"/routines/{routine_id}/diff", {"from": moment}))
                if was
                else []
            )
        except ApiRefusal as refusal:
            was, error = None, "; ".join(refusal.by_field().values())
    return visit.show(
        "past.html",
        status=422 if error else 200,
        here="routines",
        routine=routine,
        at=text or words.local_text(visit.now - USUAL, visit.zone),
        error=error,
        was=was,
        runs=was["recentRuns"][:RUNS] if was else [],
        rows=rows,
        in_words=schedules.in_words,
        took=took,
    )


def _read_moment(text: str, zone: str) -> str | None:
    """Return the moment as the API reads it: a position as it stands, a time in UTC; None for neither."""
    if whole_number(text) is not None:
        return text
    moment = words.read_local(text, zone)
    return words.utc_text(moment) if moment else None


async def _difference_rows(visit: Visit, answer: Json) -> list[dict[str, Any]]:
    """Return a row for each field that differs: its name, what it was and is, and the newest event that changed it."""
    events = {event["position"]: event for event in answer["events"]}
    fields = [("", field) for field in answer["routine"]]
    fields += [("trigger: ", field) for trigger in answer["triggers"] for field in trigger["fields"]]
    changes = [
        Change(
            beginning + field["field"],
            _in_words(field["field"], field["before"]),
            _in_words(field["field"], field["after"]),
        )
        for beginning, field in fields
    ]
    return [
        {"field": one.field, "was": one.before, "is": one.after, "event": events[field["events"][-1]]}
        for one, (_, field) in zip(await with_names(visit, changes), fields, strict=True)
    ]


def _in_words(field: str, value: Any) -> str:
    return differences.in_words(field, environment.bindings_of(value) if field == differences.ENVIRONMENT else value)
