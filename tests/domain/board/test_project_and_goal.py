"""Projects and goals: contract 7.4."""

import pytest
from msgspec.structs import replace

from domain.board import goal, project
from domain.errors import ImpossibleHistory
from domain.events import (
    GoalCreated,
    GoalDeleted,
    GoalUpdated,
    ProjectCreated,
    ProjectDeleted,
    ProjectPaused,
    ProjectResumed,
    ProjectUpdated,
)
from domain.values import GoalDetails, ProjectDetails
from tests.given import given

STARTED = ProjectCreated(details=ProjectDetails(name="Move"), url_key="move")
SET = GoalCreated(details=GoalDetails(title="Grow"))


def test_a_project_pauses_once_and_resumes_once():
    current = given(project.evolve, STARTED)
    paused = given(project.evolve, STARTED, ProjectPaused())

    assert [ProjectPaused()] == project.pause(current)
    assert [] == project.pause(paused)
    assert [ProjectResumed()] == project.resume(paused)
    assert [] == project.resume(current)
    assert given(project.evolve, STARTED, ProjectPaused(), ProjectResumed()) == current


def test_updates_that_change_nothing_are_no_events():
    a_project, a_goal = given(project.evolve, STARTED), given(goal.evolve, SET)
    moved, grown = replace(a_project.details, status="planned"), replace(a_goal.details, status="achieved")

    assert [] == project.update(a_project, a_project.details)
    assert [ProjectUpdated(details=moved)] == project.update(a_project, moved)
    assert [] == goal.update(a_goal, a_goal.details)
    assert [GoalUpdated(details=grown)] == goal.update(a_goal, grown)


def test_each_is_deleted_once():
    assert [ProjectDeleted()] == project.delete(given(project.evolve, STARTED))
    assert [] == project.delete(given(project.evolve, STARTED, ProjectDeleted()))
    assert [GoalDeleted()] == goal.delete(given(goal.evolve, SET))
    assert [] == goal.delete(given(goal.evolve, SET, GoalDeleted()))


@pytest.mark.parametrize(
    ("evolve", "facts"),
    [
        (project.evolve, [ProjectPaused()]),
        (project.evolve, [STARTED, STARTED]),
        (project.evolve, [STARTED, ProjectDeleted(), ProjectPaused()]),
        (project.evolve, [STARTED, ProjectDeleted(), ProjectDeleted()]),
        (goal.evolve, [GoalDeleted()]),
        (goal.evolve, [SET, SET]),
        (goal.evolve, [SET, GoalDeleted(), GoalUpdated(details=GoalDetails(title="Again"))]),
    ],
)
def test_a_contradiction_in_the_log_stops_loudly(evolve, facts):
    with pytest.raises(ImpossibleHistory):
        given(evolve, *facts)
