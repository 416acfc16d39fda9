from uuid import uuid4

import pytest

from application.request_bodies.board import AgentPatch, GoalDraft, GoalPatch, ProjectDraft
from application.use_cases import references
from application.use_cases.board import agents, goals, projects
from domain.errors import Conflict, DomainError, InvalidField, NotFound, RuleViolation
from domain.values import GoalDetails
from tests.application.use_cases.installation import Installation


def check(app, rule, *arguments):
    app.executor.query(lambda work: rule(work, *arguments))


def test_nothing_is_always_a_good_reference(app):
    for rule in (
        references.check_project,
        references.check_goal,
        references.check_parent_issue,
        references.check_agent,
        references.check_assignee,
    ):
        check(app, rule, app.company, None)


def test_what_is_not_there_and_what_is_another_companys_are_told_apart(app):
    id_by_rule = {
        references.check_project: app.ask(projects.create, app.company, ProjectDraft(name="Moon")),
        references.check_goal: app.ask(goals.create, app.company, GoalDraft(title="Land")),
        references.check_parent_issue: app.issue(),
        references.check_agent: app.agent,
        references.check_assignee: app.agent,
    }

    for rule, id_ in id_by_rule.items():
        check(app, rule, app.company, id_)
        with pytest.raises(NotFound):
            check(app, rule, app.company, uuid4())
        with pytest.raises(RuleViolation, match="must belong to same company"):
            check(app, rule, uuid4(), id_)


def test_a_deleted_project_or_goal_is_not_found(app):
    project = app.ask(projects.create, app.company, ProjectDraft(name="Moon"))
    goal = app.ask(goals.create, app.company, GoalDraft(title="Land"))
    app.ask(projects.delete, project)
    app.ask(goals.delete, goal)

    with pytest.raises(NotFound, match="Project not found"):
        check(app, references.check_project, app.company, project)
    with pytest.raises(NotFound, match="Goal not found"):
        check(app, references.check_goal, app.company, goal)


def test_work_is_assigned_to_no_agent_that_is_terminated(app):
    app.ask(agents.pause, app.agent, "holiday")
    check(app, references.check_assignee, app.company, app.agent)
    app.ask(agents.terminate, app.agent)

    with pytest.raises(Conflict):
        check(app, references.check_assignee, app.company, app.agent)


def test_a_line_of_parents_has_an_end_within_bounds():
    app = Installation(max_parents=3)
    top = app.ask(goals.create, app.company, GoalDraft(title="1"))
    middle = app.ask(goals.create, app.company, GoalDraft(title="2", parent_id=top))
    low = app.ask(goals.create, app.company, GoalDraft(title="3", parent_id=middle))

    with pytest.raises(InvalidField, match="at most 2 above it"):
        app.ask(
            goals.create,
            app.company,
            GoalDraft(title="4", parent_id=app.ask(goals.create, app.company, GoalDraft(title="x", parent_id=low))),
        )


def test_superiors_lead_to_nobody_themselves(app):
    rover = app.another_agent(reports_to=app.agent)

    with pytest.raises(DomainError, match="reportsTo"):
        check(app, references.check_superiors, rover, app.agent)


def test_a_patch_changes_what_it_names():
    old = GoalDetails(title="Land", description="softly")

    assert GoalDetails(title="Rise", description="softly") == references.merge_patch(old, GoalPatch(title="Rise"))
    assert AgentPatch() == references.merge_patch(AgentPatch(), AgentPatch())
