"""
Firing a routine by hand or through the API (contract 5.1), and what all ways to fire share: the record of a run.

The others are in schedule_firing.py, webhooks.py, chains.py and backfills.py. The id of a run follows from what fired it, so
whoever fires it a second time finds it there.
"""

import hashlib
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from msgspec.structs import replace

from application.access import AgentCaller, BoardUser, Principal
from application.event_store.stream_kinds import AGENT, PROJECT, RUN, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.routines import BackfillDraft, RunRequest
from application.use_cases import budgets, references, routines, slots, task_firing
from application.use_cases.board import issues
from domain.board import project as projects
from domain.errors import Conflict, Forbidden, NotFound, RuleViolation
from domain.identity import issue_of_run, run_of_key, slot_of, trajectory_of_run
from domain.recorded import Recorded
from domain.routines import firing, routine, trigger
from domain.routines.firing import FiringRequest
from domain.routines.routine import Routine
from domain.routines.slot import Slot
from domain.values import Failed, Json, Opened, Outcome, RoutineSettings, Workspace


def fire_by_hand(work: UnitOfWork, principal: Principal, routine_id: UUID, request: RunRequest) -> list[Recorded]:
    """
    Fire a routine and return the events of the run; the same idempotency key gives the same run again.

    Raises Conflict for an archived routine or a disabled trigger, RuleViolation when nobody is there to do the work.
    """
    current = routines.get_writable_routine(work, principal, routine_id, "assign")
    company_id = work.company_of(routine_id)
    _check_override(principal, request)
    routine.must_not_be_archived(current)
    references.check_project(work, company_id, request.project_id)
    assignee = request.assignee_agent_id or current.settings.assignee_agent_id
    references.check_assignee(work, company_id, assignee)
    _check_trigger(work, company_id, routine_id, request.trigger_id)
    if assignee is None and current.settings.call is None:
        raise RuleViolation("Default agent required")
    key = request.idempotency_key or None
    by_hand = request.source == "manual"
    firing_request = FiringRequest(
        run_id=new_run(work) if key is None else run_of_key(routine_id, request.source, request.trigger_id, key),
        routine_id=routine_id,
        source=request.source,
        assignee_agent_id=assignee,
        project_id=request.project_id or current.settings.project_id,
        rendered=render(
            work, current.settings, request.payload, request.variables or {}, variables_in(request.payload)
        ),
        trigger_id=request.trigger_id,
        idempotency_key=key,
        request_digest=None if key is None else digest_of(request),
        payload=request.payload,
        agent_id=principal.agent_id if by_hand and isinstance(principal, AgentCaller) else None,
        user_id=principal.user_id if by_hand and isinstance(principal, BoardUser) else None,
        workspace=_workspace_of(request),
    )
    if key is not None:  # mostly nobody has fired by it before
        assume_new_runs(work, [firing_request.run_id], [current])
    if work.get(RUN, firing_request.run_id) is None:
        record(work, company_id, current, firing_request)
    return work.history(firing_request.run_id)


def read(work: UnitOfWork, principal: Principal, run_id: UUID) -> Sequence[Recorded]:
    """Return the events of a run, for whoever may see its routine. Raises NotFound."""
    current = work.get(RUN, run_id)
    if current is None:
        raise NotFound("Run not found")
    try:
        routines.may_read(work, principal, current.routine_id)
    except NotFound:
        raise NotFound("Run not found") from None
    return work.history(run_id)


def digest_of(request: RunRequest | BackfillDraft) -> str:
    """Return 64 hexadecimal digits that are equal for requests that ask for the same, whatever their key."""
    body = replace(request, idempotency_key=None) if isinstance(request, RunRequest) else request
    text = msgspec.json.encode(body, order="deterministic")
    return hashlib.sha256(text).hexdigest()


def assume_new_runs(work: UnitOfWork, run_ids: Sequence[UUID], states: Sequence[Routine]) -> None:
    """
    Treat the streams of these runs, and of the issues and trajectories they would open, as empty without reading them.

    If one exists, the append is refused and the decision is taken again on fresh state.
    """
    issue_ids = map(issue_of_run, run_ids)
    calls = any(state.settings.call is not None for state in states)
    work.assume_new([*run_ids, *issue_ids, *(map(trajectory_of_run, run_ids) if calls else ())])


def record(work: UnitOfWork, company_id: UUID, current: Routine, request: FiringRequest) -> None:
    """Record the run with its outcome, and what it opens: an issue, or a trajectory where the routine calls a task."""
    request = replace(request, deadline=firing.deadline(current.settings, work.now))
    if current.settings.call is not None:
        task_firing.begin(work, company_id, current, request)
        return
    slot_id = slot_of(request.routine_id)
    guard = slots.read_slot(work, request.routine_id)
    outcome = budgets.limit(work, company_id, current, request, _decide_outcome(work, current, request, guard))
    outcome = slots.limit_live(work, current, guard, outcome, is_awaited=not request.is_automatic)
    if isinstance(outcome, Opened) and current.settings.concurrency_policy == "cancel_previous":
        issues.cancel_superseded(work, guard.live, request.run_id)
        guard = slots.read_slot(work, request.routine_id)
    facts = firing.facts(request, current, guard, outcome)
    work.record(request.run_id, [facts.run], company_id)
    work.record(slot_id, facts.slot, company_id)
    if facts.issue is not None:
        work.record(issue_of_run(request.run_id), [facts.issue], company_id)


def _decide_outcome(work: UnitOfWork, current: Routine, request: FiringRequest, guard: Slot) -> Outcome:
    if request.is_automatic and projects.is_paused(work.get(PROJECT, request.project_id)):
        return firing.PROJECT_PAUSED
    if (held_outcome := firing.held_outcome(request, current.settings)) is not None:
        return held_outcome
    if request.superseded_by is not None:
        return firing.superseded_outcome(request.superseded_by)
    if isinstance(request.rendered, Failed):
        return request.rendered  # live issues are not read: they may be the reason why it failed
    assignee = work.get(AGENT, request.assignee_agent_id)
    return firing.outcome(request, current, assignee, slots.newest_live_work(work, current, guard))


def render(
    work: UnitOfWork, settings: RoutineSettings, payload: Json | None, *sources: Mapping[str, object]
) -> firing.RenderedTemplate:
    """Return the texts of a run that is fired now; raise RuleViolation for variables that are missing or too large."""
    return firing.render(settings, sources, work.now, work.limits.max_run_text_bytes, payload)


def new_run(work: UnitOfWork) -> UUID:
    """Return the id of a run that no key identifies; the stream of its issue is known to be new as well."""
    run_id = work.new_id()
    work.begin(issue_of_run(run_id))
    return run_id


def variables_in(payload: Json | None) -> Mapping[str, object]:
    """Return the object `variables` of a payload; an empty one when there is none."""
    variables = (payload or {}).get("variables")
    return variables if isinstance(variables, dict) else {}


def _workspace_of(request: RunRequest) -> Workspace | None:
    workspace = Workspace(
        id=request.execution_workspace_id,
        preference=request.execution_workspace_preference,
        settings=request.execution_workspace_settings,
        project_workspace_id=request.project_workspace_id,
    )
    return None if workspace == Workspace() else workspace


def _check_override(principal: Principal, request: RunRequest) -> None:
    if isinstance(principal, AgentCaller) and request.assignee_agent_id not in (None, principal.agent_id):
        raise Forbidden(routines.OTHER_ASSIGNEE)


def _check_trigger(work: UnitOfWork, company_id: UUID, routine_id: UUID, trigger_id: UUID | None) -> None:
    if trigger_id is None:
        return
    current = work.get(TRIGGER, trigger_id)
    if current is None or current.deleted or work.company_of(trigger_id) != company_id:
        raise NotFound("Routine trigger not found")
    if current.routine_id != routine_id:
        raise Forbidden("Trigger does not belong to routine")
    if not current.settings.enabled:
        raise Conflict(trigger.NOT_ACTIVE)
