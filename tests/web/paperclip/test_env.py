"""The environment of a routine: bindings of names to values, sealed, for the agent that works on its issues."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api import Api

SECRET = "s3cr3t-of-the-routine"
PLAIN = {"type": "plain", "value": SECRET}
MASKED = {"type": "plain", "value": "***"}
REFERENCE = {"type": "secret_ref", "name": "CRM_TOKEN"}


@pytest.fixture
def company(api: Api) -> str:
    """A company that is a collection, with a variable in its environment."""
    name = f"acme-{uuid4().hex[:8]}"
    company_id = send(api, "POST", "/collections/", {"name": name})["company_id"]
    send(api, "PATCH", f"/collections/{name}/environment", {"environment_variables": {"CRM_TOKEN": "of-the-company"}})
    return str(company_id)


def send(api: Api, method: str, path: str, body: Any) -> Any:
    answer = api.request(method, f"{api.url}/api/v1{path}", body)
    assert answer.status_code < 300, answer.text
    return answer.json()


def refusal(api: Api, method: str, path: str, body: Any, token: str = "") -> tuple[int, str]:
    answer = api.request(method, path, body, token=token)
    return answer.status_code, answer.json()["error"]


def environment_of_new_issue(api: Api, routine: str, agent: tuple[str, str], session: str | None = None) -> Any:
    """What the agent gets for a new issue of the routine, once it has checked it out."""
    issue = api.post(f"/routines/{routine}/run", {})["linkedIssueId"]
    headers = {"X-Paperclip-Run-Id": session or str(uuid4())}
    body = {"agentId": agent[0], "expectedStatuses": ["todo"]}
    api.request("POST", f"/issues/{issue}/checkout", body, token=agent[1], headers=headers)
    return api.request("GET", f"/issues/{issue}/environment", token=agent[1], headers=headers).json()


def test_the_agent_that_works_on_an_issue_gets_the_routines_environment(api: Api, company: str, agent: tuple[str, str]):
    routine = api.routine(company, agent[0], env={"REGION": PLAIN, "TOKEN": REFERENCE})

    assert {
        "environmentVariables": {"REGION": SECRET, "TOKEN": "of-the-company"},
        "missing": [],
    } == environment_of_new_issue(api, routine, agent)


def test_values_are_shown_as_masks_and_nowhere_else(api: Api, company: str, agent: tuple[str, str]):
    answer = api.request(
        "POST", f"/companies/{company}/routines", {"title": "x", "env": {"REGION": PLAIN, "TOKEN": REFERENCE}}
    )
    routine = answer.json()["id"]

    assert {"REGION": MASKED, "TOKEN": REFERENCE} == answer.json()["env"]
    for path in (f"/routines/{routine}", f"/routines/{routine}/revisions", f"/companies/{company}/routines"):
        assert SECRET not in api.request("GET", path).text
    (first,) = api.get(f"/routines/{routine}/revisions")
    assert {"REGION": MASKED, "TOKEN": REFERENCE} == first["snapshot"]["routine"]["env"]
    with api.system.pool.connection() as conn:
        stored = conn.execute("SELECT convert_from(body, 'UTF8') FROM log.events WHERE position > 0").fetchall()
        vault = conn.execute("SELECT content FROM vault.secrets WHERE content IS NOT NULL").fetchall()
    assert [] == [text for (text,) in stored if SECRET in text]
    assert [] == [content for (content,) in vault if SECRET.encode() in bytes(content)]


def test_a_patch_replaces_the_environment_and_a_mask_keeps_a_value(api: Api, company: str, agent: tuple[str, str]):
    routine = api.routine(company, agent[0], concurrencyPolicy="always_enqueue", env={"A": PLAIN, "B": PLAIN})

    api.patch(f"/routines/{routine}", {"env": {"A": MASKED, "C": {"type": "plain", "value": ""}}})
    assert {"A": SECRET, "C": ""} == environment_of_new_issue(api, routine, agent)["environmentVariables"]

    revision = api.get(f"/routines/{routine}")["latestRevisionId"]
    echoed = api.patch(f"/routines/{routine}", api.get(f"/routines/{routine}"))
    assert revision == echoed["latestRevisionId"]

    assert api.patch(f"/routines/{routine}", {"env": None})["env"] is None
    assert {} == environment_of_new_issue(api, routine, agent)["environmentVariables"]


def test_a_restore_leaves_the_environment_as_it_is(api: Api, company: str, agent: tuple[str, str]):
    routine = api.routine(company, agent[0], env={"A": PLAIN})
    api.patch(f"/routines/{routine}", {"env": {"B": {"type": "plain", "value": "new"}}, "title": "Other"})
    first = api.get(f"/routines/{routine}/revisions")[-1]

    restored = api.post(f"/routines/{routine}/revisions/{first['id']}/restore", {})

    assert ("Check the inbox", {"B": MASKED}) == (restored["routine"]["title"], restored["routine"]["env"])
    assert {"B": "new"} == environment_of_new_issue(api, routine, agent)["environmentVariables"]


def test_a_variable_that_the_company_has_no_more_is_named(api: Api, company: str, agent: tuple[str, str]):
    routine = api.routine(company, agent[0], env={"TOKEN": REFERENCE})
    name = api.get(f"/companies/{company}")["name"]
    send(api, "PATCH", f"/collections/{name}/environment", {"environment_variables": {"CRM_TOKEN": None}})

    assert {"environmentVariables": {}, "missing": ["TOKEN"]} == environment_of_new_issue(api, routine, agent)


def test_only_the_agent_that_holds_the_issue_gets_the_environment(api: Api, company: str, agent: tuple[str, str]):
    other = api.agent(company, "Other")
    issue = api.post(f"/routines/{api.routine(company, agent[0], env={'A': PLAIN})}/run", {})["linkedIssueId"]
    path, session = f"/issues/{issue}/environment", {"X-Paperclip-Run-Id": str(uuid4())}

    def status(token: str, headers: Any) -> int:
        return api.request("GET", path, token=token, headers=headers).status_code

    assert (403, 403, 409) == (status("", session), status(other[1], session), status(agent[1], session))
    body = {"agentId": agent[0], "expectedStatuses": ["todo"]}
    api.request("POST", f"/issues/{issue}/checkout", body, token=agent[1], headers=session)
    another = {"X-Paperclip-Run-Id": str(uuid4())}
    assert (200, 409, 401) == (status(agent[1], session), status(agent[1], another), status(agent[1], {}))


@pytest.mark.parametrize(
    ("env", "status", "said"),
    [
        ({"A=B": PLAIN}, 422, "env has a name that is not 1 to 128 letters"),
        ({"1A": PLAIN}, 422, "env has a name that is not 1 to 128 letters"),
        ({"": REFERENCE}, 422, "env has a name that is not 1 to 128 letters"),
        ({"A": {"type": "secret_ref", "name": "GONE"}}, 422, "env.A: the company's environment has no variable 'GONE'"),
        ({"A": MASKED}, 422, "env.A: there is no value that could stay"),
        ({f"A{number}": PLAIN for number in range(1_001)}, 422, "env would be more than"),
        ({"A": SECRET}, 400, ""),
        ({"A": {"type": "plain"}}, 400, ""),
        ({"A": {"type": "vault"}}, 400, ""),
        ({"A": PLAIN | {"versio": 1}}, 400, "Unknown field"),
        ([], 400, ""),
    ],
)
def test_what_can_be_no_environment_is_refused(api: Api, untouched_routine: str, env: Any, status: int, said: str):
    answer = api.request("PATCH", f"/routines/{untouched_routine}", {"env": env})

    assert (status, "env") == (answer.status_code, answer.json()["details"][0]["path"][0])
    assert SECRET not in answer.text
    assert said in answer.json()["error"] or status == 400


def test_an_agent_binds_values_but_no_variables_of_the_company(api: Api, company: str, agent: tuple[str, str]):
    path = f"/companies/{company}/routines"
    own = {"title": "x", "assigneeAgentId": agent[0]}

    assert {"A": MASKED} == api.post(path, own | {"env": {"A": PLAIN}}, token=agent[1])["env"]
    assert (403, "Board access required to bind variables of the company") == refusal(
        api, "POST", path, own | {"env": {"A": REFERENCE}}, token=agent[1]
    )
    routine = api.routine(company, agent[0], env={"A": REFERENCE})
    kept = {"env": {"A": REFERENCE, "B": PLAIN}}
    assert {"A": REFERENCE, "B": MASKED} == api.patch(f"/routines/{routine}", kept, token=agent[1])["env"]


def test_a_routine_that_calls_a_task_has_the_environment_of_its_collection_instead(api: Api, company: str):
    name = api.get(f"/companies/{company}")["name"]
    send(
        api,
        "POST",
        f"/tasks/{name}/",
        {"name": "sums", "workflow": {"init_params": {}, "step_configs": {}, "steps": []}},
    )
    send(api, "POST", f"/routines/{name}/sums", {"name": "hourly", "cadence": {"type": "hourly"}})
    (routine,) = api.get(f"/companies/{company}/routines")

    assert (409, "The routine calls a task: change it through the Jetty API") == refusal(
        api, "PATCH", f"/routines/{routine['id']}", {"env": {"A": PLAIN}}
    )
    assert 200 == api.request("PATCH", f"/routines/{routine['id']}", {"env": None}).status_code
