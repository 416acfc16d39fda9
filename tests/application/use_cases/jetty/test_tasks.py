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
def collection(here):
    return here.collection()[0]


def test_a_name_is_one_tasks_within_a_collection(here, collection):
    task = here.task(collection)

    with pytest.raises(Conflict, match="already exists in collection"):
        here.ask(tasks.create, collection, TaskCreate(name=task.task))
    here.ask(tasks.create, here.collection()[0], TaskCreate(name=task.task))


def test_a_renamed_task_is_found_by_its_new_name_and_the_old_one_is_free(here, collection):
    task = here.task(collection)

    here.ask(tasks.update, task, TaskChange(name="new"))

    assert here.ids(TaskCreated)[0] == here.ask(names.task, TaskPath(collection=collection, task="new")).task_id
    with pytest.raises(NotFound):
        here.ask(names.task, task)
    here.ask(tasks.create, collection, TaskCreate(name=task.task))


def test_what_is_no_workflow_is_refused(here, collection):
    task = here.task(collection)

    with pytest.raises(InvalidField):
        here.ask(tasks.create, collection, TaskCreate(name="odd", workflow={"steps": ["a"]}))
    with pytest.raises(InvalidField):
        here.ask(tasks.update, task, TaskChange(workflow={"steps": ["a"]}))


def test_a_change_counts_from_the_next_call_on(here, collection):
    task = here.task(collection)
    here.ask(trajectories.run, task, RunCreate())
    here.ask(tasks.update, task, TaskChange(workflow=ECHO))
    here.ask(trajectories.run, task, RunCreate())

    assert [["ask"], ["say"]] == [event.workflow["steps"] for event in here.events(TrajectoryOpened)]


def test_a_deleted_task_takes_its_routines_along_one_by_one_and_frees_its_name(here, collection):
    task = here.task(collection)
    for _ in range(2):
        here.task_routine(task)

    assert [False, False, True] == [here.ask(tasks.delete, task) for _ in range(3)]

    assert ["archived"] * 2 == [event.settings.status for event in here.events(RoutineUpdated)]
    assert here.state(TASK, here.ids(TaskDeleted)[0]).deleted
    here.ask(tasks.create, collection, TaskCreate(name=task.task))


def test_to_another_collections_key_a_task_does_not_exist(here, collection):
    task = here.task(collection)
    _, stranger = here.collection()

    with pytest.raises(NotFound):
        here.ask(tasks.update, task, TaskChange(description="mine"), caller=stranger)
