"""
A routine, whose title is given, is in trouble, and out of it again.

Each trouble has a stream of its own, so it is told once. `subject_id` is what is in trouble: the issue or trajectory of
a run, a schedule trigger, or the routine.
"""

from datetime import datetime
from uuid import UUID

from domain.events.event import Event
from domain.values import AlertKind, Text


class AlertFailing(Event, frozen=True, tag="alert.failing"):
    """
    A run failed for good, and the routine had not failed before, or had recovered since.

    `since` is when that was recorded; events of before 2026-11-30 do not say it.
    """

    subject_id: UUID
    routine_id: UUID
    title: Text
    run_id: UUID
    reason: Text
    since: datetime | None = None


class AlertMissed(Event, frozen=True, tag="alert.missed"):
    """`count` occurrences of a schedule in a row did not run; `since` is when that was recorded."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    trigger_id: UUID
    count: int
    since: datetime


class AlertOverdue(Event, frozen=True, tag="alert.overdue"):
    """A run has not ended within `bound_sec` of `since`: its planned moment, or its firing."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    run_id: UUID
    since: datetime
    bound_sec: int


class AlertUntaken(Event, frozen=True, tag="alert.untaken"):
    """Nobody has taken the work of a run within `bound_sec` of `since`, when it was to do."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    run_id: UUID
    since: datetime
    bound_sec: int


class AlertStuck(Event, frozen=True, tag="alert.stuck"):
    """The work of a run, begun at `since`, has gone on for longer than `bound_sec`."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    run_id: UUID
    since: datetime
    bound_sec: int


class AlertRecovered(Event, frozen=True, tag="alert.recovered"):
    """A run of a routine that was failing succeeded, after so many failures."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    run_id: UUID
    failures: int


class AlertClosed(Event, frozen=True, tag="alert.closed"):
    """A trouble other than failing is over: an occurrence ran again, the work was taken, or its run ended."""

    subject_id: UUID
    routine_id: UUID
    title: Text
    kind: AlertKind


AlertEvent = AlertFailing | AlertMissed | AlertOverdue | AlertUntaken | AlertStuck | AlertRecovered | AlertClosed
