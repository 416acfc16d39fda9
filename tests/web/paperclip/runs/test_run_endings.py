"""A run follows the issue that it opened, and fails where none can be opened (contract 5)."""

from typing import Any

import pytest

from tests.api import Api
from tests.web.paperclip.runs.manual_runs import fire, history, move


@pytest.mark.parametrize(
    ("moves", "status", "reason"),
    [
        (["done"], "completed", None),
        (["cancelled"], "failed", "Execution issue moved to cancelled"),
        (["cancelled", "done"], "completed", None),
        (["done", "cancelled"], "failed", "Execution issue moved to cancelled"),
        (["done", "todo", "in_progress"], "completed", None),
        (["in_progress", "in_review", "blocked"], "issue_created", None),
    ],
)
def test_the_run_that_opened_an_issue_follows_it(api: Api, routine: str, moves: list[str], status: str, reason: Any):
    run = fire(api, routine)
    joined = fire(api, routine)

    for to in moves:
        move(api, run, to)

    newest, oldest = history(api, routine)
    assert (status, reason) == (oldest["status"], oldest["failureReason"])
    assert (status != "issue_created") == (oldest["completedAt"] is not None)
    assert ("coalesced", joined["updatedAt"]) == (newest["status"], newest["updatedAt"])


def test_a_run_fails_with_the_reason_that_is_given_with_the_cancellation(api: Api, company: str, routine: str):
    run = fire(api, routine)
    issue = f"/issues/{run['linkedIssueId']}"
    other = f"/issues/{api.post(f'/companies/{company}/issues', {'title': 'of no run'})['id']}"
    reason = {"failureReason": "exit status 3: no such file"}

    refused = [
        api.request("PATCH", path, body | reason)
        for path, body in [(issue, {}), (issue, {"status": "done"}), (other, {"status": "cancelled"})]
    ]
    long = api.request("PATCH", issue, {"status": "cancelled", "failureReason": "x" * 1_001})
    api.patch(issue, {"status": "cancelled"} | reason)

    assert [422] * 3 == [answer.status_code for answer in refused]
    assert all("failureReason" in answer.text for answer in [*refused, long])
    assert 400 == long.status_code
    (failed,) = history(api, routine)
    assert ("failed", reason["failureReason"]) == (failed["status"], failed["failureReason"])


@pytest.mark.parametrize("how", ["pause", "terminate"])
def test_an_agent_that_takes_no_work_makes_the_run_fail_or_be_refused(
    api: Api, routine: str, agent: tuple[str, str], how: str
):
    """Contract 5.3: paused is a failed run, answered 202; 3.7: terminated is refused, 409."""
    api.post(f"/agents/{agent[0]}/{how}")

    answer = api.request("POST", f"/routines/{routine}/run", {})

    if how == "terminate":
        assert (409, "agent_not_assignable") == (answer.status_code, answer.json()["code"])
        return
    run = answer.json()
    assert (202, "failed", "Agent is not invokable in its current state", None) == (
        answer.status_code,
        run["status"],
        run["failureReason"],
        run["linkedIssueId"],
    )
    assert run["triggeredAt"] == run["completedAt"]
    shown = api.get(f"/routines/{routine}")
    assert (run["triggeredAt"], None) == (shown["lastTriggeredAt"], shown["lastEnqueuedAt"])
