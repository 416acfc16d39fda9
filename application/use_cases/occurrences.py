"""Which occurrences of a schedule have their run."""

from datetime import datetime
from uuid import UUID

from application.event_store.stream_kinds import RUN
from application.event_store.unit_of_work import UnitOfWork
from domain.identity import run_of_occurrence
from domain.schedule import plan as plans
from domain.schedule.plan import MINUTE, Plan


def is_fired(work: UnitOfWork, trigger_id: UUID, occurrence: datetime) -> bool:
    """Return whether the occurrence has its run."""
    return work.get(RUN, run_of_occurrence(trigger_id, occurrence)) is not None


def next_unfired(work: UnitOfWork, trigger_id: UUID, plan: Plan, occurrence: datetime) -> datetime | None:
    """
    Return `occurrence`, or the first after it that has no run or is still to come; None when the plan has no further one.

    Walks from one to the next. So it is exact also where the clock was set back and the schedule edited, and runs stand
    between occurrences that have none: the scheduler must miss no occurrence. Its rows are seldom stale by many.
    """
    candidate: datetime | None = occurrence
    while candidate is not None and candidate <= work.now and is_fired(work, trigger_id, candidate):
        candidate = plans.next_after(plan, candidate)
    return candidate


def first_unsettled(
    work: UnitOfWork, trigger_id: UUID, plan: Plan, since: datetime, until: datetime
) -> datetime | None:
    """
    Return the first occurrence from `since` (itself one) until a moment that has no run; None when there is none.

    For changes of a schedule that may have fired thousands of times since: it takes occurrences to be settled in order,
    those that have a run before those that have none, and halves the time, unless `since` or the newest one already answers. `since` counts even if the
    rules of its time zone have changed and the plan has it no more.
    """
    if since > until:
        return None
    if not is_fired(work, trigger_id, since):
        return since
    low, high = since, plans.last_until(plan, until, since)
    if high is None or is_fired(work, trigger_id, high):
        return None
    while high - low > MINUTE:
        middle = low + (high - low) / 2
        latest = plans.last_until(plan, middle, low)
        if latest is None:
            low = middle
        elif is_fired(work, trigger_id, latest):
            low = latest
        else:
            high = latest
    return plans.next_after(plan, low)
