"""
Why a schedule did or did not fire at some moment: the configuration then, and what the log says of the occurrence.

A trigger's past is cut into config periods, in each of which nothing relevant was changed. An occurrence belongs to the
period in which it was planned: begin < occurrence <= end.
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
    TriggerReplanned,
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
    "company_archived",
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
LONGEST_GAP = timedelta(days=9 * 366)  # at most between two occurrences: 29 February, around a year such as 2100
OF_TRIGGER = (TriggerCreated, TriggerUpdated, TriggerRestored, TriggerDeleted)
OF_ROUTINE = (RoutineCreated, RoutineUpdated, RoutineRestored)


class ConfigPeriod(Value, frozen=True):
    """A time (begin, end] in which a trigger and its routine stayed as they were; either is None before it was created."""

    begin: datetime
    end: datetime
    trigger: Trigger | None
    routine: Routine | None
    edit: Recorded | None  # the event that made the trigger as it is
    status: Recorded | None  # the event that gave the routine its status
    replanned: Recorded | None = None  # the event that planned the schedule by other rules of its zone

    @property
    def plan(self) -> Plan | None:
        """The plan of the trigger in this period; None if it was no schedule, or not there yet."""
        return None if self.trigger is None else triggers.plan_of(self.trigger)

    def has(self, moment: datetime) -> bool:
        """Return whether the moment lies in the period."""
        return self.begin < moment <= self.end


class ExplainQuery(Value, frozen=True):
    """A moment, the config period that it lies in, and the occurrence that the question is about, if any."""

    at: datetime
    period: ConfigPeriod
    plan: Plan | None
    occurrence: datetime | None = None


def config_periods(routine_events: Sequence[Recorded], trigger_events: Sequence[Recorded]) -> list[ConfigPeriod]:
    """Return the past of a trigger as periods, oldest first, without a gap."""
    periods = [ConfigPeriod(begin=BEGINNING, end=END, trigger=None, routine=None, edit=None, status=None)]
    for moment, recorded in merge(_in_time(routine_events), _in_time(trigger_events), key=itemgetter(0)):
        before = periods[-1]
        after = _period_after(before, recorded)
        if isinstance(recorded.event, OF_TRIGGER + OF_ROUTINE):
            periods[-1] = replace(before, end=moment)
            periods.append(replace(after, begin=moment))
        else:
            periods[-1] = after
    return [period for period in periods if period.begin < period.end]


def _in_time(events: Sequence[Recorded]) -> Iterator[tuple[datetime, Recorded]]:
    """
    Pair the events with their times.

    An event that a clock set back has dated before an earlier one counts as of the time of that one.
    """
    return zip(accumulate((recorded.at for recorded in events), max), events, strict=True)


def _period_after(period: ConfigPeriod, recorded: Recorded) -> ConfigPeriod:
    match recorded.event:
        case RoutineCreated() | RoutineUpdated() | RoutineRestored() as event:
            routine = routines.evolve(period.routine, event)
            is_new = period.routine is None or period.routine.settings.status != routine.settings.status
            return replace(period, routine=routine, status=recorded if is_new else period.status)
        case event if isinstance(event, RoutineEvent):
            return replace(period, routine=routines.evolve(period.routine, event))
        case event:
            trigger = triggers.evolve(period.trigger, event)  # type: ignore[arg-type]
            if isinstance(event, OF_TRIGGER):
                return replace(period, trigger=trigger, edit=recorded, replanned=None)
            replanning = recorded if isinstance(event, TriggerReplanned) else period.replanned
            return replace(period, trigger=trigger, replanned=replanning)


def query_at(past: Sequence[ConfigPeriod], moment: datetime) -> ExplainQuery:
    """
    Return what a question about a moment is about: an occurrence planned or due in its minute, even one that could not
    run.
    """
    minute = moment.replace(second=0, microsecond=0)
    queries = [
        question for period in past if (question := _planned_in(period, _first_plan(past), minute, moment)) is not None
    ]
    if queries:
        return next((question for question in queries if _find_obstacle(question) is None), queries[0])
    period = next(period for period in past if period.has(moment))
    if (plan := period.plan) is not None and plan.jitter_s:
        latest = plans.last_until(plan, moment, max(period.begin, moment - LONGEST_JITTER))
        if latest is not None and minute <= plans.due_at(plan, latest) < minute + MINUTE:
            return ExplainQuery(at=moment, period=period, plan=plan, occurrence=latest)
    return ExplainQuery(at=moment, period=period, plan=plan or _first_plan(past))


def _first_plan(past: Sequence[ConfigPeriod]) -> Plan | None:
    """Return the plan that the trigger began with, for questions about a time before it existed."""
    return next((period.plan for period in past if period.plan is not None), None)


def _planned_in(period: ConfigPeriod, first: Plan | None, minute: datetime, moment: datetime) -> ExplainQuery | None:
    """Return the query for the occurrence that a period's schedule has in a minute, ignoring the limits of its plan."""
    low, high = max(minute - INSTANT, period.begin), min(minute + MINUTE - INSTANT, period.end)
    plan = period.plan or first
    if plan is None or low >= high:
        return None
    unlimited_plan = replace(plan, starts_at=None, ends_at=None, excluded=())
    occurrence = next(plans.occurrences(unlimited_plan, low, high), None)
    return None if occurrence is None else ExplainQuery(at=moment, period=period, plan=plan, occurrence=occurrence)


def reason_of(outcome: Outcome) -> str | None:
    """Return why a firing opened no issue and started no trajectory; None if it ran."""
    match outcome:
        case Opened() | Started():
            return None
        case Failed(reason=reason):
            return reason
        case Skipped(issue_id=None, reason=None | "paused"):
            return PROJECT_PAUSED
        case Skipped(reason=str() as reason):
            return reason
        case _:
            return LIVE_ISSUE


def missed_by(question: ExplainQuery, trigger_events: Iterable[Recorded]) -> Recorded | None:
    """Return the recorded event that says that the occurrence did not run, if there is one."""
    if question.occurrence is None:
        return None
    for recorded in trigger_events:
        match recorded.event:
            case TriggerMissed(first=first, last=last):
                if first <= question.occurrence <= last:
                    return recorded
    return None


def as_things_stand(question: ExplainQuery, past: Sequence[ConfigPeriod]) -> ExplainQuery:
    """
    Return the question about an occurrence without an outcome, in the newest config period instead of its own.

    What waited when the schedule was changed or stopped waits on, so what keeps it from firing is how things are now.
    """
    trigger = past[-1].trigger
    if trigger is None or trigger.next_unsettled_at is None or question.occurrence is None:
        return question
    is_waiting = question.occurrence >= trigger.next_unsettled_at and _find_obstacle(question) is None
    return replace(question, period=past[-1]) if is_waiting else question


def verdict(question: ExplainQuery, fired: RunFired | None, missed: Recorded | None, now: datetime) -> Verdict:
    """
    Return the verdict.

    What is recorded comes first, then what kept the schedule from firing, then what is still to come.
    """
    if fired is not None:
        return OUTCOMES[type(fired.outcome)]
    if missed is not None:
        return "missed"
    if question.occurrence is None or question.plan is None:
        return "not_an_occurrence"
    if (obstacle := _find_obstacle(question)) is not None:
        return obstacle
    if plans.due_at(question.plan, question.occurrence) > now:
        return "planned"
    return "being_settled" if question.period.end == END else "missed"


def _find_obstacle(question: ExplainQuery) -> Verdict | None:
    """Return what kept the schedule from firing; None if nothing did."""
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
    """
    Return the schedule's last occurrence before the moment, not before `since` and at most LONGEST_GAP ago; None if
    none.
    """
    before = (question.occurrence or question.at) - INSTANT
    since = max(since, before - LONGEST_GAP)
    return None if question.plan is None or before <= since else plans.last_until(question.plan, before, since)


def next_occurrence(question: ExplainQuery) -> datetime | None:
    """Return the schedule's next occurrence after the moment; None if there is none."""
    return None if question.plan is None else plans.next_after(question.plan, question.occurrence or question.at)
