"""
A backfill: the occurrences of a schedule in a range of the past are run after all.

It goes through the range from its begin to its end. An occurrence that has a run keeps that one, so nothing runs twice
however often a range is asked for.
"""

from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from domain import plan as plans
from domain.errors import Conflict, ImpossibleHistory, Misfit
from domain.events import (
    BackfillAdvanced,
    BackfillCancelled,
    BackfillCompleted,
    BackfillEvent,
    BackfillRequested,
)
from domain.plan import INSTANT, Plan
from domain.values import Overlap, Value

MOST = 5_000  # occurrences of one
ENDED = "The backfill is over"


class Backfill(Value, frozen=True):
    trigger_id: UUID
    routine_id: UUID
    until: datetime
    overlap: Overlap
    reached: datetime  # every occurrence up to here has been seen to
    ended: bool = False


class Waiting(Value, frozen=True):
    """A backfill with something left to do, as the read model of backfills knows it."""

    id: UUID
    trigger_id: UUID
    routine_id: UUID
    company_id: UUID


def evolve(backfill: Backfill | None, event: BackfillEvent) -> Backfill:
    match backfill, event:
        case None, BackfillRequested(trigger_id=trigger_id, routine_id=routine_id, overlap=overlap):
            return Backfill(
                trigger_id=trigger_id,
                routine_id=routine_id,
                until=event.until,
                overlap=overlap,
                reached=event.since - INSTANT,
            )
        case Backfill(ended=False), BackfillAdvanced(reached=reached):
            return replace(backfill, reached=reached)
        case Backfill(ended=False), BackfillCompleted() | BackfillCancelled():
            return replace(backfill, ended=True)
        case _:
            raise ImpossibleHistory(backfill, event)


def count(plan: Plan, since: datetime, until: datetime) -> int:
    """How many occurrences the range has, its ends included. Raises Misfit if they are none, or more than MOST."""
    found = plans.count(plan, since - INSTANT, until) if since <= until else 0
    if not found:
        raise Misfit("The schedule has no occurrence in this range that is settled", "from")
    if found > MOST:
        raise Misfit(f"The range has {found:,} occurrences, and a backfill at most {MOST:,}: ask for parts of it", "to")
    return found


def cancel(backfill: Backfill, reason: str) -> list[BackfillEvent]:
    """Nothing more of it is run; what was, stays. Raises Conflict when it is over."""
    if backfill.ended:
        raise Conflict(ENDED)
    return [BackfillCancelled(reason=reason)]
