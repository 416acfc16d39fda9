"""
Why a run did or did not happen.

Nothing is recorded here. The past is read from the streams as they were at the moment in question.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from application.access import Principal
from application.event_store.stream_kinds import AGENT
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import budgets, routines
from domain.errors import InvalidField, NotFound
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
from domain.routines.firing import NOT_INVOKABLE, PROJECT_PAUSED
from domain.routines.settlement import COMPANY_ARCHIVED
from domain.values import (
    Coalesced,
    Failed,
    OverBudget,
    Skipped,
)

WAITING: tuple[Verdict, ...] = ("planned", "being_settled")


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
