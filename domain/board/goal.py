"""A goal that routines and issues can point at."""

from msgspec.structs import replace

from domain.errors import ImpossibleHistory
from domain.events import GoalCreated, GoalDeleted, GoalEvent, GoalUpdated
from domain.values import GoalDetails, Value


class Goal(Value, frozen=True):
    """The state of a goal; a deleted one stays known, since routines and issues may point at it."""

    details: GoalDetails
    deleted: bool = False


def evolve(goal: Goal | None, event: GoalEvent) -> Goal:
    """Fold an event into the state of a goal. Raise ImpossibleHistory if the event cannot follow."""
    match goal, event:
        case None, GoalCreated(details=details):
            return Goal(details=details)
        case Goal(deleted=False), GoalUpdated(details=details):
            return replace(goal, details=details)
        case Goal(deleted=False), GoalDeleted():
            return replace(goal, deleted=True)
        case _:
            raise ImpossibleHistory(goal, event)


def update(goal: Goal, details: GoalDetails) -> list[GoalEvent]:
    """Change the details; nothing is recorded when they are the same."""
    return [] if details == goal.details else [GoalUpdated(details=details)]


def delete(goal: Goal) -> list[GoalEvent]:
    """Delete the goal; nothing if it is deleted already."""
    return [] if goal.deleted else [GoalDeleted()]
