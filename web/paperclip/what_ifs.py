"""The routes that replay the past of a routine, or of all routines of a company, with other settings. They record nothing."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec
from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from application.access import Caller
from application.audit import log_reader
from application.request_bodies.what_ifs import CompanyWhatIf, PastWithChanges, WhatIf
from application.use_cases import read_access, what_ifs
from domain.errors import InvalidField
from domain.events import SlotCounted, SlotTaken
from domain.identity import slot_of
from domain.recorded import Recorded
from domain.values import LiveWork
from domain.what_if import ledger
from domain.what_if.change import Change
from domain.what_if.ledger import Difference, Firing, Ledger, Totals
from domain.what_if.replay import replay
from projections.engine.table import Connection
from projections.firing import past_runs
from projections.responses import ResponseBody, time
from web.http.backend import Backend
from web.http.moments import check_years
from web.http.path_ids import CompanyId, RoutineId
from web.http.routing import post

MOST_SHOWN = 500  # differences in one answer; all are counted
SLOT_EVENTS = 3  # of one run, at most as a rule: taken, freed, and its share of the snapshots


class BusiestMinute(ResponseBody, frozen=True, kw_only=True):
    """The minute in which most runs began work."""

    at: str
    runs: int


class WhatIfTotals(ResponseBody, frozen=True, kw_only=True):
    """
    What became of a range in numbers: the firings by their outcomes, and the occurrences that were missed. Waiting is from
    when a scheduled run was due until it was fired.
    """

    fired: int
    ran: int
    coalesced: int
    skipped: int
    failed: int
    missed: int
    longest_wait_ms: int
    total_wait_ms: int
    busiest: BusiestMinute | None


class WhatIfFiring(ResponseBody, frozen=True, kw_only=True):
    """When a firing was, and its outcome."""

    at: str
    outcome: str
    reason: str | None


class WhatIfDifference(ResponseBody, frozen=True, kw_only=True):
    """A firing that is `added`, `removed`, has `moved` in time, or is `changed` in its outcome."""

    kind: Literal["added", "removed", "moved", "changed"]
    routine_id: UUID
    trigger_id: UUID | None
    source: str
    planned_at: str | None
    run_id: UUID | None
    was: WhatIfFiring | None
    would_be: WhatIfFiring | None


class WhatIfDifferences(ResponseBody, frozen=True, kw_only=True):
    """How many firings differ, in which way."""

    added: int
    removed: int
    moved: int
    changed: int


class WhatIfAnswer(ResponseBody, frozen=True, kw_only=True):
    """
    What was (`actual`), what would have been (`replayed`), and the firings that differ, oldest first: all are counted, at most
    500 are shown. `assumedDurations` counts the replayed runs of which it is not known how long their work takes; they are
    given the median of the others.
    """

    from_: str = msgspec.field(name="from")
    to: str
    routines: int
    actual: WhatIfTotals
    replayed: WhatIfTotals
    counts: WhatIfDifferences
    differences: list[WhatIfDifference]
    assumed_durations: int


class WhatIfs(Controller):
    """Replays of the past."""

    tags = ("schedules",)

    @post("/routines/{routine_id:str}/what-if", operation_id="replayRoutine", status_code=200, refuses=(422,))
    def of_routine(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        routine_id: FromPath[RoutineId],
        data: JSONBody[WhatIf],
    ) -> WhatIfAnswer:
        """
        Says what would have become of a range of the routine's past if its settings had been changed at `from`. Nothing is
        recorded.

        The rules are those of the scheduler. What came from outside is as it was: firings by hand and by webhooks, edits
        and pauses, when the scheduler was away, and how long work took. Activity gates, budgets and quotas are not judged
        anew: they hold back what they really did. Without a change the answer is what happened.
        """
        end = _check_range(backend, data)
        change = backend.authorize(caller, what_ifs.change, routine_id, data)
        with backend.consistent_read(*past_runs.MODELS, eventual=eventual):
            ledgers = _replay(
                backend, caller, routine_id, change, (data.from_, end), backend.limits.max_what_if_firings
            )
        return _answer_what_if({routine_id: ledgers}, data.from_, end)

    @post("/companies/{company_id:str}/what-if", operation_id="replayCompany", status_code=200, refuses=(403, 422))
    def of_company(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        company_id: FromPath[CompanyId],
        data: JSONBody[CompanyWhatIf],
    ) -> WhatIfAnswer:
        """
        Says the same of all routines of the company that are not archived, together: such as the busiest minute if all
        schedules had jitter. Nothing is recorded.
        """
        end = _check_range(backend, data)
        backend.authorize(caller, read_access.company, company_id)
        change, left = what_ifs.change_of_company(data), (limit := backend.limits.max_what_if_firings)
        most = backend.limits.max_what_if_routines
        with backend.consistent_read(*past_runs.MODELS, eventual=eventual) as conn:
            routine_ids = past_runs.routines(conn, company_id, most + 1)
        if len(routine_ids) > most:
            raise InvalidField(f"The company has more than {most} routines: ask about one of them", "companyId")
        ledgers = {}
        for routine_id in routine_ids:
            ledgers[routine_id] = _replay(backend, caller, routine_id, change, (data.from_, end), left)
            left -= max(len(one.firings) + len(one.missed) for one in ledgers[routine_id])
            if left < 0:
                message = f"More than {limit:,} firings and missed ranges of its routines are in the range: take a shorter one"
                raise InvalidField(message, "from")
        return _answer_what_if(ledgers, data.from_, end)


def _check_range(backend: Backend, data: PastWithChanges) -> datetime:
    check_years(data.from_, "from")
    check_years(data.to, "to")
    return what_ifs.end_of(data, backend.executor.clock())


def _replay(  # noqa: PLR0913, PLR0917 who asks for what
    backend: Backend, caller: Caller, routine_id: UUID, change: Change, period: tuple[datetime, datetime], most: int
) -> tuple[Ledger, Ledger]:
    begin, end = period
    with backend.pool.connection() as conn:
        run_ids = past_runs.runs(conn, routine_id, begin, end, most + 1)
        if len(run_ids) > most:
            raise InvalidField(f"More than {most:,} firings are in the range: take a shorter one", "from")
        slot = _read_slot(conn, routine_id, begin, SLOT_EVENTS * most + 100)
    known_run_ids = {live.run_id for recorded in slot for live in _live_work(recorded)}
    past = backend.authorize(caller, what_ifs.read_past, routine_id, [*{*run_ids, *known_run_ids}], slot)
    return replay(past, change, begin, end, most)


def _read_slot(conn: Connection, routine_id: UUID, begin: datetime, most: int) -> list[Recorded]:
    """Return the events of the slot from a snapshot before a moment on, oldest first. Raise InvalidField."""
    events: list[Recorded] = []
    for row in log_reader.read_backwards(conn, slot_of(routine_id)):
        recorded = log_reader.recorded_of(row)
        events.append(recorded)
        if isinstance(recorded.event, SlotCounted) and recorded.at <= begin:
            break
        if len(events) > most:
            raise InvalidField("Too many runs have begun and ended since then: take a later range", "from")
    return events[::-1]


def _live_work(recorded: Recorded) -> Sequence[LiveWork]:
    match recorded.event:
        case SlotTaken(live=live):
            return (live,)
        case SlotCounted(live=live):
            return live
        case _:
            return ()


def _answer_what_if(ledgers: dict[UUID, tuple[Ledger, Ledger]], begin: datetime, end: datetime) -> WhatIfAnswer:
    differences = [
        (routine_id, difference)
        for routine_id, (actual, replayed) in ledgers.items()
        for difference in ledger.differences(actual, replayed)
    ]
    differences.sort(key=lambda pair: ledger.place_of(pair[1]))
    counts = Counter(difference.kind for _, difference in differences)
    return WhatIfAnswer(
        from_=time(begin),
        to=time(end),
        routines=len(ledgers),
        actual=_totals_answer(ledger.totals([actual for actual, _ in ledgers.values()])),
        replayed=_totals_answer(ledger.totals([replayed for _, replayed in ledgers.values()])),
        counts=WhatIfDifferences(
            added=counts["added"], removed=counts["removed"], moved=counts["moved"], changed=counts["changed"]
        ),
        differences=[_difference_answer(routine_id, difference) for routine_id, difference in differences[:MOST_SHOWN]],
        assumed_durations=sum(replayed.assumed_durations for _, replayed in ledgers.values()),
    )


def _totals_answer(totals: Totals) -> WhatIfTotals:
    busiest = totals.busiest
    return WhatIfTotals(
        fired=totals.fired,
        ran=totals.ran,
        coalesced=totals.coalesced,
        skipped=totals.skipped,
        failed=totals.failed,
        missed=totals.missed,
        longest_wait_ms=totals.longest_wait // timedelta(milliseconds=1),
        total_wait_ms=totals.total_wait // timedelta(milliseconds=1),
        busiest=None if busiest is None else BusiestMinute(at=time(busiest.at), runs=busiest.runs),
    )


def _difference_answer(routine_id: UUID, difference: Difference) -> WhatIfDifference:
    firing = difference.firing
    return WhatIfDifference(
        kind=difference.kind,
        routine_id=routine_id,
        trigger_id=firing.trigger_id,
        source=firing.source,
        planned_at=None if firing.occurrence is None else time(firing.occurrence),
        run_id=None if difference.was is None else difference.was.run_id,
        was=_firing_answer(difference.was),
        would_be=_firing_answer(difference.would_be),
    )


def _firing_answer(firing: Firing | None) -> WhatIfFiring | None:
    return None if firing is None else WhatIfFiring(at=time(firing.at), outcome=firing.tag, reason=firing.reason)
