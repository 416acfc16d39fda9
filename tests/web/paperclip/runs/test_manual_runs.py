"""Manual and api runs: the issue, the fields, the history (contract 5)."""

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.api import Api
from tests.web.paperclip.runs.manual_runs import fire, history, move, refusal

RUN = {
    *("id", "companyId", "routineId", "triggerId", "source", "status", "triggeredAt", "routineRevisionId"),
    *("idempotencyKey", "triggerPayload", "dispatchFingerprint", "linkedIssueId", "coalescedIntoRunId"),
    *("failureReason", "completedAt", "createdAt", "updatedAt"),
}


def test_a_manual_run_opens_an_issue_in_the_agents_inbox(api: Api, routine: str, agent: tuple[str, str]):
    run = fire(api, routine)

    assert "issue_created" == run["status"]
    assert [run["linkedIssueId"]] == [item["id"] for item in api.get("/agents/me/inbox-lite", token=agent[1])]


def test_a_run_has_exactly_the_contracts_fields(api: Api, company: str, routine: str):
    answer = api.request("POST", f"/routines/{routine}/run", {})

    run = answer.json()
    assert 202 == answer.status_code
    assert int(answer.headers["X-Routines-Position"]) > 0
    assert {
        "id": run["id"],
        "companyId": company,
        "routineId": routine,
        "triggerId": None,
        "source": "manual",
        "status": "issue_created",
        "triggeredAt": run["createdAt"],
        "routineRevisionId": api.get(f"/routines/{routine}")["latestRevisionId"],
        "responsibleUserId": api.get("/cli-auth/me")["userId"],
        "idempotencyKey": None,
        "triggerPayload": None,
        "dispatchFingerprint": run["dispatchFingerprint"],
        "linkedIssueId": run["linkedIssueId"],
        "coalescedIntoRunId": None,
        "failureReason": None,
        "completedAt": None,
        "createdAt": run["createdAt"],
        "updatedAt": run["createdAt"],
    } == run
    assert 64 == len(run["dispatchFingerprint"])


def test_whoever_made_a_routine_answers_for_its_runs_for_an_agents_whoever_made_its_parent_issue(
    api: Api, company: str, agent: tuple[str, str]
):
    """Contract 2."""
    user, body = api.get("/cli-auth/me")["userId"], {"title": "x", "assigneeAgentId": agent[0]}
    parent = api.post(f"/companies/{company}/issues", {"title": "x"})["id"]
    path = f"/companies/{company}/routines"
    routines = [
        api.post(path, body),
        api.post(path, body | {"parentIssueId": parent}, token=agent[1]),
        api.post(path, body, token=agent[1]),
    ]

    runs = [api.post(f"/routines/{routine['id']}/run", {}, token=agent[1]) for routine in routines]

    for rows in (routines, runs):
        assert [user, user, None] == [one["responsibleUserId"] for one in rows]


def test_a_run_in_a_list_leaves_out_the_responsible_user_and_adds_issue_and_trigger(api: Api, routine: str):
    run = fire(api, routine)

    (summary,) = history(api, routine)

    assert RUN | {"linkedIssue", "trigger"} == summary.keys()
    assert {name: run[name] for name in RUN} == {name: summary[name] for name in RUN}
    assert {"id", "identifier", "title", "status", "priority", "updatedAt"} == summary["linkedIssue"].keys()
    assert summary["trigger"] is None


def test_the_execution_issue_carries_what_the_routine_says(api: Api, company: str, agent: tuple[str, str]):
    """Contract 5.4."""
    goal = api.post(f"/companies/{company}/goals", {"title": "x"})["id"]
    project = api.post(f"/companies/{company}/projects", {"name": "x"})["id"]
    parent = api.post(f"/companies/{company}/issues", {"title": "x"})["id"]
    references = {"goalId": goal, "projectId": project, "priority": "high"}
    routine = api.routine(company, agent[0], title="Look", description="d", parentIssueId=parent, **references)

    run = fire(api, routine)

    issue = api.get(f"/issues/{run['linkedIssueId']}")
    expected = references | {
        "title": "Look",
        "description": "d",
        "parentId": parent,
        "assigneeAgentId": agent[0],
        "status": "todo",
        "originKind": "routine_execution",
        "originId": routine,
        "originRunId": run["id"],
        "createdByAgentId": None,
        "createdByUserId": api.get("/cli-auth/me")["userId"],
        "issueNumber": 2,
    }
    assert expected == {name: issue[name] for name in expected}


def test_a_description_of_null_becomes_empty_text(api: Api, routine: str):
    assert "" == api.get(f"/issues/{fire(api, routine)['linkedIssueId']}")["description"]


def test_only_a_manual_run_names_who_made_its_issue(api: Api, routine: str, agent: tuple[str, str]):
    by_api = fire(api, routine, source="api")
    move(api, by_api, "done")
    by_agent = api.post(f"/routines/{routine}/run", {}, token=agent[1])

    def made_by(run: Any) -> tuple[Any, Any]:
        issue = api.get(f"/issues/{run['linkedIssueId']}")
        return issue["createdByAgentId"], issue["createdByUserId"]

    assert ("api", (None, None)) == (by_api["source"], made_by(by_api))
    assert (agent[0], None) == made_by(by_agent)


def test_a_paused_routine_is_run_by_hand(api: Api, routine: str):
    """Contract 3.5: paused only stops automatic firing."""
    api.patch(f"/routines/{routine}", {"status": "paused"})

    assert "issue_created" == fire(api, routine)["status"]


def test_a_paused_project_does_not_suppress_a_run_by_hand(api: Api, company: str, agent: tuple[str, str]):
    project = api.post(f"/companies/{company}/projects", {"name": "x"})["id"]
    routine = api.routine(company, agent[0], projectId=project)
    api.post(f"/projects/{project}/pause")

    assert "issue_created" == fire(api, routine)["status"]


def test_a_run_may_go_to_another_agent_and_project(api: Api, company: str, routine: str):
    other, token = api.agent(company, "Other")
    project = api.post(f"/companies/{company}/projects", {"name": "x"})["id"]

    run = fire(api, routine, assigneeAgentId=other, projectId=project)

    issue = api.get(f"/issues/{run['linkedIssueId']}")
    assert (other, project) == (issue["assigneeAgentId"], issue["projectId"])
    assert [issue["id"]] == [item["id"] for item in api.get("/agents/me/inbox-lite", token=token)]


def test_an_agent_runs_its_own_routine_and_names_only_itself(api: Api, company: str, routine: str, agent: Any):
    other, _ = api.agent(company, "Other")
    path = f"/routines/{routine}/run"

    assert (403, "Agents can only assign routines to themselves") == refusal(
        api, path, {"assigneeAgentId": other}, token=agent[1]
    )
    assert "issue_created" == api.post(path, {"assigneeAgentId": agent[0]}, token=agent[1])["status"]


def test_a_run_tells_its_issue_where_the_agent_is_to_work(api: Api, routine: str):
    """Contract 5.1: handed on as it came."""
    fields = {
        "executionWorkspaceId": str(uuid4()),
        "executionWorkspacePreference": "shared",
        "executionWorkspaceSettings": {"branch": "main", "depth": [1, None]},
        "projectWorkspaceId": str(uuid4()),
    }

    run = fire(api, routine, **fields)
    move(api, run, "done")
    plain = fire(api, routine, **dict.fromkeys(fields))

    issues = [api.get(f"/issues/{one['linkedIssueId']}") for one in (run, plain)]
    assert [fields, dict.fromkeys(fields)] == [{name: issue[name] for name in fields} for issue in issues]


@pytest.mark.parametrize("kind", [{"kind": "webhook"}, {"kind": "schedule", "cronExpression": "0 9 * * *"}])
def test_a_run_by_hand_may_name_a_trigger_of_any_kind(api: Api, routine: str, kind: Any):
    """Contract 5.1."""
    trigger = api.post(f"/routines/{routine}/triggers", kind)["trigger"]

    run = fire(api, routine, triggerId=trigger["id"])

    (shown,) = api.get(f"/routines/{routine}")["triggers"]
    assert ("manual", trigger["id"]) == (run["source"], run["triggerId"])
    assert (run["triggeredAt"], trigger["nextRunAt"]) == (shown["lastFiredAt"], shown["nextRunAt"])


@pytest.mark.parametrize(
    ("body", "outcome", "result"),
    [
        ({}, "coalesced", "Coalesced into an existing live execution issue"),
        ({"concurrencyPolicy": "skip_if_active"}, "skipped", "Skipped because a live execution issue already exists"),
    ],
)
def test_a_trigger_keeps_its_last_result_in_words(api: Api, routine: str, body: Any, outcome: str, result: str):
    api.patch(f"/routines/{routine}", body)
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]
    fire(api, routine, triggerId=trigger)

    second = fire(api, routine, triggerId=trigger)

    (shown,) = api.get(f"/routines/{routine}")["triggers"]
    assert (outcome, result, second["triggeredAt"]) == (second["status"], shown["lastResult"], shown["lastFiredAt"])


def test_a_trigger_says_when_its_execution_failed(api: Api, routine: str, agent: tuple[str, str]):
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]
    api.post(f"/agents/{agent[0]}/pause")

    fire(api, routine, triggerId=trigger)

    assert "Execution failed" == api.get(f"/routines/{routine}")["triggers"][0]["lastResult"]


@pytest.mark.parametrize("payload", [None, {}, {"a": [1, 2.5, None, {"b": "\\u0000"}], "": 10**30}])
def test_a_payload_is_kept_as_it_came(api: Api, routine: str, payload: Any):
    run = fire(api, routine, payload=payload)

    assert payload == run["triggerPayload"] == history(api, routine)[0]["triggerPayload"]


def test_runs_are_listed_newest_first_within_their_limits(api: Api, routine: str):
    """Contract 5.5: absent or not a number 50, clamped to 1..200, fractions cut off."""
    runs = [fire(api, routine)["id"] for _ in range(53)][::-1]

    def listed(query: str) -> list[str]:
        return [run["id"] for run in history(api, routine, query)]

    assert runs[:50] == listed("")
    for limit in ("abc", "", "nan", "2,5", "%20", "0x10"):
        assert runs[:50] == listed(f"?limit={limit}"), limit
    for limit in ("2", "2.5", "2.999", "+2", "2e0"):
        assert runs[:2] == listed(f"?limit={limit.replace('+', '%2B')}"), limit
    for limit in ("0", "-5", "0.5", "-1e400", "-inf"):
        assert runs[:1] == listed(f"?limit={limit}"), limit
    for limit in ("200", "201", "1e9", "1e400", "9" * 400):
        assert runs == listed(f"?limit={limit}"), limit


def test_a_request_that_is_cut_off_fires_nothing(api: Api, routine: str):
    address = urlsplit(api.url)
    head = (
        f"POST /api/routines/{routine}/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 300\r\n\r\n"
    )
    for _ in range(3):
        with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
            connection.sendall(head.encode())
    whole = fire(api, routine)

    assert [whole["id"]] == [run["id"] for run in history(api, routine)]


def test_more_clients_than_connections_are_all_answered(api: Api, routine: str):
    issue = fire(api, routine)["linkedIssueId"]

    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(lambda _: api.request("GET", f"/issues/{issue}").status_code, range(96)))

    assert {200} == set(answers)
