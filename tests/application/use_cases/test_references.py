from uuid import uuid4

import pytest

from application.request_bodies.board import AgentPatch, GoalDraft, GoalPatch, ProjectDraft
from application.use_cases import references
from application.use_cases.board import agents, goals, projects
from domain.errors import Conflict, DomainError, InvalidField, NotFound, RuleViolation
from domain.values import GoalDetails
from tests.application.use_cases.installation import Installation


def check(here, rule, *arguments):
    here.executor.query(lambda work: rule(work, *arguments))


def test_nothing_is_always_a_good_reference(here):
    for rule in (
        references.check_project,
        references.check_goal,
        references.check_issue,
        references.check_agent,
        references.check_assignee,
    ):
        check(here, rule, here.company, None)


def test_what_is_not_there_and_what_is_another_companys_are_told_apart(here):
    id_by_rule = {
        references.check_project: here.ask(projects.create, here.company, ProjectDraft(name="Moon")),
        references.check_goal: here.ask(goals.create, here.company, GoalDraft(title="Land")),
        references.check_issue: here.issue(),
        references.check_agent: here.agent,
        references.check_assignee: here.agent,
    }

    for rule, id_ in id_by_rule.items():
        check(here, rule, here.company, id_)
        with pytest.raises(NotFound):
            check(here, rule, here.company, uuid4())
        with pytest.raises(RuleViolation, match="must belong to same company"):
            check(here, rule, uuid4(), id_)


def test_a_deleted_project_or_goal_is_not_found(here):
    project = here.ask(projects.create, here.company, ProjectDraft(name="Moon"))
    goal = here.ask(goals.create, here.company, GoalDraft(title="Land"))
    here.ask(projects.delete, project)
    here.ask(goals.delete, goal)

    with pytest.raises(NotFound, match="Project not found"):
        check(here, references.check_project, here.company, project)
    with pytest.raises(NotFound, match="Goal not found"):
        check(here, references.check_goal, here.company, goal)


def test_work_is_assigned_to_no_agent_that_is_terminated(here):
    here.ask(agents.pause, here.agent, "holiday")
    check(here, references.check_assignee, here.company, here.agent)
    here.ask(agents.terminate, here.agent)

    with pytest.raises(Conflict):
        check(here, references.check_assignee, here.company, here.agent)


def test_a_line_of_parents_has_an_end_within_bounds():
    here = Installation(max_parents=3)
    top = here.ask(goals.create, here.company, GoalDraft(title="1"))
    middle = here.ask(goals.create, here.company, GoalDraft(title="2", parent_id=top))
    low = here.ask(goals.create, here.company, GoalDraft(title="3", parent_id=middle))

    with pytest.raises(InvalidField, match="at most 2 above it"):
        here.ask(
            goals.create,
            here.company,
            GoalDraft(title="4", parent_id=here.ask(goals.create, here.company, GoalDraft(title="x", parent_id=low))),
        )


def test_superiors_lead_to_nobody_themselves(here):
    rover = here.another_agent(reports_to=here.agent)

    with pytest.raises(DomainError, match="reportsTo"):
        check(here, references.check_superiors, rover, here.agent)


def test_a_patch_changes_what_it_names():
    old = GoalDetails(title="Land", description="softly")

    assert GoalDetails(title="Rise", description="softly") == references.merged(old, GoalPatch(title="Rise"))
    assert AgentPatch() == references.merged(AgentPatch(), AgentPatch())
