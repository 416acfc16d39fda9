"""Issues: numbers, lists, inbox and the marks of time that a status leaves (contract 7.5)."""

import pytest

from application.access import Caller
from application.request_bodies.board import AgentKeyDraft
from application.request_bodies.issues import Checkout, CommentDraft
from application.use_cases.board import issues as asked
from application.use_cases.board import keys
from domain.events import IssueEdited
from domain.identity import FIRST_USER, issue_of_run
from domain.values import IssueDetails
from projections.board import issues
from projections.board.issues import Filters
from projections.responses import time
from tests.projections.story import MINUTE, SESSION, START


@pytest.fixture
def acme(story):
    return story.company()


@pytest.fixture
def scout(story, acme):
    return story.agent(acme)


def page(story, company_id, **filters):
    story.project_all()
    return [one.id for one in issues.page(story.conn, company_id, Filters(**filters))]


def read(story, issue_id):
    story.project_all()
    return issues.issue(story.conn, issue_id)


def test_each_company_counts_its_issues_from_one(story, acme):
    other = story.company("Beta")
    one, two, three = story.issue(acme), story.issue(other), story.issue(acme)

    assert [read(story, id_).identifier for id_ in (one, two, three)] == ["ACM-1", "BET-1", "ACM-2"]
    assert read(story, three).issue_number == 2
    assert issues.last_numbers(story.conn, [acme]) == {acme: 2}
    assert list(issues.last_numbers(story.conn, [story.company("None")]).values()) == [0]


def test_an_issue_is_found_by_its_identifier(story, acme):
    story.issue(story.company("Beta"))
    id_ = story.issue(acme)
    story.project_all()

    assert issues.find_by_identifier(story.conn, "acm-1").id == id_
    assert issues.find_by_identifier(story.conn, "ACM-2") is None


def test_an_execution_issue_names_its_routine_and_run_and_one_by_hand_does_not(story, acme, scout):
    routine_id = story.routine(acme, scout)
    run_id = story.fire(routine_id)

    execution, by_hand = read(story, issue_of_run(run_id)), read(story, story.issue(acme))

    assert (execution.origin_kind, execution.origin_id, execution.origin_run_id) == (
        "routine_execution",
        routine_id,
        run_id,
    )
    assert (execution.title, execution.description, execution.status) == ("Check", "", "todo")
    assert (execution.assignee_agent_id, execution.created_by_user_id) == (scout, str(FIRST_USER))
    assert (by_hand.origin_kind, by_hand.origin_id, by_hand.origin_run_id) == ("manual", None, None)
    assert (by_hand.status, by_hand.description) == ("backlog", None)


def test_a_list_is_narrowed_by_any_filter(story, acme, scout):
    move = story.project(acme)
    parent = story.issue(acme, "Parent", project_id=move)
    child = story.issue(acme, "100% _done_", parent_id=parent, assignee_agent_id=scout)
    routine_id = story.routine(acme, scout)
    execution = issue_of_run(story.fire(routine_id))
    story.issue(story.company("Beta"))

    assert page(story, acme) == [execution, child, parent]
    assert page(story, acme, statuses=["todo"]) == [execution, child]
    assert page(story, acme, statuses=["todo", "backlog"]) == [execution, child, parent]
    assert page(story, acme, statuses=[]) == []
    assert page(story, acme, assignee_agent_id=scout) == [execution, child]
    assert page(story, acme, project_id=move) == [parent]
    assert page(story, acme, parent_id=parent) == [child]
    assert page(story, acme, origin_kind="routine_execution") == [execution]
    assert page(story, acme, origin_id=routine_id) == [execution]
    assert page(story, acme, text="0% _DONE") == [child]
    assert page(story, acme, text="acm-1") == [parent]
    assert page(story, acme, text="%") == [child]
    assert page(story, acme, limit=2, offset=1) == [child, parent]


def test_the_search_folds_case_in_every_language(story, acme):
    street, school = story.issue(acme, title="Straße fegen"), story.issue(acme, title="École de İzmir")

    assert page(story, acme, text="STRASSE") == [street]
    assert page(story, acme, text="école de izmir") == [school]
    assert page(story, acme, text="ecole") == []


def test_an_edit_moves_an_issue_between_filters(story, acme, scout):
    id_ = story.issue(acme)
    story.patch(id_, title="Renamed", assignee_agent_id=scout, status="in_review")

    assert page(story, acme, text="renamed", assignee_agent_id=scout, statuses=["in_review"]) == [id_]


def test_an_inbox_has_what_is_to_do_oldest_first(story, acme, scout):
    ids = {
        status: story.issue(acme, assignee_agent_id=scout, status=status)
        for status in ("blocked", "todo", "backlog", "in_review", "done", "cancelled", "in_progress")
    }
    story.issue(acme, status="todo")
    story.project_all()

    assert [one.id for one in issues.inbox(story.conn, scout)] == [
        ids["blocked"],
        ids["todo"],
        ids["in_progress"],
    ]


def test_the_active_issue_is_the_open_one_that_changed_last(story, acme, scout):
    routine_id = story.routine(acme, scout, concurrency_policy="always_enqueue")
    first, second, third = (issue_of_run(story.fire(routine_id)) for _ in range(3))

    def active():
        story.project_all()
        issue = issues.active(story.conn, routine_id)
        return issue and issue.id

    assert active() == third
    story.patch(first, title="New")
    assert active() == first
    story.ask(asked.comment, third, CommentDraft(body="?"), None)
    assert active() == first
    story.patch(second, status="blocked")
    assert active() == second
    for id_ in (second, first, third):
        story.patch(id_, status="done")
    assert active() is None


def test_ancestors_stand_parent_first(story, acme):
    root = story.issue(acme, "Root")
    middle = story.issue(acme, "Middle", parent_id=root)
    leaf = story.issue(acme, "Leaf", parent_id=middle)
    story.project_all()

    assert [one.title for one in issues.ancestors(story.conn, leaf)] == ["Middle", "Root"]
    assert issues.ancestors(story.conn, root) == []


def test_issues_that_are_each_others_parents_do_not_hang_a_reader(story, acme):
    one = story.issue(acme)
    other = story.issue(acme, parent_id=one)
    event = IssueEdited(details=IssueDetails(title="Look", parent_id=other))  # nobody is let do so any more
    story.executor.attempt(lambda work: work.record(one, [event]))
    story.project_all()

    assert len(issues.ancestors(story.conn, one)) <= 50


def test_each_status_leaves_its_mark_and_work_that_was_started_was_started(story, acme):
    id_, seen = story.issue(acme), []
    for status in ("in_progress", "done", "in_progress", "cancelled", "todo"):
        story.passes(MINUTE)
        story.patch(id_, status=status)
        issue = read(story, id_)
        seen.append((issue.started_at, issue.completed_at, issue.cancelled_at))

    at = [time(START + n * MINUTE) for n in range(6)]
    assert seen == [
        (at[1], None, None),
        (at[1], at[2], None),
        (at[3], None, None),
        (at[3], None, at[4]),
        (None, None, None),
    ]
    assert issue.updated_at == at[5]


@pytest.mark.parametrize("status", ["done", "cancelled"])
def test_an_issue_may_begin_at_its_end(story, acme, status):
    issue = read(story, story.issue(acme, status=status))

    assert {"done": issue.completed_at, "cancelled": issue.cancelled_at}[status] == time(START)


def test_a_checkout_shows_the_session_until_the_end_or_a_release(story, acme, scout):
    caller = Caller(token=story.ask(keys.create_for_agent, scout, AgentKeyDraft()).token, run_id=SESSION)
    shown = []

    def look(id_):
        issue = read(story, id_)
        shown.append((issue.status, issue.assignee_agent_id, issue.checkout_run_id, issue.execution_run_id))

    one, other = story.issue(acme, status="todo"), story.issue(acme, status="todo")
    take = Checkout(agent_id=scout, expected_statuses=("todo",))
    for id_ in (one, other):
        story.ask(asked.check_out, id_, take, SESSION, caller=caller)
        look(id_)
    story.patch(one, status="done")
    look(one)
    story.ask(asked.release, other, SESSION, caller=caller)
    look(other)

    assert shown == [
        ("in_progress", scout, SESSION, SESSION),
        ("in_progress", scout, SESSION, SESSION),
        ("done", scout, None, None),
        ("todo", None, None, None),
    ]


def test_an_issue_that_is_blocked_or_given_to_another_is_held_by_no_session(story, acme, scout):
    ids = [story.issue(acme, status="todo") for _ in range(2)]
    for id_ in ids:
        story.ask(asked.check_out, id_, Checkout(agent_id=scout, expected_statuses=("todo",)), SESSION)
    story.patch(ids[0], status="blocked")
    story.patch(ids[1], assignee_agent_id=None)

    blocked, given_away = (read(story, id_) for id_ in ids)

    assert (blocked.status, blocked.checkout_run_id, blocked.execution_run_id) == ("blocked", None, None)
    assert (given_away.status, given_away.checkout_run_id, given_away.execution_run_id) == ("in_progress", None, None)


def test_a_comment_is_no_change_of_its_issue(story, acme):
    id_ = story.issue(acme)
    story.passes(MINUTE)
    story.ask(asked.comment, id_, CommentDraft(body="?"), None)

    assert read(story, id_).updated_at == time(START)
