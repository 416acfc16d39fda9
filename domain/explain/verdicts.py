"""
Why a schedule did or did not fire at some moment: what was in force then, and what the log says of the occurrence.

A trigger's past is cut into eras, in each of which nothing that decides was changed. An occurrence belongs to the
era in which it was planned: begin < occurrence <= end.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import accumulate
from operator import itemgetter
from typing import Literal

from msgspec.structs import replace

from domain.events import (
    RoutineCreated,
    RoutineEvent,
    RoutineRestored,
    RoutineUpdated,
    RunFired,
    TriggerCreated,
    TriggerDeleted,
    TriggerMissed,
    TriggerRestored,
    TriggerUpdated,
)
from domain.recorded import Recorded
from domain.routines import routine as routines
from domain.routines import trigger as triggers
from domain.routines.routine import Routine
from domain.routines.trigger import Trigger
from domain.schedule import plan as plans
from domain.schedule.plan import INSTANT, MINUTE, Plan
from domain.values import Coalesced, Failed, Opened, Outcome, Skipped, Started, Value

Verdict = Literal[
    "ran",
    "coalesced",
    "skipped",
    "missed",
    "failed",
    "planned",
    "being_settled",
    "not_an_occurrence",
    "disabled",
    "routine_paused",
    "routine_archived",
    "deleted",
    "excluded_date",
    "before_start",
    "after_end",
    "not_yet_created",
]
OUTCOMES: dict[type, Verdict] = {
    Opened: "ran",
    Started: "ran",
    Coalesced: "coalesced",
    Skipped: "skipped",
    Failed: "failed",
}
LIVE_ISSUE, PROJECT_PAUSED = "live_execution_issue", "project_paused"
BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
LONGEST_JITTER = timedelta(hours=1)
LONGEST_GAP = timedelta(days=9 * 366)  # between two occurrences: 29 February, where a leap year is left out
OF_TRIGGER = (TriggerCreated, TriggerUpdated, TriggerRestored, TriggerDeleted)
OF_ROUTINE = (RoutineCreated, RoutineUpdated, RoutineRestored)


class ConfigPeriod(Value, frozen=True):
    """A time (begin, end] in which a trigger and its routine stayed as they were; None: not there yet."""

    begin: datetime
    end: datetime
    trigger: Trigger | None
    routine: Routine | None
    edit: Recorded | None  # what made the trigger as it is
    status: Recorded | None  # what gave the routine its status

    @property
    def plan(self) -> Plan | None:
        return None if self.trigger is None else triggers.plan_of(self.trigger)

    def has(self, moment: datetime) -> bool:
        return self.begin < moment <= self.end


class ExplainQuery(Value, frozen=True):
    """A moment, the era it falls into, and the occurrence that it is about; None: it is about none."""

    at: datetime
    period: ConfigPeriod
    plan: Plan | None
    occurrence: datetime | None = None


def config_periods(routine_events: Sequence[Recorded], trigger_events: Sequence[Recorded]) -> list[ConfigPeriod]:
    """The past of a trigger, oldest first, without a gap."""
    found = [ConfigPeriod(begin=BEGINNING, end=END, trigger=None, routine=None, edit=None, status=None)]
    for at, recorded in merge(_in_time(routine_events), _in_time(trigger_events), key=itemgetter(0)):
        before = found[-1]
        after = _after(before, recorded)
        if isinstance(recorded.event, OF_TRIGGER + OF_ROUTINE):
            found[-1] = replace(before, end=at)
            found.append(replace(after, begin=at))
        else:
            found[-1] = after
    return [period for period in found if period.begin < period.end]


def _in_time(events: Sequence[Recorded]) -> Iterator[tuple[datetime, Recorded]]:
    """With their times; one that a clock set back has dated before another counts as of the same time."""
    return zip(accumulate((recorded.at for recorded in events), max), events, strict=True)


def _after(period: ConfigPeriod, recorded: Recorded) -> ConfigPeriod:
    match recorded.event:
        case RoutineCreated() | RoutineUpdated() | RoutineRestored() as event:
            routine = routines.evolve(period.routine, event)
            is_new = period.routine is None or period.routine.settings.status != routine.settings.status
            return replace(period, routine=routine, status=recorded if is_new else period.status)
        case event if isinstance(event, RoutineEvent):
            return replace(period, routine=routines.evolve(period.routine, event))
        case event:
            trigger = triggers.evolve(period.trigger, event)  # type: ignore[arg-type]
            return replace(period, trigger=trigger, edit=recorded if isinstance(event, OF_TRIGGER) else period.edit)


def query_at(past: Sequence[ConfigPeriod], moment: datetime) -> ExplainQuery:
    """What a moment is about: the occurrence of its minute or one that came due in it, be it one that was not to be."""
    minute = moment.replace(second=0, microsecond=0)
    found = [
        question for period in past if (question := _planned_in(period, _first_plan(past), minute, moment)) is not None
    ]
    if found:
        return next((question for question in found if _obstacle(question) is None), found[0])
    period = next(period for period in past if period.has(moment))
    if (plan := period.plan) is not None and plan.jitter_s:
        latest = plans.last_until(plan, moment, max(period.begin, moment - LONGEST_JITTER))
        if latest is not None and minute <= plans.due_at(plan, latest) < minute + MINUTE:
            return ExplainQuery(at=moment, period=period, plan=plan, occurrence=latest)
    return ExplainQuery(at=moment, period=period, plan=plan or _first_plan(past))


def _first_plan(past: Sequence[ConfigPeriod]) -> Plan | None:
    """What the trigger began with: asked of a time before it was there."""
    return next((period.plan for period in past if period.plan is not None), None)


def _planned_in(period: ConfigPeriod, first: Plan | None, minute: datetime, moment: datetime) -> ExplainQuery | None:
    """The occurrence that the schedule of an era has in a minute, its limits apart."""
    low, high = max(minute - INSTANT, period.begin), min(minute + MINUTE - INSTANT, period.end)
    plan = period.plan or first
    if plan is None or low >= high:
        return None
    bare = replace(plan, starts_at=None, ends_at=None, excluded=())
    found = next(plans.occurrences(bare, low, high), None)
    return None if found is None else ExplainQuery(at=moment, period=period, plan=plan, occurrence=found)


def reason_of(outcome: Outcome) -> str | None:
    """Why an occurrence that was fired became what it is; None: it ran."""
    match outcome:
        case Opened() | Started():
            return None
        case Failed(reason=reason):
            return reason
        case Skipped(issue_id=None):
            return PROJECT_PAUSED
        case _:
            return LIVE_ISSUE


def missed_by(question: ExplainQuery, trigger_events: Iterable[Recorded]) -> Recorded | None:
    """The fact that says that the occurrence did not run, if there is one."""
    if question.occurrence is None:
        return None
    for recorded in trigger_events:
        match recorded.event:
            case TriggerMissed(first=first, last=last):
                if question.period.has(first) and first <= question.occurrence <= last:
                    return recorded
    return None


def verdict(question: ExplainQuery, fired: RunFired | None, missed: Recorded | None, now: datetime) -> Verdict:
    """What is recorded comes first, then what kept the schedule from firing, then what is to be."""
    if fired is not None:
        return OUTCOMES[type(fired.outcome)]
    if missed is not None:
        return "missed"
    if question.occurrence is None or question.plan is None:
        return "not_an_occurrence"
    if (obstacle := _obstacle(question)) is not None:
        return obstacle
    if plans.due_at(question.plan, question.occurrence) > now:
        return "planned"
    return "being_settled" if question.period.end == END else "missed"


def _obstacle(question: ExplainQuery) -> Verdict | None:
    """What kept the schedule from firing; None: nothing did."""
    trigger, routine = question.period.trigger, question.period.routine
    if trigger is None or routine is None:
        return "not_yet_created"
    if trigger.deleted:
        return "deleted"
    if routine.settings.status == "archived":
        return "routine_archived"
    if not trigger.settings.enabled:
        return "disabled"
    if routine.settings.status == "paused":
        return "routine_paused"
    plan, occurrence = question.plan, question.occurrence
    if plan is None or occurrence is None:
        return "not_an_occurrence"
    if plan.starts_at is not None and occurrence < plan.starts_at:
        return "before_start"
    if plan.ends_at is not None and occurrence > plan.ends_at:
        return "after_end"
    return None if next(plans.occurrences(plan, occurrence - INSTANT, occurrence), None) else "excluded_date"


def previous(question: ExplainQuery, since: datetime) -> datetime | None:
    """The occurrence of the schedule before the moment, not before `since` nor longer ago than LONGEST_GAP."""
    before = (question.occurrence or question.at) - INSTANT
    since = max(since, before - LONGEST_GAP)
    return None if question.plan is None or before <= since else plans.last_until(question.plan, before, since)


def following(question: ExplainQuery) -> datetime | None:
    """The occurrence of the schedule after the moment."""
    return None if question.plan is None else plans.next_after(question.plan, question.occurrence or question.at)
