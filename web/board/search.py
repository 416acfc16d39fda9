"""The search: what an id names, and routines, their newest runs, triggers, issues, tasks, agents and pages with a text; as a page and for Ctrl-K."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from litestar import Response, get
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from application.use_cases import read_access
from projections import overview
from projections.overview import FoundTrigger
from web.board import schedules
from web.board.issues import OPEN
from web.board.tasks import collection_of
from web.board.triggers import KINDS
from web.board.visit import Visit, see_other
from web.http.validation import UUID_TEXT

MOST = 6  # the most matches of one kind that are shown
MOST_RUNS = 3
# The public id of a webhook, alone or in its address.
PUBLIC_ID = re.compile(r"(?:.*/routine-triggers/public/)?([0-9a-f]{24})(?:/fire)?")
Json = Mapping[str, Any]


class Match(NamedTuple):
    """Something that was found: its name, what else tells it apart, where it is, and its status if it is a run."""

    title: str
    more: str
    address: str
    status: str = ""


Groups = Sequence[tuple[str, Sequence[Match]]]


@get("/board/companies/{company_id:str}/find", operation_id="boardFind")
async def find(visit: NamedDependency[Visit]) -> Response[Any]:
    """Lead to what an id or an identifier names, in its own company; else show what has the text in it."""
    text = visit.parameter("q").strip()
    match = await _match_identifier(visit, text)
    if match is not None:
        return see_other(match.address)
    return visit.show("find.html", text=text, groups=await _with_text(visit, text))


@get("/board/companies/{company_id:str}/palette", operation_id="boardPalette")
async def palette(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the same as options, while one types, but for issues that are over: there are too many to look through each time."""
    text = visit.parameter("q").strip()
    match = await _match_identifier(visit, text)
    groups = [("With this id", [match])] if match is not None else await _with_text(visit, text, OPEN)
    return visit.show("palette.html", text=text, groups=groups, count=sum(len(matches) for _, matches in groups))


async def _match_identifier(visit: Visit, text: str) -> Match | None:
    """Return what an id or the identifier of an issue names; None for any other text."""
    is_id = UUID_TEXT.fullmatch(text) is not None
    if is_id:
        for kind, page in (("routines", "routines"), ("routine-runs", "runs"), ("issues", "issues")):
            if (resource := await visit.api.get_or_none(f"/{kind}/{text}")) is not None:
                company_id = resource["companyId"]
                address = visit.address("board", "companies", company_id, page, text)
                return Match(resource.get("title") or "A run", resource.get("identifier") or "", address)
        agents = await visit.api.get(visit.api_path("agents"))
        if (agent := next((one for one in agents if one["id"] == text.lower()), None)) is not None:
            return _match_agent(visit, agent)
    webhook = PUBLIC_ID.fullmatch(text)
    if is_id or webhook is not None:
        triggers = await sync_to_thread(_triggers, visit, text if webhook is None else webhook[1])
        return _trigger(visit, triggers[0]) if triggers else None
    prefix = visit.company["issuePrefix"] if visit.company else ""
    number = text.upper().removeprefix(f"{prefix}-")
    if number != text.upper() and number.isascii() and number.isdigit():
        issue = await visit.api.get_or_none(f"/issues/{prefix}-{number}")
        return None if issue is None else _match_issue(visit, issue)
    return None


async def _with_text(visit: Visit, text: str, statuses: str | None = None) -> Groups:
    """Return what has a text in it, by kind, of issues those in some statuses; the pages alone if there is no text."""
    places = [page for page in await _match_pages(visit) if text.casefold() in page.title.casefold()]
    pages = ("Pages", places[: MOST if text else None])
    if not text:
        return [pages]
    query = {"q": text, "limit": MOST}
    collection = await collection_of(visit)
    routines, issues, tasks, triggers, everybody = await asyncio.gather(
        visit.api.get(visit.api_path("routines"), query),
        visit.api.get(visit.api_path("issues"), {**query, "status": statuses}),
        visit.api.get(collection.of("tasks", "search"), query),
        sync_to_thread(_triggers, visit, text),
        visit.api.get(visit.api_path("agents")),
    )
    agents = [one for one in everybody if text.casefold() in one["name"].casefold()]
    ran = [routine for routine in routines if routine["lastRun"]][:MOST_RUNS]
    groups = [
        ("Routines", [_match_routine(visit, routine) for routine in routines]),
        ("Runs", [_run(visit, routine) for routine in ran]),
        ("Triggers", [_trigger(visit, trigger) for trigger in triggers]),
        ("Issues", [_match_issue(visit, issue) for issue in issues]),
        ("Tasks", [_match_task(visit, task) for task in tasks]),
        ("Agents", [_match_agent(visit, agent) for agent in agents[:MOST]]),
        pages,
    ]
    return [(kind, matches) for kind, matches in groups if matches]


def _triggers(visit: Visit, text: str) -> Sequence[FoundTrigger]:
    backend, company_id = visit.backend, UUID(visit.company_id)
    visit.authorize(read_access.company, company_id)
    with backend.consistent_read("routines") as conn:
        trigger_id = UUID(text) if UUID_TEXT.fullmatch(text) else None
        return overview.triggers(conn, company_id, text, trigger_id, limit=MOST)


def _trigger(visit: Visit, trigger: FoundTrigger) -> Match:
    form = ("triggers", trigger.id) if visit.rights.assign else ()
    title = trigger.label or KINDS[trigger.kind]
    return Match(
        title, f"{KINDS[trigger.kind].lower()} of {trigger.routine}", visit.path("routines", trigger.routine_id, *form)
    )


def _match_routine(visit: Visit, routine: Json) -> Match:
    status = "" if routine["status"] == "active" else f"{routine['status']}, "
    more = f"{status}{schedules.cadence(routine['triggers'])}"
    return Match(routine["title"], more, visit.path("routines", routine["id"]))


def _run(visit: Visit, routine: Json) -> Match:
    run = routine["lastRun"]
    more = f"newest run, {visit.away(run['triggeredAt'])}"
    return Match(routine["title"], more, visit.path("runs", run["id"]), run["status"])


def _match_issue(visit: Visit, issue: Json) -> Match:
    title = f"{issue['identifier']} {issue['title']}"
    return Match(title, issue["status"].replace("_", " "), visit.path("issues", issue["id"]))


def _match_task(visit: Visit, task: Json) -> Match:
    return Match(task["name"], f"version {task['version']}", visit.path("tasks", task["name"]))


def _match_agent(visit: Visit, agent: Json) -> Match:
    return Match(agent["name"], "the inbox of an agent", visit.path("issues", query={"agent": agent["id"]}))


async def _match_pages(visit: Visit) -> list[Match]:
    pages = [Match(word, "", visit.path(*path)) for _, path, word in visit.places()]
    if visit.rights.assign:
        pages.append(Match("New routine", "", visit.path("routines", "new")))
    pages.append(Match("The coming 7 days", "", visit.path("week")))
    pages.append(Match("Settings", f"times in {visit.zone}", visit.address("board", "settings")))
    other_companies = [one for one in await visit.api.get("/companies") if one["id"] != visit.company_id]
    return pages + [
        Match(one["name"], "company", visit.address("board", "companies", one["id"])) for one in other_companies
    ]
