"""Chains: what a new link must not be, and the firing of a routine when a run of another has ended."""

from collections.abc import Sequence
from uuid import UUID

from msgspec.structs import replace

from application.event_store.stream_kinds import COMPANY, ROUTINE, RUN, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import runs
from domain.errors import InvalidField, RuleViolation
from domain.events import TrajectoryStepReported
from domain.routines import chain, firing
from domain.routines.chain import DueChain
from domain.routines.firing import FiringRequest
from domain.routines.routine import Routine
from domain.routines.run import Run
from domain.values import Failed, Json, RoutineSettings, Skipped, Started, TriggerSettings

UNKNOWN = "There is no such routine in the company"


def must_be_linkable(work: UnitOfWork, routine_id: UUID, settings: TriggerSettings) -> None:
    """
    Raise unless the routine may run after the one that a chain names; nothing for other triggers.

    Raises InvalidField for a routine that is not of the company, RuleViolation for a cycle. Two changes that would only
    together be a cycle cannot both be recorded, since each rests on the routines that it has looked at.
    """
    if settings.after_routine_id is None:
        return
    company_id, visited_ids, waiting = work.company_of(routine_id), set[UUID](), [settings.after_routine_id]
    while waiting:
        work.load(waiting)
        after_id = waiting.pop()
        current = work.get(ROUTINE, after_id)
        if current is None or work.company_of(after_id) != company_id:
            raise InvalidField(UNKNOWN, "afterRoutineId")
        if after_id == routine_id:
            raise RuleViolation("The chain would be a cycle: the routine would run, in the end, after itself")
        visited_ids.add(after_id)
        if len(visited_ids) > chain.MAX_LINKED:
            raise RuleViolation(f"A chain has at most {chain.MAX_LINKED} routines before one")
        waiting += _routines_before(current) - visited_ids


def fire_due(work: UnitOfWork, rows: Sequence[DueChain]) -> int:
    """Fire the routines that follow the runs which have ended, in one unit of work; return how many runs it recorded."""
    work.load(id_ for row in rows for id_ in (row.id, row.trigger_id, row.cause_run_id, row.company_id))
    return sum(_fire(work, row) for row in rows)


def fail_due(work: UnitOfWork, rows: Sequence[DueChain], reason: str) -> int:
    """Record the runs as failed, because they could not be fired in several tries; return how many."""
    return sum(_fire(work, row, f"The chain could not be carried on: {reason}") for row in rows)


def _fire(work: UnitOfWork, row: DueChain, given_up: str | None = None) -> int:
    link, cause = work.get(TRIGGER, row.trigger_id), work.get(RUN, row.cause_run_id)
    current = None if link is None else work.get(ROUTINE, link.routine_id)
    if link is None or current is None or cause is None or work.get(RUN, row.id) is not None:
        return 0
    outputs = {} if given_up else _outputs_of(work, cause)
    before = work.get(ROUTINE, cause.routine_id)
    payload = chain.payload(row.cause_run_id, cause, before.settings.title if before else "", outputs)
    request = FiringRequest(
        run_id=row.id,
        routine_id=link.routine_id,
        source="chain",
        assignee_agent_id=current.settings.assignee_agent_id,
        project_id=current.settings.project_id,
        rendered=Failed(reason=given_up) if given_up else _render(work, current.settings, payload, outputs),
        trigger_id=row.trigger_id,
        payload=payload,
        cause_run_id=row.cause_run_id,
        chain_depth=cause.chain_depth + 1,
    )
    reason = chain.obstacle(link, current, work.get(COMPANY, row.company_id), cause)
    if reason is None:
        runs.record(work, row.company_id, current, request)
    else:
        request = replace(request, rendered=Failed(reason=reason))
        work.record(row.id, [firing.fired_with(request, current, Skipped(reason=reason))], row.company_id)
    return 1


def _routines_before(current: Routine) -> set[UUID]:
    """Return the routines after which a routine runs."""
    settings = [state.settings for state in current.triggers.values()]
    return {link.after_routine_id for link in settings if link.after_routine_id is not None}


def _outputs_of(work: UnitOfWork, cause: Run) -> Json:
    """Return the outputs of a run: those of each step of its trajectory, or those that were reported of it."""
    if isinstance(cause.outcome, Started):
        events = [recorded.event for recorded in work.history(cause.outcome.trajectory_id)]
        return {event.step: event.outputs for event in events if isinstance(event, TrajectoryStepReported)}
    return cause.report.outputs or {}


def _render(
    work: UnitOfWork, settings: RoutineSettings, payload: Json, outputs: Json
) -> firing.RenderedTemplate | Failed:
    """Return the texts of the run, its variables filled in from the outputs of the same names; Failed with the reason."""
    try:
        return runs.render(work, settings, payload, outputs)
    except RuleViolation as refusal:
        return firing.refused_outcome(refusal)
