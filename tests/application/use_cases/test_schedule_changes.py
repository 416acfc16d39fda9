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
from application.use_cases import revisions, routines, schedule_changes, schedule_firing, triggers
from domain.events import RunFired, TriggerMissed
from domain.identity import revision_of
from domain.routines import trigger as trigger_rules
from domain.schedule import plan as plans
from tests.application.use_cases.installation import HOUR, MINUTE, Installation
from tests.examples import examples

SECOND = timedelta(seconds=1)


@pytest.fixture
def routine(app):
    return app.routine()


@pytest.fixture
def trigger(app, routine):
    return app.schedule(routine)


def hour(app):
    return app.now.replace(minute=0, second=0)


def drop_all(app, routine):
    app.carry_out(lambda work: schedule_changes.record_all_waiting_as_missed(work, work.get(ROUTINE, routine)))
    return [(event.reason, event.count) for event in app.events(TriggerMissed)]


def test_all_that_was_due_of_every_schedule_of_an_archived_routine_is_missed(app, routine, trigger):
    app.schedule(routine, "30 * * * *")
    app.passes(3 * HOUR)

    assert [("archived", 3), ("archived", 3)] == sorted(drop_all(app, routine))


def test_what_is_not_due_yet_is_left_alone(app, routine, trigger):
    assert [] == drop_all(app, routine)


def test_what_has_run_is_not_missed(app, routine, trigger):
    for _ in range(2):
        app.passes(HOUR)
        app.carry_out(schedule_firing.fire_due, [app.due(trigger, hour(app))])
    assert [] == drop_all(app, routine)
    app.passes(2 * HOUR)

    assert [("archived", 2)] == drop_all(app, routine)
    assert hour(app) - HOUR == app.events(TriggerMissed)[0].first


def test_a_schedule_that_did_not_run_owes_nothing(app, routine, trigger):
    app.ask(triggers.update, trigger, TriggerPatch(enabled=False))
    app.passes(3 * HOUR)

    assert [] == drop_all(app, routine)


@pytest.mark.parametrize("is_paused", [True, False])
def test_of_a_schedule_that_was_stopped_what_waited_then_is_missed_and_nothing_that_has_passed_since(
    app, routine, trigger, is_paused
):
    app.passes(HOUR)
    if is_paused:
        app.ask(routines.update, routine, RoutinePatch(status="paused"))
    else:
        app.ask(triggers.update, trigger, TriggerPatch(enabled=False))
    app.passes(3 * HOUR)

    assert [("archived", 1)] == drop_all(app, routine)


def test_one_schedule_is_dropped_without_the_others(app, routine, trigger):
    other = app.schedule(routine)
    app.passes(HOUR)

    app.carry_out(lambda work: schedule_changes.record_waiting_as_missed(work, other, work.get(TRIGGER, other), "x"))

    assert [other] == app.ids(TriggerMissed)


# Changes between the planned and the due moment, and while the scheduler is behind


def state_of(app, trigger):
    return app.state(TRIGGER, trigger)


def tick(app, trigger):
    """What a scheduler does with a schedule: it settles it when the log says that it is due."""
    last = [
        recorded
        for recorded in app.store.history()
        if (recorded.stream_id == trigger and hasattr(recorded.event, "next_at"))
        or (
            isinstance(recorded.event, RunFired)
            and recorded.event.trigger_id == trigger
            and recorded.event.is_scheduled
        )
    ][-1].event
    due_at = last.due_at or last.next_at
    if due_at is not None and due_at <= app.now:
        app.carry_out(schedule_firing.fire_due, [app.due(trigger, last.next_at)])


def outcomes(app, trigger):
    """Every occurrence that has one, with its outcome."""
    plan = trigger_rules.plan_of(state_of(app, trigger))
    ranges = [(event.reason, event.first - SECOND, event.last) for event in app.events(TriggerMissed)]
    missed = {moment: reason for reason, *period in ranges for moment in plans.occurrences(plan, *period)}
    return {event.occurrence: "fired" for event in app.events(RunFired)} | missed


def edit(app, routine, trigger):
    app.ask(triggers.update, trigger, TriggerPatch(label=f"label {app.store.head()}"))


def retitle(app, routine, trigger):
    app.ask(routines.update, routine, RoutinePatch(title=f"title {app.store.head()}"))


def pause(app, routine, trigger):
    app.ask(routines.update, routine, RoutinePatch(status="paused"))


def resume(app, routine, trigger):
    app.ask(routines.update, routine, RoutinePatch(status="active"))


def pause_and_resume(app, routine, trigger):
    pause(app, routine, trigger)
    resume(app, routine, trigger)


def pause_edit_and_resume(app, routine, trigger):
    pause(app, routine, trigger)
    edit(app, routine, trigger)
    resume(app, routine, trigger)


def disable_and_enable(app, routine, trigger):
    app.ask(triggers.update, trigger, TriggerPatch(enabled=False))
    app.ask(triggers.update, trigger, TriggerPatch(enabled=True))


def pause_disable_resume_and_enable(app, routine, trigger):
    pause(app, routine, trigger)
    app.ask(triggers.update, trigger, TriggerPatch(enabled=False))
    resume(app, routine, trigger)
    app.ask(triggers.update, trigger, TriggerPatch(enabled=True))


def restore(app, routine, trigger):
    """An earlier revision has the same schedule."""
    edit(app, routine, trigger)
    app.ask(revisions.restore, routine, revision_of(routine, app.state(ROUTINE, routine).revision - 1))


EDITS = (
    edit,
    retitle,
    pause_and_resume,
    pause_edit_and_resume,
    disable_and_enable,
    pause_disable_resume_and_enable,
    restore,
)


def schedule_with_jitter(app, routine):
    """A schedule of which an occurrence is planned and not due yet, and that occurrence with its due moment."""
    trigger = app.schedule(routine, jitter_sec=3_000)
    plan = trigger_rules.plan_of(state_of(app, trigger))
    planned = next(moment for moment in plans.occurrences(plan, app.now, app.now + 100 * HOUR) if is_late(plan, moment))
    while app.now < planned:
        app.now = planned if planned - app.now < HOUR else app.now + HOUR
        tick(app, trigger)
    app.now = planned + SECOND
    return trigger, planned, plans.due_at(plan, planned)


def is_late(plan, moment):
    return plans.due_at(plan, moment) - moment > 5 * MINUTE


@pytest.mark.parametrize("change", EDITS)
def test_an_edit_between_the_planned_and_the_due_moment_loses_nothing(app, routine, change):
    trigger, planned, due_at = schedule_with_jitter(app, routine)
    change(app, routine, trigger)
    tick(app, trigger)
    assert planned not in outcomes(app, trigger)

    app.now = due_at
    tick(app, trigger)

    assert "fired" == outcomes(app, trigger)[planned]


@pytest.mark.parametrize("change", EDITS)
def test_an_edit_loses_nothing_while_the_scheduler_is_behind(app, routine, trigger, change):
    app.ask(routines.update, routine, RoutinePatch(catch_up_policy="enqueue_missed_with_cap"))
    app.passes(3 * HOUR)

    change(app, routine, trigger)
    tick(app, trigger)

    assert [hour(app) - 2 * HOUR, hour(app) - HOUR, hour(app)] == [e.occurrence for e in app.events(RunFired)]
    assert [] == app.events(TriggerMissed)


def test_what_comes_due_during_a_pause_is_missed_and_what_comes_after_it_runs(app, routine):
    trigger, planned, due_at = schedule_with_jitter(app, routine)
    pause(app, routine, trigger)
    app.now = due_at + SECOND
    resume(app, routine, trigger)
    tick(app, trigger)
    assert "paused" == outcomes(app, trigger)[planned]

    app.now = plans.due_at(trigger_rules.plan_of(state_of(app, trigger)), planned + HOUR)
    tick(app, trigger)

    assert "fired" == outcomes(app, trigger)[planned + HOUR]


def test_what_is_planned_during_a_pause_and_due_after_it_runs(app, routine):
    trigger, planned, due_at = schedule_with_jitter(app, routine)
    app.now = planned - SECOND
    tick(app, trigger)
    pause(app, routine, trigger)
    app.now = planned + SECOND
    resume(app, routine, trigger)
    app.now = due_at

    tick(app, trigger)

    assert "fired" == outcomes(app, trigger)[planned]


def test_what_waited_before_a_long_pause_is_missed_and_what_passed_meanwhile_is_no_occurrence(app, routine, trigger):
    app.passes(HOUR)
    pause(app, routine, trigger)
    app.passes(3 * HOUR)
    resume(app, routine, trigger)
    tick(app, trigger)

    assert [("paused", 1)] == [(event.reason, event.count) for event in app.events(TriggerMissed)]
    assert [] == app.events(RunFired)
    assert hour(app) + HOUR == state_of(app, trigger).next_unsettled_at


def test_another_plan_keeps_what_is_not_due_if_it_has_it_too_and_drops_it_otherwise(app, routine):
    trigger, planned, _ = schedule_with_jitter(app, routine)
    app.ask(triggers.update, trigger, TriggerPatch(cron_expression="0,30 * * * *"))
    assert planned == state_of(app, trigger).next_unsettled_at

    app.ask(triggers.update, trigger, TriggerPatch(cron_expression="30 * * * *"))

    assert ("edited", 1) == (app.events(TriggerMissed)[-1].reason, app.events(TriggerMissed)[-1].count)
    assert planned == app.events(TriggerMissed)[-1].first


def test_a_schedule_owes_nothing_that_was_planned_before_it_was_made(app, routine):
    _, planned, _ = schedule_with_jitter(app, routine)
    younger = app.schedule(routine, jitter_sec=3_000)

    edit(app, routine, younger)

    assert planned + HOUR == state_of(app, younger).next_unsettled_at


STEP = st.tuples(st.sampled_from([SECOND, 29 * SECOND, 61 * SECOND, 7 * MINUTE, 40 * MINUTE, 3 * HOUR]), st.booleans())


def outcomes_of_life(actions, policy):
    """The outcomes of a schedule to which these things happen; ids are the same in each life, and so is the jitter."""
    numbers = (UUID(int=number, version=4) for number in count(1))
    with mock.patch.object(unit_of_work, "uuid4", side_effect=numbers):
        app = Installation()
        routine = app.routine(catch_up_policy=policy)
        trigger = app.ask(
            triggers.create, routine, ScheduleDraft(cron_expression="*/20 * * * *", jitter_sec=900)
        ).trigger_id
    for (time, ticks), edits in actions:
        app.passes(time)
        for number in edits:
            EDITS[number](app, routine, trigger)
        if ticks:
            tick(app, trigger)
    app.passes(HOUR)
    tick(app, trigger)
    return outcomes(app, trigger)


@given(
    actions=st.lists(st.tuples(STEP, st.lists(st.integers(0, len(EDITS) - 1), max_size=3)), max_size=12),
    policy=st.sampled_from(["skip_missed", "enqueue_missed_with_cap"]),
)
@settings(max_examples=examples(suite=25, campaign=60), suppress_health_check=list(HealthCheck))
def test_whatever_is_edited_the_same_occurrences_have_the_same_outcomes_while_the_plan_stays(actions, policy):
    assert outcomes_of_life([(step, ()) for step, _ in actions], policy) == outcomes_of_life(actions, policy)
