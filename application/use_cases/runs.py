"""
Firing a routine: by hand or through the API (contract 5.1), and by its schedules (contract 4.2).

Firing by a webhook is in webhooks.py. The id of a run follows from what fired it, so whoever fires it a second time
finds it there.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace

from application.access import AgentCaller, BoardUser, Principal
from application.event_store.stream_kinds import AGENT, COMPANY, PROJECT, ROUTINE, RUN, SLOT, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.routines import BackfillDraft, RunRequest
from application.use_cases import budgets, occurrences, probes, references, routines, slots, task_firing
from application.use_cases.board import issues
from domain.board import company as companies
from domain.board import project as projects
from domain.errors import Conflict, Forbidden, NotFound, RuleViolation
from domain.events import TriggerMissed
from domain.identity import issue_of_run, probe_of_occurrence, run_of_key, run_of_occurrence, slot_of, trajectory_of_run
from domain.recorded import Recorded
from domain.routines import activity_gate, firing, routine, settlement, trigger
from domain.routines.activity_gate import Window
from domain.routines.firing import FiringRequest
from domain.routines.routine import Routine
from domain.routines.settlement import Due
from domain.routines.slot import Slot
from domain.routines.trigger import DueTrigger
from domain.schedule import plan as plans
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


def fire_due(work: UnitOfWork, rows: Sequence[DueTrigger]) -> int:
    """Settle what is due of these triggers in one unit of work; return how many runs it recorded."""
    states = load_due(work, rows)
    work.load(id_ for row in rows for id_ in _streams_of_live_work(work, row.routine_id))
    work.load(probe_of_occurrence(row.trigger_id, row.next_at) for row in rows if probes.is_on(work, row.routine_id))
    assume_new_runs(work, [run_of_occurrence(row.trigger_id, row.next_at) for row in rows], states)
    return sum(_settle(work, row) for row in rows)


def load_due(work: UnitOfWork, rows: Sequence[DueTrigger]) -> Sequence[Routine]:
    """Fetch what the outcome of these occurrences rests on and exists before they are due; return the routines."""
    work.load(id_ for row in rows for id_ in (row.trigger_id, row.routine_id, row.company_id))
    work.load((slot_of(row.routine_id) for row in rows), SLOT)
    states = [state for row in rows if (state := work.get(ROUTINE, row.routine_id)) is not None]
    work.load(id_ for state in states for id_ in (state.settings.assignee_agent_id, state.settings.project_id))
    work.load(state.settings.call.task_id for state in states if state.settings.call is not None)
    return states


def _streams_of_live_work(work: UnitOfWork, routine_id: UUID) -> list[UUID]:
    """Return the streams of the live work that a firing of the routine meets, if its policy looks at it."""
    current = work.get(ROUTINE, routine_id)
    if current is None or (policy := current.settings.concurrency_policy) == "always_enqueue":
        return []
    live = slots.read_slot(work, routine_id).live
    return [one.issue_id for one in live] + [one.run_id for one in live if policy == "cancel_previous"]


def fail_due(work: UnitOfWork, rows: Sequence[DueTrigger], reason: str) -> int:
    """Record the occurrences as failed, because they could not be carried out in several tries; return how many."""
    return sum(_fail(work, row, reason) for row in rows)


def _fail(work: UnitOfWork, row: DueTrigger, reason: str) -> int:
    current = work.get(ROUTINE, row.routine_id)
    if current is None or occurrences.is_fired(work, row.trigger_id, row.next_at):
        return 0
    if companies.is_archived(work.get(COMPANY, row.company_id)):
        event = TriggerMissed(
            first=row.next_at, last=row.next_at, count=1, reason=settlement.COMPANY_ARCHIVED, next_at=None
        )
        work.record(row.trigger_id, [event])
        return 0
    due = _due_if_followable(work, row, current)
    if due.missed is not None:
        work.record(row.trigger_id, [due.missed])
    unfired = [occurrence for occurrence in due.fire if not occurrences.is_fired(work, row.trigger_id, occurrence)]
    for occurrence in unfired:
        request = FiringRequest(
            run_id=run_of_occurrence(row.trigger_id, occurrence),
            routine_id=row.routine_id,
            source="schedule",
            assignee_agent_id=current.settings.assignee_agent_id,
            project_id=current.settings.project_id,
            rendered=Failed(reason=f"The occurrence could not be carried out: {reason}"),
            trigger_id=row.trigger_id,
            occurrence=occurrence,
            next_at=due.next_at,
            due_at=due.due_at,
        )
        record(work, row.company_id, current, request)
    return len(unfired)


def _due_if_followable(work: UnitOfWork, row: DueTrigger, current: Routine) -> Due:
    """
    Return what to give up with the occurrence of the row.

    When the schedule itself cannot be followed, that is the occurrence alone: the schedule then waits for an edit.
    """
    only_this = Due(fire=(row.next_at,), missed=None, next_at=None)
    try:
        schedule = work.get(TRIGGER, row.trigger_id)
        plan = None if schedule is None else trigger.plan_of(schedule)
        return (
            only_this
            if plan is None
            else settlement.give_up(plan, row.next_at, work.now, current.settings.catch_up_policy)
        )
    except Exception:  # noqa: BLE001 any error means that the schedule cannot be followed
        return only_this


def _settle(work: UnitOfWork, row: DueTrigger) -> int:
    schedule = work.get(TRIGGER, row.trigger_id)
    current = work.get(ROUTINE, row.routine_id)
    if schedule is None or current is None or work.version_of(row.trigger_id) != row.trigger_version:
        return 0
    plan = trigger.plan_of(schedule)
    if plan is None or not schedule.settings.enabled or current.settings.status != "active":
        return 0
    since = occurrences.next_unfired(work, row.trigger_id, plan, row.next_at)
    if since is None:
        return 0
    company_id = work.company_of(row.trigger_id)
    if companies.is_archived(work.get(COMPANY, company_id)):
        work.record(row.trigger_id, settlement.retire(plan, since, work.now))
        return 0
    is_over = work.is_over_quota(company_id)
    if not is_over and (missed_rest := settlement.record_rest_as_missed(schedule, plan, since, work.now)) is not None:
        work.record(row.trigger_id, [missed_rest])
        if (since := missed_rest.next_at) is None:
            return 0
    counting_probe = probes.counting(work, current, row.trigger_id, since, plans.due_at(plan, since))
    moment = work.now if counting_probe is None else counting_probe.as_of
    if (due := settlement.due(plan, since, moment, current.settings.catch_up_policy)) is None:
        return 0
    if is_over:
        work.record(row.trigger_id, settlement.rest(schedule, plan, since, due, work.now))
        return 0
    run_ids = [run_of_occurrence(row.trigger_id, occurrence) for occurrence in due.fire]
    assume_new_runs(work, run_ids, [current])
    unfired = [occurrence for occurrence in due.fire if not occurrences.is_fired(work, row.trigger_id, occurrence)]
    window = row.window if activity_gate.is_on(current.settings) else None
    finding = None
    if unfired and probes.is_needed(work, current, window):
        finding = probes.finding(work, row, since, counting_probe)
        if finding is None:
            return 0  # the schedule comes due again when the probe is answered
    if due.missed is not None:
        work.record(row.trigger_id, [due.missed])
    latest = run_of_occurrence(row.trigger_id, unfired[-1]) if unfired else None
    cancels = current.settings.concurrency_policy == "cancel_previous"
    for occurrence in unfired:
        request = scheduled_request(work, current, row.routine_id, row.trigger_id, occurrence)
        superseded_by = latest if cancels and latest != request.run_id else None
        request = replace(request, next_at=due.next_at, due_at=due.due_at, window=window, superseded_by=superseded_by)
        request = replace(request, finding=finding)
        record(work, company_id, current, request)
        is_held = firing.held_outcome(request, current.settings) is not None
        if superseded_by is None and window is not None and not is_held:
            # The run that has just passed the gate covers all activity so far, so the next window begins
            # now.
            window = Window(since=work.now)
    return len(unfired)


def scheduled_request(
    work: UnitOfWork, current: Routine, routine_id: UUID, trigger_id: UUID, occurrence: datetime
) -> FiringRequest:
    """Return the request to fire an occurrence, with the routine as it is now."""
    return FiringRequest(
        run_id=run_of_occurrence(trigger_id, occurrence),
        routine_id=routine_id,
        source="schedule",
        assignee_agent_id=current.settings.assignee_agent_id,
        project_id=current.settings.project_id,
        rendered=_render_for_schedule(work, current.settings, occurrence),
        trigger_id=trigger_id,
        occurrence=occurrence,
    )


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


def _render_for_schedule(
    work: UnitOfWork, settings: RoutineSettings, occurrence: datetime
) -> firing.RenderedTemplate | Failed:
    """
    Return the texts of the run of an occurrence, with its date: it may run days later than it was planned.

    Failed, with the reason, where `render` would raise: nobody waits for a scheduled run who could be answered.
    """
    try:
        return firing.render(settings, (), occurrence, work.limits.max_run_text_bytes)
    except RuleViolation as refusal:
        return firing.refused_outcome(refusal)


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
