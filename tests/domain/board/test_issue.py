"""An issue's status, checkout and who may touch it: contract 7.5."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.board import issue
from domain.errors import Conflict, Forbidden, ImpossibleHistory, Unauthenticated
from domain.events import (
    IssueCheckedOut,
    IssueEdited,
    IssueFreed,
    IssueLeaseRenewed,
    IssueMoved,
    IssueOpened,
    IssueReleased,
)
from domain.values import IssueDetails
from tests.given import given

ISSUE, SCOUT, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
SESSION, LATER = UUID(int=4), UUID(int=5)
DETAILS = IssueDetails(title="Check the inbox", assignee_agent_id=SCOUT)
OPENED = IssueOpened(details=DETAILS, status="todo")
FREE = IssueOpened(details=IssueDetails(title="Check the inbox"), status="backlog")
NOW, LEASE = datetime(2026, 11, 22, 1, tzinfo=UTC), timedelta(minutes=5)
TAKEN = IssueCheckedOut(agent_id=SCOUT, run_id=SESSION)


def check_out(state, agent=SCOUT, session=SESSION, expected=("todo",), *, now=NOW, lease=None):
    return issue.check_out(state, ISSUE, agent, session, expected, now, lease)


def test_an_execution_issue_names_its_routine_and_run():
    opened = replace(OPENED, routine_id=UUID(int=8), run_id=UUID(int=9))

    current = given(issue.evolve, opened)

    assert (current.status, current.routine_id, current.run_id) == ("todo", UUID(int=8), UUID(int=9))


def test_editing_and_moving_are_recorded_only_when_something_changes():
    current = given(issue.evolve, OPENED)

    assert [] == issue.edit(current, DETAILS)
    assert [IssueEdited(details=replace(DETAILS, title="New"))] == issue.edit(current, replace(DETAILS, title="New"))
    assert [] == issue.move(current, "todo")
    assert [IssueMoved(status="blocked")] == issue.move(current, "blocked")


def test_a_blocked_issue_is_open_and_a_done_or_cancelled_one_is_not():
    assert {"backlog", "todo", "in_progress", "in_review", "blocked"} == issue.OPEN


def test_checking_out_gives_the_issue_to_the_session():
    assert [TAKEN] == check_out(given(issue.evolve, OPENED))

    current = given(issue.evolve, OPENED, TAKEN)
    assert (current.status, current.checkout_run_id, current.details.assignee_agent_id) == (
        "in_progress",
        SESSION,
        SCOUT,
    )


def test_an_unassigned_issue_may_be_checked_out_by_anyone():
    assert [IssueCheckedOut(agent_id=OTHER, run_id=SESSION)] == check_out(
        given(issue.evolve, FREE), agent=OTHER, expected=("backlog",)
    )


def test_the_same_session_again_finds_nothing_to_do():
    assert [] == check_out(given(issue.evolve, OPENED, TAKEN))


@pytest.mark.parametrize(
    ("facts", "ask"),
    [
        ([OPENED], {"expected": ("backlog", "in_review")}),
        ([OPENED], {"agent": OTHER}),
        ([OPENED, TAKEN], {"session": LATER, "expected": ("in_progress",)}),
        ([OPENED, TAKEN], {"agent": OTHER, "session": LATER, "expected": ("in_progress",)}),
        ([OPENED, TAKEN, IssueMoved(status="blocked")], {"expected": ("todo",)}),
        ([OPENED, TAKEN, IssueMoved(status="done")], {"expected": ("todo",)}),
    ],
    ids=["another status", "another's", "another session", "another's session", "blocked", "done"],
)
def test_a_checkout_that_does_not_fit_is_refused(facts, ask):
    with pytest.raises(Conflict, match="Issue checkout conflict"):
        check_out(given(issue.evolve, *facts), **ask)


def test_a_refused_checkout_says_who_holds_the_issue():
    with pytest.raises(Conflict) as refusal:
        check_out(given(issue.evolve, OPENED, TAKEN), agent=OTHER, session=LATER)

    assert refusal.value.details == {
        "issueId": str(ISSUE),
        "status": "in_progress",
        "assigneeAgentId": str(SCOUT),
        "checkoutRunId": str(SESSION),
        "executionRunId": str(SESSION),
    }


def test_another_agent_does_not_get_the_issue_by_naming_the_holders_session():
    with pytest.raises(Conflict):
        check_out(given(issue.evolve, OPENED, TAKEN), agent=OTHER, session=SESSION)


@pytest.mark.parametrize("status", ["todo", "in_review", "blocked", "done", "cancelled"])
def test_leaving_in_progress_ends_the_checkout_and_keeps_the_assignee(status):
    current = given(issue.evolve, OPENED, TAKEN, IssueMoved(status=status))

    assert current.checkout_run_id is None
    assert current.details.assignee_agent_id == SCOUT


def test_another_assignee_ends_the_checkout_and_any_other_edit_does_not():
    renamed, reassigned = replace(DETAILS, title="New"), replace(DETAILS, assignee_agent_id=OTHER)

    assert given(issue.evolve, OPENED, TAKEN, IssueEdited(details=renamed)).checkout_run_id == SESSION
    assert given(issue.evolve, OPENED, TAKEN, IssueEdited(details=reassigned)).checkout_run_id is None


def test_a_lease_is_renewed_by_its_session_when_a_part_of_it_has_passed():
    leased = given(issue.evolve, OPENED, *check_out(given(issue.evolve, OPENED), lease=LEASE))
    assert NOW + LEASE == leased.lease_until

    later = NOW + LEASE / 2
    event = IssueLeaseRenewed(agent_id=SCOUT, until=later + LEASE)
    assert [] == check_out(leased, now=NOW + LEASE / 20, lease=LEASE)
    assert [] == check_out(leased, now=later)
    assert [event] == check_out(leased, expected=("in_progress",), now=later, lease=LEASE)
    assert later + LEASE == issue.evolve(leased, event).lease_until


def test_a_checkout_without_a_lease_gets_one_when_its_session_asks_for_it():
    checked_out = given(issue.evolve, OPENED, TAKEN)

    assert [IssueLeaseRenewed(agent_id=SCOUT, until=NOW + LEASE)] == check_out(checked_out, lease=LEASE)


@pytest.mark.parametrize(
    "event",
    [IssueMoved(status="blocked"), IssueReleased(), IssueEdited(details=replace(DETAILS, assignee_agent_id=OTHER))],
)
def test_a_lease_ends_with_its_checkout(event):
    assert given(issue.evolve, OPENED, replace(TAKEN, lease_until=NOW), event).lease_until is None


def test_what_is_taken_from_a_session_stays_with_its_assignee_and_is_to_be_done_again():
    checked_out = given(issue.evolve, OPENED, replace(TAKEN, lease_until=NOW))

    (event,) = issue.take_from_session(checked_out, "lease_over")
    freed = issue.evolve(checked_out, event)

    assert IssueFreed(reason="lease_over", run_id=SESSION) == event
    assert ("todo", None, None, SCOUT) == (
        freed.status,
        freed.checkout_run_id,
        freed.lease_until,
        freed.details.assignee_agent_id,
    )
    assert [] == issue.take_from_session(freed, "forced")


def test_a_session_that_has_lost_the_issue_neither_renews_nor_changes_it_until_it_takes_it_again():
    freed = given(issue.evolve, OPENED, TAKEN, IssueFreed(reason="lease_over", run_id=SESSION))

    with pytest.raises(Conflict, match="lease ran out"):
        check_out(freed, expected=("in_progress",), lease=LEASE)
    with pytest.raises(Conflict, match="lease ran out"):
        issue.must_be_worked_on_by(freed, SCOUT, SESSION)
    issue.must_be_worked_on_by(freed, SCOUT, LATER)

    ended = given(issue.evolve, OPENED, TAKEN, IssueFreed(reason="forced", run_id=SESSION), IssueMoved(status="done"))
    with pytest.raises(Conflict, match="lease ran out"):
        issue.must_be_worked_on_by(ended, SCOUT, SESSION)

    again = issue.evolve(freed, *check_out(freed))
    issue.must_be_worked_on_by(again, SCOUT, SESSION)


def test_releasing_clears_session_and_assignee_and_goes_back_to_todo():
    current = given(issue.evolve, OPENED, TAKEN)

    assert [IssueReleased()] == issue.release(current)
    assert given(issue.evolve, OPENED, TAKEN, IssueReleased()) == replace(
        current, status="todo", checkout_run_id=None, details=replace(DETAILS, assignee_agent_id=None)
    )


@pytest.mark.parametrize("status", ["blocked", "in_review", "done"])
def test_releasing_keeps_any_other_status(status):
    assert given(issue.evolve, OPENED, TAKEN, IssueMoved(status=status), IssueReleased()).status == status


def test_releasing_what_nobody_holds_is_nothing():
    assert [] == issue.release(given(issue.evolve, FREE))


def test_an_agent_works_only_on_what_is_assigned_to_it():
    current = given(issue.evolve, OPENED)

    issue.must_be_worked_on_by(current, SCOUT, None)
    with pytest.raises(Forbidden, match="Agents can only update issues assigned to themselves"):
        issue.must_be_worked_on_by(current, OTHER, None)


def test_a_checked_out_issue_is_worked_on_in_its_session_only():
    current = given(issue.evolve, OPENED, TAKEN)

    issue.must_be_worked_on_by(current, SCOUT, SESSION)
    with pytest.raises(Conflict, match="Issue run ownership conflict"):
        issue.must_be_worked_on_by(current, SCOUT, LATER)
    with pytest.raises(Unauthenticated, match="Agent run id required"):
        issue.must_be_worked_on_by(current, SCOUT, None)


@pytest.mark.parametrize("facts", [[TAKEN], [OPENED, OPENED]])
def test_a_contradiction_in_the_log_stops_loudly(facts):
    with pytest.raises(ImpossibleHistory):
        given(issue.evolve, *facts)
