"""Jetty contract 7: collections, keys, tasks, runs, trajectories, and what else clients call."""

import httpx
import pytest
from msgspec.structs import replace

from tests.web.jetty.conftest import ECHO, WORKFLOW, assert_success

NOT_FOUND = {"detail": "Not Found"}


def board(api, method, path, body=...):
    kwargs = {} if body is ... else {"json": body}
    return httpx.request(
        method, f"{api.url}/api/v1{path}", headers={"Authorization": f"Bearer {api.token}"}, timeout=20, **kwargs
    )


@pytest.mark.parametrize("path", ["/health", "/openapi.json", "/docs", "/api/v1/step-templates"])
def test_what_needs_no_key(api, path):
    assert httpx.get(f"{api.url}{path}").status_code == 200


@pytest.mark.usefixtures("nothing_overdue")
def test_health_is_what_the_clis_look_for(api):
    assert httpx.get(f"{api.url}/health").json() == {"status": "healthy"}


def test_an_unknown_path_is_a_404_and_a_wrong_method_a_405(jetty):
    nowhere, wrong = jetty.request("GET", "/nowhere"), jetty.request("DELETE", "/collections/")

    assert (nowhere.status_code, nowhere.json()) == (404, NOT_FOUND)
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})


def test_a_key_sees_its_one_collection(jetty, other_collection):
    [collection] = jetty.get("/collections/")

    assert collection["name"] == jetty.collection
    assert {"id", "name", "description", "owner_identifier"} <= set(collection)
    assert jetty.get(f"/collections/{jetty.collection}") == collection
    foreign = jetty.request("GET", f"/collections/{other_collection.collection}")
    assert (foreign.status_code, foreign.json()) == (404, NOT_FOUND)


def test_a_taken_collection_is_a_400_and_keys_make_none(api, jetty):
    again = board(api, "POST", "/collections/", {"name": jetty.collection})

    assert (again.status_code, again.json()) == (400, {"detail": "Collection already exists"})
    assert jetty.request("POST", "/collections/", {"name": "mine"}).status_code == 403


def test_a_company_without_a_name_is_a_collection_by_its_id(api):
    company = api.company()

    assert assert_success(board(api, "GET", f"/collections/{company}"))["name"] == company


def test_the_environment_merges_and_never_shows_a_value(jetty):
    path = f"/collections/{jetty.collection}/environment"

    first = jetty.patch(path, {"environment_variables": {"TOKEN": "t-1", "HOST": "h"}})
    second = jetty.patch(path, {"environment_variables": {"TOKEN": None, "PORT": "1"}})

    assert first["environment_variables"] == {"TOKEN": "***", "HOST": "***"}
    assert jetty.get(path)["environment_variables"] == {"HOST": "***", "PORT": "***"} == second["environment_variables"]
    assert jetty.patch(path, {"environment_variables": None})["environment_variables"] == {}


def test_an_api_key_is_shown_once_listed_without_itself_and_dead_when_revoked(api, jetty):
    listed = assert_success(board(api, "GET", f"/api-keys/collection/{jetty.collection}"))

    assert [key["key_prefix"] for key in listed] == [jetty.key[:12]]
    assert jetty.key not in str(listed)
    assert set(listed[0]) >= {"id", "collection_id", "collection_name", "name", "created_at", "is_active"}
    assert jetty.request("GET", f"/api-keys/collection/{jetty.collection}").status_code == 403
    assert_success(board(api, "DELETE", f"/api-keys/collection/{jetty.collection}/{listed[0]['id']}"))
    assert jetty.request("GET", "/collections/").status_code == 401
    assert assert_success(board(api, "GET", f"/api-keys/collection/{jetty.collection}"))[0]["is_active"] is False


def test_a_task_is_made_read_changed_found_and_deleted(jetty):
    body = {"name": "nl-to-sql", "description": "Asks", "workflow": WORKFLOW}
    response = jetty.request("POST", f"/tasks/{jetty.collection}", body)
    shown = response.json()

    assert response.status_code == 201
    assert set(shown) == {
        "id",
        "name",
        "description",
        "workflow",
        "version",
        "collection_id",
        "collection_name",
        "is_private",
        "has_file_uploads",
        "created_at",
        "updated_at",
    }
    path = f"/tasks/{jetty.collection}/nl-to-sql"
    assert jetty.get(path) == shown
    assert jetty.get(f"/tasks/{jetty.collection}/") == [shown]
    assert jetty.get(f"/tasks/{jetty.collection}/search?q=SQL") == [shown]
    assert jetty.get(f"/tasks/{jetty.collection}/search?q=nothing") == []
    stale = {"If-Match": jetty.request("GET", path).headers["ETag"]}
    changed = jetty.put(path, {"description": "Straße"}, headers=stale)
    refusal = jetty.request("PUT", path, {"description": "Gasse"}, headers=stale)
    assert (412, changed) == (refusal.status_code, jetty.get(path))
    assert refusal.json()["detail"].startswith("Precondition failed")
    assert (changed["description"], changed["version"], changed["workflow"]) == ("Straße", 2, WORKFLOW)
    assert jetty.get(f"/tasks/{jetty.collection}/search?q=STRASSE") == [changed]
    assert jetty.put(path, {"name": "renamed"})["name"] == "renamed"
    assert jetty.request("GET", path).status_code == 404
    answer = jetty.request("DELETE", f"/tasks/{jetty.collection}/renamed")
    assert answer.json() == {"message": "Task deleted successfully"}
    assert jetty.get(f"/tasks/{jetty.collection}") == []


def test_a_taken_task_name_is_a_400(jetty):
    task = jetty.task()

    response = jetty.request("POST", f"/tasks/{jetty.collection}", {"name": task})

    text = f"Task with name '{task}' already exists in collection '{jetty.collection}'"
    assert (response.status_code, response.json()) == (400, {"detail": text})


@pytest.mark.parametrize(
    ("workflow", "field"),
    [
        ({"init_params": []}, ["body", "workflow", "init_params"]),
        ({"step_configs": "x"}, ["body", "workflow", "step_configs"]),
        ({"steps": {"a": 1}}, ["body", "workflow", "steps"]),
        ({"steps": ["a"]}, ["body", "workflow", "steps"]),
        ({"steps": ["a", "a"], "step_configs": {"a": {"activity": "x"}}}, ["body", "workflow", "steps"]),
        ({"steps": ["a"], "step_configs": {"a": {}}}, ["body", "workflow", "step_configs", "a", "activity"]),
        ([], ["body", "workflow"]),
    ],
)
def test_a_workflow_that_is_none_is_a_422_that_says_where(untouched, workflow, field):
    response = untouched.request("POST", f"/tasks/{untouched.collection}", {"name": "a", "workflow": workflow})

    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == field


def test_a_parameter_of_a_query_that_is_wrong_is_found_in_the_query(untouched, untouched_task):
    path = f"/db/trajectories/{untouched.collection}/{untouched_task}"

    for query, name in (("limit=0", "limit"), ("page=x", "page"), ("page=1&page=2", "page")):
        response = untouched.request("GET", f"{path}?{query}")
        assert (422, ["query", name]) == (response.status_code, response.json()["detail"][0]["loc"])


def test_run_takes_a_form_and_json_and_parameters_that_nobody_declared(jetty):
    task = jetty.task()
    path = f"/run/{jetty.collection}/{task}"

    form = assert_success(jetty.request("POST", path, files={"init_params": (None, '{"model": "a", "extra": [1]}')}))
    json = jetty.post(path, {"init_params": {"model": "b"}})

    assert form["trajectory"]["init_params"] == {
        "model": "a",
        "tenant_filter": None,
        "sample_size": 10,
        "extra": [1],
    }
    assert json["trajectory"]["init_params"]["model"] == "b"
    assert json["trajectory"]["triggered_by_routine_id"] is None
    assert json["workflow_id"].endswith(f"--{json['trajectory_id']}")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"init_params": (None, "{")}, "init_params"),
        ({"init_params": (None, "[]")}, "init_params"),
        ({"init_params": (None, '{"a": 1, "a": 2}')}, "init_params"),
        ([("webhook_secret", (None, "a")), ("webhook_secret", (None, "b"))], "webhook_secret"),
        ({"webhook_url": (None, "nowhere")}, "webhook_url"),
    ],
)
def test_a_form_that_does_not_fit_is_a_422_that_names_the_part(untouched, untouched_task, fields, field):
    response = untouched.request("POST", f"/run/{untouched.collection}/{untouched_task}", files=fields)

    assert response.status_code == 422
    assert field in response.json()["detail"][0]["loc"]


def test_a_form_has_each_field_once_and_as_many_files_as_it_likes(jetty):
    path = f"/run/{jetty.collection}/{jetty.task()}"
    parts = [("init_params", (None, "{}")), ("files", ("a.txt", b"a")), ("files", ("b.txt", b"b"))]
    twice = b"init_params=%7B%7D&webhook_secret=a&webhook_secret=b"

    taken = jetty.request("POST", path, files=parts)
    refused = jetty.request("POST", path, content=twice, headers={"Content-Type": "application/x-www-form-urlencoded"})

    assert [200, 422] == [taken.status_code, refused.status_code]
    assert "webhook_secret must be given once" in refused.text


def test_a_run_says_401_and_404_before_it_looks_at_the_form(jetty, other_collection):
    theirs = f"/run/{other_collection.collection}/{other_collection.task()}"

    assert jetty.request("POST", theirs, files={"init_params": (None, "{")}).status_code == 404
    assert jetty.request("POST", theirs, files={"init_params": (None, "{")}, key=None).status_code == 401


def test_run_sync_answers_when_it_is_over(jetty):
    task = jetty.task(workflow=ECHO)

    done = assert_success(
        jetty.request("POST", f"/run-sync/{jetty.collection}/{task}", data={"init_params": '{"text": "hi"}'})
    )

    assert done["trajectory"]["status"] == "completed"
    assert done["steps"]["say"]["outputs"] == {"text": "hi"}


def test_a_text_that_is_not_there_fails_the_trajectory_and_says_why(jetty):
    workflow = {"steps": ["say"], "step_configs": {"say": {"activity": "text_echo", "text_path": "init_params.x"}}}

    done = jetty.post(f"/run-sync/{jetty.collection}/{jetty.task(workflow=workflow)}", {})

    assert done["trajectory"]["status"] == "failed"
    assert done["trajectory"]["error"] == "Step 'say' failed: there is nothing at text_path 'init_params.x'"


def test_trajectories_come_in_pages_newest_first(jetty):
    task = jetty.task()
    ids = [jetty.post(f"/run/{jetty.collection}/{task}", {})["trajectory_id"] for _ in range(3)]

    first = jetty.get(f"/db/trajectories/{jetty.collection}/{task}?limit=2")
    second = jetty.get(f"/db/trajectories/{jetty.collection}/{task}?limit=2&page=2")

    assert [one["trajectory_id"] for one in [*first["trajectories"], *second["trajectories"]]] == ids[::-1]
    assert (first["total"], first["page"], first["limit"], first["has_more"]) == (3, 1, 2, True)
    assert second["has_more"] is False
    assert jetty.request("GET", f"/db/trajectories/{jetty.collection}/{task}?page=0").status_code == 422


def test_a_trajectory_has_what_clients_read(jetty):
    task = jetty.task()
    fired = jetty.post(f"/run/{jetty.collection}/{task}", {"webhook_url": "https://example.com/x"})

    trajectory = jetty.get(f"/db/trajectory/{jetty.collection}/{task}/{fired['trajectory_id']}")

    assert set(trajectory) >= {
        "name",
        "trajectory_id",
        "workflow_id",
        "storage_path",
        "status",
        "created",
        "created_at",
        "updated",
        "author",
        "steps",
        "labels",
        "total_steps",
        "completed_steps",
        "init_params",
        "step_configs",
        "error",
        "triggered_by_routine_id",
        "webhook_url",
    }
    assert trajectory["name"] == f"{jetty.collection}/{task}"
    assert (trajectory["total_steps"], trajectory["completed_steps"], trajectory["steps"]) == (["query"], [], {})
    assert trajectory["webhook_url"] == "https://example.com/x"


@pytest.mark.parametrize("number", ["0", "999999999", "x", "1.5", "-1", "9" * 30])
def test_a_trajectory_that_is_not_there_is_a_404(untouched, untouched_task, number):
    path = f"/db/trajectory/{untouched.collection}/{untouched_task}/{number}"

    assert untouched.request("GET", path).status_code == 404


def test_statuses_are_set_together_or_not_at_all(jetty, other_collection):
    task = jetty.task()
    ids = [str(jetty.post(f"/run/{jetty.collection}/{task}", {})["trajectory_id"]) for _ in range(2)]
    theirs = str(
        other_collection.post(f"/run/{other_collection.collection}/{other_collection.task()}", {})["trajectory_id"]
    )
    path = f"/trajectory/{jetty.collection}/{task}/statuses"

    assert jetty.request("POST", path, {ids[0]: "completed", theirs: "failed"}).status_code == 404
    assert jetty.request("POST", path, {ids[0]: "done"}).status_code == 422
    jetty.post(path, {ids[0]: "completed", ids[1]: "failed"})

    stats = jetty.get(f"/db/stats/{jetty.collection}/{task}")
    assert stats == {"total": 2, "by_status": {"completed": 1, "failed": 1}}


def test_statuses_of_very_many_trajectories_at_once_are_refused(jetty):
    task = jetty.task()
    path = f"/trajectory/{jetty.collection}/{task}/statuses"

    refusal = jetty.request("POST", path, {str(number): "completed" for number in range(1, 202)})

    assert (422, ["body"]) == (refusal.status_code, refusal.json()["detail"][0]["loc"])
    assert "must name at most 200 trajectories, got 201" in refusal.text
    assert 404 == jetty.request("POST", path, {str(number): "completed" for number in range(1, 201)}).status_code


def test_a_label_is_set_and_set_again(jetty):
    task = jetty.task()
    number = jetty.post(f"/run/{jetty.collection}/{task}", {})["trajectory_id"]
    path = f"/trajectory/{jetty.collection}/{task}/{number}"

    jetty.post(f"{path}/labels", {"key": "score", "value": "1", "author": "me"})
    label = jetty.post(f"{path}/labels", {"key": "score", "value": "2", "author": "me"})

    assert set(label) == {"key", "value", "created", "author"}
    assert jetty.get(f"/db{path}")["labels"] == [label]
    assert jetty.request("POST", f"{path}/labels", {"key": "score", "value": "2"}).status_code == 422


def test_a_run_from_elsewhere_is_taken_in_once(jetty):
    task = jetty.task()
    body = {
        "input": {"q": "?"},
        "output": "an answer",
        "scores": {"accuracy": 0.5},
        "labels": {"env": "prod"},
        "cost_usd": 0.25,
        "trajectory_id": "theirs-1",
        "author": "pusher",
    }

    first, again = (jetty.post(f"/trajectories/{jetty.collection}/{task}/ingest", body) for _ in range(2))

    assert first == again
    assert {label["key"]: label["value"] for label in first["labels"]} == {
        "score.accuracy": "0.5",
        "env": "prod",
        "cost_est_usd": "0.25",
    }
    trajectory = jetty.get(f"/db/trajectory/{jetty.collection}/{task}/{first['trajectory_id']}")
    assert (trajectory["status"], trajectory["init_params"]) == ("completed", {"q": "?"})
    assert trajectory["steps"]["ingest"]["outputs"] == {"output": "an answer"}
    assert jetty.get(f"/db/stats/{jetty.collection}/{task}")["total"] == 1


def test_the_log_of_a_workflow_tells_what_happened(jetty, other_collection):
    fired = jetty.post(f"/run/{jetty.collection}/{jetty.task(workflow=ECHO)}", {})

    logs = jetty.get(f"/workflows-logs/{fired['workflow_id']}")

    assert [line["event"] for line in logs["logs"]] == [
        "trajectory.opened",
        "trajectory.step_reported",
        "trajectory.moved",
    ]
    assert other_collection.request("GET", f"/workflows-logs/{fired['workflow_id']}").status_code == 404
    assert jetty.request("GET", "/workflows-logs/flow-x--1").status_code == 404


def test_step_templates_name_what_runs_by_itself(api):
    [template] = httpx.get(f"{api.url}/api/v1/step-templates").json()["templates"]

    assert template["activity_name"] == "text_echo"
    assert httpx.get(f"{api.url}/api/v1/step-templates/text_echo").json() == template
    assert httpx.get(f"{api.url}/api/v1/step-templates/other").status_code == 404


def test_there_are_no_trials(jetty):
    assert jetty.get(f"/trial/{jetty.collection}") == {"active": False}
    assert jetty.post(f"/trial/{jetty.collection}/activate") == {"active": False}


@pytest.mark.parametrize("name", ["", "A=B", "1A", "A B", "A-B", "A\0", "\u00c4", "A" * 129, "A\n"])
def test_a_name_that_no_variable_has_is_refused(untouched, name):
    path = f"/collections/{untouched.collection}/environment"

    answer = untouched.request("PATCH", path, {"environment_variables": {"GOOD": "1", name: "x"}})

    assert answer.status_code in {400, 422}, answer.text
    assert "environment_variables" in answer.text or "U+0000" in answer.text
    assert untouched.get(path)["environment_variables"] == {}


def test_a_value_with_a_nul_is_refused(jetty):
    path = f"/collections/{jetty.collection}/environment"

    assert jetty.request("PATCH", path, {"environment_variables": {"A": "x\0y"}}).status_code in {400, 422}


def test_an_environment_grows_to_its_limits_and_may_shrink_beyond_them(jetty, monkeypatch):
    path = f"/collections/{jetty.collection}/environment"
    store = jetty.api.system.store
    monkeypatch.setattr(store, "limits", replace(store.limits, max_environment_variables=2, max_environment_bytes=1024))

    jetty.patch(path, {"environment_variables": {"A": "x" * 900}})
    large = jetty.request("PATCH", path, {"environment_variables": {"B": "x" * 200}})
    jetty.patch(path, {"environment_variables": {"B": "2"}})
    many = jetty.request("PATCH", path, {"environment_variables": {"C": "3"}})

    assert (large.status_code, many.status_code) == (422, 422)
    assert large.json()["detail"][0]["loc"] == ["body", "environment_variables"]
    assert "1024 are allowed" in large.text
    assert "more than 2 variables" in many.text
    monkeypatch.setattr(store, "limits", replace(store.limits, max_environment_variables=1))
    jetty.patch(path, {"environment_variables": {"A": None}})
    assert jetty.patch(path, {"environment_variables": {"B": None}})["environment_variables"] == {}
