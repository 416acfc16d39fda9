"""The system: whether each process works, how far the read models are, charts, and what to do when something is wrong."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

from litestar import Response, get
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from application.use_cases import read_access
from projections import overview
from projections.delivery import pending_deliveries
from projections.engine.positions import Lagging
from projections.firing import firing_metrics
from projections.firing.firing_metrics import BOUNDS, BOUNDS_S, Firings
from web.board import charts, words
from web.board.charts import Bar
from web.board.home import REASONS
from web.board.visit import Visit

MODELS = ("run_history", "firing_metrics", "deliveries")
HOUR = timedelta(hours=1)
HOURS = 24
LATE = timedelta(minutes=1)  # how long a delivery may wait beyond its time
SOON_S = 1.0
Json = Mapping[str, Any]


class Process(NamedTuple):
    """A process of the service by what can be seen of its work: the kind of its outcome, a word, and a sentence."""

    name: str
    kind: str
    word: str
    sentence: str


class Chart(NamedTuple):
    """The bars of a chart, in words."""

    status: str
    total: str
    title: str
    bars: Sequence[Bar]


@get("/board/companies/{company_id:str}/system", operation_id="boardSystem")
async def system(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the health of the service."""
    health = await visit.api.get("/health")
    measurements = await sync_to_thread(_read, visit)
    return visit.show(
        "system.html",
        here="system",
        health=health,
        reasons=[REASONS.get(one, one) for one in health["reasons"]],
        late_models=[one for one in health["readModels"] if one["stopped"] or one["isOutdated"] or one["behindS"] >= 1],
        processes=processes_of(health, measurements.waiting if measurements else {}, visit.now),
        measurements=measurements,
        waiting=sum(count for count, _ in measurements.waiting.values()) if measurements else 0,
        runs=_by_hour(measurements.by_hour, measurements.first, visit.zone) if measurements else [],
        lateness=_lateness_chart(measurements.firings) if measurements else None,
        attempts={labels[0]: number for labels, number in measurements.firings.attempts.items()}
        if measurements
        else {},
        size=(charts.WIDTH, charts.HEIGHT, charts.GAP),
    )


class Measurements(NamedTuple):
    """What the charts show."""

    firings: Firings
    waiting: Mapping[str, tuple[int, datetime]]  # deliveries, by kind: how many, and when the first was to be sent
    by_hour: Mapping[str, Sequence[int]]  # runs of the company, by status
    first: datetime  # the first of those hours


def _read(visit: Visit) -> Measurements | None:
    """
    Read the models as they are, since this is the page to look at when they are behind.

    Returns None while the tables are those of another version.
    """
    backend, company_id = visit.backend, UUID(visit.company_id)
    visit.authorize(read_access.company, company_id)
    last = visit.now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    first = last - (HOURS - 1) * HOUR
    with suppress(Lagging), backend.consistent_read(*MODELS, eventual=True) as conn:
        by_hour = overview.runs_by_hour(conn, company_id, first, last)
        return Measurements(firing_metrics.firings(conn), pending_deliveries.tallies(conn), by_hour, first)
    return None


def processes_of(health: Json, waiting: Mapping[str, tuple[int, datetime]], now: datetime) -> list[Process]:
    """Return what can be seen of each process."""
    models = health["readModels"]
    stopped = sum(one["stopped"] is not None for one in models)
    late = sum(one["behindS"] >= 1 for one in models)
    web = Process("web", "ran", "works", f"It has answered you. Version {health['version']}.")
    scheduler = Process("scheduler", "ran", "works", "No schedule is due for more than a minute.")
    if overdue := health["overdueSchedules"]:
        text = words.count_noun(overdue, "schedule is", "schedules are")
        scheduler = Process("scheduler", "failed", "is late", f"{text} due for more than a minute.")
    projector = Process("projector", "ran", "works", f"All {len(models)} read models are up to date.")
    if stopped:
        text = words.count_noun(stopped, "read model has stopped", "read models have stopped")
        projector = Process("projector", "failed", "stopped", f"{text}; the table below names them.")
    elif late:
        text = words.count_noun(late, "read model is", "read models are")
        projector = Process("projector", "skipped", "is behind", f"{text} behind the log.")
    delivery = Process("delivery", "ran", "works", "Nothing waits to be sent longer than it should.")
    first_at = min((moment for _, moment in waiting.values()), default=now)
    if now - first_at > LATE:
        text = (
            f"What waits longest was to be sent {words.distance(first_at, now)}: a receiver fails, or nothing is sent."
        )
        delivery = Process("delivery", "skipped", "is late", text)
    return [web, scheduler, projector, delivery]


def _by_hour(numbers_by_status: Mapping[str, Sequence[int]], first: datetime, zone: str) -> list[Chart]:
    """Return a chart for each outcome of which there was a run in the last hours."""
    by_word = dict[str, list[int]]()
    for status, numbers in numbers_by_status.items():
        sums = by_word.setdefault(words.outcome(status).word, [0] * HOURS)
        by_word[words.outcome(status).word] = [one + other for one, other in zip(sums, numbers, strict=True)]
    status_of = {words.outcome(status).word: status for status in numbers_by_status}
    most = max((max(numbers) for numbers in by_word.values()), default=0)
    bar_charts = []
    for word, numbers in by_word.items():
        if any(numbers):
            hours = [words.in_zone(first + number * HOUR, zone) for number in range(HOURS)]
            titles = [f"{hour:%H:%M}: {_up_to(number)} {word}" for hour, number in zip(hours, numbers, strict=True)]
            title = (
                f"{_up_to(sum(numbers), any(number >= overview.MOST_AN_HOUR for number in numbers))} {word} in 24 hours"
            )
            total = _up_to(sum(numbers), any(number >= overview.MOST_AN_HOUR for number in numbers))
            bar_charts.append(Chart(status_of[word], total, title, charts.bars(numbers, titles, most)))
    return bar_charts


def _up_to(number: int, is_cut: bool | None = None) -> str:
    is_cut = number >= overview.MOST_AN_HOUR if is_cut is None else is_cut
    return f"{number:,} or more" if is_cut else f"{number:,}"


def _lateness_chart(firings: Firings) -> Chart | None:
    """Return how late scheduled runs have begun since the log began, those apart that were late on purpose."""
    up_to = firings.lateness["on_time"].up_to
    if not (total := up_to[-1]):
        return None
    numbers = [up_to[0], *(later - earlier for earlier, later in pairwise(up_to))]
    names = [f"up to {float(bound):g} s" for bound in BOUNDS[:-1]] + [f"more than {BOUNDS_S[-1]:g} s"]
    titles = [f"{name}: {number:,}" for name, number in zip(names, numbers, strict=True)]
    share = 100 * up_to[BOUNDS_S.index(SOON_S)] / total
    text = f"{share:.3g} % of {words.count_noun(total, 'run')} began within {SOON_S:g} second of the planned moment"
    return Chart("", f"{total:,}", text, charts.bars(numbers, titles))
