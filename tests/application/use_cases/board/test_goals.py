import pytest

from application.event_store.stream_kinds import GOAL
from application.request_bodies.board import GoalDraft, GoalPatch
from application.use_cases.board import goals
from domain.errors import Forbidden, InvalidField, NotFound, RuleViolation


@pytest.fixture
def goal(here):
    return here.ask(goals.create, here.company, GoalDraft(title="Land"))


def test_a_goal_has_an_owner_of_its_company(here, goal):
    here.ask(goals.update, goal, GoalPatch(owner_agent_id=here.agent))
    stranger = here.another_agent(here.other_company())

    with pytest.raises(RuleViolation, match="Owner agent must belong to same company"):
        here.ask(goals.update, goal, GoalPatch(owner_agent_id=stranger))
    assert here.agent == here.state(GOAL, goal).details.owner_agent_id


def test_no_goal_lies_above_itself(here, goal):
    child = here.ask(goals.create, here.company, GoalDraft(title="Descend", parent_id=goal))

    with pytest.raises(InvalidField, match="parentId must not lead back to itself"):
        here.ask(goals.update, goal, GoalPatch(parent_id=child))


def test_a_deleted_goal_is_gone(here, goal):
    here.ask(goals.delete, goal)

    with pytest.raises(NotFound, match="Goal not found"):
        here.ask(goals.update, goal, GoalPatch(title="Rise"))
    with pytest.raises(NotFound, match="Goal not found"):
        here.ask(goals.create, here.company, GoalDraft(title="Descend", parent_id=goal))


def test_agents_and_viewers_set_no_goals(here, goal):
    with pytest.raises(Forbidden, match="Board access required"):
        here.ask(goals.create, here.company, GoalDraft(title="Rest"), caller=here.as_agent())
    with pytest.raises(Forbidden, match="read-only"):
        here.ask(goals.delete, goal, caller=here.member("viewer"))
