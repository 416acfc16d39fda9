"""Which runs are refused, in which order, with which words; nothing is recorded then (contract 5)."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api import Api
from tests.web.paperclip.runs.manual_runs import fire, history, refusal


@pytest.fixture(scope="module")
def archived_routine(api: Api) -> str:
    return api.routine(api.company(), None, status="archived")


@pytest.mark.parametrize(
    "body",
    [
        {"executionWorkspaceId": "nonsense"},
        {"projectWorkspaceId": 7},
        {"executionWorkspacePreference": 7},
        {"executionWorkspaceSettings": []},
        {"payload": [1]},
        {"payload": "text"},
        {"payload": 7},
        {"source": "schedule"},
        {"source": "webhook"},
        {"source": None},
        {"triggerId": "nonsense"},
        {"projectId": "nonsense"},
        {"assigneeAgentId": 7},
        {"idempotencyKey": "x" * 256},
        {"idempotencyKey": 7},
        {"variables": {"a": None}},
    ],
)
def test_a_wrong_field_of_a_run_is_named_and_nothing_recorded(api: Api, archived_routine: str, body: Any):
    """Contract 5.1: before all else."""
    answer = api.request("POST", f"/routines/{archived_routine}/run", body)

    (name,) = body
    assert 400 == answer.status_code
    assert {name} == {issue["path"][0] for issue in answer.json()["details"]}
    assert [] == history(api, archived_routine)


def test_a_run_is_refused_in_the_contracts_order(api: Api, company: str, agent: tuple[str, str]):
    """Contract 5.1: archived, project, assignee, trigger, nobody to do it."""
    missing = {"projectId": str(uuid4()), "assigneeAgentId": str(uuid4()), "triggerId": str(uuid4())}
    archived = api.routine(company, agent[0], status="archived")
    unassigned = api.routine(company, None)
    body = dict(missing)

    assert (409, "Routine is archived") == refusal(api, f"/routines/{archived}/run", missing)
    for field, text in (
        ("projectId", "Project not found"),
        ("assigneeAgentId", "Assignee agent not found"),
        ("triggerId", "Routine trigger not found"),
    ):
        assert (404, text) == refusal(api, f"/routines/{unassigned}/run", body)
        del body[field]
    assert (422, "Default agent required") == refusal(api, f"/routines/{unassigned}/run", body)
    assert [] == history(api, unassigned)


def test_the_references_of_a_run_must_be_of_the_same_company(api: Api, routine: str):
    abroad = api.company()
    project = api.post(f"/companies/{abroad}/projects", {"name": "x"})["id"]
    agent, _ = api.agent(abroad)
    path = f"/routines/{routine}/run"

    assert (422, "Project must belong to same company") == refusal(api, path, {"projectId": project})
    assert (422, "Assignee must belong to same company") == refusal(api, path, {"assigneeAgentId": agent})


def test_the_trigger_of_a_run_must_be_the_routines_and_enabled(api: Api, company: str, agent: Any, routine: str):
    other = api.routine(company, agent[0])
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]
    body = {"triggerId": trigger}

    assert trigger == fire(api, routine, **body)["triggerId"]
    assert (403, "Trigger does not belong to routine") == refusal(api, f"/routines/{other}/run", body)
    api.patch(f"/routine-triggers/{trigger}", {"enabled": False})
    assert (409, "Routine trigger is not active") == refusal(api, f"/routines/{routine}/run", body)


def test_a_trigger_of_another_company_does_not_exist(api: Api, routine: str):
    abroad = api.company()
    foreign = api.routine(abroad, api.agent(abroad)[0])
    trigger = api.post(f"/routines/{foreign}/triggers", {"kind": "api"})["trigger"]["id"]

    assert (404, "Routine trigger not found") == refusal(api, f"/routines/{routine}/run", {"triggerId": trigger})


def test_something_of_another_kind_is_not_found_where_a_trigger_is_asked_for(
    api: Api, routine: str, agent: tuple[str, str]
):
    for id_ in (routine, agent[0]):
        answer = api.request("POST", f"/routines/{routine}/run", {"triggerId": id_})
        assert (404, "Routine trigger not found") == (answer.status_code, answer.json()["error"])

    answer = api.request("POST", f"/routines/{routine}/run", {"projectId": agent[0], "assigneeAgentId": agent[0]})
    assert (404, "Project not found") == (answer.status_code, answer.json()["error"])
