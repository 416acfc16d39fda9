"""A schedule that cannot be settled stops no other, is left alone for a while, and ends on the record."""

from datetime import timedelta
from functools import partial

import pytest
from structlog.testing import capture_logs

from application.use_cases import schedule_firing
from domain.events import RunFired, TriggerMissed
from domain.values import Failed
from processes.scheduler import quarantine
from tests import waiting
from tests.processes.due import NOON

MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
LIMIT_S = 10.0
wait_for = partial(waiting.wait_for, limit_s=LIMIT_S)


def test_a_schedule_that_cannot_be_settled_stops_no_other(company_fixture, scheduler, conn, clock, events_of):
    [poison] = company_fixture.routines(next_at=NOON - MINUTE, zone="Atlantis/Capital")
    sound = company_fixture.routines(60, next_at=NOON)

    with capture_logs() as logs:
        assert 60 == scheduler.tick(conn)
        clock.now = NOON + MINUTE
        assert 60 == scheduler.tick(conn)

    assert {one.trigger_id for one in sound} == {run.event.trigger_id for run in events_of(RunFired)}
    assert [str(poison.trigger_id)] * 2 == [line["trigger_id"] for line in logs if line["event"] == "firing_failed"]


def test_a_schedule_that_cannot_be_settled_is_left_alone_for_a_while(company_fixture, scheduler, conn, clock):
    company_fixture.routines(next_at=NOON, zone="Atlantis/Capital")

    tries = []
    for rest in (timedelta(), timedelta(seconds=1), quarantine.REST - INSTANT, quarantine.REST):
        clock.now = NOON + rest
        with capture_logs() as logs:
            scheduler.tick(conn)
        tries.append([line["event"] for line in logs])

    assert [["firing_failed"], [], [], ["firing_failed"]] == tries


def test_a_schedule_that_cannot_be_settled_is_tried_again_after_its_rest(company_fixture, scheduler, conn):
    company_fixture.routines(next_at=NOON - MINUTE, zone="Atlantis/Capital")
    company_fixture.routines(next_at=NOON + timedelta(seconds=20))

    with capture_logs():
        scheduler.tick(conn)

    assert quarantine.REST.total_seconds() == scheduler.pause_s(conn)


def test_a_schedule_that_fails_again_and_again_ends_as_failed_and_says_why(
    company_fixture, scheduler, conn, clock, events_of
):
    [poison] = company_fixture.routines(next_at=NOON, zone="Atlantis/Capital")

    with capture_logs():
        for attempt in range(quarantine.PATIENCE + 1):
            clock.now = NOON + attempt * quarantine.REST
            scheduler.tick(conn)

    [run] = events_of(RunFired)
    assert (poison.trigger_id, NOON, None) == (run.event.trigger_id, run.event.occurrence, run.event.next_at)
    assert Failed(reason="The occurrence could not be carried out: ZoneInfoNotFoundError") == run.event.outcome
    clock.now = NOON + timedelta(days=1)
    assert 0 == scheduler.tick(conn)


@pytest.mark.parametrize("policy", ["skip_missed", "enqueue_missed_with_cap"])
def test_after_a_downtime_too_every_occurrence_of_a_schedule_that_fails_has_one_outcome(
    company_fixture, scheduler, conn, clock, events_of, *, monkeypatch, policy
):
    """What is wrong is not the schedule: it goes on, and what came due meanwhile is failed or missed, on the record."""
    company_fixture.routines(next_at=NOON - 10 * MINUTE, cron="* * * * *", catch_up_policy=policy)
    whole = schedule_firing.scheduled_request
    monkeypatch.setattr(schedule_firing, "scheduled_request", lambda *_: 1 / 0)

    with capture_logs():
        for attempt in range(quarantine.PATIENCE):
            clock.now = NOON + attempt * quarantine.REST
            scheduler.tick(conn)

    failed = [run.event.occurrence for run in events_of(RunFired)]
    assert {Failed(reason="The occurrence could not be carried out: ZeroDivisionError")} == {
        run.event.outcome for run in events_of(RunFired)
    }
    missed = [
        one.event.first + n * MINUTE for one in events_of(TriggerMissed) for n in range(one.event.count)
    ]  # each minute is an occurrence
    assert [NOON - n * MINUTE for n in range(10, -1, -1)] == sorted(failed + missed)
    monkeypatch.setattr(schedule_firing, "scheduled_request", whole)
    clock.now = NOON + MINUTE
    assert 1 == scheduler.tick(conn)
