import pytest

from application.event_store.stream_kinds import PROJECT
from application.request_bodies.board import GoalDraft, ProjectDraft, ProjectPatch
from application.use_cases.board import goals, projects
from domain.errors import Conflict, Forbidden, NotFound, RuleViolation
from domain.events import ProjectCreated, ProjectPaused


@pytest.fixture
def project(app):
    return app.ask(projects.create, app.company, ProjectDraft(name="Moon"))


def test_projects_of_one_name_have_different_keys_in_addresses(app, project):
    app.ask(projects.create, app.company, ProjectDraft(name="Moon"))

    assert ["moon", "moon-2"] == [event.url_key for event in app.events(ProjectCreated)]


def test_goal_and_lead_are_of_the_same_company(app, project):
    other = app.other_company()
    goal, lead = app.ask(goals.create, other, GoalDraft(title="Theirs")), app.another_agent(other)

    for fields in ({"goal_id": goal}, {"lead_agent_id": lead}):
        with pytest.raises(RuleViolation, match="same company"):
            app.ask(projects.update, project, ProjectPatch(**fields))
        with pytest.raises(RuleViolation, match="same company"):
            app.ask(projects.create, app.company, ProjectDraft(name="Mars", **fields))


def test_a_project_is_paused_and_resumed(app, project):
    for _ in range(2):
        app.ask(projects.pause, project)
    assert app.state(PROJECT, project).paused
    app.ask(projects.resume, project)

    assert not app.state(PROJECT, project).paused
    assert 1 == len(app.events(ProjectPaused))


def test_a_project_with_routines_is_not_deleted_and_a_deleted_one_is_gone(app, project):
    with pytest.raises(Conflict, match="has routines"):
        app.ask(projects.delete, project, in_use=True)
    app.ask(projects.delete, project)

    with pytest.raises(NotFound, match="Project not found"):
        app.ask(projects.update, project, ProjectPatch(color="red"))


def test_agents_plan_no_projects(app, project):
    with pytest.raises(Forbidden, match="Board access required"):
        app.ask(projects.pause, project, caller=app.as_agent())
