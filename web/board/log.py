"""The log: what has happened in a company, event by event, each as a sentence; of one thing with all that belongs to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from application.use_cases.event_access import OF_NO_COMPANY
from domain.events import STORED_NAMES
from web.board import words
from web.board.api import NOT_FOUND, ApiRefusal
from web.board.exports import links_of
from web.board.visit import Visit, period

PAGE = 50
THINGS = {"routine": "routineId", "trigger": "triggerId", "run": "runId", "issue": "issueId", "stream": "streamId"}
FILTERS = (*THINGS, "kind", "actor", "from", "to", "order")
ORDERS = {"": "Newest first", "oldest": "Oldest first"}
AREAS = sorted({name.partition(".")[0] for name in STORED_NAMES if name not in OF_NO_COMPANY})
KINDS = {"": "All", **{f"{area}.*": area.replace("_", " ") for area in AREAS}}
ACTORS = {"": "Anybody", "scheduler": "the scheduler", "delivery": "the deliveries", "system": "the system"}
Json = Mapping[str, Any]


@get("/board/companies/{company_id:str}/log", operation_id="boardLog")
async def log(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the events that match, a page of them."""
    parameters = visit.parameters(FILTERS)
    kinds = ("routine", "trigger", "run", "issue")
    live = await visit.live(**{name: parameters.get(name) for name in kinds})
    errors: dict[str, str] = {}
    query = {api_name: parameters.get(name) for name, api_name in THINGS.items()}
    query |= {name: parameters.get(name) for name in ("kind", "actor", "order")}
    query |= period(visit, parameters, errors)
    answer = await visit.api.page(
        visit.api_path("events"), {**query, "cursor": visit.parameter("cursor"), "limit": str(PAGE)}
    )
    following = visit.path("log", query={**parameters, "cursor": answer.next_cursor}) if answer.next_cursor else None
    return visit.show(
        "log.html",
        status=visit.status_of_filters(errors),
        here="log",
        live=live,
        events=[{**event, "fields": fields_of(event)} for event in answer.value],
        parameters=parameters,
        errors=errors,
        things=[name for name in THINGS if name in parameters],
        subjects=await _find_subjects(visit, parameters),
        kinds=words.with_chosen(KINDS, parameters.get("kind", "")),
        actors=words.with_chosen(ACTORS, parameters.get("actor", "")),
        orders=ORDERS,
        files=links_of(visit, "events", parameters),
        signed=await _signed_events(visit),
        following=following,
    )


async def _signed_events(visit: Visit) -> int:
    """Return how many events of the company its newest checkpoint is signed for; 0 if there is none."""
    try:
        checkpoint = await visit.api.text(visit.api_path("log", "checkpoint"))
    except ApiRefusal as refusal:
        if refusal.status != NOT_FOUND:
            raise
        return 0
    return int(checkpoint.split("\n")[1])  # the name of the log, its size, its root


@get("/board/companies/{company_id:str}/log/proofs/{position:str}", operation_id="boardLogProof")
async def proof(visit: NamedDependency[Visit], position: FromPath[str]) -> Response[str]:
    """Give the proof that an event is in the signed log, as a file that verifiers read."""
    text = await visit.api.text(visit.api_path("log", "proofs", position))
    headers = {"Content-Disposition": 'attachment; filename="event.tlog-proof"'}
    return Response(text, media_type="text/plain", headers=headers)


@get("/board/companies/{company_id:str}/refusals", operation_id="boardRefusals")
async def refusals(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the attempts that were refused for want of a credential or a right, in the whole installation."""
    answer = await visit.api.page("/refusals", {"cursor": visit.parameter("cursor"), "limit": PAGE})
    following = visit.path("refusals", query={"cursor": answer.next_cursor}) if answer.next_cursor else None
    names = {company["id"]: company["name"] for company in await visit.api.get("/companies")}
    return visit.show("refusals.html", here="log", refusals=answer.value, names=names, following=following)


async def _find_subjects(visit: Visit, parameters: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """Return the things that the events belong to: each with its name and its address, which is empty if it has no page."""
    subjects = []
    if "routine" in parameters:
        routine = await visit.own("routines", parameters["routine"])
        subjects.append((f"the routine “{routine['title']}”", visit.path("routines", routine["id"])))
    if "run" in parameters:
        run = await visit.own("routine-runs", parameters["run"])
        subjects.append((f"the run of {visit.when(run['triggeredAt'])}", visit.path("runs", run["id"])))
    if "issue" in parameters:
        issue = await visit.own("issues", parameters["issue"])
        subjects.append((f"the issue {issue['identifier']}", visit.path("issues", issue["id"])))
    if "trigger" in parameters:
        subjects.append((f"the trigger {parameters['trigger']}", ""))
    if "stream" in parameters:
        subjects.append((parameters["stream"], ""))
    return subjects


def fields_of(event: Json) -> str:
    """Return what an event holds, without its kind, as JSON for people; empty if it holds nothing more."""
    fields = {name: value for name, value in (event["data"] or {}).items() if name != "type"}
    return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode() if fields else ""
