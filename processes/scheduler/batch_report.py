"""What a transaction of the scheduler has settled, as its log line and its trace say it: ids and counts, no payload."""

from collections import Counter
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from application import tracing
from application.execute import Done
from domain.events import RunFired, TriggerMissed
from domain.routines.backfill import Waiting
from domain.routines.deadline import Overdue
from domain.routines.trigger import DueTrigger

MOST_NAMED = 10  # firings that one line names


class Firing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An occurrence that fired, and what became of it."""

    trigger_id: UUID
    routine_id: UUID
    run_id: UUID
    occurrence: datetime
    lateness_s: float | None = None  # of what was made up for, there is none
    outcome: str
    issue_id: UUID | None = None
    backfill_id: UUID | None = None
    position: int


def firings(done: Done[int]) -> list[Firing]:
    found = []
    for position, recorded in enumerate(done.recorded, _first_position(done)):
        match recorded.event:
            case RunFired(trigger_id=UUID() as trigger_id, occurrence=datetime() as occurrence) as fired if (
                fired.is_scheduled
            ):
                firing = Firing(
                    trigger_id=trigger_id,
                    routine_id=fired.routine_id,
                    run_id=recorded.stream_id,
                    occurrence=occurrence,
                    lateness_s=(recorded.at - occurrence).total_seconds() if fired.is_scheduled else None,
                    outcome=str(fired.outcome.__struct_config__.tag),
                    issue_id=getattr(fired.outcome, "issue_id", None),
                    backfill_id=fired.backfill_id,
                    position=position,
                )
                found.append(firing)
    return found


def summary(done: Done[int]) -> dict[str, Any]:
    """How much of what, and where in the log; the firings one by one where they are few."""
    fired = firings(done)
    missed = sum(one.event.count for one in done.recorded if isinstance(one.event, TriggerMissed))
    named = {"firings": msgspec.to_builtins(fired)} if len(fired) <= MOST_NAMED else {}
    return {
        "runs": len(fired),
        "outcomes": Counter(one.outcome for one in fired),
        "missed": missed,
        "latest_s": max((one.lateness_s for one in fired if one.lateness_s is not None), default=0.0),
        "first_position": _first_position(done),
        "position": done.position,
        **named,
    }


def trace(done: Done[int]) -> None:
    """A span for each firing, of the moment after their commit."""
    for firing in firings(done):
        with tracing.span("firing") as span:
            span.set_attributes({f"routines.{name}": value for name, value in msgspec.to_builtins(firing).items()})


def names(row: DueTrigger | Overdue | Waiting) -> dict[str, Any]:
    """Which occurrence, deadline or backfill it is about."""
    found: dict[str, Any] = msgspec.to_builtins(row)
    return found


def _first_position(done: Done[int]) -> int:
    return done.position - len(done.recorded) + 1
