"""
A backfill: the occurrences of a schedule in a range of the past are run after all.

It goes through the range from its beginning to its end. An occurrence that has a run keeps that one, so nothing runs
twice however often a range is requested.
"""

from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from domain.board import agent as agents
from domain.board import company as companies
from domain.board import project as projects
from domain.board.agent import Agent
from domain.board.company import Company
from domain.board.project import Project
from domain.errors import Conflict, ImpossibleHistory, InvalidField
from domain.events import (
    BackfillAdvanced,
    BackfillCancelled,
    BackfillCompleted,
    BackfillEvent,
    BackfillRequested,
)
from domain.routines.firing import NOT_INVOKABLE
from domain.routines.routine import ARCHIVED
from domain.schedule import plan as plans
from domain.schedule.plan import INSTANT, Plan
from domain.values import Overlap, RoutineSettings, Value

MOST = 5_000  # occurrences in one backfill
ENDED = "The backfill is over"
OBSTACLES: dict[str, str] = {  # reasons for which a backfill is refused or cancelled, and their texts
    "company_archived": companies.ARCHIVED,
    "routine_paused": "Routine is paused",
    "routine_archived": ARCHIVED,
    "no_agent": "Default agent required",
    "agent_not_invokable": NOT_INVOKABLE,
    "project_paused": "Project is paused",
}


class Backfill(Value, frozen=True):
    """The state of a backfill: its range, how far it has come, and whether it is over."""

    trigger_id: UUID
    routine_id: UUID
    until: datetime
    overlap: Overlap
    reached: datetime  # every occurrence up to here has been handled
    ended: bool = False
    over_quota: bool = False  # the backfill waits until its company has recorded less in a minute


class WaitingBackfill(Value, frozen=True):
    """A backfill that is not over, as the read model of backfills knows it."""

    id: UUID
    trigger_id: UUID
    routine_id: UUID
    company_id: UUID


def evolve(backfill: Backfill | None, event: BackfillEvent) -> Backfill:
    """Fold an event into the state of a backfill. Raise ImpossibleHistory if the event cannot follow."""
    match backfill, event:
        case None, BackfillRequested(trigger_id=trigger_id, routine_id=routine_id, overlap=overlap):
            return Backfill(
                trigger_id=trigger_id,
                routine_id=routine_id,
                until=event.until,
                overlap=overlap,
                reached=event.since - INSTANT,
            )
        case Backfill(ended=False), BackfillAdvanced(reached=reached, over_quota=over_quota):
            return replace(backfill, reached=reached, over_quota=over_quota)
        case Backfill(ended=False), BackfillCompleted() | BackfillCancelled():
            return replace(backfill, ended=True)
        case _:
            raise ImpossibleHistory(backfill, event)


def obstacle(
    settings: RoutineSettings, company: Company | None, project: Project | None, assignee: Agent | None
) -> str | None:
    """Return why a routine cannot work now in this company and project and for this agent, as a key of OBSTACLES."""
    if companies.is_archived(company):
        return "company_archived"
    if settings.status != "active":
        return f"routine_{settings.status}"
    if projects.is_paused(project):
        return "project_paused"
    if settings.call is not None:
        return None
    if assignee is None:
        return "no_agent"
    return None if agents.is_invokable(assignee) else "agent_not_invokable"


def may_begin(obstacle: str | None) -> None:
    """Raise Conflict if there is an obstacle, with its text."""
    if obstacle is not None:
        raise Conflict(OBSTACLES[obstacle])


def until(moment: datetime | None, now: datetime, oldest_owed: datetime | None) -> datetime:
    """
    Return the end of a backfill's range: not after now, and before `oldest_owed`, the first occurrence that the schedule
    settles itself.
    """
    last = min(moment or now, now)
    return last if oldest_owed is None else min(last, oldest_owed - INSTANT)


def count(plan: Plan, since: datetime, until: datetime) -> int:
    """
    Return how many occurrences the range has, its ends included. Raise InvalidField if there is none, or more than
    MOST.
    """
    number = plans.count(plan, since - INSTANT, until) if since <= until else 0
    if not number:
        raise InvalidField("The schedule has no occurrence in this range that is settled", "from")
    if number > MOST:
        raise InvalidField(
            f"The range has {number:,} occurrences, and a backfill at most {MOST:,}: ask for parts of it", "to"
        )
    return number


def cancel(backfill: Backfill, reason: str) -> list[BackfillEvent]:
    """Record that no more of the backfill is run; what has run stays. Raise Conflict if it is over."""
    if backfill.ended:
        raise Conflict(ENDED)
    return [BackfillCancelled(reason=reason)]
