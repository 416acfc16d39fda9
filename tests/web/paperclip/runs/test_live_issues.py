"""What a run does while an issue of its routine is live, by policy, also when many come at once (contract 5)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api import Api
from tests.web.paperclip.runs.manual_runs import fire, history, move


def test_coalescing_joins_the_live_issue(api: Api, routine: str):
    first = fire(api, routine)

    second = fire(api, routine, payload={"other": 1}, source="api")

    assert ("coalesced", first["linkedIssueId"], first["id"], None, second["triggeredAt"]) == (
        second["status"],
        second["linkedIssueId"],
        second["coalescedIntoRunId"],
        second["failureReason"],
        second["completedAt"],
    )


def test_skipping_names_the_live_issue(api: Api, company: str, agent: tuple[str, str]):
    routine = api.routine(company, agent[0], concurrencyPolicy="skip_if_active")
    first = fire(api, routine)

    second = fire(api, routine)

    assert ("skipped", first["linkedIssueId"], first["id"], None, second["triggeredAt"]) == (
        second["status"],
        second["linkedIssueId"],
        second["coalescedIntoRunId"],
        second["failureReason"],
        second["completedAt"],
    )


def test_always_enqueue_opens_an_issue_each_time(api: Api, company: str, agent: tuple[str, str]):
    routine = api.routine(company, agent[0], concurrencyPolicy="always_enqueue")

    runs = [fire(api, routine) for _ in range(3)]

    assert ["issue_created"] * 3 == [run["status"] for run in runs]
    assert 3 == len({run["linkedIssueId"] for run in runs})


def test_cancel_previous_ends_the_live_run_and_names_its_successor(api: Api, company: str, agent: tuple[str, str]):
    routine = api.routine(company, agent[0], concurrencyPolicy="cancel_previous")
    first = fire(api, routine)

    second = fire(api, routine)

    ended = api.get(f"/routine-runs/{first['id']}")
    assert ("issue_created", "failed", second["id"]) == (second["status"], ended["status"], ended["successorRunId"])
    assert f"Cancelled by the next run of its routine, {second['id']}" == ended["failureReason"]
    assert api.get(f"/routine-runs/{second['id']}")["successorRunId"] is None
    assert second["linkedIssueId"] == api.get(f"/routines/{routine}")["activeIssue"]["id"]
    assert "cancelled" == api.get(f"/issues/{first['linkedIssueId']}")["status"]


@pytest.mark.parametrize("status", ["backlog", "todo", "in_progress", "in_review", "blocked"])
def test_an_open_issue_stays_the_active_one(api: Api, routine: str, status: str):
    """Contract 5.2, 5.3: blocked is open, and moves no run."""
    first = fire(api, routine)
    move(api, first, status)

    assert "coalesced" == fire(api, routine)["status"]
    assert ["coalesced", "issue_created"] == [run["status"] for run in history(api, routine)]
    assert first["linkedIssueId"] == api.get(f"/routines/{routine}")["activeIssue"]["id"]


@pytest.mark.parametrize("policy", ["coalesce_if_active", "skip_if_active"])
@pytest.mark.parametrize("status", ["done", "cancelled"])
def test_after_the_issue_ended_the_next_run_opens_another(
    api: Api, company: str, agent: tuple[str, str], policy: str, status: str
):
    routine = api.routine(company, agent[0], concurrencyPolicy=policy)
    move(api, fire(api, routine), status)

    assert api.get(f"/routines/{routine}")["activeIssue"] is None
    assert "issue_created" == fire(api, routine)["status"]


def test_a_reopened_issue_is_active_again(api: Api, routine: str):
    first = fire(api, routine)
    move(api, first, "done")
    move(api, first, "todo")

    assert ("coalesced", first["id"]) == tuple(fire(api, routine)[name] for name in ("status", "coalescedIntoRunId"))


def test_of_several_live_issues_the_one_that_changed_last_is_met(api: Api, company: str, agent: tuple[str, str]):
    routine = api.routine(company, agent[0], concurrencyPolicy="always_enqueue")
    first, _second = fire(api, routine), fire(api, routine)
    move(api, first, "in_review")
    api.patch(f"/routines/{routine}", {"concurrencyPolicy": "coalesce_if_active"})

    run = fire(api, routine)

    assert first["linkedIssueId"] == run["linkedIssueId"] == api.get(f"/routines/{routine}")["activeIssue"]["id"]


def test_a_comment_is_no_change_of_its_issue(api: Api, company: str, agent: tuple[str, str]):
    """The answer of a run and the detail of the routine name the same active issue (contract 5.2)."""
    routine = api.routine(company, agent[0], concurrencyPolicy="always_enqueue")
    first, _second = fire(api, routine), fire(api, routine)
    api.post(f"/issues/{first['linkedIssueId']}/comments", {"body": "still at it"})
    api.patch(f"/routines/{routine}", {"concurrencyPolicy": "coalesce_if_active"})

    run = fire(api, routine)

    assert api.get(f"/routines/{routine}")["activeIssue"]["id"] == run["linkedIssueId"]


@pytest.mark.parametrize("policy", ["coalesce_if_active", "skip_if_active"])
def test_twenty_runs_at_once_open_one_issue(api: Api, company: str, agent: tuple[str, str], policy: str):
    routine = api.routine(company, agent[0], concurrencyPolicy=policy)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: api.request("POST", f"/routines/{routine}/run", {}), range(20)))

    runs = [answer.json() for answer in answers if answer.status_code == 202]
    assert {202} == {answer.status_code for answer in answers}
    assert 1 == sum(run["status"] == "issue_created" for run in runs)
    assert 1 == len({run["linkedIssueId"] for run in runs})


def test_twenty_runs_at_once_of_ten_routines_all_answer(api: Api, company: str, agent: tuple[str, str]):
    routines = [api.routine(company, agent[0], title=f"r{number}") for number in range(10)]

    with ThreadPoolExecutor(20) as threads:
        answers = list(
            threads.map(lambda number: api.request("POST", f"/routines/{routines[number % 10]}/run", {}), range(20))
        )

    assert [202] * 20 == [answer.status_code for answer in answers]
    assert ["coalesced", "issue_created"] * 10 == [run["status"] for id_ in routines for run in history(api, id_)]
    assert {None} == {model["stopped"] for model in api.get("/health")["readModels"]}
