"""Manual and api runs: outcomes, policies, idempotency, history (contract 5)."""

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.api import Api

RUN = {
    *("id", "companyId", "routineId", "triggerId", "source", "status", "triggeredAt", "routineRevisionId"),
    *("idempotencyKey", "triggerPayload", "dispatchFingerprint", "linkedIssueId", "coalescedIntoRunId"),
    *("failureReason", "completedAt", "createdAt", "updatedAt"),
}


@pytest.fixture
def company(api: Api) -> str:
    return api.company()


@pytest.fixture
def agent(api: Api, company: str) -> tuple[str, str]:
    return api.agent(company)


@pytest.fixture
def routine(api: Api, company: str, agent: tuple[str, str]) -> str:
    return api.routine(company, agent[0])


def fire(api: Api, routine: str, **body: Any) -> Any:
    return api.post(f"/routines/{routine}/run", body)


def refusal(api: Api, path: str, body: Any, **kwargs: Any) -> tuple[int, str]:
    answer = api.request("POST", path, body, **kwargs)
    return answer.status_code, answer.json()["error"]


def move(api: Api, run: Any, status: str) -> None:
    api.patch(f"/issues/{run['linkedIssueId']}", {"status": status})


def history(api: Api, routine: str, query: str = "") -> list[Any]:
    runs: list[Any] = api.get(f"/routines/{routine}/runs{query}")
    return runs


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
def test_a_wrong_field_of_a_run_is_named_and_nothing_recorded(api: Api, routine: str, body: Any):
    """Contract 5.1: before all else."""
    api.patch(f"/routines/{routine}", {"status": "archived"})

    answer = api.request("POST", f"/routines/{routine}/run", body)

    (name,) = body
    assert 400 == answer.status_code
    assert {name} == {issue["path"][0] for issue in answer.json()["details"]}
    assert [] == history(api, routine)


@pytest.mark.parametrize("kind", [{"kind": "webhook"}, {"kind": "schedule", "cronExpression": "0 9 * * *"}])
def test_a_run_by_hand_may_name_a_trigger_of_any_kind(api: Api, routine: str, kind: Any):
    """Contract 5.1."""
    trigger = api.post(f"/routines/{routine}/triggers", kind)["trigger"]

    run = fire(api, routine, triggerId=trigger["id"])

    (shown,) = api.get(f"/routines/{routine}")["triggers"]
    assert ("manual", trigger["id"]) == (run["source"], run["triggerId"])
    assert (run["triggeredAt"], trigger["nextRunAt"]) == (shown["lastFiredAt"], shown["nextRunAt"])


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


def test_the_same_key_gives_the_same_run_as_it_is_now(api: Api, routine: str):
    """Contract 5.1: no expiry, differences in the body are ignored."""
    first = fire(api, routine, idempotencyKey=" k ", payload={"a": 1})
    move(api, first, "done")

    again = api.request("POST", f"/routines/{routine}/run", {"idempotencyKey": "k", "payload": {"b": 2}})

    assert (202, first["id"], "completed", "k", {"a": 1}) == (
        again.status_code,
        *(again.json()[name] for name in ("id", "status", "idempotencyKey", "triggerPayload")),
    )
    assert 1 == len(history(api, routine))


def test_a_key_counts_per_routine_source_and_trigger(api: Api, company: str, agent: tuple[str, str]):
    routine, other = api.routine(company, agent[0]), api.routine(company, agent[0])
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]
    bodies = [{}, {"source": "api"}, {"triggerId": trigger}, {"source": "api", "triggerId": trigger}]

    runs = [fire(api, routine, idempotencyKey="k", **body)["id"] for body in bodies]
    runs.append(fire(api, other, idempotencyKey="k")["id"])

    assert 5 == len(set(runs))


@pytest.mark.parametrize("key", ["", "   ", None])
def test_an_empty_key_is_none(api: Api, routine: str, key: str | None):
    runs = [fire(api, routine, idempotencyKey=key) for _ in range(2)]

    assert [None, None] == [run["idempotencyKey"] for run in runs]
    assert 2 == len({run["id"] for run in runs})


def test_twenty_calls_at_once_with_one_key_are_one_run(api: Api, routine: str):
    with ThreadPoolExecutor(20) as threads:
        answers = list(
            threads.map(
                lambda _: api.request("POST", f"/routines/{routine}/run", {"idempotencyKey": "once"}), range(20)
            )
        )

    assert [202] * 20 == [answer.status_code for answer in answers]
    assert 1 == len({answer.json()["id"] for answer in answers})
    assert 1 == len(history(api, routine))


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


def test_something_of_another_kind_is_not_found_where_a_trigger_is_asked_for(
    api: Api, routine: str, agent: tuple[str, str]
):
    for id_ in (routine, agent[0]):
        answer = api.request("POST", f"/routines/{routine}/run", {"triggerId": id_})
        assert (404, "Routine trigger not found") == (answer.status_code, answer.json()["error"])

    answer = api.request("POST", f"/routines/{routine}/run", {"projectId": agent[0], "assigneeAgentId": agent[0]})
    assert (404, "Project not found") == (answer.status_code, answer.json()["error"])


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
        answers = list(threads.map(lambda _: api.request("GET", f"/issues/{issue}").status_code, range(320)))

    assert {200} == set(answers)
