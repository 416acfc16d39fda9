"""A routine: its numbers, triggers and occurrences, why it did or did not run, its runs and its revisions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

from litestar import Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath

from application.use_cases import read_access
from projections import overview
from web.board import differences, schedules, timeline, words
from web.board.api import ApiRefusal
from web.board.differences import Change
from web.board.reader_zone import known_zone
from web.board.visit import Visit
from web.http.moments import EARLIEST, LATEST

RUNS = 10
WEEK = timedelta(days=7)
NO_PLAN = {
    "disabled": "The trigger is disabled, so nothing is planned.",
    "routine_paused": "The routine is paused, so nothing is planned.",
    "routine_archived": "The routine is archived, so nothing is planned.",
    "company_archived": "The company is archived, so nothing is planned.",
    "ended": "The schedule has ended: it has no further occurrence.",
    "not_a_schedule": "It is no schedule, so nothing is planned.",
}
NAMED = {  # settings that hold an id, by the kind of things that it is of
    "assigneeAgentId": "agents",
    "projectId": "projects",
    "goalId": "goals",
    "folderId": "folders",
    "parentIssueId": "issues",
    "afterRoutineId": "routines",
    "responsibleUserId": "members",
}
Json = Mapping[str, Any]


@get("/board/companies/{company_id:str}/routines/{routine_id:str}", operation_id="boardRoutine")
async def routine(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Show a routine."""
    live = await visit.live(routine=routine_id)
    shown_routine = await visit.own("routines", routine_id)
    planned = [trigger for trigger in shown_routine["triggers"] if trigger["kind"] == "schedule"]
    chosen_schedule = next(
        (one for one in planned if one["id"] == visit.parameter("trigger")), planned[0] if planned else None
    )
    line = (
        await timeline.read(visit, shown_routine, chosen_schedule, _read_moment(visit.parameter("at")))
        if chosen_schedule
        else None
    )
    question, answer, error = visit.parameter("why"), None, ""
    if question:
        answer, error = await _explain_moment(visit, shown_routine, question, visit.parameter("zone") or visit.zone)
    zone = visit.parameter("zone") or (
        chosen_schedule["timezone"] if chosen_schedule and chosen_schedule["timezone"] else visit.zone
    )
    revisions = await visit.api.get(f"/routines/{routine_id}/revisions")
    return visit.show(
        "routine.html",
        here="routines",
        live=live,
        routine=shown_routine,
        tiles=await _make_tiles(visit, shown_routine),
        cadence=schedules.cadence(shown_routine["triggers"]),
        in_words=schedules.in_words,
        planned=planned,
        chosen=chosen_schedule,
        line=line,
        no_plan=NO_PLAN,
        runs=shown_routine["recentRuns"][:RUNS],
        took=took,
        question=question or words.local_text(visit.now, known_zone(zone) or visit.zone),
        question_zone=zone,
        answer=answer,
        explain_error=error,
        revision=revisions[0],
        changes=await with_names(visit, differences.changes_between(revisions[1], revisions[0]))
        if len(revisions) > 1
        else [],
        before=revisions[1] if len(revisions) > 1 else None,
        names=await names_of_people(visit, revisions[:1]),
        key=uuid4(),
    )


def _read_moment(text: str) -> datetime | None:
    moment = words.read_local(text, "UTC")
    return moment if moment and EARLIEST <= moment <= LATEST else None


async def _explain_moment(visit: Visit, routine: Json, text: str, zone: str) -> tuple[Json | None, str]:
    moment = words.read_local(text.strip(), zone)
    if moment is None:
        return None, words.NO_TIME.format(zone=zone)
    try:
        return await visit.api.get(f"/routines/{routine['id']}/explain", {"at": words.utc_text(moment)}), ""
    except ApiRefusal as refusal:
        return None, refusal.message


def took(run: Json) -> str:
    """Return how long a run took, in words; nothing if it has not ended."""
    began_at, ended_at = words.parse(run["triggeredAt"]), words.parse(run["completedAt"])
    return words.span(ended_at - began_at) if began_at and ended_at and run["status"] in ("completed", "failed") else ""


async def _make_tiles(visit: Visit, routine: Json) -> list[dict[str, str]]:
    next_run = schedules.next_run(routine, visit.now)
    query = {"routineId": routine["id"], "from": words.utc_text(visit.now - WEEK), "limit": 200}
    recent: Sequence[Json] = await visit.api.get(visit.api_path("runs"), query)
    ended_runs = [run for run in recent if run["status"] in ("completed", "failed")]
    failed_count = sum(run["status"] == "failed" for run in ended_runs)
    last = routine["recentRuns"][0] if routine["recentRuns"] else None
    share = f"{100 * (len(ended_runs) - failed_count) / len(ended_runs):.3g} %" if ended_runs else "No run"
    times = [words.span(_run_length(run)) for run in sorted(ended_runs, key=_run_length)]
    typical = f"; it takes {times[len(times) // 2]} usually" if times else ""
    tiles = [
        {
            "big": next_run["when"] or next_run["more"].capitalize(),
            "small": f"next run, {next_run['more']}" if next_run["when"] else "next run",
        },
        {
            "big": words.outcome(last["status"]).word if last else "Never",
            "small": f"last run, {visit.away(last['triggeredAt'])}" if last else "it has not run yet",
        },
        {
            "big": share,
            "small": f"of {words.count_noun(len(ended_runs), 'run')} succeeded in 7 days{typical}"
            if ended_runs
            else "has ended in 7 days",
        },
        {"big": str(failed_count), "small": "failed in 7 days", "kind": "bad" if failed_count else ""},
    ]
    issue = routine["activeIssue"]
    live = (
        {"big": issue["identifier"], "small": f"live issue, {issue['status'].replace('_', ' ')}"}
        if issue
        else {"big": "None", "small": "no live issue"}
    )
    return [*tiles, live]


def _run_length(run: Json) -> timedelta:
    began_at, ended_at = words.parse(run["triggeredAt"]), words.parse(run["completedAt"])
    return ended_at - began_at if began_at and ended_at else timedelta()


async def titles_of(visit: Visit, items: Iterable[Json]) -> Mapping[str, str]:
    """Return the titles of the routines of some runs, by the ids of the routines."""
    routine_ids = {UUID(thing["routineId"]) for thing in items}
    return await sync_to_thread(_titles_of_routines, visit, routine_ids) if routine_ids else {}


def _titles_of_routines(visit: Visit, routine_ids: Collection[UUID]) -> Mapping[str, str]:
    backend, company_id = visit.backend, UUID(visit.company_id)
    visit.authorize(read_access.company, company_id)
    with backend.consistent_read("routines") as conn:
        return {str(id_): title for id_, title in overview.titles(conn, company_id, routine_ids).items()}


async def names_of_people(visit: Visit, items: Sequence[Json]) -> dict[str, str]:
    """Return the names of the users and agents who made some things, by id."""
    names: dict[str, str] = {}
    if any(thing.get("createdByAgentId") for thing in items):
        names |= await visit.names("agents")
    if any(thing.get("createdByUserId") for thing in items):
        names |= {member["userId"]: member["name"] for member in await visit.api.get(visit.api_path("members"))}
    if visit.user:
        names.setdefault(visit.user.id, visit.user.name)
    return names


async def names_of_authors(visit: Visit, comments: Sequence[Json]) -> dict[str, str]:
    """Return the names of those who wrote some comments, by id."""
    return await names_of_people(
        visit,
        [{"createdByUserId": one["authorUserId"], "createdByAgentId": one["authorAgentId"]} for one in comments],
    )


async def with_names(visit: Visit, changes: Sequence[Change]) -> list[Change]:
    """Return changes with the names of things in place of their ids."""
    ids_by_kind: dict[str, set[str]] = {}
    for change in changes:
        if (kind := NAMED.get(change.field.rpartition(": ")[2])) is not None:
            ids_by_kind.setdefault(kind, set()).update(value for value in (change.before, change.after) if value)
    names: dict[str, str] = {}
    for kind, ids in ids_by_kind.items():
        names |= await _names_of_things(visit, kind, ids)
    return [
        one._replace(before=names.get(one.before or "", one.before), after=names.get(one.after or "", one.after))
        for one in changes
    ]


async def _names_of_things(visit: Visit, kind: str, ids: Collection[str]) -> Mapping[str, str]:
    """Return the names of those of some things that there are, by id."""
    match kind:
        case "routines":
            return await titles_of(visit, [{"routineId": id_} for id_ in ids])
        case "members":
            return await names_of_people(visit, [{"createdByUserId": id_} for id_ in ids])
        case "issues":
            issues = [await visit.api.get_or_none(f"/issues/{id_}") for id_ in ids]
            return {issue["id"]: issue["identifier"] for issue in issues if issue is not None}
        case _:
            return await visit.names(kind)


@get("/board/companies/{company_id:str}/routines/{routine_id:str}/revisions", operation_id="boardRevisions")
async def revisions(visit: NamedDependency[Visit], routine_id: FromPath[str]) -> Response[Any]:
    """Show the revisions of a routine, each with what it changed."""
    shown_routine = await visit.own("routines", routine_id)
    answer = await visit.api.page(f"/routines/{routine_id}/revisions", {"cursor": visit.parameter("cursor")})
    listed = answer.value
    befores = [*listed[1:], None]
    known_changes = [
        differences.changes_between(before, revision) if before or revision["revisionNumber"] == 1 else None
        for revision, before in zip(listed, befores, strict=True)
    ]
    named_changes = iter(await with_names(visit, [change for changes in known_changes for change in changes or ()]))
    pairs = [
        (revision, None if changes is None else list(islice(named_changes, len(changes))))
        for revision, changes in zip(listed, known_changes, strict=True)
    ]
    return visit.show(
        "revisions.html",
        here="routines",
        routine=shown_routine,
        pairs=pairs,
        names=await names_of_people(visit, listed),
        following=visit.path("routines", routine_id, "revisions", query={"cursor": answer.next_cursor})
        if answer.next_cursor
        else None,
    )


@post(
    "/board/companies/{company_id:str}/routines/{routine_id:str}/revisions/{revision_id:str}/restore",
    operation_id="boardRestore",
)
async def restore(
    visit: NamedDependency[Visit], routine_id: FromPath[str], revision_id: FromPath[str]
) -> Response[Any]:
    """Restore a revision; show the new secrets of webhooks if that made any."""
    await visit.own("routines", routine_id)
    answer = await visit.api.post(f"/routines/{routine_id}/revisions/{revision_id}/restore")
    if answer["secretMaterials"]:
        return visit.show(
            "secrets.html",
            here="routines",
            routine=answer["routine"],
            materials=answer["secretMaterials"],
            trigger=None,
        )
    return visit.go("routines", routine_id, done="restored")
