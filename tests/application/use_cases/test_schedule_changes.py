import pytest

from application.event_store.stream_kinds import ROUTINE, TRIGGER
from application.request_bodies import TriggerPatch
from application.use_cases import runs, schedule_changes, triggers
from domain.events import TriggerMissed
from tests.application.use_cases.installation import HOUR


@pytest.fixture
def routine(here):
    return here.routine()


@pytest.fixture
def trigger(here, routine):
    return here.schedule(routine)


def hour(here):
    return here.now.replace(minute=0, second=0)


def drop_all(here, routine, reason="edited"):
    here.carry_out(lambda work: schedule_changes.record_all_pending_as_missed(work, work.get(ROUTINE, routine), reason))
    return [(event.reason, event.count) for event in here.events(TriggerMissed)]


def test_all_that_was_due_of_every_schedule_is_missed_for_the_reason(here, routine, trigger):
    here.schedule(routine, "30 * * * *")
    here.passes(3 * HOUR)

    assert [("edited", 3), ("edited", 3)] == sorted(drop_all(here, routine))


def test_what_is_not_due_yet_is_left_alone(here, routine, trigger):
    assert [] == drop_all(here, routine)


def test_what_has_run_is_not_missed(here, routine, trigger):
    for _ in range(2):
        here.passes(HOUR)
        here.carry_out(runs.fire_due, [here.due(trigger, hour(here))])
    assert [] == drop_all(here, routine)
    here.passes(2 * HOUR)

    assert [("edited", 2)] == drop_all(here, routine)
    assert hour(here) - HOUR == here.events(TriggerMissed)[0].first


def test_a_schedule_that_did_not_run_owes_nothing(here, routine, trigger):
    here.ask(triggers.update, trigger, TriggerPatch(enabled=False))
    here.passes(3 * HOUR)

    assert [] == drop_all(here, routine)


def test_one_schedule_is_dropped_without_the_others(here, routine, trigger):
    other = here.schedule(routine)
    here.passes(HOUR)

    here.carry_out(
        lambda work: schedule_changes.record_pending_as_missed(
            work, other, work.get(TRIGGER, other), work.get(ROUTINE, routine), "x"
        )
    )

    assert [other] == here.ids(TriggerMissed)
