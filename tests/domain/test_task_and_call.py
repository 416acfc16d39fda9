"""Tasks, what may be called with which parameters, and steps that need no worker: Jetty contract 2, 4, 6, 7."""

from uuid import UUID

import pytest

from domain import built_in, call, task
from domain.errors import ImpossibleHistory, Misfit, NotFound, Unacceptable
from domain.events import (
    TaskCreated,
    TaskDeleted,
    TaskRoutineAdded,
    TaskRoutineRemoved,
    TaskUpdated,
    TrajectoryMoved,
    TrajectoryStepReported,
)
from domain.values import TaskDetails
from tests.given import given

A, B = UUID(int=1), UUID(int=2)
WORKFLOW = {"init_params": {"a": 1, "b": None}, "steps": []}
CREATED = TaskCreated(details=TaskDetails(name="t", workflow=WORKFLOW))


def echoing(**configs):
    return {
        "steps": list(configs),
        "step_configs": {name: {"activity": "text_echo", **config} for name, config in configs.items()},
    }


def test_a_task_knows_the_routines_that_call_it():
    assert given(
        task.evolve,
        CREATED,
        TaskRoutineAdded(routine_id=A),
        TaskRoutineAdded(routine_id=B),
        TaskRoutineRemoved(routine_id=A),
    ).routines == (B,)


def test_the_same_details_again_are_nothing():
    found = given(task.evolve, CREATED)

    assert task.update(found, CREATED.details) == []
    assert task.update(found, TaskDetails(name="t")) == [TaskUpdated(details=TaskDetails(name="t"))]


def test_nothing_follows_its_deletion():
    with pytest.raises(ImpossibleHistory):
        given(task.evolve, CREATED, TaskDeleted(), TaskRoutineAdded(routine_id=A))


def test_a_deleted_task_is_not_there():
    for gone in (None, given(task.evolve, CREATED, TaskDeleted())):
        with pytest.raises(NotFound):
            task.must_be_there(gone)


@pytest.mark.parametrize(
    ("workflow", "field"),
    [
        ({"init_params": 1}, "init_params"),
        ({"step_configs": []}, "step_configs"),
        ({"steps": "a"}, "steps"),
        ({"steps": [1]}, "steps"),
        ({"steps": [""]}, "steps"),
        ({"steps": ["a"]}, "steps"),
        ({"step_configs": {"a": {}}}, "step_configs.a.activity"),
        ({"step_configs": {"a": 1}}, "step_configs.a.activity"),
    ],
)
def test_a_workflow_that_is_none_names_what_is_wrong(workflow, field):
    with pytest.raises(Misfit) as refused:
        task.create(TaskDetails(name="t", workflow=workflow))

    assert refused.value.field == f"workflow.{field}"


@pytest.mark.parametrize("workflow", [{}, {"init_params": None, "steps": None, "step_configs": None}, WORKFLOW])
def test_parts_of_a_workflow_may_be_absent(workflow):
    assert task.create(TaskDetails(name="t", workflow=workflow))


@pytest.mark.parametrize(
    ("default", "hint"),
    [
        ("x", "string"),
        (None, "string"),
        (True, "boolean"),
        (0, "integer"),
        (0.5, "number"),
        ([], "array"),
        ({}, "object"),
    ],
)
def test_the_type_of_a_parameter_is_told_by_its_default(default, hint):
    assert task.type_hint(default) == hint


def test_only_the_keys_that_nobody_declared_are_listed():
    with pytest.raises(Unacceptable) as refused:
        call.check_overrides({"a": 1, "z": 2, "y": 3}, WORKFLOW)

    assert refused.value.details == {"unknown_keys": ["z", "y"]}


def test_a_call_is_given_the_tasks_parameters_overlaid_key_by_key():
    assert call.init_params({"b": {"deep": 1}, "gone": 1}, WORKFLOW) == {"a": 1, "b": {"deep": 1}}


def test_a_key_that_is_declared_no_more_is_warned_of():
    assert call.warnings({"a": 1, "gone": 1}, WORKFLOW, "t") == [
        "Override key 'gone' is no longer declared on task 't'"
    ]


@pytest.mark.parametrize(
    ("workflow", "alone"),
    [
        ({}, False),
        ({"steps": []}, False),
        (echoing(a={}), True),
        (echoing(a={}, b={"activity": "llm"}), False),
    ],
)
def test_only_what_is_built_in_throughout_runs_by_itself(workflow, alone):
    assert built_in.runs_by_itself(workflow) is alone


def test_a_step_finds_its_text_in_the_parameters_and_in_what_steps_before_it_gave():
    workflow = echoing(a={"text_path": "init_params.x.y"}, b={"text_path": "a.outputs.text"}, c={"text": "plain"})

    *steps, end = built_in.carried_out(workflow, {"x": {"y": "deep"}})

    assert [step.outputs["text"] for step in steps] == ["deep", "deep", "plain"]
    assert end == TrajectoryMoved(status="completed")


def test_a_text_that_is_not_there_ends_it():
    steps = built_in.carried_out(echoing(a={"text_path": "init_params.x"}, b={}), {})

    assert steps == [
        TrajectoryStepReported(step="a", status="failed", inputs={"text_path": "init_params.x"}),
        TrajectoryMoved(status="failed", error="Step 'a' failed: there is nothing at text_path 'init_params.x'"),
    ]
