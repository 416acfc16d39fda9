import pytest

from application.event_store.stream_kinds import PROJECT
from application.request_bodies.board import GoalDraft, ProjectDraft, ProjectPatch
from application.use_cases.board import goals, projects
from domain.errors import Conflict, Forbidden, NotFound, RuleViolation
from domain.events import ProjectCreated, ProjectPaused


@pytest.fixture
def project(here):
    return here.ask(projects.create, here.company, ProjectDraft(name="Moon"))


def test_projects_of_one_name_have_different_keys_in_addresses(here, project):
    here.ask(projects.create, here.company, ProjectDraft(name="Moon"))

    assert ["moon", "moon-2"] == [event.url_key for event in here.events(ProjectCreated)]


def test_goal_and_lead_are_of_the_same_company(here, project):
    other = here.other_company()
    goal, lead = here.ask(goals.create, other, GoalDraft(title="Theirs")), here.another_agent(other)

    for fields in ({"goal_id": goal}, {"lead_agent_id": lead}):
        with pytest.raises(RuleViolation, match="same company"):
            here.ask(projects.update, project, ProjectPatch(**fields))
        with pytest.raises(RuleViolation, match="same company"):
            here.ask(projects.create, here.company, ProjectDraft(name="Mars", **fields))


def test_a_project_is_paused_and_resumed(here, project):
    for _ in range(2):
        here.ask(projects.pause, project)
    assert here.state(PROJECT, project).paused
    here.ask(projects.resume, project)

    assert not here.state(PROJECT, project).paused
    assert 1 == len(here.events(ProjectPaused))


def test_a_project_with_routines_is_not_deleted_and_a_deleted_one_is_gone(here, project):
    with pytest.raises(Conflict, match="has routines"):
        here.ask(projects.delete, project, in_use=True)
    here.ask(projects.delete, project)

    with pytest.raises(NotFound, match="Project not found"):
        here.ask(projects.update, project, ProjectPatch(color="red"))


def test_agents_plan_no_projects(here, project):
    with pytest.raises(Forbidden, match="Board access required"):
        here.ask(projects.pause, project, caller=here.as_agent())
