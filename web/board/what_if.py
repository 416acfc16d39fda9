"""What if: the past of a routine, replayed with other settings, beside what was. Nothing is recorded."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from web.board import schedules, words
from web.board.api import ApiRefusal
from web.board.editing import CHOICES
from web.board.forms import whole_number
from web.board.visit import Visit

USUAL = timedelta(days=7)
AS_IT_WAS, SAME = ("", "as it was"), "the same"
TEXTS = ("cronExpression", "timezone", "concurrencyPolicy", "catchUpPolicy")
NUMBERS = ("jitterSec", "maxRunDurationSec")
FIELDS = ("from", "to", "triggerId", *TEXTS, *NUMBERS)
OUTCOMES = {"ran": "completed", "coalesced": "coalesced", "skipped": "skipped", "failed": "failed", "missed": "missed"}
KINDS = {"added": "+ added", "removed": "\u2212 removed", "moved": "\u2192 moved", "changed": "\u2260 changed"}
Json = Mapping[str, Any]


class Total(NamedTuple):
    """A number of what was beside what would have been; the status by which an outcome is drawn, if it is one."""

    name: str
    was: str
    would_be: str
    difference: str
    status: str = ""


@get("/board/companies/{company_id:str}/routines/{routine_id:str}/what-if", operation_id="boardWhatIf")
async def what_if(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Ask for other settings and a range of the past, and show what they would have made of it."""
    routine = await visit.own("routines", routine_id)
    values, errors, answer = visit.parameters(FIELDS), dict[str, str](), None
    if values:
        body = _read_body(visit, values, errors)
        if not errors:
            try:
                answer = await visit.api.post(f"/routines/{routine_id}/what-if", body)
            except ApiRefusal as refusal:
                errors = refusal.by_field()
    planned = {one["id"]: one for one in routine["triggers"] if one["kind"] == "schedule" and one["cronExpression"]}
    return visit.show(
        "what_if.html",
        status=422 if errors else 200,
        here="routines",
        routine=routine,
        planned=planned,
        schedules=[
            ("", "all of them"),
            *((id_, one["label"] or schedules.in_words(one)) for id_, one in planned.items()),
        ],
        choices={name: [AS_IT_WAS, *CHOICES[name]] for name in ("concurrencyPolicy", "catchUpPolicy")},
        values=values or {"from": words.local_text(visit.now - USUAL, visit.zone)},
        errors=errors,
        unplaced=[message for field, message in errors.items() if field not in FIELDS],
        answer=answer,
        totals=_compare_totals(visit, answer) if answer else [],
        kinds=KINDS,
        in_words=schedules.in_words,
    )


def _read_body(visit: Visit, values: Mapping[str, str], errors: dict[str, str]) -> dict[str, Any]:
    """Return what the API is asked, with an error for what is no time or number. Empty fields stay as they were."""
    body: dict[str, Any] = {
        name: moment
        for name in ("from", "to")
        if (moment := words.read_field(values.get(name, ""), visit.zone, name, errors))
    }
    if not values.get("from"):
        errors["from"] = "This has to be filled in."
    body |= {name: values[name].strip() for name in ("triggerId", *TEXTS) if name in values}
    for name in NUMBERS:
        if name in values:
            body[name] = whole_number(values[name].strip())
            if body[name] is None:
                errors[name] = "This is no whole number of seconds."
    if body.get("maxRunDurationSec") == 0:
        body["maxRunDurationSec"] = None  # without a limit
    return body


def _compare_totals(visit: Visit, answer: Json) -> list[Total]:
    was, would_be = answer["actual"], answer["replayed"]

    def counted(name: str, field: str, status: str = "") -> Total:
        return Total(
            name, f"{was[field]:,}", f"{would_be[field]:,}", _signed_difference(would_be[field] - was[field]), status
        )

    def waited(name: str, field: str) -> Total:
        difference = would_be[field] - was[field]
        longer = f"{words.milliseconds(abs(difference))} {'more' if difference > 0 else 'less'}" if difference else SAME
        return Total(name, words.milliseconds(was[field]), words.milliseconds(would_be[field]), longer)

    def busiest(totals: Json) -> tuple[int, str]:
        minute = totals["busiest"]
        runs = minute["runs"] if minute else 0
        return runs, f"{words.count_noun(runs, 'run')}, {visit.when(minute['at'])}" if minute else "none"

    (most_was, minute_was), (most_would_be, minute_would_be) = busiest(was), busiest(would_be)
    return [
        counted("Fired", "fired"),
        *(counted(field, field, status) for field, status in OUTCOMES.items()),
        waited("Longest wait", "longestWaitMs"),
        waited("Waiting in all", "totalWaitMs"),
        Total("Busiest minute", minute_was, minute_would_be, _signed_difference(most_would_be - most_was)),
    ]


def _signed_difference(difference: int) -> str:
    """Return a difference of two numbers."""
    sign = "+" if difference > 0 else "\u2212"
    return f"{sign}{abs(difference):,}" if difference else SAME
