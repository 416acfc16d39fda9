import pytest
from msgspec.structs import replace

from application.event_store.stream_kinds import RUN, SLOT, TRAJECTORY
from application.request_bodies.jetty import TaskChange
from application.use_cases import schedule_firing, task_firing
from application.use_cases.jetty import task_routines, tasks
from domain.errors import NotFound, RuleViolation
from domain.events import (
    RoutineCreated,
    RoutineTriggerAdded,
    RunCompleted,
    RunFired,
    TaskRoutineRemoved,
    TrajectoryMoved,
    TrajectoryOpened,
)
from domain.identity import run_of_occurrence, slot_of, trajectory_of_run
from domain.values import Skipped, Started
from tests.application.use_cases.installation import ECHO, HOUR


@pytest.fixture
def task(app):
    return app.task(app.collection()[0])


def test_a_firing_opens_a_trajectory_that_takes_the_slot_of_its_routine(app, task):
    trajectory = app.ask(task_routines.run_now, app.task_routine(task, init_params_overrides={"q": "!"}))

    opened = app.state(TRAJECTORY, trajectory)
    assert ("pending", {"q": "!"}) == (opened.status, app.events(TrajectoryOpened)[0].init_params)
    assert [trajectory] == [live.issue_id for live in app.state(SLOT, slot_of(opened.routine_id)).live]


def test_the_end_of_a_trajectory_ends_its_run_and_frees_the_slot(app, task):
    trajectory = app.ask(task_routines.run_now, app.task_routine(task))
    opened = app.state(TRAJECTORY, trajectory)

    app.carry_out(task_firing.move, trajectory, [TrajectoryMoved(status="completed")])

    assert RunCompleted() == app.state(RUN, opened.run_id).ended
    assert () == tuple(app.state(SLOT, slot_of(opened.routine_id)).live)


def test_what_needs_no_worker_is_over_at_once(app):
    task = app.task(app.collection()[0], ECHO)

    trajectory = app.ask(task_routines.run_now, app.task_routine(task))

    assert "completed" == app.state(TRAJECTORY, trajectory).status


def test_a_schedule_skips_while_a_trajectory_is_live_and_who_asks_by_hand_gets_another(app, task):
    path = app.task_routine(task, "hourly")
    for _ in range(2):
        app.ask(task_routines.run_now, path)
    trigger = app.events(RoutineTriggerAdded)[-1].trigger_id
    noon = app.now.replace(minute=0, second=0) + HOUR
    app.passes(HOUR)

    assert 1 == app.carry_out(schedule_firing.fire_due, [app.due(trigger, noon)])

    assert [Started, Started, Skipped] == [type(event.outcome) for event in app.events(RunFired)]


def test_a_call_that_cannot_be_carried_out_is_there_and_says_why(app, task):
    app.task_routine(task, "hourly")
    trigger = app.events(RoutineTriggerAdded)[-1].trigger_id
    run_at = app.now.replace(minute=0, second=0) + HOUR
    app.passes(HOUR)

    app.carry_out(schedule_firing.fail_due, [app.due(trigger, run_at)], "it breaks")

    trajectory = trajectory_of_run(run_of_occurrence(trigger, run_at))
    assert "failed" == app.state(TRAJECTORY, trajectory).status
    assert ["The occurrence could not be carried out: it breaks"] == [
        event.error for event in app.events(TrajectoryMoved)
    ]


def test_a_call_that_is_too_large_is_refused_to_who_asks_and_failed_when_a_schedule_fires_it(task, app):
    app.task_routine(task, "hourly")
    path = app.task_routine(task)
    large = {**ECHO, "init_params": {"text": "x" * 20_000}}
    app.ask(tasks.update, task, TaskChange(workflow=large))
    app.store.limits = replace(app.store.limits, max_trajectory_bytes=16_384)
    trigger = app.events(RoutineTriggerAdded)[0].trigger_id
    run_at = app.now.replace(minute=0, second=0) + HOUR
    app.passes(HOUR)

    with pytest.raises(RuleViolation):
        app.ask(task_routines.run_now, path)
    app.carry_out(schedule_firing.fire_due, [app.due(trigger, run_at)])

    opened, [moved] = app.events(TrajectoryOpened)[-1], app.events(TrajectoryMoved)
    assert ({}, {}, "failed") == (opened.workflow, opened.init_params, moved.status)


def test_a_routine_that_is_archived_leaves_its_task_and_takes_its_secrets_along(app, task):
    path = app.task_routine(task, secret_params={"key": "k"})

    app.ask(task_routines.delete, path)

    assert app.ids(RoutineCreated) == [event.routine_id for event in app.events(TaskRoutineRemoved)]
    assert {} == app.vault.secrets


def test_a_trajectory_that_is_not_there_is_not_found(app):
    with pytest.raises(NotFound):
        app.carry_out(task_firing.get_trajectory, app.company)
