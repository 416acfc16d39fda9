"""
An alert: a trouble of a routine that somebody should hear of, once when it begins and once when it is over.

Its id follows from what it is about and since when, so several schedulers, or one that was killed, tell it once.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from domain.errors import ImpossibleHistory
from domain.events import (
    AlertClosed,
    AlertEvent,
    AlertFailing,
    AlertMissed,
    AlertOverdue,
    AlertRecovered,
    AlertStuck,
    AlertUntaken,
)
from domain.values import AlertKind, Value

LATE: dict[AlertKind, type[AlertOverdue | AlertUntaken | AlertStuck]] = {
    "overdue": AlertOverdue,
    "untaken": AlertUntaken,
    "stuck": AlertStuck,
}


class Alert(Value, frozen=True):
    """The state of an alert: whether the trouble goes on."""

    is_open: bool


class DueAlert(Value, frozen=True):
    """An alert that is to be raised or closed, as the read model of trouble knows it."""

    id: UUID  # what is in trouble: the issue or trajectory of a run, a schedule trigger, or the routine
    company_id: UUID
    kind: AlertKind
    step: Literal["raise", "close"]
    since: datetime
    routine_id: UUID
    # The run that is late or has failed; to close the alert, the run whose success ended the trouble.
    run_id: UUID | None = None
    bound_sec: int = 0
    count: int = 0  # how many occurrences were missed, or how many runs failed


def evolve(alert: Alert | None, event: AlertEvent) -> Alert:
    """Fold an event into the state of an alert. Raise ImpossibleHistory if the event cannot follow."""
    match alert, event:
        case Alert(is_open=True), AlertRecovered() | AlertClosed():
            return Alert(is_open=False)
        case None, AlertFailing() | AlertMissed() | AlertOverdue() | AlertUntaken() | AlertStuck():
            return Alert(is_open=True)
        case _:
            raise ImpossibleHistory(alert, event)


def raise_alert(due: DueAlert, title: str, reason: str) -> AlertEvent:
    """Return the event that the trouble began; `reason` is why the run failed, if it is about that."""
    facts: dict[str, Any] = {"subject_id": due.id, "routine_id": due.routine_id, "title": title}
    match due.kind, due.run_id:
        case "missed", _:
            return AlertMissed(**facts, trigger_id=due.id, count=due.count, since=due.since)
        case "failing", UUID() as run_id:
            return AlertFailing(**facts, run_id=run_id, reason=reason, since=due.since)
        case kind, UUID() as run_id:
            return LATE[kind](**facts, run_id=run_id, since=due.since, bound_sec=due.bound_sec)
        case _:
            raise ValueError(due)


def end_alert(due: DueAlert, title: str) -> AlertEvent:
    """Return the event that the trouble is over."""
    facts: dict[str, Any] = {"subject_id": due.id, "routine_id": due.routine_id, "title": title}
    if due.kind == "failing" and due.run_id is not None:
        return AlertRecovered(**facts, run_id=due.run_id, failures=due.count)
    return AlertClosed(**facts, kind=due.kind)
