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
def told(story):
    story.ask(collections.create, CollectionCreate(name="my-org"))
    story.ask(tasks.create, "my-org", TaskCreate(name="asks", workflow=EMPTY))
    draft = RoutineCreate(name="hourly", cadence=CadenceConfig(type="hourly"))
    story.ids["routine"] = story.ask(task_routines.create, TASK, draft)
    return story


def opened(story):
    return [one for one in story.store.history() if isinstance(one.event, TrajectoryOpened)]


def runs(story):
    story.project_all()
    return lists.of_routine(story.conn, story.ids["routine"], 100)


def read(story):
    story.project_all()
    return shown.one(story.conn, story.ids["routine"], story.now)


def test_a_tick_opens_a_trajectory_of_the_routine_once_however_many_schedulers_there_are(told):
    told.passes(HOUR)
    told.tick()
    told.tick()

    [one] = opened(told)
    assert one.event.routine_id == told.ids["routine"]
    assert [run.trajectory_id for run in runs(told)] == [one.position]
    assert read(told).last_run_at == told.now.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_tick_that_meets_a_live_trajectory_is_dropped_and_the_schedule_goes_on(told):
    told.passes(HOUR)
    told.tick()
    last_run_at = read(told).last_run_at
    told.passes(HOUR)
    told.tick()

    assert len(opened(told)) == 1
    assert read(told).last_run_at == last_run_at
    assert read(told).next_run_at > last_run_at


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "archived"])
def test_whatever_end_a_trajectory_has_the_next_tick_fires_again(told, status):
    told.passes(HOUR)
    told.tick()
    told.ask(trajectories.set_statuses, TASK, {opened(told)[0].stream_id: status})
    told.passes(HOUR)
    told.tick()

    assert len(opened(told)) == 2


def test_a_trajectory_that_is_pending_again_is_live_again(told):
    told.passes(HOUR)
    told.tick()
    for status in ("completed", "pending"):
        told.ask(trajectories.set_statuses, TASK, {opened(told)[0].stream_id: status})
    told.passes(HOUR)
    told.tick()

    assert len(opened(told)) == 1


def test_ticks_of_a_downtime_are_dropped_and_ticks_of_a_pause_not_made_up_for(told):
    told.passes(2 * DAY + timedelta(minutes=10))
    told.tick()
    assert opened(told) == []

    told.ask(task_routines.pause, HOURLY)
    told.passes(HOUR)
    told.tick()
    told.ask(task_routines.resume, HOURLY)
    told.tick()
    assert opened(told) == []
    told.passes(timedelta(minutes=50))
    told.tick()
    assert len(opened(told)) == 1


def test_a_change_of_the_cadence_counts_from_now(told):
    told.ask(task_routines.update, HOURLY, RoutineChange(cadence=CadenceConfig(type="hourly", minute_utc=20)))
    told.passes(timedelta(minutes=20))
    told.tick()

    assert len(opened(told)) == 1
    told.ask(task_routines.update, HOURLY, RoutineChange(cadence=CadenceConfig(type="manual")))
    told.passes(HOUR)
    told.tick()
    assert len(opened(told)) == 1


def test_a_deleted_routine_fires_no_more_and_neither_do_those_of_a_deleted_task(told):
    draft = RoutineCreate(name="other", cadence=CadenceConfig(type="hourly"))
    told.ask(task_routines.create, TASK, draft)
    told.ask(task_routines.delete, RoutinePath(collection="my-org", task="asks", name="other"))
    while not told.ask(tasks.delete, TASK):
        pass
    told.passes(HOUR)
    told.tick()

    assert opened(told) == []


def test_ids_are_the_same_after_a_rebuild(told):
    told.passes(HOUR)
    told.tick()
    before = read(told), runs(told)

    for model in ALL:
        rebuilds.rebuild(told.conn, model, told.store.after)

    assert (read(told), runs(told)) == before
