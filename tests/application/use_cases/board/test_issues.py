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


def checkout(app):
    return Checkout(agent_id=app.agent, expected_statuses=("todo",))


def checkout_with_lease(app):
    return Checkout(agent_id=app.agent, expected_statuses=("todo",), lease_seconds=60)


def test_an_issue_without_an_agent_waits_and_one_with_an_agent_is_to_be_done(app):
    assert ["backlog", "todo"] == [
        app.state(ISSUE, app.issue(assignee_agent_id=agent)).status for agent in (None, app.agent)
    ]
    assert [FIRST_USER] * 2 == [event.created_by_user_id for event in app.events(IssueOpened)]


def test_an_agent_checks_out_comments_and_finishes_in_one_session(app):
    issue, agent = app.issue(assignee_agent_id=app.agent), app.as_agent()

    for _ in range(2):
        app.ask(issues.check_out, issue, checkout(app), SESSION, caller=agent)
    assert ("in_progress", SESSION) == (app.state(ISSUE, issue).status, app.state(ISSUE, issue).checkout_run_id)
    app.ask(issues.comment, issue, CommentDraft(body="On it"), SESSION, caller=agent)
    app.ask(issues.update, issue, IssuePatch(status="done", comment="Done"), SESSION, caller=agent)

    assert "done" == app.state(ISSUE, issue).status
    assert [(app.agent, SESSION)] * 2 == [(event.agent_id, event.run_id) for event in app.events(CommentAdded)]


def test_what_one_session_holds_no_other_changes_until_somebody_takes_it_away(app):
    issue, agent = app.issue(assignee_agent_id=app.agent), app.as_agent()
    app.ask(issues.check_out, issue, checkout(app), SESSION, caller=agent)

    with pytest.raises(Conflict, match="ownership"):
        app.ask(issues.update, issue, IssuePatch(status="done"), OTHER, caller=agent)
    with pytest.raises(Unauthenticated, match="run id required"):
        app.ask(issues.update, issue, IssuePatch(status="done"), None, caller=agent)
    with pytest.raises(Conflict, match="checkout conflict"):
        app.ask(issues.check_out, issue, checkout(app), OTHER, caller=agent)
    app.ask(issues.force_release, issue)

    assert app.state(ISSUE, issue).checkout_run_id is None


def test_a_lease_that_is_not_renewed_ends_and_its_session_has_lost_the_issue(app):
    routine = app.routine()
    run = app.fire(routine)
    issue, agent = issue_of_run(run), app.as_agent()
    app.ask(issues.check_out, issue, checkout_with_lease(app), SESSION, caller=agent)
    first = app.now + MINUTE
    app.passes(MINUTE / 2)
    app.ask(issues.check_out, issue, checkout_with_lease(app), SESSION, caller=agent)
    renewed = app.now + MINUTE

    assert not app.carry_out(issues.free_unrenewed, issue, first)
    assert not app.carry_out(issues.free_unrenewed, issue, renewed)
    app.passes(MINUTE)
    assert [True, False] == [app.carry_out(issues.free_unrenewed, issue, renewed) for _ in range(2)]

    freed = app.state(ISSUE, issue)
    assert ("todo", app.agent, None) == (freed.status, freed.details.assignee_agent_id, freed.checkout_run_id)
    assert [IssueFreed(reason="lease_over", run_id=SESSION)] == app.events(IssueFreed)
    assert [None] == [event.agent_id for event in app.events(CommentAdded) if str(SESSION) in event.body]
    assert app.state(RUN, run).ended is None
    assert 1 == len(app.state(SLOT, slot_of(routine)).live)
    with pytest.raises(Conflict, match="lease ran out"):
        app.ask(issues.update, issue, IssuePatch(status="done"), SESSION, caller=agent)
    with pytest.raises(Conflict, match="lease ran out"):
        app.ask(issues.release, issue, SESSION, caller=agent)
    app.ask(issues.comment, issue, CommentDraft(body="What I had so far"), SESSION, caller=agent)
    app.ask(issues.check_out, issue, checkout_with_lease(app), OTHER, caller=agent)
    app.ask(issues.update, issue, IssuePatch(status="done"), OTHER, caller=agent)
    assert RunCompleted() == app.state(RUN, run).ended


def test_a_lease_is_renewed_although_the_project_of_the_issue_is_paused(app):
    project = app.ask(projects.create, app.company, ProjectDraft(name="Move"))
    issue, agent = app.issue(assignee_agent_id=app.agent, project_id=project), app.as_agent()
    app.ask(issues.check_out, issue, checkout_with_lease(app), SESSION, caller=agent)
    app.ask(projects.pause, project)
    app.passes(MINUTE / 2)

    app.ask(issues.check_out, issue, checkout_with_lease(app), SESSION, caller=agent)

    assert app.now + MINUTE == app.state(ISSUE, issue).lease_until


def test_a_release_by_force_keeps_the_assignee_and_says_who_did_it(app):
    issue, agent = app.issue(assignee_agent_id=app.agent), app.as_agent()
    app.ask(issues.check_out, issue, checkout(app), SESSION, caller=agent)

    for _ in range(2):
        app.ask(issues.force_release, issue)

    assert app.agent == app.state(ISSUE, issue).details.assignee_agent_id
    [comment] = app.events(CommentAdded)
    assert (FIRST_USER, True) == (comment.user_id, str(SESSION) in comment.body)
    with pytest.raises(Conflict, match="by force"):
        app.ask(issues.update, issue, IssuePatch(status="done"), SESSION, caller=agent)


def test_a_lease_needs_a_session(app):
    with pytest.raises(InvalidField, match="X-Paperclip-Run-Id"):
        app.ask(issues.check_out, app.issue(assignee_agent_id=app.agent), checkout_with_lease(app), None)


def test_an_agent_checks_out_as_itself_and_works_on_its_own_issues(app):
    issue, sibling = app.issue(assignee_agent_id=app.agent), app.as_agent(app.another_agent())

    with pytest.raises(Forbidden, match="as itself"):
        app.ask(issues.check_out, issue, checkout(app), SESSION, caller=sibling)
    with pytest.raises(Forbidden, match="assigned to themselves"):
        app.ask(issues.update, issue, IssuePatch(status="done"), SESSION, caller=sibling)
    with pytest.raises(Conflict, match="Only assignee"):
        app.ask(issues.release, issue, SESSION, caller=sibling)


@pytest.mark.parametrize(("status", "end"), [("done", RunCompleted()), ("cancelled", RunFailed(reason=CANCELLED))])
def test_the_run_that_opened_an_issue_ends_with_it_and_its_slot_is_free(app, status, end):
    routine = app.routine()
    run = app.fire(routine)
    assert 1 == len(app.state(SLOT, slot_of(routine)).live)

    app.ask(issues.update, issue_of_run(run), IssuePatch(status=status), None)

    assert end == app.state(RUN, run).ended
    assert 0 == len(app.state(SLOT, slot_of(routine)).live)


def test_an_issue_that_is_reopened_takes_its_slot_again_and_may_end_otherwise(app):
    routine = app.routine()
    run = app.fire(routine)
    for status in ("done", "in_progress", "cancelled"):
        app.ask(issues.update, issue_of_run(run), IssuePatch(status=status), None)
        assert (status == "in_progress") == bool(app.state(SLOT, slot_of(routine)).live)

    assert RunFailed(reason=CANCELLED) == app.state(RUN, run).ended


def test_in_a_paused_project_nothing_is_checked_out(app):
    project = app.ask(projects.create, app.company, ProjectDraft(name="Moon"))
    issue = app.issue(project_id=project, assignee_agent_id=app.agent)
    app.ask(projects.pause, project)

    with pytest.raises(Conflict, match="Project is paused"):
        app.ask(issues.check_out, issue, checkout(app), None)


def test_an_issue_is_neither_its_own_parent_nor_above_itself_nor_in_another_company(app):
    parent = app.issue()
    child = app.issue(parent_id=parent)
    foreign = app.ask(issues.create, app.other_company(), IssueDraft(title="Theirs"))

    with pytest.raises(RuleViolation, match="its own parent"):
        app.ask(issues.update, parent, IssuePatch(parent_id=parent), None)
    with pytest.raises(InvalidField, match="lead back"):
        app.ask(issues.update, parent, IssuePatch(parent_id=child), None)
    with pytest.raises(RuleViolation, match="same company"):
        app.ask(issues.update, parent, IssuePatch(parent_id=foreign), None)
    assert app.state(ISSUE, parent).details.parent_id is None
