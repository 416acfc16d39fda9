"""The home of a company: its numbers, what needs a person, what runs next, and how the coming week is filled."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from application.use_cases import read_access
from domain.routines.settlement import GRACE
from domain.schedule import plan as plans
from domain.schedule.cron_schedule import Cron
from domain.schedule.plan import Plan
from projections import overview
from projections.overview import HOME_MODELS, LIST_MODELS, Numbers, Schedule
from projections.routines.routine_list import Filters
from web.board import schedules, strips, words
from web.board.routine import titles_of
from web.board.visit import Visit

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
DAYS, HOURS = 7, 24
NEXT, FAILURES = 8, 5
FAILED_RUNS = 100  # the newest ones, which are shown by their routines and reasons
MOST_DISTINCT = 1_000  # schedules that differ, which the grid counts: those that most routines have
SHADES = 4  # how many shades tell hours with few runs from hours with many
NIL = UUID(int=0)
COUNTED = DAYS * HOURS + 1  # hours from midnight on, one more than seven days usually have
REASONS = {  # what the health says, and what to do
    "disk_full": "The database has no room left: nothing can be recorded until there is.",
    "read_only": "The database is read-only now.",
    "read_model_stopped": "A read model has stopped; `routines projections status` shows which, and why.",
    "read_model_behind": "A read model is behind the log, so pages may be late. Does the projector run?",
    "read_model_outdated": "After an upgrade a read model is being rebuilt; old rows are shown meanwhile.",
    "schedules_overdue": "Schedules are due for more than a minute. Does the scheduler run?",
    "clock_behind_log": "The clock of the database was set back.",
    "secret_keys_missing": "Keys that secrets are encrypted under are missing from the key file.",
    "key_file_unusable": "The key file cannot be read: put it back.",
    "checkpoints_refused": "The log is not the one that was signed before: nothing is signed. The projector's log says what to do.",
    "witness_behind": "A witness of the log has not cosigned it for five minutes; `/api/health` says which, and why.",
    "zone_data_outdated": "This process has older zone data than the scheduler.",
}
Json = Mapping[str, Any]


class Failure(msgspec.Struct, frozen=True):
    """The newest of the runs of a routine that failed for one reason, and how many there are."""

    run: Json
    count: int


@get("/board/companies/{company_id:str}", operation_id="boardHome")
async def home(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the home of a company."""
    live = await visit.live()
    query = {"status": "failed", "from": words.utc_text(visit.now - DAY), "limit": FAILED_RUNS}
    (numbers, coming, bars), failed_runs, health = await asyncio.gather(
        sync_to_thread(_read, visit), visit.api.get(visit.api_path("runs"), query), visit.api.get("/health")
    )
    failures = _group_failures(failed_runs)[:FAILURES] if numbers.runs.get("failed") else []
    rows = []
    for row in coming:
        item = msgspec.to_builtins(row.item)
        rows.append(
            {
                "routine": item,
                "cadence": schedules.cadence(item["triggers"]),
                "next": schedules.next_run(item, visit.now),
                "strip": strips.draw(bars.get(row.item.id, [])),
            }
        )
    lag = max((model["behindS"] for model in health["readModels"]), default=0)
    titles = await titles_of(visit, [failure.run for failure in failures])
    troubles = [REASONS.get(reason, reason.replace("_", " ")) for reason in health["reasons"]]
    losing = [row for row in rows if row["strip"].loss]
    return visit.show(
        "home.html",
        here="home",
        live=live,
        numbers=numbers,
        headline=_write_headline(numbers, len(troubles) + len(losing)),
        total=numbers.routines,
        failures=failures,
        titles=titles,
        troubles=troubles,
        losing=losing,
        rows=rows,
        lag=lag,
    )


def _group_failures(failed_runs: Sequence[Json]) -> list[Failure]:
    """Return the failures, so that a routine that fails every minute for one reason does not hide the others."""
    groups: dict[tuple[str, str], list[Json]] = {}
    for run in failed_runs:
        groups.setdefault((run["routineId"], run["failureReason"]), []).append(run)
    return [Failure(runs[0], len(runs)) for runs in groups.values()]


def _read(visit: Visit) -> tuple[Numbers, Sequence[overview.ListedRoutine], Mapping[UUID, Sequence[overview.Bar]]]:
    company_id, backend = UUID(visit.company_id), visit.backend
    visit.authorize(read_access.company, company_id)
    with backend.consistent_read(*HOME_MODELS) as conn:
        numbers = overview.numbers(conn, company_id, visit.now - DAY, visit.now - GRACE)
        if not visit.rights.administer:  # a reader without access to deliveries is not told about dead ones
            numbers = numbers._replace(dead_deliveries=0)
        coming = overview.in_order(conn, company_id, Filters(status=("active",)), "next", limit=NEXT)
        return numbers, coming, overview.strips(conn, [row.item.id for row in coming])


def _write_headline(numbers: Numbers, more: int) -> str:
    """Return the sentence that the page begins with."""
    count = more + sum(
        bool(number) for number in (numbers.runs.get("failed"), numbers.overdue, numbers.dead_deliveries)
    )
    match count:
        case 0:
            return "Nothing needs you." if numbers.routines else "There is no routine yet."
        case 1:
            return "One thing needs you."
        case _:
            return f"{count} things need you."


class Cell(msgspec.Struct, frozen=True):
    """An hour of the grid: how many runs are planned in it, and its shade."""

    count: int
    shade: int


@get("/board/companies/{company_id:str}/week", operation_id="boardWeek")
async def week(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show how many runs are planned in each hour of the coming seven days."""
    begin = words.in_zone(visit.now, visit.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    counts, is_cut = await sync_to_thread(_count, visit, begin)
    rows, busiest = [], max(counts, default=0)
    least = min((count for count in counts if count), default=0)
    for number in range(DAYS):
        day = (begin + number * DAY).date()
        cells = [
            Cell(count, _shade_of_hour(count, least, busiest))
            for count in counts[number * HOURS : (number + 1) * HOURS]
        ]
        rows.append((words.day(day, begin.date()), cells))
    peak = counts.index(busiest) if busiest else None
    words_of_peak = "" if peak is None else f"{rows[peak // HOURS][0]} at {peak % HOURS:02}:00"
    return visit.show(
        "week.html", here="home", days=rows, busiest=busiest, peak=words_of_peak, is_cut=is_cut, total=sum(counts)
    )


def _count(visit: Visit, begin: datetime) -> tuple[list[int], bool]:
    backend, company_id = visit.backend, UUID(visit.company_id)
    visit.authorize(read_access.company, company_id)
    with backend.consistent_read(*LIST_MODELS) as conn:
        distinct = overview.schedules(conn, company_id)
    counts = [0] * (DAYS * HOURS)
    cells = cells_of(begin)
    first = (visit.now - begin) // HOUR  # hours that have passed are not shown
    for schedule, many in distinct.most_common(MOST_DISTINCT):
        for cell, count in list(zip(cells, _by_hour(schedule, begin.astimezone(UTC)), strict=True))[first:]:
            if cell < len(counts):
                counts[cell] += many * count
    return counts, len(distinct) > MOST_DISTINCT or distinct.total() == overview.MOST_SCHEDULES


def cells_of(begin: datetime) -> list[int]:
    """Return the cell of the grid for each hour from a midnight on: the hour that clocks show there, on its day."""
    hours = (begin.astimezone(UTC) + number * HOUR for number in range(COUNTED))
    local_hours = [hour.astimezone(begin.tzinfo) for hour in hours]
    return [(moment.date() - begin.date()).days * HOURS + moment.hour for moment in local_hours]


@lru_cache(maxsize=4 * MOST_DISTINCT)
def _by_hour(schedule: Schedule, begin: datetime) -> tuple[int, ...]:
    """Return how many occurrences a schedule has in each of the hours that are counted, wherever jitter moves them."""
    plan = Plan(
        seed=NIL,
        cron=Cron(schedule.cron_expression, schedule.timezone or "UTC") if schedule.cron_expression else None,
        once=words.parse(schedule.run_at),
        starts_at=words.parse(schedule.starts_at),
        ends_at=words.parse(schedule.ends_at),
        excluded=schedule.excluded_dates,
    )
    return tuple(plans.counts(plan, [begin + number * HOUR - plans.INSTANT for number in range(COUNTED + 1)]))


def _shade_of_hour(count: int, least: int, most: int) -> int:
    """Return the shade of an hour: 0 without runs, SHADES where the most are; in between by its share."""
    if not count:
        return 0
    return 1 + (SHADES - 1) * (count - least) // max(most - least, 1)
