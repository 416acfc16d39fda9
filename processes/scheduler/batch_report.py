"""Reports what a transaction of the scheduler has settled, for its log line and trace: ids and counts, no payload."""

from collections import Counter
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from application import tracing
from application.execute import CommitResult
from domain.events import RunFired, TriggerMissed
from domain.routines.alert import DueAlert
from domain.routines.backfill import WaitingBackfill
from domain.routines.chain import DueChain
from domain.routines.deadline import Overdue
from domain.routines.trigger import DueTrigger

MOST_NAMED = 10  # firings that one log line lists


class Firing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An occurrence that fired, and what became of it."""

    trigger_id: UUID
    routine_id: UUID
    run_id: UUID
    occurrence: datetime
    lateness_s: float
    outcome: str
    issue_id: UUID | None = None
    position: int


def firings(commit_result: CommitResult[int]) -> list[Firing]:
    """Return the occurrences that the transaction has fired, in the order of the log."""
    rows = []
    for position, recorded in enumerate(commit_result.recorded, _first_position(commit_result)):
        match recorded.event:
            case (
                RunFired(
                    trigger_id=UUID() as trigger_id, occurrence=datetime() as occurrence, backfill_id=None
                ) as event
            ):
                firing = Firing(
                    trigger_id=trigger_id,
                    routine_id=event.routine_id,
                    run_id=recorded.stream_id,
                    occurrence=occurrence,
                    lateness_s=(recorded.at - occurrence).total_seconds(),
                    outcome=str(event.outcome.__struct_config__.tag),
                    issue_id=getattr(event.outcome, "issue_id", None),
                    position=position,
                )
                rows.append(firing)
    return rows


def summary(commit_result: CommitResult[int]) -> dict[str, Any]:
    """Return the fields of the log line: counts, positions, and each firing where there are at most MOST_NAMED."""
    firing_rows = firings(commit_result)
    missed_count = sum(row.event.count for row in commit_result.recorded if isinstance(row.event, TriggerMissed))
    named_firings = {"firings": msgspec.to_builtins(firing_rows)} if len(firing_rows) <= MOST_NAMED else {}
    return {
        "runs": len(firing_rows),
        "outcomes": Counter(firing.outcome for firing in firing_rows),
        "missed": missed_count,
        "latest_s": max((firing.lateness_s for firing in firing_rows), default=0.0),
        "first_position": _first_position(commit_result),
        "position": commit_result.position,
        **named_firings,
    }


def trace(commit_result: CommitResult[int]) -> None:
    """Record a span for each firing; all begin after the commit."""
    for firing in firings(commit_result):
        with tracing.span("firing") as span:
            span.set_attributes({f"routines.{name}": value for name, value in msgspec.to_builtins(firing).items()})


def names(row: DueTrigger | DueChain | Overdue | DueAlert | WaitingBackfill) -> dict[str, Any]:
    """Return the fields of a log line that identify an occurrence, a chain, a deadline, an alert or a backfill."""
    fields: dict[str, Any] = msgspec.to_builtins(row)
    return fields


def _first_position(commit_result: CommitResult[int]) -> int:
    return commit_result.position - len(commit_result.recorded) + 1
