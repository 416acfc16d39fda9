import pytest

from application.event_store.stream_kinds import GOAL
from application.request_bodies.board import GoalDraft, GoalPatch
from application.use_cases.board import goals
from domain.errors import Forbidden, InvalidField, NotFound, RuleViolation


@pytest.fixture
def goal(app):
    return app.ask(goals.create, app.company, GoalDraft(title="Land"))


def test_a_goal_has_an_owner_of_its_company(app, goal):
    app.ask(goals.update, goal, GoalPatch(owner_agent_id=app.agent))
    stranger = app.another_agent(app.other_company())

    with pytest.raises(RuleViolation, match="Owner agent must belong to same company"):
        app.ask(goals.update, goal, GoalPatch(owner_agent_id=stranger))
    assert app.agent == app.state(GOAL, goal).details.owner_agent_id


def test_no_goal_lies_above_itself(app, goal):
    child = app.ask(goals.create, app.company, GoalDraft(title="Descend", parent_id=goal))

    with pytest.raises(InvalidField, match="parentId must not lead back to itself"):
        app.ask(goals.update, goal, GoalPatch(parent_id=child))


def test_a_deleted_goal_is_gone(app, goal):
    app.ask(goals.delete, goal)

    with pytest.raises(NotFound, match="Goal not found"):
        app.ask(goals.update, goal, GoalPatch(title="Rise"))
    with pytest.raises(NotFound, match="Goal not found"):
        app.ask(goals.create, app.company, GoalDraft(title="Descend", parent_id=goal))


def test_agents_and_viewers_set_no_goals(app, goal):
    with pytest.raises(Forbidden, match="Board access required"):
        app.ask(goals.create, app.company, GoalDraft(title="Rest"), caller=app.as_agent())
    with pytest.raises(Forbidden, match="read-only"):
        app.ask(goals.delete, goal, caller=app.member("viewer"))
