"""The activity gate of a routine: its schedules wake the agent only if something has happened since the last run."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.api import Api
from tests.web.past import MINUTE, Past

NOON = datetime(2024, 11, 20, 12, 0, 30, tzinfo=UTC)
GATED = {"activity_gate_policy": "require_external_activity", "concurrency_policy": "always_enqueue"}


@pytest.fixture
def past_api(api: Api) -> Past:
    return Past(api, NOON)


def gated_routine(past_api: Past, **fields: Any) -> tuple[UUID, UUID]:
    """A routine with a gate, and its schedule by the minute."""
    routine = past_api.routine(**GATED | fields)
    return routine, past_api.schedule(routine, cron_expression="* * * * *")


def tick(past_api: Past, trigger: UUID, minutes: int = 1) -> None:
    past_api.now += MINUTE * minutes
    past_api.tick(trigger)


def last_run(api: Api, routine: UUID) -> Any:
    return api.get(f"/routines/{routine}/runs?limit=1")[0]


def act(api: Api, past_api: Past, **fields: Any) -> str:
    return str(api.post(f"/companies/{past_api.company}/issues", {"title": "Look", **fields})["id"])


def test_the_first_run_fires_and_the_next_one_waits_for_activity(api: Api, past_api: Past):
    routine, trigger = gated_routine(past_api)

    tick(past_api, trigger)
    first = last_run(api, routine)
    tick(past_api, trigger)
    second = last_run(api, routine)

    assert ("issue_created", "first_run") == (first["status"], first["triggerPayload"]["activityGate"]["verdict"])
    assert ("skipped", "no_external_activity", None) == (
        second["status"],
        second["failureReason"],
        second["linkedIssueId"],
    )
    assert {"verdict": "quiet", "windowStart": first["triggeredAt"], "matchedActivityId": None} == second[
        "triggerPayload"
    ]["activityGate"]
    (shown,) = api.get(f"/routines/{routine}")["triggers"]
    assert "skipped_no_activity" == shown["lastResult"]


def test_what_somebody_does_wakes_the_routine_once_and_the_run_names_it(api: Api, past_api: Past):
    routine, trigger = gated_routine(past_api)
    tick(past_api, trigger)
    issue = act(api, past_api)

    tick(past_api, trigger)
    woken = last_run(api, routine)
    tick(past_api, trigger)

    gate = woken["triggerPayload"]["activityGate"]
    assert ("issue_created", "active", issue, "issue.opened") == (
        woken["status"],
        gate["verdict"],
        gate["matchedActivityId"],
        gate["matchedEvent"],
    )
    assert "no_external_activity" == last_run(api, routine)["failureReason"]


def test_a_skipped_occurrence_does_not_move_the_window(api: Api, past_api: Past):
    routine, trigger = gated_routine(past_api)
    tick(past_api, trigger)
    first = last_run(api, routine)
    tick(past_api, trigger)
    tick(past_api, trigger)

    assert first["triggeredAt"] == last_run(api, routine)["triggerPayload"]["activityGate"]["windowStart"]


def test_work_on_the_routines_own_issues_is_no_activity(api: Api, past_api: Past):
    routine, trigger = gated_routine(past_api)
    tick(past_api, trigger)
    own = last_run(api, routine)["linkedIssueId"]
    api.post(f"/issues/{own}/comments", {"body": "Nothing new"})
    api.patch(f"/issues/{own}", {"status": "done"})

    tick(past_api, trigger)

    assert "no_external_activity" == last_run(api, routine)["failureReason"]


def test_what_an_agent_does_in_the_session_of_the_routines_work_is_no_activity(api: Api, past_api: Past):
    routine, trigger = gated_routine(past_api)
    token = api.post(f"/agents/{past_api.agent}/keys", {})["token"]
    tick(past_api, trigger)
    own = last_run(api, routine)["linkedIssueId"]
    session = {"X-Paperclip-Run-Id": str(uuid4())}
    body = {"agentId": str(past_api.agent), "expectedStatuses": ["todo"]}
    api.request("POST", f"/issues/{own}/checkout", body, token=token, headers=session)
    child = api.request(
        "POST",
        f"/companies/{past_api.company}/issues",
        {"title": "Part", "parentId": own},
        token=token,
        headers=session,
    ).json()["id"]

    tick(past_api, trigger)
    assert "no_external_activity" == last_run(api, routine)["failureReason"]

    api.post(f"/issues/{child}/comments", {"body": "I look"})
    api.request("POST", f"/issues/{child}/comments", {"body": "Thanks"}, token=token, headers=session)
    tick(past_api, trigger)
    assert "issue_created" == last_run(api, routine)["status"]


def test_the_scheduled_runs_of_other_routines_are_no_activity_and_the_work_on_them_is(api: Api, past_api: Past):
    routine, trigger = gated_routine(past_api)
    other = past_api.routine(concurrency_policy="always_enqueue")
    neighbour = past_api.schedule(other, cron_expression="* * * * *")
    tick(past_api, trigger)
    past_api.tick(neighbour)

    tick(past_api, trigger)
    assert "no_external_activity" == last_run(api, routine)["failureReason"]

    api.post(f"/issues/{last_run(api, other)['linkedIssueId']}/comments", {"body": "I look"})
    tick(past_api, trigger)
    assert "issue_created" == last_run(api, routine)["status"]


def test_what_happens_in_another_company_is_no_activity(api: Api, past_api: Past):
    routine, trigger = gated_routine(past_api)
    tick(past_api, trigger)
    api.post(f"/companies/{api.company('Other')}/issues", {"title": "Look"})

    tick(past_api, trigger)

    assert "no_external_activity" == last_run(api, routine)["failureReason"]


def test_a_gate_of_scope_project_looks_at_the_project_alone(api: Api, past_api: Past):
    routine, trigger = gated_routine(past_api, activity_gate_scope="project", project_id=past_api.project)
    tick(past_api, trigger)
    act(api, past_api)
    tick(past_api, trigger)
    assert "no_external_activity" == last_run(api, routine)["failureReason"]

    act(api, past_api, projectId=str(past_api.project))
    tick(past_api, trigger)
    assert "issue_created" == last_run(api, routine)["status"]


def test_of_missed_occurrences_that_are_caught_up_with_the_first_is_let_through(api: Api, past_api: Past):
    routine, trigger = gated_routine(past_api, catch_up_policy="enqueue_missed_with_cap")

    tick(past_api, trigger, minutes=5)

    runs = api.get(f"/routines/{routine}/runs")[::-1]
    assert ["issue_created", *["skipped"] * 4] == [run["status"] for run in runs]


def test_a_run_by_hand_is_never_held_back_and_begins_a_new_window(api: Api, past_api: Past):
    routine, trigger = gated_routine(past_api)
    tick(past_api, trigger)
    run = api.post(f"/routines/{routine}/run", {})
    assert "issue_created" == run["status"]

    past_api.now = datetime.now(UTC)
    past_api.tick(trigger)

    gate = last_run(api, routine)["triggerPayload"]["activityGate"]
    assert ("quiet", run["triggeredAt"]) == (gate["verdict"], gate["windowStart"])


def test_a_held_occurrence_is_in_the_ledger_and_explained(api: Api, past_api: Past):
    routine, trigger = gated_routine(past_api)
    tick(past_api, trigger)
    tick(past_api, trigger)

    (held,) = api.get(f"/routine-triggers/{trigger}/occurrences?from=2024-11-20T12:02:00Z&to=2024-11-20T12:02:30Z")[
        "occurrences"
    ]
    (explained,) = api.get(f"/routines/{routine}/explain?at=2024-11-20T12:02:00Z")["triggers"]

    assert ("skipped", "no_external_activity") == (held["outcome"], held["reason"])
    assert ("skipped", "no_external_activity") == (explained["verdict"], explained["reason"])
    assert (
        "The occurrence of Wed 20 Nov 2024 12:02 UTC was skipped, because nothing had happened in the company since "
        "the last run, on Wed 20 Nov 2024 12:01:30 UTC." == explained["answer"]
    )


def test_explain_and_preview_say_that_an_occurrence_runs_only_if_something_happens(api: Api, past_api: Past):
    past_api.now = api.system.clock()
    routine, _trigger = gated_routine(past_api, activity_gate_scope="project", project_id=past_api.project)
    moment = (api.system.clock() + timedelta(minutes=10)).isoformat()

    answer = api.get(f"/routines/{routine}/explain", params={"at": moment})["answer"]
    preview = api.post("/schedule/preview", {"cronExpression": "* * * * *", "routineId": str(routine)})

    assert "runs only if something has happened in the project of the routine by then" in answer
    assert [
        "An occurrence is skipped unless something else has happened in the project of the routine since the last run."
    ] == preview["conditions"]
    stranger = api.agent(api.company("Other"))[1]
    body = {"cronExpression": "* * * * *", "routineId": str(routine)}
    assert [] == api.post("/schedule/preview", body, token=stranger)["conditions"]


def test_the_gate_is_in_the_revisions_and_comes_back_with_them(api: Api):
    company = api.company()
    routine = api.routine(company, api.agent(company)[0], activityGatePolicy="require_external_activity")
    api.patch(f"/routines/{routine}", {"activityGatePolicy": "always"})
    newest, oldest = api.get(f"/routines/{routine}/revisions")

    assert ["always", "require_external_activity"] == [
        one["snapshot"]["routine"]["activityGatePolicy"] for one in (newest, oldest)
    ]
    api.post(f"/routines/{routine}/revisions/{oldest['id']}/restore", {})
    assert "require_external_activity" == api.get(f"/routines/{routine}")["activityGatePolicy"]


def test_a_gate_of_scope_project_needs_a_project(api: Api):
    company = api.company()
    gate = {"activityGatePolicy": "require_external_activity", "activityGateScope": "project"}
    answer = api.request("POST", f"/companies/{company}/routines", {"title": "x", **gate})
    assert (422, "activityGateScope project requires projectId") == (answer.status_code, answer.json()["error"])

    project = api.post(f"/companies/{company}/projects", {"name": "x"})["id"]
    routine = api.routine(company, None, projectId=project, **gate)
    assert 422 == api.request("PATCH", f"/routines/{routine}", {"projectId": None}).status_code


@pytest.mark.parametrize("field", ["activityGatePolicy", "activityGateScope"])
def test_an_unknown_gate_is_refused_by_name(api: Api, field: str):
    answer = api.request("POST", f"/companies/{api.company()}/routines", {"title": "x", field: "sometimes"})

    assert (400, [field]) == (answer.status_code, answer.json()["details"][0]["path"])
