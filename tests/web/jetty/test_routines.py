"""Jetty contract 2: routines, their fields, and who is told what."""

from datetime import UTC, datetime

import pytest

from tests.web.jetty.conftest import DAILY, ECHO, WORKFLOW

READ = {
    "id",
    "name",
    "task_name",
    "collection_name",
    "cadence",
    "init_params_overrides",
    "secret_params",
    "webhook_url",
    "webhook_secret",
    "paused",
    "last_run_at",
    "next_run_at",
    "overlap_policy",
}
NOT_FOUND = {"detail": "Not Found"}


def test_create_answers_201_and_a_routine_with_all_its_fields(jetty):
    task = jetty.task()
    body = {"name": "morning-regression", "cadence": {"type": "weekdays", "hour_utc": 9, "minute_utc": 0}}

    response = jetty.request("POST", f"/routines/{jetty.collection}/{task}", body)

    shown = response.json()
    assert response.status_code == 201
    assert set(shown) == READ
    assert shown["cadence"] == {"type": "weekdays", "hour_utc": 9, "minute_utc": 0, "day_of_week": None}
    assert (shown["name"], shown["task_name"], shown["collection_name"]) == (
        "morning-regression",
        task,
        jetty.collection,
    )
    assert (shown["secret_params"], shown["webhook_url"], shown["webhook_secret"]) == ({}, None, None)
    assert (shown["paused"], shown["last_run_at"], shown["overlap_policy"]) == (False, None, "skip")
    assert isinstance(shown["id"], int)


def test_next_run_at_lies_ahead_in_whole_seconds_of_utc(jetty):
    shown = jetty.get(jetty.routine(cadence={"type": "hourly", "minute_utc": 30}))

    moment = datetime.strptime(shown["next_run_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert moment > jetty.api.system.clock()
    assert (moment.minute, moment.second) == (30, 0)


def test_a_manual_routine_never_runs_by_itself(jetty):
    shown = jetty.get(jetty.routine(cadence={"type": "manual"}))

    assert shown["next_run_at"] is None
    assert shown["cadence"] == {"type": "manual", "hour_utc": None, "minute_utc": 0, "day_of_week": None}


def test_ids_grow_and_lists_are_bare_arrays_oldest_first(jetty):
    task = jetty.task()
    addresses = [jetty.routine(task), jetty.routine(), jetty.routine(task)]

    of_collection = jetty.get(f"/routines/{jetty.collection}")
    of_task = jetty.get(f"/routines/{jetty.collection}/{task}")

    assert [one["name"] for one in of_collection] == [address.rsplit("/", 1)[1] for address in addresses]
    assert [one["id"] for one in of_collection] == sorted(one["id"] for one in of_collection)
    assert of_task == [of_collection[0], of_collection[2]]


def test_a_trailing_slash_makes_no_difference(jetty):
    task = jetty.task()
    shown = jetty.post(f"/routines/{jetty.collection}/{task}/", {"name": "a", "cadence": DAILY})

    assert jetty.get(f"/routines/{jetty.collection}/{task}/a/") == shown
    assert jetty.get(f"/routines/{jetty.collection}/") == [shown]


def test_an_unknown_field_is_named_and_a_changed_copy_of_an_answer_is_taken(jetty):
    body = {"name": "a", "cadence": DAILY, "webhok_url": "https://example.com"}
    refusal = jetty.request("POST", f"/routines/{jetty.collection}/{jetty.task()}", body)
    address = jetty.routine()
    copy = jetty.get(address)

    assert (400, {"message": "Unknown field 'webhok_url': did you mean 'webhook_url'?", "field": "webhok_url"}) == (
        refusal.status_code,
        refusal.json()["detail"],
    )
    assert copy | {"paused": True, "next_run_at": None} == jetty.patch(address, copy | {"paused": True})


def test_a_secret_waits_for_the_url_that_it_will_sign_for(jetty):
    address = jetty.routine(webhook_secret="early")
    assert (None, "***") == tuple(jetty.get(address)[name] for name in ("webhook_url", "webhook_secret"))

    with_url = jetty.patch(address, {"webhook_url": "https://example.com/hook"})
    without_url = jetty.patch(address, {"webhook_url": None})
    without_either = jetty.patch(address, {"webhook_secret": None})

    assert ["***", "***", None] == [one["webhook_secret"] for one in (with_url, without_url, without_either)]


def test_a_task_has_no_name_that_could_not_be_read(jetty):
    answer = jetty.request("POST", f"/tasks/{jetty.collection}", {"name": "search", "workflow": {}})
    renamed = jetty.request("PUT", f"/tasks/{jetty.collection}/{jetty.task()}", {"name": "search"})

    assert [422, 422] == [answer.status_code, renamed.status_code]
    assert "reserved" in answer.json()["detail"][0]["msg"]


def test_a_taken_name_is_a_409_that_names_it_and_is_free_for_another_task(jetty):
    task = jetty.task()
    body = {"name": "twice", "cadence": DAILY}
    jetty.post(f"/routines/{jetty.collection}/{task}", body)

    response = jetty.request("POST", f"/routines/{jetty.collection}/{task}", body)

    assert (response.status_code, response.json()) == (
        409,
        {"detail": "Routine 'twice' already exists for this task"},
    )
    jetty.post(f"/routines/{jetty.collection}/{jetty.task()}", body)


def test_unknown_override_keys_are_listed_and_only_these(jetty):
    overrides = {"nope": 1, "sample_size": 50, "zilch": None}

    response = jetty.request(
        "POST",
        f"/routines/{jetty.collection}/{jetty.task()}",
        {"name": "a", "cadence": DAILY, "init_params_overrides": overrides},
    )

    assert response.status_code == 400
    assert response.json() == {
        "detail": {"message": "Unknown init_params_overrides keys", "unknown_keys": ["nope", "zilch"]}
    }


@pytest.mark.parametrize(
    ("cadence", "field"),
    [
        ({"type": "manual", "hour_utc": 9}, "cadence.hour_utc"),
        ({"type": "manual", "minute_utc": 0}, "cadence.minute_utc"),
        ({"type": "manual", "day_of_week": "mon"}, "cadence.day_of_week"),
        ({"type": "hourly", "hour_utc": 9}, "cadence.hour_utc"),
        ({"type": "hourly", "day_of_week": "mon"}, "cadence.day_of_week"),
        ({"type": "daily"}, "cadence.hour_utc"),
        ({"type": "daily", "hour_utc": None}, "cadence.hour_utc"),
        ({"type": "daily", "hour_utc": 9, "day_of_week": "mon"}, "cadence.day_of_week"),
        ({"type": "weekdays"}, "cadence.hour_utc"),
        ({"type": "weekdays", "hour_utc": 9, "day_of_week": "fri"}, "cadence.day_of_week"),
        ({"type": "weekly", "hour_utc": 9}, "cadence.day_of_week"),
        ({"type": "weekly", "day_of_week": "mon"}, "cadence.hour_utc"),
        ({"type": "weekly", "hour_utc": 9, "day_of_week": "Mon"}, "cadence.day_of_week"),
        ({"type": "daily", "hour_utc": 24}, "cadence.hour_utc"),
        ({"type": "daily", "hour_utc": -1}, "cadence.hour_utc"),
        ({"type": "daily", "hour_utc": 9, "minute_utc": 60}, "cadence.minute_utc"),
        ({"type": "daily", "hour_utc": "9"}, "cadence.hour_utc"),
        ({"type": "daily", "hour_utc": 9.0}, "cadence.hour_utc"),
        ({"type": "daily", "hour_utc": True}, "cadence.hour_utc"),
        ({"type": "yearly"}, "cadence.type"),
        ({}, "cadence.type"),
        (None, "cadence"),
        ("daily", "cadence"),
    ],
)
def test_a_cadence_that_makes_no_sense_is_a_400_that_names_the_field(untouched, untouched_task, cadence, field):
    path = f"/routines/{untouched.collection}/{untouched_task}"

    response = untouched.request("POST", path, {"name": "a", "cadence": cadence})

    assert response.status_code == 400
    assert response.json()["detail"]["field"] == field
    assert field.rpartition(".")[2] in response.json()["detail"]["message"]
    assert untouched.get(path) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ...}, "name"),
        ({"name": "Not A Slug"}, "name"),
        ({"name": "-a"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": None}, "name"),
        ({"cadence": ...}, "cadence"),
        ({"init_params_overrides": []}, "init_params_overrides"),
        ({"secret_params": "x"}, "secret_params"),
        ({"webhook_url": "ftp://x"}, "webhook_url"),
        ({"webhook_url": "http://localhost/done"}, "webhook_url"),
        ({"webhook_url": "http://user:pass@example.com/"}, "webhook_url"),
        ({"webhook_url": "http://0x7f.1/"}, "webhook_url"),
        ({"paused": "yes"}, "paused"),
    ],
)
def test_a_field_that_does_not_fit_is_a_400_that_names_it(untouched, untouched_task, fields, field):
    body = {"name": "a", "cadence": DAILY, **fields}

    response = untouched.request(
        "POST",
        f"/routines/{untouched.collection}/{untouched_task}",
        {k: v for k, v in body.items() if v is not ...},
    )

    assert (response.status_code, response.json()["detail"]["field"]) == (400, field)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"name": "a\\u0000"}', b'{"name": "a", "name": "b"}', b""])
def test_a_body_that_is_no_object_is_a_400(untouched, untouched_task, body):
    response = untouched.request("POST", f"/routines/{untouched.collection}/{untouched_task}", content=body)

    assert response.status_code == 400
    assert "message" in response.json()["detail"]


@pytest.mark.parametrize("key", [None, "mlc_nonsense", "pcp_board_nonsense", ""])
def test_without_a_known_key_it_is_a_401(untouched, key):
    response = untouched.request("GET", f"/routines/{untouched.collection}", key=key or None)

    assert (response.status_code, response.json()) == (401, {"detail": "Invalid API key or JWT token"})
    assert response.headers["www-authenticate"] == "Bearer"


def test_an_agents_key_is_unknown_here_and_a_collections_key_at_the_paperclip_api(api, jetty):
    _, agents_key = api.agent(api.company())

    assert jetty.request("GET", f"/routines/{jetty.collection}", key=agents_key).status_code == 401
    assert api.request("GET", "/companies", token=jetty.key).status_code == 401


def test_what_is_foreign_is_what_does_not_exist(jetty, other_collection):
    theirs = other_collection.routine()
    collection, task, name = theirs.split("/")[2:]
    mine = jetty.routine().split("/")
    places = [
        f"/routines/{collection}",
        f"/routines/{collection}/{task}",
        theirs,
        f"{theirs}/runs",
        "/routines/nowhere",
        f"/routines/{mine[2]}/nowhere",
        f"/routines/{mine[2]}/{mine[3]}/nowhere",
        f"/routines/{mine[2]}/{mine[3]}/{name}",
        f"/tasks/{collection}/{task}/init-params-schema",
        f"/tasks/{mine[2]}/nowhere/init-params-schema",
    ]

    for place in places:
        response = jetty.request("GET", place)
        assert (place, response.status_code, response.json()) == (place, 404, NOT_FOUND)


def test_401_comes_before_404_and_404_before_400(jetty, other_collection):
    theirs, mine = (
        f"/routines/{other_collection.collection}/{other_collection.task()}",
        f"/routines/{jetty.collection}/{jetty.task()}",
    )

    assert jetty.request("POST", theirs, {}, key="mlc_x").status_code == 401
    assert jetty.request("POST", theirs, {}).status_code == 404
    assert jetty.request("POST", mine, {}).status_code == 400
    assert jetty.request("PATCH", f"{mine}/nowhere", {"name": 7}).status_code == 404


def test_secrets_are_masked_and_survive_read_modify_write(jetty):
    address = jetty.routine(
        secret_params={"api_key": "sk-1", "other": {"deep": 1}},
        webhook_url="https://example.com/hook",
        webhook_secret="shh",
    )
    read = jetty.get(address)

    assert (read["secret_params"], read["webhook_secret"]) == ({"api_key": "***", "other": "***"}, "***")
    again = jetty.patch(address, {name: read[name] for name in ("name", "cadence", "secret_params", "webhook_secret")})
    assert again == read
    changed = jetty.patch(address, {"secret_params": {"api_key": "***", "new": "n"}})
    assert changed["secret_params"] == {"api_key": "***", "new": "***"}
    cleared = jetty.patch(address, {"secret_params": {}, "webhook_secret": None})
    assert (cleared["secret_params"], cleared["webhook_secret"]) == ({}, None)
    assert cleared["webhook_url"] == "https://example.com/hook"
    assert jetty.patch(address, {"webhook_url": None})["webhook_url"] is None


def test_a_mask_without_a_secret_that_it_could_keep_is_refused(jetty):
    address = jetty.routine(secret_params={"api_key": "sk-1"})
    task_address = address.rpartition("/")[0]
    copy = {"name": "copy", "cadence": DAILY}

    for method, path, body, field in (
        ("POST", task_address, copy | {"secret_params": {"api_key": "***"}}, "secret_params.api_key"),
        ("POST", task_address, copy | {"webhook_secret": "***"}, "webhook_secret"),
        ("PATCH", address, {"secret_params": {"other": "***"}}, "secret_params.other"),
        ("PATCH", address, {"webhook_secret": "***"}, "webhook_secret"),
    ):
        answer = jetty.request(method, path, body)
        message = f"{field}: there is no value that could stay"
        assert (400, {"message": message, "field": field}) == (answer.status_code, answer.json()["detail"])
    environment = {"environment_variables": {"TOKEN": "***"}}
    answer = jetty.request("PATCH", f"/collections/{jetty.collection}/environment", environment)
    assert (422, ["body", "environment_variables", "TOKEN"]) == (answer.status_code, answer.json()["detail"][0]["loc"])


@pytest.mark.parametrize("name", ["a\n", " a", "A", "a b", "-a", "a--b", "ü"])
def test_a_name_that_is_no_slug_is_refused_with_what_one_is(jetty, name):
    body = {"name": name, "cadence": DAILY}

    answer = jetty.request("POST", f"/routines/{jetty.collection}/{jetty.task()}", body)

    assert (400, "name: must match ^[a-z0-9]+(?:[-_][a-z0-9]+)*$") == (
        answer.status_code,
        answer.json()["detail"]["message"],
    )


def test_patch_changes_what_it_names_and_an_empty_one_nothing(jetty):
    address = jetty.routine(init_params_overrides={"sample_size": 50})
    read = jetty.get(address)

    assert jetty.patch(address, {}) == read
    changed = jetty.patch(address, {"cadence": {"type": "daily", "hour_utc": 13, "minute_utc": 30}})
    assert changed["cadence"] == {"type": "daily", "hour_utc": 13, "minute_utc": 30, "day_of_week": None}
    assert changed["init_params_overrides"] == {"sample_size": 50}
    assert changed["next_run_at"].endswith("T13:30:00Z")
    assert jetty.patch(address, {"init_params_overrides": {"model": "x"}})["init_params_overrides"] == {"model": "x"}
    assert jetty.patch(address, {"cadence": {"type": "manual"}})["next_run_at"] is None
    assert jetty.patch(address, {"cadence": DAILY})["next_run_at"].endswith("T09:00:00Z")


@pytest.fixture(scope="module")
def fired_twice(collection_of):
    """A collection, and the address of a routine in it that is only read."""
    jetty = collection_of()
    address = jetty.routine()
    for _ in range(2):
        jetty.post(f"{address}/run-now")
    return jetty, address


@pytest.mark.parametrize("field", ["name", "cadence", "init_params_overrides", "secret_params", "paused"])
def test_patch_takes_null_only_where_it_clears(fired_twice, field):
    jetty, address = fired_twice

    response = jetty.request("PATCH", address, {field: None})

    assert (response.status_code, response.json()["detail"]["field"]) == (400, field)


def test_a_rename_moves_the_address_and_frees_the_name(jetty):
    task = jetty.task()
    address = jetty.routine(task, name="before")
    taken = jetty.routine(task, name="taken")

    assert jetty.request("PATCH", address, {"name": "taken"}).status_code == 409
    renamed = jetty.patch(address, {"name": "after"})

    assert renamed["name"] == "after"
    assert jetty.request("GET", address).status_code == 404
    assert jetty.get(taken.replace("taken", "after"))["id"] == renamed["id"]
    jetty.routine(task, name="before")


def test_delete_answers_204_and_the_routine_is_gone(jetty):
    address = jetty.routine(secret_params={"a": 1})

    response = jetty.request("DELETE", address)

    assert (response.status_code, response.content) == (204, b"")
    assert jetty.request("GET", address).status_code == 404
    assert jetty.request("DELETE", address).status_code == 404
    assert jetty.get(f"/routines/{jetty.collection}") == []


def test_pause_and_resume_come_without_a_body_and_may_be_repeated(jetty):
    address = jetty.routine()

    paused = [jetty.post(f"{address}/pause") for _ in range(2)]
    resumed = [jetty.post(f"{address}/resume") for _ in range(2)]

    assert [(one["paused"], one["next_run_at"]) for one in paused] == [(True, None)] * 2
    assert [one["paused"] for one in resumed] == [False] * 2
    assert resumed[0]["next_run_at"] is not None
    assert jetty.get(jetty.routine(paused=True))["paused"] is True


def test_run_now_fires_whatever_the_cadence_be_it_paused_or_at_work(jetty):
    address = jetty.routine(cadence={"type": "manual"}, paused=True)

    fired = [jetty.post(f"{address}/run-now") for _ in range(2)]

    assert fired[0]["trajectory_id"] != fired[1]["trajectory_id"]
    for one in fired:
        assert one["workflow_id"].startswith(f"flow-{jetty.collection}-")
        assert one["workflow_id"].endswith(f"--{one['trajectory_id']}")
        assert one["trajectory"]["status"] == "pending"
        assert one["message"] == "Workflow started"
        assert one["metadata"] == ""
    read = jetty.get(address)
    assert (read["paused"], read["next_run_at"]) == (True, None)
    assert read["last_run_at"] is not None
    runs = jetty.get(f"{address}/runs")
    assert [run["trajectory_id"] for run in runs] == [one["trajectory_id"] for one in reversed(fired)]
    assert set(runs[0]) >= {"trajectory_id", "workflow_id", "status", "created_at"}


def test_a_fire_overlays_the_tasks_parameters_and_is_tagged_with_its_routine(jetty):
    task = jetty.task()
    address = jetty.routine(task, init_params_overrides={"sample_size": 50, "tenant_filter": {"a": [1]}})

    fired = jetty.post(f"{address}/run-now")

    trajectory = jetty.get(f"/db/trajectory/{jetty.collection}/{task}/{fired['trajectory_id']}")
    assert trajectory["init_params"] == {"model": "gpt-4o", "tenant_filter": {"a": [1]}, "sample_size": 50}
    assert trajectory["triggered_by_routine_id"] == jetty.get(address)["id"]


def test_runs_survive_a_rename_and_trajectories_a_delete(jetty):
    task = jetty.task()
    address = jetty.routine(task, name="before")
    fired = jetty.post(f"{address}/run-now")
    jetty.patch(address, {"name": "after"})
    address = address.replace("before", "after")

    assert [run["trajectory_id"] for run in jetty.get(f"{address}/runs")] == [fired["trajectory_id"]]
    number = jetty.get(address)["id"]
    jetty.request("DELETE", address)
    assert jetty.request("GET", f"{address}/runs").status_code == 404
    [left] = jetty.get(f"/db/trajectories/{jetty.collection}/{task}")["trajectories"]
    assert left["triggered_by_routine_id"] == number


@pytest.mark.parametrize(
    ("limit", "status"), [("1", 200), ("200", 200), ("9999999", 200), ("0", 400), ("-1", 400), ("x", 400), ("1.5", 400)]
)
def test_the_limit_of_runs_is_cut_to_200_and_refused_where_it_is_none(fired_twice, limit, status):
    jetty, address = fired_twice

    response = jetty.request("GET", f"{address}/runs?limit={limit}")

    assert response.status_code == status
    if status == 200:
        assert len(response.json()) == min(int(limit), 2)


def test_init_params_schema_lists_the_keys_in_their_order_with_defaults_and_types(jetty):
    declared = {"z": "s", "a": None, "i": 10, "f": 1.5, "t": True, "l": [1], "o": {"k": 1}}
    task = jetty.task(workflow={**WORKFLOW, "init_params": declared})

    keys = jetty.get(f"/tasks/{jetty.collection}/{task}/init-params-schema")["keys"]

    assert {key["name"]: key["default"] for key in keys} == declared
    assert [key["name"] for key in keys] == list(declared)
    hints = ["string", "string", "integer", "number", "boolean", "array", "object"]
    assert [key["type_hint"] for key in keys] == hints
    bare = jetty.task(workflow={"steps": [], "step_configs": {}})
    assert jetty.get(f"/tasks/{jetty.collection}/{bare}/init-params-schema") == {"keys": []}


def test_a_key_that_the_task_declares_no_more_is_warned_of_and_left_out_of_a_fire(jetty):
    task = jetty.task()
    address = jetty.routine(task, init_params_overrides={"sample_size": 50})
    assert "warnings" not in jetty.get(address)

    jetty.put(f"/tasks/{jetty.collection}/{task}", {"workflow": {**WORKFLOW, "init_params": {"model": "m"}}})

    warning = f"Override key 'sample_size' is no longer declared on task '{task}'"
    assert jetty.get(address)["warnings"] == [warning]
    assert jetty.post(f"{address}/pause")["warnings"] == [warning]
    assert jetty.get(f"/routines/{jetty.collection}")[0]["warnings"] == [warning]
    assert jetty.post(f"{address}/run-now")["trajectory"]["init_params"] == {"model": "m"}
    jetty.put(f"/tasks/{jetty.collection}/{task}", {"workflow": WORKFLOW})
    assert "warnings" not in jetty.get(address)


def test_routines_go_with_their_task(jetty):
    task = jetty.task()
    address = jetty.routine(task)

    jetty.request("DELETE", f"/tasks/{jetty.collection}/{task}")

    assert jetty.request("GET", address).status_code == 404
    assert jetty.get(f"/routines/{jetty.collection}") == []


def test_a_task_of_text_echo_alone_needs_no_worker(jetty):
    address = jetty.routine(jetty.task(workflow=ECHO), init_params_overrides={"text": "good morning"})

    fired = jetty.post(f"{address}/run-now")

    assert fired["trajectory"]["status"] == "completed"
    assert fired["trajectory"]["steps"]["say"]["outputs"] == {"text": "good morning"}
    assert jetty.get(f"{address}/runs")[0]["status"] == "completed"


def test_a_routine_that_calls_a_task_is_seen_and_explained_through_the_paperclip_api_too(api, jetty):
    jetty.routine()
    company = jetty.get(f"/collections/{jetty.collection}")["company_id"]

    [routine] = api.get(f"/companies/{company}/routines")

    assert routine["triggers"][0]["cronExpression"] == "0 9 * * *"
    trigger = routine["triggers"][0]["id"]
    assert api.request("PATCH", f"/routine-triggers/{trigger}", {"enabled": False}).status_code == 409
    explained = api.get(f"/routines/{routine['id']}/explain", params={"at": "2027-03-01T09:00:00Z"})
    assert explained["triggers"][0]["verdict"] == "planned"


def test_an_address_that_is_sent_back_as_it_was_shown_stays(jetty):
    task = jetty.task()
    path = f"/routines/{jetty.collection}/{task}"
    body = {"name": "often", "cadence": {"type": "hourly"}, "webhook_url": "https://example.com/x"}
    assert 201 == jetty.request("POST", path, body).status_code

    response = jetty.request("PATCH", f"{path}/often", {"webhook_url": "***", "paused": True})

    assert (200, "https://example.com/x") == (response.status_code, response.json()["webhook_url"])
    assert 400 == jetty.request("POST", path, body | {"name": "other", "webhook_url": "***"}).status_code
