"""
Making up for occurrences of the past: asked for by people, carried out by the scheduler a few at a time.

A backfill goes by the schedule as it is now, and ends before the first occurrence that the schedule itself still has
to settle. It ends early when its routine cannot work any more; asked for again, it leaves out what has run.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

from msgspec.structs import replace

from application.access import Action, Principal, Resource, authorize
from application.commands import BackfillDraft
from application.streams import AGENT, BACKFILL, PROJECT, ROUTINE
from application.use_cases import routines, runs, slots, triggers
from application.work import Work
from domain import agent, backfill, trigger
from domain import plan as plans
from domain.backfill import Backfill, Waiting
from domain.errors import Conflict, NotFound, Unacceptable
from domain.events import BackfillAdvanced, BackfillCancelled, BackfillCompleted, BackfillRequested
from domain.identity import run_of_occurrence, slot_of
from domain.plan import INSTANT, Plan
from domain.routine import Routine
from domain.slot import TAIL
from domain.trigger import Trigger
from domain.values import Value

AT_ONCE = 20  # occurrences of one unit of work
SHOWN = 100  # occurrences that a preview names
CANNOT: dict[str, str] = {
    "routine_paused": "Routine is paused",
    "routine_archived": "Routine is archived",
    "no_agent": "Default agent required",
    "agent_not_invokable": "Agent is not invokable in its current state",
    "project_paused": "Project is paused",
}


class Range(Value, frozen=True):
    """The occurrences of a plan from `since` to `until`, `count` of them."""

    plan: Plan
    since: datetime
    until: datetime
    count: int


class Preview(Value, frozen=True):
    """What a backfill would do: of `count` occurrences it leaves out those that have a run; the first are named."""

    trigger_id: UUID
    routine_id: UUID
    zone: str
    since: datetime
    until: datetime
    count: int
    left_out: int
    obstacle: str | None  # why it would be refused
    occurrences: tuple[tuple[datetime, UUID | None], ...]  # each with its run, if it has one


def preview(work: Work, principal: Principal, trigger_id: UUID, draft: BackfillDraft) -> Preview:
    """Raises Misfit for a range without occurrences, or with too many."""
    found, of = _of_schedule(work, principal, trigger_id, "read")
    asked = _range(work, found, of, draft)
    moments = list(plans.occurrences(asked.plan, asked.since - INSTANT, asked.until))
    run_ids = {at: run_of_occurrence(trigger_id, at) for at in moments}
    work.load(run_ids.values())
    ran = {at for at in moments if runs.is_fired(work, trigger_id, at)}
    return Preview(
        trigger_id=trigger_id,
        routine_id=found.routine_id,
        zone=asked.plan.cron.timezone if asked.plan.cron else "UTC",
        since=asked.since,
        until=asked.until,
        count=asked.count,
        left_out=len(ran),
        obstacle=CANNOT.get(_obstacle(work, of) or ""),
        occurrences=tuple((at, run_ids[at] if at in ran else None) for at in moments[:SHOWN]),
    )


def create(work: Work, principal: Principal, trigger_id: UUID, draft: BackfillDraft) -> UUID:
    """Raises Misfit as `preview` does, and Conflict when the routine cannot work now."""
    found, of = _of_schedule(work, principal, trigger_id, "assign")
    asked = _range(work, found, of, draft)
    if (obstacle := _obstacle(work, of)) is not None:
        raise Conflict(CANNOT[obstacle])
    requested = BackfillRequested(
        trigger_id=trigger_id,
        routine_id=found.routine_id,
        since=asked.since,
        until=asked.until,
        count=asked.count,
        overlap=draft.overlap,
    )
    backfill_id = work.new_id()
    work.record(backfill_id, [requested], work.company_of(trigger_id))
    return backfill_id


def cancel(work: Work, principal: Principal, backfill_id: UUID) -> UUID:
    """What has run stays. Raises Conflict when it is over."""
    found = work.get(BACKFILL, backfill_id)
    of = routines.resource(work, found.routine_id) if found else Resource(company_id=None, kind="Backfill")
    authorize(work, principal, "own", replace(of, kind="Backfill"))
    if found is None:
        raise NotFound("Backfill not found")
    work.record(backfill_id, backfill.cancel(found, "cancelled"))
    return backfill_id


def may_list(work: Work, principal: Principal, trigger_id: UUID) -> None:
    """The backfills of a trigger are for whoever may read its routine."""
    found = triggers.present(work, trigger_id)
    authorize(work, principal, "read", replace(routines.resource(work, found.routine_id), kind="Routine trigger"))


def carry_on(work: Work, rows: Sequence[Waiting]) -> int:
    """The next occurrences of each, in one unit of work; returns how many runs it recorded."""
    work.load(id_ for row in rows for id_ in (row.id, row.trigger_id, row.routine_id))
    work.load((slot_of(row.routine_id) for row in rows), TAIL)
    return sum(_carry_on(work, row) for row in rows)


def give_up(work: Work, rows: Sequence[Waiting], reason: str) -> int:
    """Something about them cannot be carried out, whatever is tried."""
    for row in rows:
        if (found := work.get(BACKFILL, row.id)) is not None and not found.ended:
            work.record(row.id, backfill.cancel(found, f"could_not_be_carried_out: {reason}"))
    return 0


def _carry_on(work: Work, row: Waiting) -> int:
    found = work.get(BACKFILL, row.id)
    if found is None or found.ended:
        return 0
    plan, why = _followed(work, found)
    of = work.get(ROUTINE, found.routine_id)
    if plan is None or of is None:
        work.record(row.id, [BackfillCancelled(reason=why or "trigger_deleted")])
        return 0
    moments = list(islice(plans.occurrences(plan, found.reached, found.until), AT_ONCE))
    runs.load_runs(work, [run_of_occurrence(found.trigger_id, at) for at in moments], [of])
    done = _run(work, row, found, of, moments)
    if done.fired or done.left_out or done.waits:
        work.record(row.id, [done])
    if len(moments) < AT_ONCE and not done.waits:
        work.record(row.id, [BackfillCompleted()])
    return done.fired


def _run(work: Work, row: Waiting, found: Backfill, of: Routine, moments: Sequence[datetime]) -> BackfillAdvanced:
    """Fires them up to where it has to wait for live work."""
    done = BackfillAdvanced(reached=found.reached, fired=0, left_out=0)
    for at in moments:
        if runs.is_fired(work, found.trigger_id, at):
            done = replace(done, reached=at, left_out=done.left_out + 1)
            continue
        if found.overlap == "one_at_a_time" and slots.of(work, found.routine_id).live:
            return replace(done, waits=True)
        asked = runs.scheduled(work, of, found.routine_id, found.trigger_id, at)
        runs.record(work, row.company_id, of, replace(asked, backfill_id=row.id))
        done = replace(done, reached=at, fired=done.fired + 1)
    return done


def _followed(work: Work, found: Backfill) -> tuple[Plan | None, str | None]:
    """The schedule as it is now; None, and why, when the backfill cannot go on."""
    armed, of = triggers.known(work, found.trigger_id), work.get(ROUTINE, found.routine_id)
    if armed is None or of is None:
        return None, "trigger_deleted"
    plan, why = trigger.plan_of(armed), _obstacle(work, of)
    if plan is None or why is not None:
        return None, why
    return _before(plan, _owed_from(armed, of)), None


def _of_schedule(work: Work, principal: Principal, trigger_id: UUID, action: Action) -> tuple[Trigger, Routine]:
    found = triggers.present(work, trigger_id)
    authorize(work, principal, action, replace(routines.resource(work, found.routine_id), kind="Routine trigger"))
    if (of := work.get(ROUTINE, found.routine_id)) is None:
        raise NotFound("Routine trigger not found")
    if trigger.plan_of(found) is None:
        raise Unacceptable("Only schedules can be backfilled")
    return found, of


def _range(work: Work, found: Trigger, of: Routine, draft: BackfillDraft) -> Range:
    """What is asked for, as far as it is past and not still for the schedule itself to settle."""
    if (plan := trigger.plan_of(found)) is None:
        raise Unacceptable("Only schedules can be backfilled")
    until, owed = min(draft.to or work.now, work.now), _owed_from(found, of)
    until = until if owed is None else min(until, owed - INSTANT)
    return Range(plan=plan, since=draft.from_, until=until, count=backfill.count(plan, draft.from_, until))


def _owed_from(found: Trigger, of: Routine) -> datetime | None:
    """The first occurrence that the schedule itself settles, or has settled; None: it settles nothing."""
    return found.since if found.settings.enabled and of.settings.status == "active" else None


def _before(plan: Plan, owed: datetime | None) -> Plan:
    """The plan as far as the schedule does not settle it itself."""
    if owed is None:
        return plan
    last = owed - INSTANT
    return replace(plan, ends_at=last if plan.ends_at is None else min(last, plan.ends_at))


def _obstacle(work: Work, of: Routine) -> str | None:
    """Why its routine cannot work now; one of CANNOT, or None."""
    settings = of.settings
    if settings.status != "active":
        return f"routine_{settings.status}"
    grouped = work.get(PROJECT, settings.project_id)
    if grouped is not None and grouped.paused and not grouped.deleted:
        return "project_paused"
    if settings.call is not None:
        return None
    assignee = work.get(AGENT, settings.assignee_agent_id)
    if assignee is None:
        return "no_agent"
    return None if agent.is_invokable(assignee) else "agent_not_invokable"
