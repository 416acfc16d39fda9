"""
Backfills: people ask for past occurrences to be run, and the scheduler runs them a few at a time.

A backfill goes by the schedule as it is now, and ends before the first occurrence that the schedule itself still has
to settle. Of a schedule that is disabled, it leaves out what waits until that is enabled again. It ends early when its
routine cannot work any more; when it is asked for again, it leaves out what has run.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

from msgspec.structs import replace

from application.access import Action, Principal, Resource, authorize
from application.event_store.stream_kinds import AGENT, BACKFILL, COMPANY, PROJECT, ROUTINE, SLOT
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.routines import BackfillDraft
from application.use_cases import occurrences, routines, runs, schedule_changes, schedule_firing, slots, triggers
from domain.errors import Conflict, NotFound, RuleViolation
from domain.events import BackfillAdvanced, BackfillCompleted, BackfillRequested
from domain.identity import backfill_of_key, run_of_occurrence, slot_of
from domain.routines import backfill, trigger
from domain.routines.backfill import Backfill, WaitingBackfill
from domain.routines.routine import Routine
from domain.routines.trigger import Trigger
from domain.schedule import plan as plans
from domain.schedule.plan import INSTANT, Plan
from domain.values import Value

AT_ONCE = 20  # occurrences that one unit of work runs
OTHER_REQUEST = "The idempotency key was used for another request"
SHOWN = 100  # occurrences that a preview lists


class Range(Value, frozen=True):
    """The `count` occurrences of a plan from `since` to `until`, both included."""

    plan: Plan
    since: datetime
    until: datetime
    count: int


class Preview(Value, frozen=True):
    """
    What a backfill would do: of `count` occurrences it leaves out `left_out`, which have a run, or wait for the schedule
    itself. SHOWN are listed.
    """

    trigger_id: UUID
    routine_id: UUID
    zone: str
    since: datetime
    until: datetime
    count: int
    left_out: int
    obstacle: str | None  # why it would be refused; None when it would not
    occurrences: tuple[tuple[datetime, UUID | None], ...]  # each with the id of its run, if it has one


def preview(work: UnitOfWork, principal: Principal, trigger_id: UUID, draft: BackfillDraft) -> Preview:
    """Return what the backfill would do; raise InvalidField for a range with no occurrences, or too many."""
    current, routine, plan = _of_schedule(work, principal, trigger_id, "read")
    obstacle = _find_obstacle(work, work.company_of(trigger_id), routine)
    period = _range_to_run(work, current, routine, plan, draft)
    moments = list(plans.occurrences(period.plan, period.since - INSTANT, period.until))
    run_ids = {moment: run_of_occurrence(trigger_id, moment) for moment in moments}
    work.load(run_ids.values())
    fired_moments = {moment for moment in moments if occurrences.is_fired(work, trigger_id, moment)}
    waiting = _waiting_moments(work, trigger_id, current, routine, moments)
    return Preview(
        trigger_id=trigger_id,
        routine_id=current.routine_id,
        zone=period.plan.cron.timezone if period.plan.cron else "UTC",
        since=period.since,
        until=period.until,
        count=period.count,
        left_out=len(fired_moments | waiting),
        obstacle=backfill.OBSTACLES.get(obstacle or ""),
        occurrences=tuple((moment, run_ids[moment] if moment in fired_moments else None) for moment in moments[:SHOWN]),
    )


def create(
    work: UnitOfWork, principal: Principal, trigger_id: UUID, draft: BackfillDraft, key: str | None = None
) -> UUID:
    """
    Record the request for a backfill and return its id; the scheduler carries it out. The same idempotency key gives the
    same backfill again.

    Raises InvalidField as `preview` does, and Conflict when the routine cannot work now, or the key was used for another
    request.
    """
    current, routine, plan = _of_schedule(work, principal, trigger_id, "assign")
    digest = None if key is None else runs.digest_of(draft)
    if key is not None and work.get(BACKFILL, backfill_of_key(trigger_id, key)) is not None:
        return _check_repetition(work, backfill_of_key(trigger_id, key), digest)
    period = _range_to_run(work, current, routine, plan, draft)
    backfill.may_begin(_find_obstacle(work, work.company_of(trigger_id), routine))
    event = BackfillRequested(
        trigger_id=trigger_id,
        routine_id=current.routine_id,
        since=period.since,
        until=period.until,
        count=period.count,
        overlap=draft.overlap,
        request_digest=digest,
    )
    backfill_id = work.new_id() if key is None else backfill_of_key(trigger_id, key)
    work.record(backfill_id, [event], work.company_of(trigger_id))
    return backfill_id


def cancel(work: UnitOfWork, principal: Principal, backfill_id: UUID) -> UUID:
    """End a backfill; its runs stay. Raise Conflict when it is over already."""
    current = work.get(BACKFILL, backfill_id)
    resource = routines.resource(work, current.routine_id) if current else Resource(company_id=None, kind="Backfill")
    authorize(work, principal, "own", replace(resource, kind="Backfill"))
    if current is None:
        raise NotFound("Backfill not found")
    work.record(backfill_id, backfill.cancel(current, "cancelled"))
    return backfill_id


def may_list(work: UnitOfWork, principal: Principal, trigger_id: UUID) -> None:
    """Raise unless the caller may read the routine of the trigger."""
    current = triggers.get_trigger(work, trigger_id)
    authorize(work, principal, "read", replace(routines.resource(work, current.routine_id), kind="Routine trigger"))


def carry_on(work: UnitOfWork, rows: Sequence[WaitingBackfill]) -> int:
    """Run the next occurrences of each backfill in one unit of work; return how many runs it recorded."""
    work.load(id_ for row in rows for id_ in (row.id, row.trigger_id, row.routine_id))
    work.load((slot_of(row.routine_id) for row in rows), SLOT)
    return sum(_carry_on(work, row) for row in rows)


def give_up(work: UnitOfWork, rows: Sequence[WaitingBackfill], reason: str) -> int:
    """Cancel backfills that could not be carried out in several tries; return 0, since no run was recorded."""
    for row in rows:
        if (current := work.get(BACKFILL, row.id)) is not None and not current.ended:
            work.record(row.id, backfill.cancel(current, f"could_not_be_carried_out: {reason}"))
    return 0


def _carry_on(work: UnitOfWork, row: WaitingBackfill) -> int:
    current = work.get(BACKFILL, row.id)
    if current is None or current.ended:
        return 0
    schedule, routine = triggers.find_trigger(work, current.trigger_id), work.get(ROUTINE, current.routine_id)
    plan = None if schedule is None else trigger.plan_of(schedule)
    if schedule is None or routine is None or plan is None:
        work.record(row.id, backfill.cancel(current, "trigger_deleted"))
        return 0
    if (obstacle := _find_obstacle(work, row.company_id, routine)) is not None:
        work.record(row.id, backfill.cancel(current, obstacle))
        return 0
    if work.must_wait(row.company_id):
        if not current.over_quota:
            work.record(row.id, [BackfillAdvanced(reached=current.reached, fired=0, left_out=0, over_quota=True)])
        return 0
    if (first_unsettled := trigger.owed_from(schedule, routine.settings.status)) is not None:
        plan = plans.plan_before(plan, first_unsettled)
    moments = list(islice(plans.occurrences(plan, current.reached, current.until), AT_ONCE))
    runs.assume_new_runs(work, [run_of_occurrence(current.trigger_id, moment) for moment in moments], [routine])
    progress = _run(
        work, row, current, routine, moments, _waiting_moments(work, current.trigger_id, schedule, routine, moments)
    )
    if progress.fired or progress.left_out or progress.waits:
        work.record(row.id, [progress])
    if len(moments) < AT_ONCE and not progress.waits:
        work.record(row.id, [BackfillCompleted()])
    return progress.fired


def _waiting_moments(
    work: UnitOfWork, trigger_id: UUID, schedule: Trigger, routine: Routine, moments: Sequence[datetime]
) -> set[datetime]:
    """Return those of the occurrences that a schedule which stands still settles itself, once it runs again."""
    if trigger.owed_from(schedule, routine.settings.status) is not None:
        return set()  # the schedule runs, and the range ends before its waiting occurrences
    if (period := schedule_changes.waiting_period(work, trigger_id, schedule)) is None:
        return set()
    first, last = period
    return {moment for moment in moments if first <= moment <= last}


def _run(  # noqa: PLR0913, PLR0917 the backfill, and what it rests on
    work: UnitOfWork,
    row: WaitingBackfill,
    current: Backfill,
    routine: Routine,
    moments: Sequence[datetime],
    waiting: set[datetime],
) -> BackfillAdvanced:
    """Fire the occurrences in order, but those that wait, up to where the backfill has to wait for live work."""
    progress = BackfillAdvanced(reached=current.reached, fired=0, left_out=0)
    for moment in moments:
        if moment in waiting or occurrences.is_fired(work, current.trigger_id, moment):
            progress = replace(progress, reached=moment, left_out=progress.left_out + 1)
            continue
        if current.overlap == "one_at_a_time" and slots.attended_work(work, slots.read_slot(work, current.routine_id)):
            return replace(progress, waits=True)
        request = schedule_firing.scheduled_request(work, routine, current.routine_id, current.trigger_id, moment)
        runs.record(work, row.company_id, routine, replace(request, backfill_id=row.id))
        progress = replace(progress, reached=moment, fired=progress.fired + 1)
    return progress


def _of_schedule(
    work: UnitOfWork, principal: Principal, trigger_id: UUID, action: Action
) -> tuple[Trigger, Routine, Plan]:
    current = triggers.get_trigger(work, trigger_id)
    authorize(work, principal, action, replace(routines.resource(work, current.routine_id), kind="Routine trigger"))
    if (routine := work.get(ROUTINE, current.routine_id)) is None:
        raise NotFound("Routine trigger not found")
    if (plan := trigger.plan_of(current)) is None:
        raise RuleViolation("Only schedules can be backfilled")
    return current, routine, plan


def _check_repetition(work: UnitOfWork, backfill_id: UUID, digest: str | None) -> UUID:
    first = work.history(backfill_id)[0].event
    if not isinstance(first, BackfillRequested) or first.request_digest != digest:
        raise Conflict(OTHER_REQUEST)
    return backfill_id


def _range_to_run(work: UnitOfWork, current: Trigger, routine: Routine, plan: Plan, draft: BackfillDraft) -> Range:
    """Return the requested range without what is still to come and what the schedule itself settles."""
    until = backfill.until(draft.to, work.now, trigger.owed_from(current, routine.settings.status))
    return Range(plan=plan, since=draft.from_, until=until, count=backfill.count(plan, draft.from_, until))


def _find_obstacle(work: UnitOfWork, company_id: UUID, routine: Routine) -> str | None:
    """Return why the routine cannot work now; None when it can."""
    settings = routine.settings
    return backfill.obstacle(
        settings,
        work.get(COMPANY, company_id),
        work.get(PROJECT, settings.project_id),
        work.get(AGENT, settings.assignee_agent_id),
    )
