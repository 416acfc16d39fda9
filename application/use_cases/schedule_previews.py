"""Schedules seen ahead: what is planned of one, and what one would do that is not saved. Nothing is recorded here."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

from application.access import Principal, Resource, authorize, may
from application.event_store.stream_kinds import COMPANY, ROUTINE, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.triggers import SchedulePreview
from application.use_cases import routines
from application.use_cases.references import merge_patch
from domain.board import company as companies
from domain.errors import NotFound, RuleViolation
from domain.routines import activity_gate, probe, trigger
from domain.schedule import clock_changes, cron_fields, cron_words, time_words, zones
from domain.schedule import plan as plans
from domain.schedule.clock_changes import AffectedOccurrences
from domain.schedule.plan import INSTANT, Plan
from domain.values import (
    CatchUpPolicy,
    ConcurrencyPolicy,
    TriggerSettings,
    Value,
)

LAST = datetime(2200, 1, 1, tzinfo=UTC)  # a preview looks no further ahead
COVERED, COVERED_AT_MOST = timedelta(days=400), timedelta(days=3_660)  # a preview looks for clock changes for so long
MOST_NAMED = 5  # excluded dates that the words name; more are counted
NOBODY = UUID(int=0)


class TriggerPlan(Value, frozen=True):
    """A trigger and what is planned for it; without a plan `why_none` says why."""

    trigger_id: UUID
    routine_id: UUID
    plan: Plan | None
    next_unsettled_at: datetime | None  # every earlier occurrence already has an outcome
    why_none: str | None
    concurrency_policy: ConcurrencyPolicy
    catch_up_policy: CatchUpPolicy


class PlannedOccurrence(Value, frozen=True):
    """An occurrence to come; `due_at` is None where the jitter is not known."""

    at: datetime
    due_at: datetime | None


class Preview(Value, frozen=True):
    """What a schedule would do; only `reason` is set when it would be refused."""

    reason: str | None = None
    words: str | None = None
    warnings: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()  # what must hold for an occurrence to run, for a routine that is named
    zone: str = "UTC"
    times: tuple[PlannedOccurrence, ...] = ()
    affected: tuple[AffectedOccurrences, ...] = ()
    covered_until: datetime | None = None


def plan_of_trigger(work: UnitOfWork, principal: Principal, trigger_id: UUID) -> TriggerPlan:
    """Return what is planned for a trigger; raise NotFound unless the caller may read its routine."""
    current = work.get(TRIGGER, trigger_id)
    if current is None or current.deleted:
        raise NotFound("Routine trigger not found")
    company_id = routines.resource(work, current.routine_id).company_id
    authorize(work, principal, "read", Resource(company_id=company_id, kind="Routine trigger"))
    routine = work.get(ROUTINE, current.routine_id)
    if routine is None:
        raise NotFound("Routine trigger not found")
    plan, why_none = trigger.plan_of(current), None
    if plan is None:
        why_none = "not_a_schedule"
    elif companies.is_archived(work.get(COMPANY, company_id)):
        why_none = "company_archived"
    elif routine.settings.status != "active":
        why_none = f"routine_{routine.settings.status}"
    elif not current.settings.enabled:
        why_none = "disabled"
    elif plans.next_after(plan, work.now) is None:
        why_none = "ended"
    return TriggerPlan(
        trigger_id=trigger_id,
        routine_id=current.routine_id,
        plan=plan if why_none in (None, "ended") else None,
        next_unsettled_at=current.next_unsettled_at,
        why_none=why_none,
        concurrency_policy=routine.settings.concurrency_policy,
        catch_up_policy=routine.settings.catch_up_policy,
    )


def planned_occurrences(
    schedule: TriggerPlan, settled_until: datetime | None, after: datetime, until: datetime, limit: int
) -> list[PlannedOccurrence]:
    """Return up to `limit` occurrences in (after, until] that have no outcome; those up to `settled` have one."""
    if schedule.plan is None or schedule.next_unsettled_at is None:
        return []
    after = max(moment for moment in (after, schedule.next_unsettled_at - INSTANT, settled_until) if moment is not None)
    moments = islice(plans.occurrences(schedule.plan, after, until), limit)
    return [PlannedOccurrence(at=moment, due_at=plans.due_at(schedule.plan, moment)) for moment in moments]


def preview(work: UnitOfWork, principal: Principal, request: SchedulePreview) -> Preview:
    """Return what a schedule with these fields would do, if it could be made now."""
    settings = merge_patch(TriggerSettings(), request)
    try:
        (trigger_created,) = trigger.create(request.routine_id or NOBODY, "schedule", settings, work.now)
    except RuleViolation as refusal:
        return Preview(reason=refusal.message)
    state = trigger.evolve(None, trigger_created)
    if (plan := trigger.plan_of(state)) is None:
        raise LookupError(trigger_created)
    zone = state.settings.timezone or "UTC"
    begin = request.from_ or work.now
    after = begin - INSTANT if request.from_ else begin
    occurrences = list(islice(plans.occurrences(plan, after, LAST), request.count))
    until = max(begin + COVERED, occurrences[-1] if occurrences else begin)
    until = min(until, begin + COVERED_AT_MOST)
    knows_due = request.routine_id is not None or not plan.jitter_s
    return Preview(
        words=_describe_plan(plan, zone),
        warnings=tuple(cron_fields.warnings(plan.cron.expression)) if plan.cron else (),
        conditions=_conditions_of(work, principal, request.routine_id),
        zone=zone,
        times=tuple(
            PlannedOccurrence(at=moment, due_at=plans.due_at(plan, moment) if knows_due else None)
            for moment in occurrences
        ),
        affected=tuple(clock_changes.find_affected_occurrences(plan, begin, until)),
        covered_until=until,
    )


def _conditions_of(work: UnitOfWork, principal: Principal, routine_id: UUID | None) -> tuple[str, ...]:
    """Return what must hold for an occurrence of the routine to run; nothing for one that the caller may not see."""
    routine = None if routine_id is None else work.get(ROUTINE, routine_id)
    if routine is None or routine_id is None or not may(work, principal, "read", routines.resource(work, routine_id)):
        return ()
    settings = routine.settings
    gate = (activity_gate.condition(settings),) if activity_gate.is_on(settings) else ()
    return gate if settings.probe is None else (*gate, probe.condition(settings.probe))


def _describe_plan(plan: Plan, zone: str) -> str:
    """Return the schedule in plain English."""
    if plan.once is not None:
        return f"Once, on {time_words.describe_moment(plan.once, zone)}"
    if plan.cron is None:
        raise LookupError(plan)
    text = cron_words.describe(plan.cron.expression, clocks_change=zones.clocks_change(zone))
    parts = [text, f"{plan.cron.timezone} time"]
    if plan.starts_at is not None:
        parts.append(f"from {time_words.describe_moment(plan.starts_at, zone)}")
    if plan.ends_at is not None:
        parts.append(f"until {time_words.describe_moment(plan.ends_at, zone)}")
    if plan.excluded:
        days = [time_words.day(day) for day in plan.excluded]
        parts.append(
            f"but not on {cron_words.join_in_words(days) if len(days) <= MOST_NAMED else f'{len(days)} dates'}"
        )
    if plan.jitter_s:
        parts.append(f"up to {time_words.span(timedelta(seconds=plan.jitter_s))} later")
    return ", ".join(parts)
