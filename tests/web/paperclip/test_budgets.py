"""Budgets and the usage that runs report (our additions)."""

from typing import Any

import pytest

from projections.engine import positions
from tests.api import Api

BUDGET = {"maxCostMicros": 10_000_000, "windowSec": 86_400}


@pytest.fixture
def agent(api: Api, company: str) -> str:
    return api.agent(company)[0]


def fire(api: Api, routine: str) -> Any:
    return api.post(f"/routines/{routine}/run", {})


@pytest.fixture(scope="module")
def untouched_run(api: Api, untouched_routine: str) -> str:
    """A run for tests that change nothing of it."""
    return str(fire(api, untouched_routine)["id"])


def spend(api: Api, run: Any, micros: int) -> Any:
    """The run with its cost, once the budgets know of it."""
    shown = api.post(f"/routine-runs/{run['id']}/usage", {"costMicros": micros})
    with api.system.pool.connection() as conn:
        positions.wait(conn, ["spending"], 10)
    return shown


@pytest.mark.parametrize("owner", ["routine", "agent", "company"])
def test_a_run_beyond_a_budget_is_skipped_and_says_what_was_spent(api: Api, company: str, agent: str, owner: str):
    routine = api.routine(company, agent, concurrencyPolicy="always_enqueue")
    path = {"routine": f"/routines/{routine}", "agent": f"/agents/{agent}", "company": f"/companies/{company}"}[owner]
    assert BUDGET == api.patch(path, {"budget": BUDGET})["budget"] == api.get(path)["budget"]
    first = spend(api, fire(api, routine), 10_250_000)

    second = fire(api, routine)

    assert ("skipped", "over_budget", None) == tuple(
        second[name] for name in ("status", "failureReason", "linkedIssueId")
    )
    evidence = {**second["budget"]}
    assert evidence.pop("freesAt") > first["updatedAt"]
    assert {"owner": owner, "spentMicros": 10_250_000, **BUDGET} == evidence
    assert second["budget"] == api.get(f"/routines/{routine}/runs")[0]["budget"]
    assert api.patch(path, {"budget": None})["budget"] is None
    assert "issue_created" == fire(api, routine)["status"]


def test_a_new_routine_agent_or_company_may_have_a_budget_and_a_revision_has_it(api: Api, company: str, agent: str):
    routine = api.routine(company, agent, budget=BUDGET)

    assert BUDGET == api.get(f"/routines/{routine}")["budget"]
    assert BUDGET == api.get(f"/routines/{routine}/revisions")[0]["snapshot"]["routine"]["budget"]
    assert BUDGET == api.post(f"/companies/{company}/agents", {"name": "Rover", "budget": BUDGET})["budget"]
    assert BUDGET == api.post("/companies", {"name": "Thrifty", "budget": BUDGET})["budget"]


@pytest.mark.parametrize(
    ("budget", "path"),
    [
        ({"maxCostMicros": -1, "windowSec": 60}, ["budget", "maxCostMicros"]),
        ({"maxCostMicros": 1.5, "windowSec": 60}, ["budget", "maxCostMicros"]),
        ({"maxCostMicros": 1, "windowSec": 59}, ["budget", "windowSec"]),
        ({"maxCostMicros": 1, "windowSec": 31 * 86_400 + 1}, ["budget", "windowSec"]),
        ({"maxCostMicros": 1}, ["budget", "windowSec"]),
        (7, ["budget"]),
    ],
)
def test_a_budget_that_is_none_is_refused_by_name(api: Api, untouched_routine: str, budget: Any, path: list[str]):
    answer = api.request("PATCH", f"/routines/{untouched_routine}", {"budget": budget})

    assert (400, path) == (answer.status_code, answer.json()["details"][0]["path"])


def test_an_unknown_field_of_a_budget_is_refused(api: Api, company: str, agent: str):
    routine = api.routine(company, agent)

    answer = api.request("PATCH", f"/routines/{routine}", {"budget": BUDGET | {"window": 1}})

    assert 400 == answer.status_code
    assert "window" in answer.text


def test_usage_is_shown_on_the_run_and_adds_up_per_report_not_per_request(api: Api, company: str, agent: str):
    run = fire(api, api.routine(company, agent))
    assert "costMicros" not in run

    for _ in range(2):
        shown = api.post(f"/routine-runs/{run['id']}/usage", {"costMicros": 5, "inputTokens": 7})
    api.patch(f"/issues/{run['linkedIssueId']}", {"status": "done", "usage": {"outputTokens": 9}})

    assert (5, 7) == (shown["costMicros"], shown["inputTokens"])
    ended = api.get(f"/routine-runs/{run['id']}")
    assert (5, 7, 9, "completed") == tuple(
        ended[name] for name in ("costMicros", "inputTokens", "outputTokens", "status")
    )


def test_what_is_planned_beyond_a_budget_says_that_it_will_be_skipped(api: Api, company: str, agent: str):
    routine = api.routine(company, agent, budget=BUDGET | {"windowSec": 31 * 86_400})
    hourly = {"kind": "schedule", "cronExpression": "0 * * * *"}
    trigger = api.post(f"/routines/{routine}/triggers", hourly)["trigger"]["nextRunAt"]
    path = f"/routines/{routine}/explain?at={trigger}"
    assert api.get(path)["triggers"][0]["answer"].endswith(" is planned.")

    spend(api, fire(api, routine), 12_000_000)

    answer = api.get(path)["triggers"][0]["answer"]
    assert (
        "is planned, but will be skipped as things stand: the budget of the routine is used up: 12.00 of 10.00"
        in answer
    )


def test_the_sample_of_a_webhook_call_knows_that_a_budget_is_used_up(api: Api, company: str, agent: str):
    routine = api.routine(company, agent, budget=BUDGET, concurrencyPolicy="always_enqueue")
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "none"})
    spend(api, fire(api, routine), 12_000_000)

    outcome = api.post(f"/routine-triggers/{trigger['trigger']['id']}/test", {"body": "{}"})

    assert ("skipped", "over_budget") == (outcome["outcome"], outcome["reason"])


def test_a_report_of_nothing_changes_nothing(api: Api, company: str, agent: str):
    run = fire(api, api.routine(company, agent))
    before = api.system.store.head()

    for body in ({}, {"costMicros": None}):
        assert "costMicros" not in api.post(f"/routine-runs/{run['id']}/usage", body)

    assert before == api.system.store.head()


@pytest.mark.parametrize("body", [{"costMicros": -1}, {"costMicros": 0.5}, {"costMicros": "1"}, {"cost": 1}])
def test_a_report_of_no_number_is_refused(api: Api, untouched_run: str, body: Any):
    assert 400 == api.request("POST", f"/routine-runs/{untouched_run}/usage", body).status_code
