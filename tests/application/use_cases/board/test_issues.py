from datetime import timedelta
from uuid import uuid4

import pytest

from application.event_store.stream_kinds import ISSUE, RUN, SLOT
from application.request_bodies.board import ProjectDraft
from application.request_bodies.issues import Checkout, CommentDraft, IssueDraft, IssuePatch
from application.use_cases.board import issues, projects
from domain.errors import Conflict, Forbidden, InvalidField, RuleViolation, Unauthenticated
from domain.events import CommentAdded, IssueFreed, IssueOpened, RunCompleted, RunFailed
from domain.identity import FIRST_USER, issue_of_run, slot_of
from domain.routines.run import CANCELLED

MINUTE = timedelta(minutes=1)
SESSION, OTHER = uuid4(), uuid4()


def checkout(here):
    return Checkout(agent_id=here.agent, expected_statuses=("todo",))


def leased(here):
    return Checkout(agent_id=here.agent, expected_statuses=("todo",), lease_seconds=60)


def test_an_issue_without_an_agent_waits_and_one_with_an_agent_is_to_be_done(here):
    assert ["backlog", "todo"] == [
        here.state(ISSUE, here.issue(assignee_agent_id=agent)).status for agent in (None, here.agent)
    ]
    assert [FIRST_USER] * 2 == [event.created_by_user_id for event in here.events(IssueOpened)]


def test_an_agent_checks_out_comments_and_finishes_in_one_session(here):
    issue, agent = here.issue(assignee_agent_id=here.agent), here.as_agent()

    for _ in range(2):
        here.ask(issues.check_out, issue, checkout(here), SESSION, caller=agent)
    assert ("in_progress", SESSION) == (here.state(ISSUE, issue).status, here.state(ISSUE, issue).checkout_run_id)
    here.ask(issues.comment, issue, CommentDraft(body="On it"), SESSION, caller=agent)
    here.ask(issues.update, issue, IssuePatch(status="done", comment="Done"), SESSION, caller=agent)

    assert "done" == here.state(ISSUE, issue).status
    assert [(here.agent, SESSION)] * 2 == [(event.agent_id, event.run_id) for event in here.events(CommentAdded)]


def test_what_one_session_holds_no_other_changes_until_somebody_takes_it_away(here):
    issue, agent = here.issue(assignee_agent_id=here.agent), here.as_agent()
    here.ask(issues.check_out, issue, checkout(here), SESSION, caller=agent)

    with pytest.raises(Conflict, match="ownership"):
        here.ask(issues.update, issue, IssuePatch(status="done"), OTHER, caller=agent)
    with pytest.raises(Unauthenticated, match="run id required"):
        here.ask(issues.update, issue, IssuePatch(status="done"), None, caller=agent)
    with pytest.raises(Conflict, match="checkout conflict"):
        here.ask(issues.check_out, issue, checkout(here), OTHER, caller=agent)
    here.ask(issues.force_release, issue)

    assert here.state(ISSUE, issue).checkout_run_id is None


def test_a_lease_that_is_not_renewed_ends_and_its_session_has_lost_the_issue(here):
    routine = here.routine()
    run = here.fire(routine)
    issue, agent = issue_of_run(run), here.as_agent()
    here.ask(issues.check_out, issue, leased(here), SESSION, caller=agent)
    first = here.now + MINUTE
    here.passes(MINUTE / 2)
    here.ask(issues.check_out, issue, leased(here), SESSION, caller=agent)
    renewed = here.now + MINUTE

    assert not here.carry_out(issues.free_unrenewed, issue, first)
    assert not here.carry_out(issues.free_unrenewed, issue, renewed)
    here.passes(MINUTE)
    assert [True, False] == [here.carry_out(issues.free_unrenewed, issue, renewed) for _ in range(2)]

    freed = here.state(ISSUE, issue)
    assert ("todo", here.agent, None) == (freed.status, freed.details.assignee_agent_id, freed.checkout_run_id)
    assert [IssueFreed(reason="lease_over", run_id=SESSION)] == here.events(IssueFreed)
    assert [None] == [event.agent_id for event in here.events(CommentAdded) if str(SESSION) in event.body]
    assert here.state(RUN, run).ended is None
    assert 1 == len(here.state(SLOT, slot_of(routine)).live)
    with pytest.raises(Conflict, match="lease ran out"):
        here.ask(issues.update, issue, IssuePatch(status="done"), SESSION, caller=agent)
    with pytest.raises(Conflict, match="lease ran out"):
        here.ask(issues.release, issue, SESSION, caller=agent)
    here.ask(issues.comment, issue, CommentDraft(body="What I had so far"), SESSION, caller=agent)
    here.ask(issues.check_out, issue, leased(here), OTHER, caller=agent)
    here.ask(issues.update, issue, IssuePatch(status="done"), OTHER, caller=agent)
    assert RunCompleted() == here.state(RUN, run).ended


def test_a_lease_is_renewed_although_the_project_of_the_issue_is_paused(here):
    project = here.ask(projects.create, here.company, ProjectDraft(name="Move"))
    issue, agent = here.issue(assignee_agent_id=here.agent, project_id=project), here.as_agent()
    here.ask(issues.check_out, issue, leased(here), SESSION, caller=agent)
    here.ask(projects.pause, project)
    here.passes(MINUTE / 2)

    here.ask(issues.check_out, issue, leased(here), SESSION, caller=agent)

    assert here.now + MINUTE == here.state(ISSUE, issue).lease_until


def test_a_release_by_force_keeps_the_assignee_and_says_who_did_it(here):
    issue, agent = here.issue(assignee_agent_id=here.agent), here.as_agent()
    here.ask(issues.check_out, issue, checkout(here), SESSION, caller=agent)

    for _ in range(2):
        here.ask(issues.force_release, issue)

    assert here.agent == here.state(ISSUE, issue).details.assignee_agent_id
    [comment] = here.events(CommentAdded)
    assert (FIRST_USER, True) == (comment.user_id, str(SESSION) in comment.body)
    with pytest.raises(Conflict, match="by force"):
        here.ask(issues.update, issue, IssuePatch(status="done"), SESSION, caller=agent)


def test_a_lease_needs_a_session(here):
    with pytest.raises(InvalidField, match="X-Paperclip-Run-Id"):
        here.ask(issues.check_out, here.issue(assignee_agent_id=here.agent), leased(here), None)


def test_an_agent_checks_out_as_itself_and_works_on_its_own_issues(here):
    issue, sibling = here.issue(assignee_agent_id=here.agent), here.as_agent(here.another_agent())

    with pytest.raises(Forbidden, match="as itself"):
        here.ask(issues.check_out, issue, checkout(here), SESSION, caller=sibling)
    with pytest.raises(Forbidden, match="assigned to themselves"):
        here.ask(issues.update, issue, IssuePatch(status="done"), SESSION, caller=sibling)
    with pytest.raises(Conflict, match="Only assignee"):
        here.ask(issues.release, issue, SESSION, caller=sibling)


@pytest.mark.parametrize(("status", "end"), [("done", RunCompleted()), ("cancelled", RunFailed(reason=CANCELLED))])
def test_the_run_that_opened_an_issue_ends_with_it_and_its_slot_is_free(here, status, end):
    routine = here.routine()
    run = here.fire(routine)
    assert 1 == len(here.state(SLOT, slot_of(routine)).live)

    here.ask(issues.update, issue_of_run(run), IssuePatch(status=status), None)

    assert end == here.state(RUN, run).ended
    assert 0 == len(here.state(SLOT, slot_of(routine)).live)


def test_an_issue_that_is_reopened_takes_its_slot_again_and_may_end_otherwise(here):
    routine = here.routine()
    run = here.fire(routine)
    for status in ("done", "in_progress", "cancelled"):
        here.ask(issues.update, issue_of_run(run), IssuePatch(status=status), None)
        assert (status == "in_progress") == bool(here.state(SLOT, slot_of(routine)).live)

    assert RunFailed(reason=CANCELLED) == here.state(RUN, run).ended


def test_in_a_paused_project_nothing_is_checked_out(here):
    project = here.ask(projects.create, here.company, ProjectDraft(name="Moon"))
    issue = here.issue(project_id=project, assignee_agent_id=here.agent)
    here.ask(projects.pause, project)

    with pytest.raises(Conflict, match="Project is paused"):
        here.ask(issues.check_out, issue, checkout(here), None)


def test_an_issue_is_neither_its_own_parent_nor_above_itself_nor_in_another_company(here):
    parent = here.issue()
    child = here.issue(parent_id=parent)
    foreign = here.ask(issues.create, here.other_company(), IssueDraft(title="Theirs"))

    with pytest.raises(RuleViolation, match="its own parent"):
        here.ask(issues.update, parent, IssuePatch(parent_id=parent), None)
    with pytest.raises(InvalidField, match="lead back"):
        here.ask(issues.update, parent, IssuePatch(parent_id=child), None)
    with pytest.raises(RuleViolation, match="same company"):
        here.ask(issues.update, parent, IssuePatch(parent_id=foreign), None)
    assert here.state(ISSUE, parent).details.parent_id is None
