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


class Era(Value, frozen=True):
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


class Question(Value, frozen=True):
    """A moment, the era it falls into, and the occurrence that it is about; None: it is about none."""

    at: datetime
    era: Era
    plan: Plan | None
    occurrence: datetime | None = None


def eras(routine_events: Sequence[Recorded], trigger_events: Sequence[Recorded]) -> list[Era]:
    """The past of a trigger, oldest first, without a gap."""
    found = [Era(begin=BEGINNING, end=END, trigger=None, routine=None, edit=None, status=None)]
    for at, recorded in merge(_in_time(routine_events), _in_time(trigger_events), key=itemgetter(0)):
        before = found[-1]
        after = _after(before, recorded)
        if isinstance(recorded.event, OF_TRIGGER + OF_ROUTINE):
            found[-1] = replace(before, end=at)
            found.append(replace(after, begin=at))
        else:
            found[-1] = after
    return [era for era in found if era.begin < era.end]


def _in_time(events: Sequence[Recorded]) -> Iterator[tuple[datetime, Recorded]]:
    """With their times; one that a clock set back has dated before another counts as of the same time."""
    return zip(accumulate((recorded.at for recorded in events), max), events, strict=True)


def _after(era: Era, recorded: Recorded) -> Era:
    match recorded.event:
        case RoutineCreated() | RoutineUpdated() | RoutineRestored() as event:
            routine = routines.evolve(era.routine, event)
            is_new = era.routine is None or era.routine.settings.status != routine.settings.status
            return replace(era, routine=routine, status=recorded if is_new else era.status)
        case event if isinstance(event, RoutineEvent):
            return replace(era, routine=routines.evolve(era.routine, event))
        case event:
            trigger = triggers.evolve(era.trigger, event)  # type: ignore[arg-type]
            return replace(era, trigger=trigger, edit=recorded if isinstance(event, OF_TRIGGER) else era.edit)


def ask(past: Sequence[Era], at: datetime) -> Question:
    """What a moment is about: the occurrence of its minute or one that came due in it, be it one that was not to be."""
    minute = at.replace(second=0, microsecond=0)
    found = [question for era in past if (question := _planned_in(era, _first_plan(past), minute, at)) is not None]
    if found:
        return next((question for question in found if _obstacle(question) is None), found[0])
    era = next(era for era in past if era.has(at))
    if (plan := era.plan) is not None and plan.jitter_s:
        latest = plans.last_until(plan, at, max(era.begin, at - LONGEST_JITTER))
        if latest is not None and minute <= plans.due_at(plan, latest) < minute + MINUTE:
            return Question(at=at, era=era, plan=plan, occurrence=latest)
    return Question(at=at, era=era, plan=plan or _first_plan(past))


def _first_plan(past: Sequence[Era]) -> Plan | None:
    """What the trigger began with: asked of a time before it was there."""
    return next((era.plan for era in past if era.plan is not None), None)


def _planned_in(era: Era, first: Plan | None, minute: datetime, at: datetime) -> Question | None:
    """The occurrence that the schedule of an era has in a minute, its limits apart."""
    low, high = max(minute - INSTANT, era.begin), min(minute + MINUTE - INSTANT, era.end)
    plan = era.plan or first
    if plan is None or low >= high:
        return None
    bare = replace(plan, starts_at=None, ends_at=None, excluded=())
    found = next(plans.occurrences(bare, low, high), None)
    return None if found is None else Question(at=at, era=era, plan=plan, occurrence=found)


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


def missed_by(question: Question, trigger_events: Iterable[Recorded]) -> Recorded | None:
    """The fact that says that the occurrence did not run, if there is one."""
    if question.occurrence is None:
        return None
    for recorded in trigger_events:
        match recorded.event:
            case TriggerMissed(first=first, last=last):
                if question.era.has(first) and first <= question.occurrence <= last:
                    return recorded
    return None


def verdict(question: Question, fired: RunFired | None, missed: Recorded | None, now: datetime) -> Verdict:
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
    return "being_settled" if question.era.end == END else "missed"


def _obstacle(question: Question) -> Verdict | None:
    """What kept the schedule from firing; None: nothing did."""
    trigger, routine = question.era.trigger, question.era.routine
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


def previous(question: Question, since: datetime) -> datetime | None:
    """The occurrence of the schedule before the moment, not before `since` nor longer ago than LONGEST_GAP."""
    before = (question.occurrence or question.at) - INSTANT
    since = max(since, before - LONGEST_GAP)
    return None if question.plan is None or before <= since else plans.last_until(question.plan, before, since)


def following(question: Question) -> datetime | None:
    """The occurrence of the schedule after the moment."""
    return None if question.plan is None else plans.next_after(question.plan, question.occurrence or question.at)
