"""The timeline of a schedule: its occurrences in a window that suits its pace, drawn and as rows with their reasons."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from web.board import words
from web.board.visit import Visit
from web.http.moments import EARLIEST, LATEST

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HALVES = (
    HOUR / 2,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    3 * DAY,
    7 * DAY,
    30 * DAY,
    90 * DAY,
    180 * DAY,
    730 * DAY,
)
IN_HALF = 24  # occurrences that half of a window should have room for
FAR = 800 * DAY  # how far ahead the pace is looked up
MOST = 300  # marks of a timeline
MOST_RUNS = 200
PLANNED_ROWS, SETTLED_ROWS = 5, 20
WIDTH, LEFT, RIGHT = 1000.0, 14.0, 14.0
TICKS = 8

Json = Mapping[str, Any]


class Mark(NamedTuple):
    """An occurrence, or a range of missed ones, on the line."""

    x: float
    until: float
    kind: str
    title: str
    run_id: str | None


class Tick(NamedTuple):
    """A time that is written below the line."""

    x: float
    text: str


class Row(msgspec.Struct, frozen=True):
    """Occurrences that follow each other with the same outcome for the same reason."""

    first: str
    last: str
    count: int
    status: str
    why: str
    late: int | None
    run: Json | None
    run_id: str | None
    issue_id: str | None
    blocking_run_id: str | None


class Timeline(NamedTuple):
    """What the page shows of one schedule."""

    marks: Sequence[Mark]
    ticks: Sequence[Tick]
    now: float | None
    rows: Sequence[Row]
    title: str
    earlier: str
    later: str
    no_plan_because: str | None
    is_cut: bool
    left_out: int  # rows for which the table has no room


async def read(visit: Visit, routine: Json, trigger: Json, center: datetime | None) -> Timeline:
    """Return the timeline of a schedule around a moment, now unless one is given."""
    half = await _choose_half_window(visit, trigger)
    middle = center or visit.now
    begin, end = max(middle - half, EARLIEST), min(middle + half, LATEST)
    query = {"from": words.utc_text(begin), "to": words.utc_text(end), "limit": MOST}
    page = await visit.api.get(f"/routine-triggers/{trigger['id']}/occurrences", query)
    runs = {}
    if begin < visit.now:
        query = {
            "routineId": routine["id"],
            "from": words.utc_text(begin),
            "to": words.utc_text(min(end, visit.now)),
            "limit": MOST_RUNS,
        }
        runs = {run["id"]: run for run in await visit.api.get(visit.api_path("runs"), query)}
    zone = trigger["timezone"] or "UTC"
    occurrences = page["occurrences"]
    span = (end - begin) / timedelta(seconds=1)

    def x(moment: datetime) -> float:
        share = (moment - begin) / timedelta(seconds=1) / span
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)

    marks = [_occurrence_mark(one, runs, x, zone, visit.now) for one in occurrences]
    ticks = [_axis_tick(begin + (end - begin) * number / TICKS, half, zone, x) for number in range(TICKS + 1)]
    rows = _group_rows(occurrences, runs)
    return Timeline(
        marks=marks,
        ticks=ticks,
        now=x(visit.now) if begin <= visit.now <= end else None,
        rows=rows[: PLANNED_ROWS + SETTLED_ROWS],
        title=f"{words.span(half)} back, {words.span(half)} ahead, in {zone}"
        if center is None
        else f"{words.moment_in_words(begin, zone, visit.now)} to {words.moment_in_words(end, zone, visit.now)}",
        earlier=words.utc_text(begin),
        later=words.utc_text(end),
        no_plan_because=page["noPlanBecause"],
        is_cut=page["nextCursor"] is not None,
        left_out=max(len(rows) - PLANNED_ROWS - SETTLED_ROWS, 0),
    )


async def _choose_half_window(visit: Visit, trigger: Json) -> timedelta:
    """Return half of the window: long enough for IN_HALF occurrences at the pace of the schedule."""
    query = {"from": words.utc_text(visit.now), "to": words.utc_text(visit.now + FAR), "limit": 2}
    page = await visit.api.get(f"/routine-triggers/{trigger['id']}/occurrences", query)
    moments = [words.parse(one["plannedAt"]) for one in page["occurrences"]]
    if len(moments) < 2 or moments[0] is None or moments[1] is None:  # noqa: PLR2004 a pace takes two
        return DAY
    pace = moments[1] - moments[0]
    return next((half for half in HALVES if half >= IN_HALF * pace), HALVES[-1])


def status_of(occurrence: Json, runs: Mapping[str, Json]) -> str:
    """Return what became of an occurrence: the present status of its run, if it has one that is known."""
    run = runs.get(occurrence["runId"]) if occurrence["runId"] else None
    if run is not None:
        return str(run["status"])
    began = occurrence["outcome"] in ("issue_created", "trajectory_started")
    return "completed" if began else str(occurrence["outcome"])


def _occurrence_mark(occurrence: Json, runs: Mapping[str, Json], x: Any, zone: str, now: datetime) -> Mark:
    first, last = words.parse(occurrence["plannedAt"]), words.parse(occurrence["lastPlannedAt"])
    outcome = words.outcome(status_of(occurrence, runs))
    many = f", {occurrence['count']:,} of them" if occurrence["count"] > 1 else ""
    title = f"{words.moment_in_words(first, zone, now) if first else ''}: {outcome.word}{many}"
    return Mark(x(first), x(last), outcome.kind, title, occurrence["runId"])


def _axis_tick(moment: datetime, half: timedelta, zone: str, x: Any) -> Tick:
    local = words.in_zone(moment, zone)
    text = f"{local:%H:%M}" if half <= DAY else f"{local.day} {local:%b}"
    return Tick(x(moment), text)


def why(occurrence: Json, run: Json | None) -> str:
    """Return the reason for an outcome, as a sentence without its end."""
    reason = (run or {}).get("failureReason") or occurrence["reason"]
    policy = occurrence["concurrencyPolicy"]
    match occurrence["outcome"]:
        case "coalesced":
            return f"joined a run that was still open (policy {policy})"
        case "skipped" if not reason:
            return f"a run was still open (policy {policy})"
        case outcome:
            return words.reason(reason, outcome)


def _group_rows(occurrences: Sequence[Json], runs: Mapping[str, Json]) -> list[Row]:
    planned_rows = [one for one in occurrences if one["outcome"] == "planned"][:PLANNED_ROWS]
    settled_rows = [one for one in occurrences if one["outcome"] != "planned"]

    def key(one: Json) -> tuple[str, str, object]:
        run = runs.get(one["runId"]) if one["runId"] else None
        status = status_of(one, runs)
        alone = one["runId"] if status in ("completed", "issue_created", "received", "failed") else None
        return status, why(one, run), alone

    groups = [list(group) for _, group in groupby(reversed(settled_rows), key)]
    return [_summarize_group([one], runs) for one in reversed(planned_rows)] + [
        _summarize_group(group[::-1], runs) for group in groups
    ]


def _summarize_group(group: Sequence[Json], runs: Mapping[str, Json]) -> Row:
    first, last = group[0], group[-1]
    run = runs.get(last["runId"]) if last["runId"] else None
    return Row(
        first=first["plannedAt"],
        last=last["lastPlannedAt"],
        count=sum(one["count"] for one in group),
        status=status_of(last, runs),
        why=why(last, run),
        late=last["latenessMs"],
        run=run,
        run_id=last["runId"],
        issue_id=last["issueId"],
        blocking_run_id=last["blockingRunId"],
    )
