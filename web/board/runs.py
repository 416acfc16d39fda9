"""Runs: the list of all runs of a company, and one run with its payload, attempts, issue and output."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args
from uuid import uuid4

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from domain.values import RunSource
from projections.responses import RunStatus
from web.board import words
from web.board.exports import links_of
from web.board.routine import names_of_authors, titles_of, took
from web.board.visit import Visit, period

PAGE = 50
FILTERS = ("status", "source", "routine", "agent", "from", "to")
STATUSES = {"": "All", **{status: words.outcome(status).word for status in get_args(RunStatus) if status != "received"}}
SOURCES = {"": "All", **{source: words.source(source) for source in get_args(RunSource)}}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # what terminals take for colours
Json = Mapping[str, Any]


@get("/board/companies/{company_id:str}/runs", operation_id="boardRuns")
async def runs(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the runs of the company that match, newest first."""
    parameters = visit.parameters(FILTERS)
    live = await visit.live(routine=parameters.get("routine"))
    errors: dict[str, str] = {}
    query = {
        "status": parameters.get("status"),
        "source": parameters.get("source"),
        "routineId": parameters.get("routine"),
        "assigneeAgentId": parameters.get("agent"),
        **period(visit, parameters, errors),
        "cursor": visit.parameter("cursor"),
        "limit": PAGE,
    }
    answer = await visit.api.page(visit.api_path("runs"), query)
    routine = await visit.own("routines", parameters["routine"]) if "routine" in parameters else None
    agents = await visit.names("agents", parameters.get("agent"))
    titles = await titles_of(visit, answer.value) if routine is None else {routine["id"]: routine["title"]}
    following = visit.path("runs", query={**parameters, "cursor": answer.next_cursor}) if answer.next_cursor else None
    return visit.show(
        "runs.html",
        status=visit.status_of_filters(errors),
        here="runs",
        live=live,
        runs=answer.value,
        titles=titles,
        parameters=parameters,
        errors=errors,
        routine=routine,
        agents=agents,
        statuses=words.with_chosen(STATUSES, parameters.get("status", "")),
        sources=words.with_chosen(SOURCES, parameters.get("source", "")),
        files=links_of(visit, "runs", parameters),
        took=took,
        following=following,
    )


@get("/board/companies/{company_id:str}/runs/{run_id:str}", operation_id="boardRunPage")
async def run(visit: NamedDependency[Visit], run_id: FromPath[str]) -> Response[Any]:
    """Show a run."""
    live = await visit.live(run=run_id)
    shown_run = await visit.own("routine-runs", run_id)
    routine = await visit.api.get(f"/routines/{shown_run['routineId']}")
    issue = await visit.api.get_or_none(f"/issues/{shown_run['linkedIssueId']}") if shown_run["linkedIssueId"] else None
    is_own = issue is not None and issue["originRunId"] == shown_run["id"]
    comments = await visit.api.get(f"/issues/{shown_run['linkedIssueId']}/comments", {"order": "asc"}) if is_own else []
    after = visit.parameter("after")
    log = await visit.api.get(f"/routine-runs/{run_id}/log", {"after": after})
    later = await visit.api.get(f"/routine-runs/{run_id}/log", {"after": log["next"]}) if log["parts"] else log
    agents = await visit.names("agents")
    payload = dict(shown_run["triggerPayload"] or {})
    variables = payload.pop("variables") if isinstance(payload.get("variables"), dict) else {}
    revision = await _find_revision(visit, shown_run, routine)
    trigger = next((one for one in routine["triggers"] if one["id"] == shown_run["triggerId"]), None)
    return visit.show(
        "run.html",
        here="runs",
        live=live,
        run=shown_run,
        routine=routine,
        trigger=trigger,
        revision=revision,
        zone=trigger["timezone"] if trigger and trigger["timezone"] else visit.zone,
        late=_run_lateness(shown_run),
        took=took(shown_run),
        issue=issue,
        is_own=is_own,
        comments=comments,
        names=await names_of_authors(visit, comments),
        agents=agents,
        output=printed_pieces(log["parts"]),
        is_over=log["isOver"],
        after=after,
        later=log["next"] if later["parts"] else None,
        variables=variables,
        payload=msgspec.json.format(msgspec.json.encode(payload), indent=2).decode() if payload else "",
        outputs=msgspec.json.format(msgspec.json.encode(shown_run["outputs"]), indent=2).decode()
        if shown_run["outputs"]
        else "",
        key=uuid4(),
    )


async def _find_revision(visit: Visit, run: Json, routine: Json) -> int | None:
    """Return the number of the revision that a run was fired from; None if that is older than those that the API gives first."""
    if run["routineRevisionId"] == routine["latestRevisionId"]:
        return int(routine["latestRevisionNumber"])
    revisions = await visit.api.get(f"/routines/{routine['id']}/revisions")
    return next((one["revisionNumber"] for one in revisions if one["id"] == run["routineRevisionId"]), None)


def _run_lateness(run: Json) -> str:
    planned_at, fired_at = words.parse(run.get("plannedAt")), words.parse(run["triggeredAt"])
    return words.span(fired_at - planned_at) if planned_at and fired_at and not run.get("backfillId") else ""


def printed_pieces(parts: Sequence[Json]) -> list[dict[str, str]]:
    """Return the output of a run in pieces of one stream each, without the escapes that terminals take for colours."""
    pieces: list[dict[str, str]] = []
    for piece in (piece for part in parts for piece in part["output"]):
        text = ESCAPES.sub("", piece["text"])
        if pieces and pieces[-1]["stream"] == piece["stream"]:
            pieces[-1]["text"] += text
        else:
            pieces.append({"stream": piece["stream"], "text": text})
    return pieces


@post("/board/companies/{company_id:str}/runs/{run_id:str}/again", operation_id="boardRunAgain")
async def run_again(visit: NamedDependency[Visit], run_id: FromPath[str]) -> Response[Any]:
    """Run the routine of a run with the same payload, and lead to the new run."""
    form = visit.form
    shown_run = await visit.own("routine-runs", run_id)
    body: dict[str, object] = {"idempotencyKey": f"board {form.given('key') or uuid4()}"}
    if shown_run["triggerPayload"] is not None:
        body["payload"] = shown_run["triggerPayload"]
    new = await visit.api.post(f"/routines/{shown_run['routineId']}/run", body)
    return visit.go("runs", new["id"], done="fired")
