import pytest

from application.event_store.stream_kinds import TASK
from application.request_bodies.jetty import RunCreate, TaskChange, TaskCreate
from application.use_cases import names
from application.use_cases.jetty import tasks, trajectories
from application.use_cases.names import TaskPath
from domain.errors import Conflict, InvalidField, NotFound
from domain.events import RoutineUpdated, TaskCreated, TaskDeleted, TrajectoryOpened
from tests.application.use_cases.installation import ECHO


@pytest.fixture
def collection(app):
    return app.collection()[0]


def test_a_name_is_one_tasks_within_a_collection(app, collection):
    task = app.task(collection)

    with pytest.raises(Conflict, match="already exists in collection"):
        app.ask(tasks.create, collection, TaskCreate(name=task.task))
    app.ask(tasks.create, app.collection()[0], TaskCreate(name=task.task))


def test_a_renamed_task_is_found_by_its_new_name_and_the_old_one_is_free(app, collection):
    task = app.task(collection)

    app.ask(tasks.update, task, TaskChange(name="new"))

    assert app.ids(TaskCreated)[0] == app.ask(names.task, TaskPath(collection=collection, task="new")).task_id
    with pytest.raises(NotFound):
        app.ask(names.task, task)
    app.ask(tasks.create, collection, TaskCreate(name=task.task))


def test_what_is_no_workflow_is_refused(app, collection):
    task = app.task(collection)

    with pytest.raises(InvalidField):
        app.ask(tasks.create, collection, TaskCreate(name="odd", workflow={"steps": ["a"]}))
    with pytest.raises(InvalidField):
        app.ask(tasks.update, task, TaskChange(workflow={"steps": ["a"]}))


def test_a_change_counts_from_the_next_call_on(app, collection):
    task = app.task(collection)
    app.ask(trajectories.run, task, RunCreate())
    app.ask(tasks.update, task, TaskChange(workflow=ECHO))
    app.ask(trajectories.run, task, RunCreate())

    assert [["ask"], ["say"]] == [event.workflow["steps"] for event in app.events(TrajectoryOpened)]


def test_a_deleted_task_takes_its_routines_along_one_by_one_and_frees_its_name(app, collection):
    task = app.task(collection)
    for _ in range(2):
        app.task_routine(task)

    assert [False, False, True] == [app.ask(tasks.delete, task) for _ in range(3)]

    assert ["archived"] * 2 == [event.settings.status for event in app.events(RoutineUpdated)]
    assert app.state(TASK, app.ids(TaskDeleted)[0]).deleted
    app.ask(tasks.create, collection, TaskCreate(name=task.task))


def test_to_another_collections_key_a_task_does_not_exist(app, collection):
    task = app.task(collection)
    _, stranger = app.collection()

    with pytest.raises(NotFound):
        app.ask(tasks.update, task, TaskChange(description="mine"), caller=stranger)
