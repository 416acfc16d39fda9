"""
Schedules seen in time: what is to come, why a run did or did not happen, what an unsaved schedule would do.

Nothing is recorded here. The past is read from the streams as they were at the moment in question.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from uuid import UUID

from application.access import Principal, Resource, authorize, may
from application.event_store.stream_kinds import AGENT, COMPANY, ROUTINE, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.triggers import SchedulePreview
from application.use_cases import budgets, routines
from application.use_cases.references import merge_patch
from domain.board import company as companies
from domain.errors import InvalidField, NotFound, RuleViolation
from domain.events import (
    AgentCreated,
    AgentPaused,
    AgentResumed,
    AgentTerminated,
    CompanyArchived,
    IssueFreed,
    ProbeRequested,
    ProjectDeleted,
    ProjectPaused,
    ProjectResumed,
    RoutineTriggerAdded,
    RunAttemptBegun,
    RunAttemptFailed,
    RunCompleted,
    RunFailed,
    RunFired,
    TriggerMissed,
    UserRegistered,
)
from domain.explain import sentences, verdicts
from domain.explain.sentences import Explanation
from domain.explain.verdicts import ConfigPeriod, ExplainQuery, Verdict
from domain.identity import probe_of_occurrence, run_of_occurrence
from domain.recorded import Recorded
from domain.routines import activity_gate, probe, trigger
from domain.routines.firing import NOT_INVOKABLE, PROJECT_PAUSED
from domain.routines.settlement import COMPANY_ARCHIVED
from domain.schedule import clock_changes, cron_fields, cron_words, time_words, zones
from domain.schedule import plan as plans
from domain.schedule.clock_changes import AffectedOccurrences
from domain.schedule.plan import INSTANT, Plan
from domain.values import (
    CatchUpPolicy,
    Coalesced,
    ConcurrencyPolicy,
    Failed,
    OverBudget,
    Skipped,
    TriggerSettings,
    Value,
)

LAST = datetime(2200, 1, 1, tzinfo=UTC)  # a preview looks no further ahead
COVERED, COVERED_AT_MOST = timedelta(days=400), timedelta(days=3_660)  # a preview looks for clock changes for so long
MOST_NAMED = 5  # excluded dates that the words name; more are counted
NOBODY = UUID(int=0)
WAITING: tuple[Verdict, ...] = ("planned", "being_settled")


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


def explain(
    work: UnitOfWork, principal: Principal, routine_id: UUID, moment: datetime, trigger_id: UUID | None = None
) -> list[tuple[Explanation, str]]:
    """
    Return what became of a moment and a sentence for it: of the one trigger, or of each schedule there ever was.

    Raises NotFound for a trigger that the routine never had, InvalidField when there is too much history to go through.
    """
    routines.may_read(work, principal, routine_id)
    history = work.history(routine_id)
    additions = [recorded.event for recorded in history if isinstance(recorded.event, RoutineTriggerAdded)]
    if trigger_id is None:
        trigger_ids = [event.trigger_id for event in additions if event.kind == "schedule"]
    elif any(event.trigger_id == trigger_id for event in additions):
        trigger_ids = [trigger_id]
    else:
        raise NotFound("Routine trigger not found")
    _must_be_few(work, len(trigger_ids), len(history), 0)
    work.load(trigger_ids)
    _must_be_few(work, len(trigger_ids), len(history), sum(len(work.history(id_)) for id_ in trigger_ids))
    results = [
        _explain_occurrence(work, id_, verdicts.config_periods(history, work.history(id_)), moment)
        for id_ in trigger_ids
    ]
    return [(result, sentences.sentence(result, partial(_name_actor, work))) for result in results]


def _must_be_few(work: UnitOfWork, schedules: int, changes: int, of_schedules: int) -> None:
    """Raise InvalidField when it is too much: the changes of a routine are gone through for each of its schedules."""
    limits = work.limits
    events = schedules * changes + of_schedules
    if schedules > limits.max_explained_schedules or events > limits.max_explained_events:
        message = (
            f"The routine has had {schedules} schedules and {changes} changes, and its schedules {of_schedules}: "
            "ask about one of its triggers"
        )
        raise InvalidField(message, "triggerId")


def _explain_occurrence(
    work: UnitOfWork, trigger_id: UUID, past: Sequence[ConfigPeriod], moment: datetime
) -> Explanation:
    question = verdicts.query_at(past, moment)
    events, occurrence = work.history(trigger_id), question.occurrence
    run = [] if occurrence is None else work.history(run_of_occurrence(trigger_id, occurrence))
    firing_event = next(iter(run), None)
    event = firing_event.event if firing_event is not None and isinstance(firing_event.event, RunFired) else None
    missed = verdicts.missed_by(question, events)
    if event is None and missed is None:
        question = verdicts.as_things_stand(question, past)
    verdict = verdicts.verdict(question, event, missed, work.now)
    archiving_event = _archiving_event(work, trigger_id, verdict, missed)
    if archiving_event is not None and missed is None:
        verdict = "company_archived"
    return Explanation(
        trigger_id=trigger_id,
        question=question,
        verdict=verdict,
        now=work.now,
        previous=verdicts.previous(question, events[0].at),
        following=verdicts.next_occurrence(question),
        created=events[0],
        fired=firing_event,
        probe=_pending_probe(work, trigger_id, occurrence) if verdict == "being_settled" else None,
        attempt=_newest_event(run, RunAttemptFailed, RunAttemptBegun),
        ended=_newest_event(run, RunCompleted, RunFailed),
        missed=missed,
        blocking=_blocking_firing(work, event),
        freed=_last_freeing(work, event),
        over_budget=_over_budget(work, trigger_id, question) if verdict == "planned" else None,
        obstacle=archiving_event
        or _find_obstacle(work, question, event, verdict, firing_event.at if firing_event else work.now),
    )


def _newest_event(run: Sequence[Recorded], *kinds: type) -> Recorded | None:
    """Return the last event of a run that is of one of these kinds."""
    return next((recorded for recorded in reversed(run) if isinstance(recorded.event, kinds)), None)


def _pending_probe(work: UnitOfWork, trigger_id: UUID, occurrence: datetime | None) -> Recorded | None:
    """Return the request for the probe of an occurrence for whose answer it waits; None if it does not."""
    history = [] if occurrence is None else work.history(probe_of_occurrence(trigger_id, occurrence))
    newest = next(reversed(history), None)
    return newest if newest is not None and isinstance(newest.event, ProbeRequested) else None


def _over_budget(work: UnitOfWork, trigger_id: UUID, question: ExplainQuery) -> OverBudget | None:
    """Return the budget that is used up now and will still be when the occurrence is planned, as things stand."""
    trigger, routine = question.period.trigger, question.period.routine
    if trigger is None or routine is None or question.occurrence is None:
        return None
    company_id, agent_id = work.company_of(trigger_id), routine.settings.assignee_agent_id
    exceeded_budget = budgets.over_now(work, company_id, trigger.routine_id, routine, agent_id)
    frees_before = (
        exceeded_budget is not None
        and exceeded_budget.frees_at is not None
        and exceeded_budget.frees_at <= question.occurrence
    )
    return None if frees_before else exceeded_budget


def _archiving_event(work: UnitOfWork, trigger_id: UUID, verdict: Verdict, missed: Recorded | None) -> Recorded | None:
    """Return the event that archived the company of a trigger, if that is why the occurrence waits or was missed."""
    event = None if missed is None else missed.event
    by_company = isinstance(event, TriggerMissed) and event.reason == COMPANY_ARCHIVED
    if verdict not in WAITING and not by_company:
        return None
    history = work.history(work.company_of(trigger_id))
    return next((recorded for recorded in history if isinstance(recorded.event, CompanyArchived)), None)


def _blocking_firing(work: UnitOfWork, fired: RunFired | None) -> Recorded | None:
    """Return the firing of the run whose issue was in the way."""
    match fired and fired.outcome:
        case Coalesced(into_run_id=UUID() as run_id) | Skipped(into_run_id=UUID() as run_id):
            return next(iter(work.history(run_id)), None)
        case _:
            return None


def _last_freeing(work: UnitOfWork, fired: RunFired | None) -> Recorded | None:
    """Return when the issue that the run opened or met was last taken from a worker; None if it never was."""
    issue_id = None if fired is None else getattr(fired.outcome, "issue_id", None)
    history = [] if issue_id is None else work.history(issue_id)
    return next((recorded for recorded in reversed(history) if isinstance(recorded.event, IssueFreed)), None)


def _find_obstacle(
    work: UnitOfWork, question: ExplainQuery, fired: RunFired | None, verdict: Verdict, moment: datetime
) -> Recorded | None:
    """Return what paused the project, or paused or terminated the agent, at that moment; for what is planned, now."""
    settings = question.period.routine.settings if question.period.routine else None
    if settings is None:
        return None
    by_project = fired is not None and fired.outcome == PROJECT_PAUSED
    outcome = None if fired is None else fired.outcome
    by_agent = isinstance(outcome, Failed) and outcome.reason.startswith(NOT_INVOKABLE)
    pause = None
    if (verdict == "planned" or by_project) and settings.project_id is not None:
        pause = _pausing_event(work, settings.project_id, moment, (ProjectPaused,), (ProjectResumed, ProjectDeleted))
    if (verdict == "planned" or by_agent) and pause is None and settings.assignee_agent_id is not None:
        pause = _pausing_event(
            work, settings.assignee_agent_id, moment, (AgentPaused, AgentTerminated), (AgentResumed,)
        )
    return pause


def _pausing_event(
    work: UnitOfWork, stream_id: UUID, moment: datetime, pauses: tuple[type, ...], resumes: tuple[type, ...]
) -> Recorded | None:
    """Return the event that paused a thing, if it was paused at the moment."""
    changes = [
        recorded
        for recorded in work.history(stream_id)
        if recorded.at <= moment and isinstance(recorded.event, pauses + resumes)
    ]
    return changes[-1] if changes and isinstance(changes[-1].event, pauses) else None


def _name_actor(work: UnitOfWork, actor: str) -> str:
    """Return who did something, in the words of people."""
    kind, _, id_ = actor.partition(":")
    match kind, next((recorded.event for recorded in work.history(UUID(id_))), None) if id_ else None:
        case "user", UserRegistered(name=name):
            return name
        case "agent", AgentCreated() if (agent := work.get(AGENT, UUID(id_))) is not None:
            return agent.profile.name
        case _:
            return f"the {kind}"


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
