"""Troubles: an alert that is raised while its trouble ends is closed, whatever came between."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from domain.events import (
    AlertFailing,
    AlertMissed,
    RoutineCreated,
    RunCompleted,
    RunFailed,
    RunFired,
    SlotFreed,
    TriggerCreated,
    TriggerMissed,
)
from domain.identity import alert_of, issue_of_run, slot_of
from domain.recorded import Recorded
from domain.values import AlertBounds, Opened, RoutineSettings, TriggerSettings
from projections.engine.rows_in_memory import RowsInMemory
from projections.firing import troubles

ROUTINE, TRIGGER, RUN, OTHER_RUN, COMPANY = (UUID(int=number) for number in range(1, 6))
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MISSED = TriggerMissed(first=NOON, last=NOON, count=3, reason="skip_missed", next_at=NOON + MINUTE)


class Log:
    """A log of which each event is a minute later than the one before; its rows are kept in memory."""

    def __init__(self) -> None:
        self.rows = RowsInMemory()
        self.now = NOON

    def record(self, stream_id, event):
        self.now += MINUTE
        recorded = Recorded(
            stream_id=stream_id, version=1, at=self.now, actor="scheduler", company_id=COMPANY, event=event
        )
        troubles.fold(recorded, self.rows)
        return self.now

    def fire(self, run_id):
        self.record(
            run_id,
            RunFired(
                routine_id=ROUTINE,
                revision=1,
                source="schedule",
                outcome=Opened(issue_id=issue_of_run(run_id)),
                trigger_id=TRIGGER,
                occurrence=self.now,
                next_at=self.now,
            ),
        )

    def end(self, run_id, event):
        self.record(run_id, event)
        return self.record(slot_of(ROUTINE), SlotFreed(routine_id=ROUTINE, issue_id=issue_of_run(run_id)))

    def due(self):
        rows = self.rows.all(troubles.TROUBLE)
        return [(due.kind, due.step, due.since) for row in rows for due in troubles.due_alerts(row, self.now)]


@pytest.fixture
def log():
    log = Log()
    bounds = AlertBounds(missed_in_a_row=3, untaken_after_sec=None)
    log.record(ROUTINE, RoutineCreated(settings=RoutineSettings(title="Check the inbox", alert_bounds=bounds)))
    settings = TriggerSettings(cron_expression="* * * * *", timezone="UTC")
    log.record(TRIGGER, TriggerCreated(routine_id=ROUTINE, kind="schedule", settings=settings, next_at=NOON))
    return log


def alert_missed(since):
    return AlertMissed(
        subject_id=TRIGGER, routine_id=ROUTINE, title="Check the inbox", trigger_id=TRIGGER, count=3, since=since
    )


def failing(since):
    return AlertFailing(
        subject_id=ROUTINE, routine_id=ROUTINE, title="Check the inbox", run_id=RUN, reason="no", since=since
    )


def test_missed_occurrences_that_are_told_when_one_has_run_again_are_closed_at_once(log):
    since = log.record(TRIGGER, MISSED)
    assert log.due() == [("missed", "raise", since)]
    log.fire(RUN)
    assert log.due() == []

    log.record(alert_of(TRIGGER, "missed", since), alert_missed(since))

    assert log.due() == [("missed", "close", since)]


def test_a_failing_routine_that_is_told_when_it_has_recovered_is_closed_at_once(log):
    log.fire(RUN)
    since = log.end(RUN, RunFailed(reason="no"))
    log.fire(OTHER_RUN)
    log.end(OTHER_RUN, RunCompleted())
    assert log.due() == []

    log.record(alert_of(ROUTINE, "failing", since), failing(since))

    assert log.due() == [("failing", "close", since)]


def test_an_alert_of_an_earlier_trouble_stands_for_the_one_that_has_begun_since(log):
    since = log.record(TRIGGER, MISSED)
    log.fire(RUN)
    log.record(TRIGGER, MISSED)

    log.record(alert_of(TRIGGER, "missed", since), alert_missed(since))
    assert log.due() == []

    log.fire(OTHER_RUN)
    assert log.due() == [("missed", "close", since)]


def test_an_alert_of_before_it_said_since_when_changes_nothing_where_no_trouble_is(log):
    log.record(alert_of(ROUTINE, "failing", NOON), failing(None))

    assert log.due() == []
