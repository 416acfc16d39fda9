"""What tasks, their calls and the reports of workers may grow to, and what a collection over its quota is told."""

import httpx
import msgspec
import pytest

from domain.bounds.limits import DEFAULT, Limits
from tests.web.jetty.conftest import DAILY, Jetty
from tests.web.served import serve_further


def echo_workflow(*configs, size=1):
    steps = {f"s{number}": {"activity": "text_echo", **config} for number, config in enumerate(configs)}
    return {"init_params": {"x": "x" * size}, "steps": list(steps), "step_configs": steps}


def run_task(jetty, task):
    return jetty.request("POST", f"/run/{jetty.collection}/{task}", {})


def test_a_task_of_very_many_steps_is_refused(jetty):
    refusal = jetty.request(
        "POST", f"/tasks/{jetty.collection}", {"name": "long", "workflow": echo_workflow(*[{}] * 1_500)}
    )

    assert 422 == refusal.status_code
    assert "A task has at most 200 steps, got 1500" == refusal.json()["detail"][0]["msg"]


def test_a_run_whose_steps_repeat_a_large_text_fails_before_it_is_too_much(jetty, api):
    task = jetty.task(workflow=echo_workflow(*[{"text_path": "init_params.x"}] * 200, size=20_000))
    head = api.system.store.head()

    answer = run_task(jetty, task)

    trajectory = answer.json()["trajectory"]
    recorded = [
        one for one in api.system.store.recorder.select_notifications(head, 10_000) if "trajectory" in one.topic
    ]
    assert (200, "failed") == (answer.status_code, trajectory["status"])
    assert (
        "Step 's23' failed: A trajectory holds at most 524288 bytes of parameters, steps and labels"
        in trajectory["error"]
    )
    assert sum(len(one.state) for one in recorded) < 800_000  # what is sealed takes a third more


def test_a_run_whose_steps_nest_ever_deeper_fails_and_everything_is_read_on(jetty, api):
    paths = ["init_params.x", *(f"s{number}.outputs" for number in range(150))]
    task = jetty.task(workflow=echo_workflow(*({"text_path": path} for path in paths)))

    trajectory = run_task(jetty, task).json()["trajectory"]

    assert ("failed", "Step 's64' failed: what it gives is nested deeper than 64 levels") == (
        trajectory["status"],
        trajectory["error"],
    )
    assert 200 == api.request("GET", "/companies").status_code


@pytest.fixture(scope="module")
def little_work_api(api):
    """Where a collection may record one event in a minute, and have one task and two trajectories under way."""
    limits = Limits(max_company_events_per_minute=1, max_company_tasks=1, max_company_live_trajectories=2)
    with serve_further(api, limits=limits) as here:
        yield here


@pytest.fixture
def little_work(little_work_api, jetty):
    """The same collection where little work may be done."""
    client = Jetty(little_work_api, jetty.collection, jetty.key)
    yield client
    client.close()


def test_a_collection_over_its_quota_is_told_when_to_try_again(jetty, other_collection, little_work):
    task = jetty.task()

    answers = [run_task(little_work, task) for _ in range(2)]

    assert [200, 429] == [answer.status_code for answer in answers]
    assert int(answers[1].headers["retry-after"]) >= 1
    assert answers[1].json()["detail"].startswith("The company has recorded more than 1 events in a minute: try again")
    neighbour = {"Authorization": f"Bearer {other_collection.key}"}
    assert httpx.post(
        f"{little_work.api.url}/api/v1/tasks/{other_collection.collection}", json={"name": "t"}, headers=neighbour
    ).is_success


def test_a_worker_over_its_quota_is_told_when_to_try_again(api, jetty):
    task = jetty.task()
    run_task(jetty, task)
    claimed = jetty.post(f"/workers/{jetty.collection}/claim", {})
    at = f"/workers/{jetty.collection}/{claimed['trajectory']['trajectory_id']}/{claimed['claim_id']}"

    with serve_further(api, limits=Limits(max_key_events_per_minute=1)) as further_api:
        here = Jetty(further_api, jetty.collection, jetty.key)
        answers = [here.request("POST", f"{at}/steps", {"step": "query", "status": "running"}) for _ in range(2)]
        here.close()

    assert [200, 429] == [answer.status_code for answer in answers]


def test_a_report_that_is_too_large_is_refused_and_the_worker_can_still_finish(jetty):
    task = jetty.task()
    run_task(jetty, task)
    claimed = jetty.post(f"/workers/{jetty.collection}/claim", {})
    at = f"/workers/{jetty.collection}/{claimed['trajectory']['trajectory_id']}/{claimed['claim_id']}"

    refusal = jetty.request("POST", f"{at}/steps", {"step": "query", "outputs": {"text": "x" * 600_000}})

    assert 422 == refusal.status_code
    assert "A trajectory holds at most 524288 bytes" in refusal.text
    assert "failed" == jetty.post(f"{at}/finish", {"status": "failed", "error": "too large"})["status"]


def test_a_collection_has_so_many_tasks_and_live_trajectories(jetty, little_work):
    task = jetty.task()
    for _ in range(2):
        run_task(jetty, task)

    refusal = little_work.request("POST", f"/tasks/{jetty.collection}", {"name": "one-more"})

    assert 422 == refusal.status_code
    assert {"code": "over_quota", "quota": "max_company_tasks", "limit": 1} == {
        name: value for name, value in refusal.json()["detail"].items() if name != "message"
    }
    assert 422 == run_task(little_work, task).status_code


def test_a_task_has_no_more_routines_than_it_may_and_goes_with_all_of_them(jetty, set_limits):
    set_limits(max_task_routines=3)
    task = jetty.task()
    for _ in range(3):
        jetty.routine(task)

    fourth = jetty.request("POST", f"/routines/{jetty.collection}/{task}", {"name": "fourth", "cadence": DAILY})
    answer = jetty.request("DELETE", f"/tasks/{jetty.collection}/{task}")

    assert 400 == fourth.status_code
    assert "A task has at most 3 routines: delete some first" in fourth.text
    assert 200 == answer.status_code
    assert 404 == jetty.request("GET", f"/tasks/{jetty.collection}/{task}").status_code


def test_a_task_whose_routines_are_too_much_to_be_read_at_once_can_be_deleted(jetty, set_limits):
    task = jetty.task(workflow={"init_params": {"text": ""}, "steps": []})
    for _ in range(6):
        jetty.routine(task, init_params_overrides={"text": "x" * 20_000})
    set_limits(max_read_bytes=60_000)

    assert 200 == jetty.request("DELETE", f"/tasks/{jetty.collection}/{task}").status_code

    assert 404 == jetty.request("GET", f"/tasks/{jetty.collection}/{task}").status_code


def test_a_long_log_of_a_workflow_is_cut_and_the_headers_lead_to_the_rest(jetty, set_limits):
    workflow_id = run_task(jetty, jetty.task(workflow=echo_workflow(*[{"text_path": "init_params.x"}] * 20))).json()[
        "workflow_id"
    ]
    whole = jetty.get(f"/workflows-logs/{workflow_id}")["logs"]
    set_limits(max_page_bytes=1_024)

    pages, path = [], f"/workflows-logs/{workflow_id}"
    while path:
        answer = jetty.request("GET", path)
        pages.append(answer.json()["logs"])
        cursor = answer.headers.get("X-Next-Cursor")
        path = cursor and f"/workflows-logs/{workflow_id}?cursor={cursor}"

    assert len(whole) == 22
    assert whole == [line for page in pages for line in page]
    assert len(pages) > 1
    assert all(len(msgspec.json.encode(page)) <= 1_100 for page in pages)
    assert 422 == jetty.request("GET", f"/workflows-logs/{workflow_id}?cursor=nonsense").status_code


def test_a_worker_takes_a_trajectory_beside_others_that_are_too_much_to_be_read_at_once(jetty, set_limits):
    task = jetty.task()
    for _ in range(8):
        jetty.post(f"/run/{jetty.collection}/{task}", {"init_params": {"text": "x" * 20_000}})
    set_limits(max_read_bytes=60_000)

    assert 200 == jetty.request("POST", f"/workers/{jetty.collection}/claim", {"worker": "w1"}).status_code


def test_statuses_that_are_too_much_to_be_read_at_once_are_refused_with_what_to_do(jetty, set_limits):
    task = jetty.task()
    runs = [jetty.post(f"/run/{jetty.collection}/{task}", {"init_params": {"text": "x" * 20_000}}) for _ in range(4)]
    wanted = {str(one["trajectory_id"]): "completed" for one in runs}
    path = f"/trajectory/{jetty.collection}/{task}/statuses"

    set_limits(max_read_bytes=60_000)
    refusal = jetty.request("POST", path, wanted)

    assert 422 == refusal.status_code
    assert "This would read more than 60,000 bytes of history at once: do it in parts" in refusal.text
    set_limits(max_read_bytes=DEFAULT.max_read_bytes)
    jetty.post(path, wanted)


def test_a_routine_that_could_never_run_is_refused_when_it_is_made_or_changed(jetty, set_limits):
    task = jetty.task()
    path = jetty.routine(task)
    large = {"init_params_overrides": {"model": "x" * 5_000}}
    most = {name: getattr(DEFAULT, name) for name in ("max_trajectory_bytes", "max_routine_bytes")}
    for limit in most:
        set_limits(**most | {limit: 4_096})
        answers = [
            jetty.request("POST", f"/routines/{jetty.collection}/{task}", {"name": "big", "cadence": DAILY, **large}),
            jetty.request("PATCH", path, large),
        ]
        assert [400, 400] == [answer.status_code for answer in answers], [answer.text for answer in answers]


def test_a_routine_from_before_the_limits_may_be_stopped(jetty, set_limits):
    path = jetty.routine(init_params_overrides={"model": "x" * 5_000})
    set_limits(max_trajectory_bytes=4_096, max_routine_bytes=4_096)

    assert jetty.post(f"{path}/pause")["paused"]
    assert jetty.post(f"{path}/resume")
    assert jetty.request("PATCH", path, {"init_params_overrides": {"model": "small"}}).is_success
    assert jetty.request("DELETE", path).is_success
