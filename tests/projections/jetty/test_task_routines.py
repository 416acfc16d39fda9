"""Jetty contract 5.2: what a tick of the schedule does, over the real scheduler and log."""

from datetime import timedelta

import pytest

from application.request_bodies.jetty import CadenceConfig, CollectionCreate, RoutineChange, RoutineCreate, TaskCreate
from application.use_cases.jetty import collections, task_routines, tasks, trajectories
from application.use_cases.names import RoutinePath, TaskPath
from domain.events import TrajectoryOpened
from domain.values import Json
from projections.catalogue import ALL
from projections.engine import rebuilds
from projections.jetty import task_routines as shown
from projections.jetty import trajectories as lists

TASK = TaskPath(collection="my-org", task="asks")
HOURLY = RoutinePath(collection="my-org", task="asks", name="hourly")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EMPTY: Json = {"step_configs": {"ask": {"activity": "llm"}}, "steps": ["ask"]}


@pytest.fixture
def story_with_task(story):
    story.ask(collections.create, CollectionCreate(name="my-org"))
    story.ask(tasks.create, "my-org", TaskCreate(name="asks", workflow=EMPTY))
    draft = RoutineCreate(name="hourly", cadence=CadenceConfig(type="hourly"))
    story.ids["routine"] = story.ask(task_routines.create, TASK, draft)
    return story


def opened_trajectories(story):
    return [one for one in story.store.history() if isinstance(one.event, TrajectoryOpened)]


def runs(story):
    story.project_all()
    return lists.of_routine(story.conn, story.ids["routine"], 100)


def read(story):
    story.project_all()
    return shown.one(story.conn, story.ids["routine"], story.now)


def test_a_tick_opens_a_trajectory_of_the_routine_once_however_many_schedulers_there_are(story_with_task):
    story_with_task.passes(HOUR)
    story_with_task.tick()
    story_with_task.tick()

    [one] = opened_trajectories(story_with_task)
    assert one.event.routine_id == story_with_task.ids["routine"]
    assert [run.trajectory_id for run in runs(story_with_task)] == [one.position]
    assert read(story_with_task).last_run_at == story_with_task.now.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_tick_that_meets_a_live_trajectory_is_dropped_and_the_schedule_goes_on(story_with_task):
    story_with_task.passes(HOUR)
    story_with_task.tick()
    last_run_at = read(story_with_task).last_run_at
    story_with_task.passes(HOUR)
    story_with_task.tick()

    assert len(opened_trajectories(story_with_task)) == 1
    assert read(story_with_task).last_run_at == last_run_at
    assert read(story_with_task).next_run_at > last_run_at


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "archived"])
def test_whatever_end_a_trajectory_has_the_next_tick_fires_again(story_with_task, status):
    story_with_task.passes(HOUR)
    story_with_task.tick()
    story_with_task.ask(trajectories.set_statuses, TASK, {opened_trajectories(story_with_task)[0].stream_id: status})
    story_with_task.passes(HOUR)
    story_with_task.tick()

    assert len(opened_trajectories(story_with_task)) == 2


def test_a_trajectory_that_is_pending_again_is_live_again(story_with_task):
    story_with_task.passes(HOUR)
    story_with_task.tick()
    for status in ("completed", "pending"):
        story_with_task.ask(
            trajectories.set_statuses, TASK, {opened_trajectories(story_with_task)[0].stream_id: status}
        )
    story_with_task.passes(HOUR)
    story_with_task.tick()

    assert len(opened_trajectories(story_with_task)) == 1


def test_ticks_of_a_downtime_are_dropped_and_ticks_of_a_pause_not_made_up_for(story_with_task):
    story_with_task.passes(2 * DAY + timedelta(minutes=10))
    story_with_task.tick()
    assert opened_trajectories(story_with_task) == []

    story_with_task.ask(task_routines.pause, HOURLY)
    story_with_task.passes(HOUR)
    story_with_task.tick()
    story_with_task.ask(task_routines.resume, HOURLY)
    story_with_task.tick()
    assert opened_trajectories(story_with_task) == []
    story_with_task.passes(timedelta(minutes=50))
    story_with_task.tick()
    assert len(opened_trajectories(story_with_task)) == 1


def test_a_change_of_the_cadence_counts_from_now(story_with_task):
    story_with_task.ask(
        task_routines.update, HOURLY, RoutineChange(cadence=CadenceConfig(type="hourly", minute_utc=20))
    )
    story_with_task.passes(timedelta(minutes=20))
    story_with_task.tick()

    assert len(opened_trajectories(story_with_task)) == 1
    story_with_task.ask(task_routines.update, HOURLY, RoutineChange(cadence=CadenceConfig(type="manual")))
    story_with_task.passes(HOUR)
    story_with_task.tick()
    assert len(opened_trajectories(story_with_task)) == 1


def test_a_deleted_routine_fires_no_more_and_neither_do_those_of_a_deleted_task(story_with_task):
    draft = RoutineCreate(name="other", cadence=CadenceConfig(type="hourly"))
    story_with_task.ask(task_routines.create, TASK, draft)
    story_with_task.ask(task_routines.delete, RoutinePath(collection="my-org", task="asks", name="other"))
    while not story_with_task.ask(tasks.delete, TASK):
        pass
    story_with_task.passes(HOUR)
    story_with_task.tick()

    assert opened_trajectories(story_with_task) == []


def test_ids_are_the_same_after_a_rebuild(story_with_task):
    story_with_task.passes(HOUR)
    story_with_task.tick()
    before = read(story_with_task), runs(story_with_task)

    for model in ALL:
        rebuilds.rebuild(story_with_task.conn, model, story_with_task.store.after)

    assert (read(story_with_task), runs(story_with_task)) == before
