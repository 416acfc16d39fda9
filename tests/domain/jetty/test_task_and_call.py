"""Tasks, what may be called with which parameters, and steps that need no worker: Jetty contract 2, 4, 6, 7."""

from uuid import UUID

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.bounds.json_size import depth_of
from domain.bounds.limits import Limits
from domain.errors import ImpossibleHistory, InvalidField, NotFound, RuleViolation
from domain.events import (
    TaskCreated,
    TaskDeleted,
    TaskRoutineAdded,
    TaskRoutineRemoved,
    TaskUpdated,
    TrajectoryMoved,
    TrajectoryStepReported,
)
from domain.jetty import built_in, task, task_call
from domain.values import Json, TaskDetails
from tests.given import given

A, B = UUID(int=1), UUID(int=2)
WORKFLOW: Json = {"init_params": {"a": 1, "b": None}, "steps": []}
CREATED = TaskCreated(details=TaskDetails(name="t", workflow=WORKFLOW))


def echo_workflow(**configs):
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
    current = given(task.evolve, CREATED)

    assert task.update(current, CREATED.details) == []
    assert task.update(current, TaskDetails(name="t")) == [TaskUpdated(details=TaskDetails(name="t"))]


def test_nothing_follows_its_deletion():
    with pytest.raises(ImpossibleHistory):
        given(task.evolve, CREATED, TaskDeleted(), TaskRoutineAdded(routine_id=A))


def test_a_deleted_task_is_not_there():
    for missing_task in (None, given(task.evolve, CREATED, TaskDeleted())):
        with pytest.raises(NotFound):
            task.must_be_there(missing_task)


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
    with pytest.raises(InvalidField) as refusal:
        task.create(TaskDetails(name="t", workflow=workflow))

    assert refusal.value.field == f"workflow.{field}"


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
    with pytest.raises(RuleViolation) as refusal:
        task_call.check_overrides({"a": 1, "z": 2, "y": 3}, WORKFLOW)

    assert refusal.value.details == {"unknown_keys": ["z", "y"]}


def test_a_call_is_given_the_tasks_parameters_overlaid_key_by_key():
    assert task_call.init_params({"b": {"deep": 1}, "gone": 1}, WORKFLOW) == {"a": 1, "b": {"deep": 1}}


def test_a_key_that_is_declared_no_more_is_warned_of():
    assert task_call.warnings({"a": 1, "gone": 1}, WORKFLOW, "t") == [
        "Override key 'gone' is no longer declared on task 't'"
    ]


@pytest.mark.parametrize(
    ("workflow", "alone"),
    [
        ({}, False),
        ({"steps": []}, False),
        (echo_workflow(a={}), True),
        (echo_workflow(a={}, b={"activity": "llm"}), False),
    ],
)
def test_only_what_is_built_in_throughout_runs_by_itself(workflow, alone):
    assert built_in.runs_by_itself(workflow) is alone


def test_a_step_finds_its_text_in_the_parameters_and_in_what_steps_before_it_gave():
    workflow = echo_workflow(a={"text_path": "init_params.x.y"}, b={"text_path": "a.outputs.text"}, c={"text": "plain"})

    *steps, end = built_in.carried_out(workflow, {"x": {"y": "deep"}})

    assert [step.outputs["text"] for step in steps] == ["deep", "deep", "plain"]
    assert end == TrajectoryMoved(status="completed")


def test_a_text_that_is_not_there_ends_it():
    steps = built_in.carried_out(echo_workflow(a={"text_path": "init_params.x"}, b={}), {})

    assert steps == [
        TrajectoryStepReported(step="a", status="failed", inputs={"text_path": "init_params.x"}),
        TrajectoryMoved(status="failed", error="Step 'a' failed: there is nothing at text_path 'init_params.x'"),
    ]


# How much of it there may be

LIMITS = Limits(max_trajectory_bytes=4_096, max_task_steps=20, max_output_depth=8)
STEPS = 20


def recorded_size(workflow, init_params, events):
    """The size of what is recorded of a call."""
    reported = [
        (event.step, event.inputs, event.outputs) for event in events if isinstance(event, TrajectoryStepReported)
    ]
    return sum(len(msgspec.json.encode(value)) for value in (workflow, init_params, *sum(reported, ())))


def test_steps_that_repeat_a_large_parameter_end_before_they_are_too_much():
    workflow = echo_workflow(**{f"s{n}": {"text_path": "init_params.x"} for n in range(STEPS)})

    *steps, end = built_in.carried_out(workflow, {"x": "x" * 1_000}, LIMITS)

    assert (1, "failed") == (len(steps), end.status)
    assert "Step 's1' failed: A trajectory holds at most 4096 bytes of parameters, steps and labels, " in end.error
    assert recorded_size(workflow, {"x": "x" * 1_000}, steps) <= 4_096


def test_steps_that_nest_what_steps_before_them_gave_end_before_it_is_too_deep():
    paths = ["init_params.x", *(f"s{n}.outputs" for n in range(STEPS - 1))]
    workflow = echo_workflow(**{f"s{n}": {"text_path": path} for n, path in enumerate(paths)})

    *steps, end = built_in.carried_out(workflow, {"x": 1}, LIMITS)

    assert [1, 2, 3, 4, 5, 6, 7, 8] == [depth_of(step.outputs) for step in steps]
    assert "Step 's8' failed: what it gives is nested deeper than 8 levels" == end.error


@for_all(
    st.lists(
        st.sampled_from(["init_params", "init_params.x", *(f"s{n}.outputs" for n in range(STEPS))])
        | st.integers(0, STEPS).map("s{}.outputs.text".format),
        min_size=1,
        max_size=STEPS,
    ),
    st.recursive(st.text(max_size=200), lambda inner: st.lists(inner, max_size=3), max_leaves=20),
)
def test_whatever_steps_give_each_other_what_is_recorded_is_small_and_shallow(paths, value):
    workflow = echo_workflow(**{f"s{n}": {"text_path": path} for n, path in enumerate(paths)})

    *steps, end = built_in.carried_out(workflow, {"x": value}, LIMITS)

    completed = [step for step in steps if step.status == "completed"]
    assert recorded_size(workflow, {"x": value}, completed) <= max(4_096, recorded_size(workflow, {"x": value}, []))
    assert all(depth_of(step.outputs) <= 8 for step in completed)
    assert end.status in ("completed", "failed")


@pytest.mark.parametrize(
    ("workflow", "field"),
    [
        (echo_workflow(**{f"s{n}": {} for n in range(21)}), "workflow.steps"),
        ({"init_params": {"x": "x" * 4_096}}, "workflow"),
    ],
)
def test_a_workflow_that_could_not_be_called_is_refused_when_it_is_written(workflow, field):
    with pytest.raises(InvalidField) as refusal:
        task.create(TaskDetails(name="t", workflow=workflow), LIMITS)

    assert field == refusal.value.field


def test_a_task_that_was_too_large_before_can_still_be_renamed():
    old = given(task.evolve, TaskCreated(details=TaskDetails(name="t", workflow={"init_params": {"x": "x" * 4_096}})))
    renamed = replace(old.details, name="u")

    assert [TaskUpdated(details=renamed)] == task.update(old, renamed, LIMITS)
