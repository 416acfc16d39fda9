"""Firing by schedules (contract 4.2): what has come due is fired, missed or given up, many triggers in one unit of work."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from application.event_store.stream_kinds import COMPANY, ROUTINE, SLOT, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import occurrences, probes, runs, slots
from domain.board import company as companies
from domain.errors import RuleViolation
from domain.events import TriggerMissed
from domain.identity import probe_of_occurrence, run_of_occurrence, slot_of
from domain.routines import activity_gate, firing, settlement, trigger
from domain.routines.activity_gate import Window
from domain.routines.firing import FiringRequest
from domain.routines.routine import Routine
from domain.routines.settlement import Due
from domain.routines.trigger import DueTrigger
from domain.schedule import plan as plans
from domain.values import Failed, RoutineSettings


def fire_due(work: UnitOfWork, rows: Sequence[DueTrigger]) -> int:
    """Settle what is due of these triggers in one unit of work; return how many runs it recorded."""
    states = load_due(work, rows)
    work.load(id_ for row in rows for id_ in _streams_of_live_work(work, row.routine_id))
    work.load(probe_of_occurrence(row.trigger_id, row.next_at) for row in rows if probes.is_on(work, row.routine_id))
    runs.assume_new_runs(work, [run_of_occurrence(row.trigger_id, row.next_at) for row in rows], states)
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
        runs.record(work, row.company_id, current, request)
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
    runs.assume_new_runs(work, run_ids, [current])
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
        runs.record(work, company_id, current, request)
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
