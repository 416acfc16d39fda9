"""What becomes of what waits when a schedule is changed, stopped, and runs again."""

from datetime import timedelta
from itertools import count
from unittest import mock
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.event_store import unit_of_work
from application.event_store.stream_kinds import ROUTINE, TRIGGER
from application.request_bodies.routines import RoutinePatch
from application.request_bodies.triggers import ScheduleDraft, TriggerPatch
from application.use_cases import revisions, routines, runs, schedule_changes, triggers
from domain.events import RunFired, TriggerMissed
from domain.identity import revision_of
from domain.routines import trigger as trigger_rules
from domain.schedule import plan as plans
from tests.application.use_cases.installation import HOUR, MINUTE, Installation

SECOND = timedelta(seconds=1)


@pytest.fixture
def routine(here):
    return here.routine()


@pytest.fixture
def trigger(here, routine):
    return here.schedule(routine)


def hour(here):
    return here.now.replace(minute=0, second=0)


def drop_all(here, routine, reason="edited"):
    here.carry_out(lambda work: schedule_changes.record_all_waiting_as_missed(work, work.get(ROUTINE, routine), reason))
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

    here.carry_out(lambda work: schedule_changes.record_waiting_as_missed(work, other, work.get(TRIGGER, other), "x"))

    assert [other] == here.ids(TriggerMissed)


# Changes between the planned and the due moment, and while the scheduler is behind


def state_of(here, trigger):
    return here.state(TRIGGER, trigger)


def tick(here, trigger):
    """What a scheduler does with a schedule: it settles it when the log says that it is due."""
    last = [
        recorded
        for recorded in here.store.history()
        if (recorded.stream_id == trigger and hasattr(recorded.event, "next_at"))
        or (
            isinstance(recorded.event, RunFired)
            and recorded.event.trigger_id == trigger
            and recorded.event.is_scheduled
        )
    ][-1].event
    due_at = last.due_at or last.next_at
    if due_at is not None and due_at <= here.now:
        here.carry_out(runs.fire_due, [here.due(trigger, last.next_at)])


def outcomes(here, trigger):
    """Every occurrence that has one, with its outcome."""
    plan = trigger_rules.plan_of(state_of(here, trigger))
    ranges = [(event.reason, event.first - SECOND, event.last) for event in here.events(TriggerMissed)]
    missed = {moment: reason for reason, *period in ranges for moment in plans.occurrences(plan, *period)}
    return {event.occurrence: "fired" for event in here.events(RunFired)} | missed


def edit(here, routine, trigger):
    here.ask(triggers.update, trigger, TriggerPatch(label=f"label {here.store.head()}"))


def retitle(here, routine, trigger):
    here.ask(routines.update, routine, RoutinePatch(title=f"title {here.store.head()}"))


def pause(here, routine, trigger):
    here.ask(routines.update, routine, RoutinePatch(status="paused"))


def resume(here, routine, trigger):
    here.ask(routines.update, routine, RoutinePatch(status="active"))


def pause_and_resume(here, routine, trigger):
    pause(here, routine, trigger)
    resume(here, routine, trigger)


def pause_edit_and_resume(here, routine, trigger):
    pause(here, routine, trigger)
    edit(here, routine, trigger)
    resume(here, routine, trigger)


def disable_and_enable(here, routine, trigger):
    here.ask(triggers.update, trigger, TriggerPatch(enabled=False))
    here.ask(triggers.update, trigger, TriggerPatch(enabled=True))


def pause_disable_resume_and_enable(here, routine, trigger):
    pause(here, routine, trigger)
    here.ask(triggers.update, trigger, TriggerPatch(enabled=False))
    resume(here, routine, trigger)
    here.ask(triggers.update, trigger, TriggerPatch(enabled=True))


def restore(here, routine, trigger):
    """An earlier revision has the same schedule."""
    edit(here, routine, trigger)
    here.ask(revisions.restore, routine, revision_of(routine, here.state(ROUTINE, routine).revision - 1))


EDITS = (
    edit,
    retitle,
    pause_and_resume,
    pause_edit_and_resume,
    disable_and_enable,
    pause_disable_resume_and_enable,
    restore,
)


def jittered(here, routine):
    """A schedule of which an occurrence is planned and not due yet, and that occurrence with its due moment."""
    trigger = here.schedule(routine, jitter_sec=3_000)
    plan = trigger_rules.plan_of(state_of(here, trigger))
    planned = next(moment for moment in plans.occurrences(plan, here.now, here.now + 100 * HOUR) if late(plan, moment))
    while here.now < planned:
        here.now = planned if planned - here.now < HOUR else here.now + HOUR
        tick(here, trigger)
    here.now = planned + SECOND
    return trigger, planned, plans.due_at(plan, planned)


def late(plan, moment):
    return plans.due_at(plan, moment) - moment > 5 * MINUTE


@pytest.mark.parametrize("change", EDITS)
def test_an_edit_between_the_planned_and_the_due_moment_loses_nothing(here, routine, change):
    trigger, planned, due_at = jittered(here, routine)
    change(here, routine, trigger)
    tick(here, trigger)
    assert planned not in outcomes(here, trigger)

    here.now = due_at
    tick(here, trigger)

    assert "fired" == outcomes(here, trigger)[planned]


@pytest.mark.parametrize("change", EDITS)
def test_an_edit_loses_nothing_while_the_scheduler_is_behind(here, routine, trigger, change):
    here.ask(routines.update, routine, RoutinePatch(catch_up_policy="enqueue_missed_with_cap"))
    here.passes(3 * HOUR)

    change(here, routine, trigger)
    tick(here, trigger)

    assert [hour(here) - 2 * HOUR, hour(here) - HOUR, hour(here)] == [e.occurrence for e in here.events(RunFired)]
    assert [] == here.events(TriggerMissed)


def test_what_comes_due_during_a_pause_is_missed_and_what_comes_after_it_runs(here, routine):
    trigger, planned, due_at = jittered(here, routine)
    pause(here, routine, trigger)
    here.now = due_at + SECOND
    resume(here, routine, trigger)
    tick(here, trigger)
    assert "paused" == outcomes(here, trigger)[planned]

    here.now = plans.due_at(trigger_rules.plan_of(state_of(here, trigger)), planned + HOUR)
    tick(here, trigger)

    assert "fired" == outcomes(here, trigger)[planned + HOUR]


def test_what_is_planned_during_a_pause_and_due_after_it_runs(here, routine):
    trigger, planned, due_at = jittered(here, routine)
    here.now = planned - SECOND
    tick(here, trigger)
    pause(here, routine, trigger)
    here.now = planned + SECOND
    resume(here, routine, trigger)
    here.now = due_at

    tick(here, trigger)

    assert "fired" == outcomes(here, trigger)[planned]


def test_what_waited_before_a_long_pause_is_missed_and_what_passed_meanwhile_is_no_occurrence(here, routine, trigger):
    here.passes(HOUR)
    pause(here, routine, trigger)
    here.passes(3 * HOUR)
    resume(here, routine, trigger)
    tick(here, trigger)

    assert [("paused", 1)] == [(event.reason, event.count) for event in here.events(TriggerMissed)]
    assert [] == here.events(RunFired)
    assert hour(here) + HOUR == state_of(here, trigger).next_unsettled_at


def test_another_plan_keeps_what_is_not_due_if_it_has_it_too_and_drops_it_otherwise(here, routine):
    trigger, planned, _ = jittered(here, routine)
    here.ask(triggers.update, trigger, TriggerPatch(cron_expression="0,30 * * * *"))
    assert planned == state_of(here, trigger).next_unsettled_at

    here.ask(triggers.update, trigger, TriggerPatch(cron_expression="30 * * * *"))

    assert ("edited", 1) == (here.events(TriggerMissed)[-1].reason, here.events(TriggerMissed)[-1].count)
    assert planned == here.events(TriggerMissed)[-1].first


def test_a_schedule_owes_nothing_that_was_planned_before_it_was_made(here, routine):
    _, planned, _ = jittered(here, routine)
    younger = here.schedule(routine, jitter_sec=3_000)

    edit(here, routine, younger)

    assert planned + HOUR == state_of(here, younger).next_unsettled_at


STEP = st.tuples(st.sampled_from([SECOND, 29 * SECOND, 61 * SECOND, 7 * MINUTE, 40 * MINUTE, 3 * HOUR]), st.booleans())


def lived(story, policy):
    """The outcomes of a schedule to which these things happen; ids are the same in each life, and so is the jitter."""
    numbers = (UUID(int=number, version=4) for number in count(1))
    with mock.patch.object(unit_of_work, "uuid4", side_effect=numbers):
        here = Installation()
        routine = here.routine(catch_up_policy=policy)
        trigger = here.ask(
            triggers.create, routine, ScheduleDraft(cron_expression="*/20 * * * *", jitter_sec=900)
        ).trigger_id
    for (time, ticks), edits in story:
        here.passes(time)
        for number in edits:
            EDITS[number](here, routine, trigger)
        if ticks:
            tick(here, trigger)
    here.passes(HOUR)
    tick(here, trigger)
    return outcomes(here, trigger)


@given(
    story=st.lists(st.tuples(STEP, st.lists(st.integers(0, len(EDITS) - 1), max_size=3)), max_size=12),
    policy=st.sampled_from(["skip_missed", "enqueue_missed_with_cap"]),
)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_whatever_is_edited_the_same_occurrences_have_the_same_outcomes_while_the_plan_stays(story, policy):
    assert lived([(step, ()) for step, _ in story], policy) == lived(story, policy)
