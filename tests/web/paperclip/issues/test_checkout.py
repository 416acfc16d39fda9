"""An agent takes an issue, holds it and gives it back; nobody else does meanwhile (contract 7.5)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.web.paperclip.issues.conftest import STATUSES, IssuesFixture


def test_a_checkout_gives_the_issue_to_the_session(issues_fixture: IssuesFixture):
    issue = issues_fixture.open_assigned()

    answer = issues_fixture.checkout(issue)

    taken = answer.json()
    assert (200, "in_progress", issues_fixture.agent, issues_fixture.session, issues_fixture.session) == (
        answer.status_code,
        *(taken[name] for name in ("status", "assigneeAgentId", "checkoutRunId", "executionRunId")),
    )
    assert taken["updatedAt"] == taken["startedAt"]
    assert taken | {"ancestors": []} == issues_fixture.api.get(f"/issues/{issue}")


def test_the_same_session_again_finds_nothing_to_do(issues_fixture: IssuesFixture):
    issue = issues_fixture.open_assigned()

    assert issues_fixture.checkout(issue).json() == issues_fixture.checkout(issue).json()


def test_an_unassigned_issue_is_assigned_by_its_checkout(issues_fixture: IssuesFixture):
    issue = issues_fixture.open()["id"]

    assert issues_fixture.agent == issues_fixture.checkout(issue).json()["assigneeAgentId"]
    assert [issue] == [item["id"] for item in issues_fixture.inbox()]


def test_an_issue_that_is_held_or_in_another_status_conflicts_with_its_details(issues_fixture: IssuesFixture):
    held, done = issues_fixture.check_out_new(), issues_fixture.open_assigned(status="done")
    other, other_token = issues_fixture.api.agent(issues_fixture.company, "Other")
    body = {"agentId": other, "expectedStatuses": STATUSES}

    by_other = issues_fixture.send("POST", f"/issues/{held}/checkout", body, token=other_token, session=str(uuid4()))
    by_other_session = issues_fixture.checkout(held, session=str(uuid4()))
    in_other_status = issues_fixture.checkout(done)

    for answer, issue, status, session in (
        (by_other, held, "in_progress", issues_fixture.session),
        (by_other_session, held, "in_progress", issues_fixture.session),
        (in_other_status, done, "done", None),
    ):
        assert (409, "Issue checkout conflict") == (answer.status_code, answer.json()["error"])
        assert {
            "issueId": issue,
            "status": status,
            "assigneeAgentId": issues_fixture.agent,
            "checkoutRunId": session,
            "executionRunId": session,
        } == answer.json()["details"]


def test_an_issue_assigned_to_another_agent_cannot_be_checked_out(issues_fixture: IssuesFixture):
    issue = issues_fixture.open_assigned()
    other, token = issues_fixture.api.agent(issues_fixture.company, "Other")

    body = {"agentId": other, "expectedStatuses": STATUSES}
    assert (409, "Issue checkout conflict") == issues_fixture.refusal(
        "POST", f"/issues/{issue}/checkout", body, token=token
    )


def test_a_checkout_is_refused_in_the_contracts_order(issues_fixture: IssuesFixture):
    """Body, existence, paused project, another agent, no session, conflict."""
    project = issues_fixture.api.post(f"/companies/{issues_fixture.company}/projects", {"name": "x"})["id"]
    other, _ = issues_fixture.api.agent(issues_fixture.company, "Other")
    issue = issues_fixture.open_assigned(projectId=project, status="done")
    path, body = f"/issues/{issue}/checkout", {"agentId": other, "expectedStatuses": ["todo"]}

    issues_fixture.api.post(f"/projects/{project}/pause")
    assert (400, "Validation error") == issues_fixture.refusal("POST", f"/issues/{uuid4()}/checkout", {})
    assert (404, "Issue not found") == issues_fixture.refusal("POST", f"/issues/{uuid4()}/checkout", body, session=None)
    assert (409, "Project is paused") == issues_fixture.refusal("POST", path, body, session=None)
    issues_fixture.api.post(f"/projects/{project}/resume")
    assert (403, "Agent can only checkout as itself") == issues_fixture.refusal("POST", path, body, session=None)
    body["agentId"] = issues_fixture.agent
    assert (401, "Agent run id required") == issues_fixture.refusal("POST", path, body, session=None)
    assert (409, "Issue checkout conflict") == issues_fixture.refusal("POST", path, body)


def test_a_deleted_project_holds_up_no_checkout(issues_fixture: IssuesFixture):
    project = issues_fixture.api.post(f"/companies/{issues_fixture.company}/projects", {"name": "x"})["id"]
    issue = issues_fixture.open_assigned(projectId=project)
    issues_fixture.api.post(f"/projects/{project}/pause")
    issues_fixture.api.request("DELETE", f"/projects/{project}")

    assert 200 == issues_fixture.checkout(issue).status_code


def test_a_session_that_is_no_id_is_refused(issues_fixture: IssuesFixture):
    answer = issues_fixture.checkout(issues_fixture.open_assigned(), session="nonsense")

    assert 400 == answer.status_code
    assert ["X-Paperclip-Run-Id"] == answer.json()["details"][0]["path"]


def test_a_release_gives_the_issue_back(issues_fixture: IssuesFixture):
    issue = issues_fixture.check_out_new()

    released = issues_fixture.send("POST", f"/issues/{issue}/release").json()

    names = ("status", "assigneeAgentId", "checkoutRunId", "executionRunId")
    assert ("todo", None, None, None) == tuple(released[name] for name in names)
    assert [] == issues_fixture.inbox()


@pytest.mark.parametrize("how", ["release", "admin/force-release"])
def test_a_release_clears_when_the_work_started(issues_fixture: IssuesFixture, how: str):
    """Contract 7.5: leaving in_progress clears startedAt, as a PATCH to todo does."""
    issue = issues_fixture.check_out_new()

    token = issues_fixture.token if how == "release" else issues_fixture.api.token
    assert issues_fixture.send("POST", f"/issues/{issue}/{how}", token=token).json()["startedAt"] is None


def test_only_the_assignee_in_its_session_releases(issues_fixture: IssuesFixture):
    issue = issues_fixture.check_out_new()
    _, other = issues_fixture.api.agent(issues_fixture.company, "Other")
    path = f"/issues/{issue}/release"

    assert (409, "Only assignee can release issue") == issues_fixture.refusal("POST", path, token=other)
    assert (401, "Agent run id required") == issues_fixture.refusal("POST", path, session=None)
    assert (409, "Issue run ownership conflict") == issues_fixture.refusal("POST", path, session=str(uuid4()))


def test_the_board_takes_an_issue_from_whoever_holds_it(issues_fixture: IssuesFixture):
    issue = issues_fixture.check_out_new()

    freed = issues_fixture.api.post(f"/issues/{issue}/admin/force-release")

    assert ("todo", issues_fixture.agent, None) == (freed["status"], freed["assigneeAgentId"], freed["checkoutRunId"])
    [comment] = issues_fixture.api.get(f"/issues/{issue}/comments")
    assert (freed["createdByUserId"], True) == (comment["authorUserId"], issues_fixture.session in comment["body"])
    assert (403, "Board access required") == issues_fixture.refusal("POST", f"/issues/{issue}/admin/force-release")
    assert freed == issues_fixture.api.post(f"/issues/{issue}/admin/force-release")


def leases(issues_fixture: IssuesFixture, issue: str, seconds: Any = 60, **kwargs: Any) -> Any:
    body = {"agentId": issues_fixture.agent, "expectedStatuses": ["todo", "in_progress"], "leaseSeconds": seconds}
    return issues_fixture.send("POST", f"/issues/{issue}/checkout", body, **kwargs)


def test_a_checkout_with_a_lease_says_until_when_and_one_without_has_no_such_field(issues_fixture: IssuesFixture):
    leased, plain = issues_fixture.open_assigned(), issues_fixture.check_out_new()

    taken = leases(issues_fixture, leased).json()

    assert ("in_progress", 1) == (taken["status"], taken["checkoutCount"])
    assert taken["startedAt"] < taken["checkoutLeaseUntil"]
    again = leases(issues_fixture, leased, 3600).json()
    assert taken["checkoutLeaseUntil"] < again["checkoutLeaseUntil"]
    assert again == taken | {"checkoutLeaseUntil": again["checkoutLeaseUntil"]}
    assert "checkoutLeaseUntil" not in issues_fixture.api.get(f"/issues/{plain}")
    done = issues_fixture.send("PATCH", f"/issues/{leased}", {"status": "done"}).json()
    assert ("done", False) == (done["status"], "checkoutLeaseUntil" in done)


@pytest.mark.parametrize("seconds", [0, 1, 86_401, 1.5, "60", True])
def test_a_lease_has_bounds(issues_fixture: IssuesFixture, seconds: Any):
    refusal = leases(issues_fixture, issues_fixture.open_assigned(), seconds)

    assert (400, True) == (refusal.status_code, "leaseSeconds" in refusal.text)


def test_two_agents_at_once_check_an_issue_out_once(issues_fixture: IssuesFixture):
    people_ = [
        (issues_fixture.agent, issues_fixture.token),
        *(issues_fixture.api.agent(issues_fixture.company, f"A{n}") for n in range(5)),
    ]
    issue = issues_fixture.open()["id"]

    def take(who: tuple[str, str]) -> int:
        body = {"agentId": who[0], "expectedStatuses": ["backlog"]}
        headers = {"X-Paperclip-Run-Id": str(uuid4())}
        answer = issues_fixture.api.request("POST", f"/issues/{issue}/checkout", body, token=who[1], headers=headers)
        return answer.status_code

    with ThreadPoolExecutor(6) as threads:
        assert [200, *[409] * 5] == sorted(threads.map(take, people_))
