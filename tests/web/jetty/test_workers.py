"""How a worker takes a trajectory, and what only it is told."""

from datetime import timedelta
from uuid import uuid4

import pytest

from application.use_cases import task_firing
from domain.events import TrajectoryLeaseExtended
from domain.jetty.trajectory import GIVEN_UP, LEASE, MOST_LAPSES


def claim_work(jetty, task=None):
    return jetty.post(f"/workers/{jetty.collection}/claim", {"worker": "w1", "task": task})


def path_of(jetty, claim):
    return f"/workers/{jetty.collection}/{claim['trajectory']['trajectory_id']}/{claim['claim_id']}"


@pytest.fixture(scope="module")
def untouched_claim(untouched):
    """The address of a claim of which all that is reported is refused."""
    untouched.post(f"/run/{untouched.collection}/{untouched.task()}", {})
    return path_of(untouched, claim_work(untouched))


def test_the_oldest_is_taken_first_and_by_one_only(jetty):
    task = jetty.task()
    ids = [jetty.post(f"/run/{jetty.collection}/{task}", {})["trajectory_id"] for _ in range(2)]

    claims = [claim_work(jetty) for _ in range(3)]

    assert [claim and claim["trajectory"]["trajectory_id"] for claim in claims] == [*ids, None]
    assert claims[0]["trajectory"]["status"] == "running"
    assert claims[0]["lease_s"] == 60


def test_a_worker_may_ask_for_one_task_only(jetty, other_collection):
    wanted = jetty.task()
    jetty.post(f"/run/{jetty.collection}/{jetty.task()}", {})
    number = jetty.post(f"/run/{jetty.collection}/{wanted}", {})["trajectory_id"]

    assert claim_work(jetty, wanted)["trajectory"]["trajectory_id"] == number
    assert jetty.request("POST", f"/workers/{jetty.collection}/claim", {"task": "nowhere"}).status_code == 404
    assert jetty.request("POST", f"/workers/{other_collection.collection}/claim", {}).status_code == 404


def test_only_the_worker_is_told_the_secrets(jetty):
    task = jetty.task()
    address = jetty.routine(task, secret_params={"api_key": "sk-secret-1"})
    jetty.patch(f"/collections/{jetty.collection}/environment", {"environment_variables": {"TOKEN": "env-secret"}})
    fired = jetty.post(f"{address}/run-now")

    claim = claim_work(jetty)

    assert claim["secret_params"] == {"api_key": "sk-secret-1"}
    assert claim["environment_variables"] == {"TOKEN": "env-secret"}
    read = jetty.request("GET", f"/db/trajectory/{jetty.collection}/{task}/{fired['trajectory_id']}").text
    assert "secret-1" not in read
    assert "env-secret" not in read


def test_a_routines_secrets_are_those_of_the_moment_of_the_claim(jetty):
    address = jetty.routine(secret_params={"api_key": "old"})
    jetty.post(f"{address}/run-now")
    jetty.patch(address, {"secret_params": {"api_key": "new"}})

    assert claim_work(jetty)["secret_params"] == {"api_key": "new"}


def test_steps_are_reported_and_the_end_frees_the_slot(jetty):
    address = jetty.routine()
    jetty.post(f"{address}/run-now")
    path = path_of(jetty, claim_work(jetty))

    jetty.post(f"{path}/steps", {"step": "query", "inputs": {"q": 1}, "outputs": {"rows": [1]}})
    done = jetty.post(f"{path}/finish", {})

    assert done["status"] == "completed"
    assert done["completed_steps"] == ["query"]
    assert done["steps"]["query"] == {
        "activity": "sql",
        "status": "completed",
        "inputs": {"q": 1},
        "outputs": {"rows": [1]},
    }
    assert jetty.get(f"{address}/runs")[0]["status"] == "completed"


def test_a_failure_says_why(jetty):
    jetty.post(f"/run/{jetty.collection}/{jetty.task()}", {})
    path = path_of(jetty, claim_work(jetty))

    failed = jetty.post(f"{path}/finish", {"status": "failed", "error": "no database"})

    assert (failed["status"], failed["error"]) == ("failed", "no database")


@pytest.mark.parametrize(
    ("action", "body"),
    [("extend", ...), ("steps", {"step": "query"}), ("usage", {"cost_micros": 1}), ("finish", {})],
)
def test_a_claim_that_is_not_the_current_one_is_a_409(jetty, action, body):
    jetty.post(f"/run/{jetty.collection}/{jetty.task()}", {})
    claim = claim_work(jetty)
    stale = path_of(jetty, {**claim, "claim_id": str(uuid4())})

    assert jetty.request("POST", f"{stale}/{action}", body).status_code == 409
    jetty.post(f"{path_of(jetty, claim)}/{action}", body)
    jetty.request("POST", f"{path_of(jetty, claim)}/finish", {})
    assert jetty.request("POST", f"{path_of(jetty, claim)}/{action}", body).status_code == 409


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("steps", {"step": "nowhere"}, 422),
        ("steps", {}, 422),
        ("finish", {"status": "running"}, 422),
        ("finish", {"status": "odd"}, 422),
        ("usage", {"cost_micros": -1}, 422),
        ("usage", {"costMicros": 1}, 422),
        ("log", {"part": 0, "output": []}, 422),
    ],
)
def test_what_does_not_fit_is_refused(untouched, untouched_claim, action, body, status):
    assert untouched.request("POST", f"{untouched_claim}/{action}", body).status_code == status


def test_who_is_not_heard_of_in_time_loses_it_to_another(jetty):
    number = jetty.post(f"/run/{jetty.collection}/{jetty.task()}", {})["trajectory_id"]
    first = claim_work(jetty)
    expire(jetty.api.system, number)

    second = claim_work(jetty)

    assert second["trajectory"]["trajectory_id"] == number
    assert jetty.request("POST", f"{path_of(jetty, first)}/finish", {}).status_code == 409
    jetty.post(f"{path_of(jetty, second)}/finish", {})


def expire(system, number):
    """As if a lease had been given so long ago that it is over."""
    stream_id = system.store.after(number - 1, 1)[0].stream_id

    def backdate(work):
        trajectory = task_firing.get_trajectory(work, stream_id)
        over = TrajectoryLeaseExtended(claim_id=trajectory.claim.id, until=work.now - LEASE - timedelta(seconds=1))
        work.record(stream_id, [over])

    system.executor.attempt(backdate)


def say(jetty, claim, part, *texts):
    output = [{"stream": "stdout", "text": text} for text in texts]
    return jetty.request("POST", f"{path_of(jetty, claim)}/log", {"part": part, "output": output})


def log_of(jetty, task, claim, after=0):
    number = claim["trajectory"]["trajectory_id"]
    return jetty.get(f"/db/trajectory/{jetty.collection}/{task}/{number}/log?after={after}")


def test_a_trajectorys_log_grows_while_it_is_worked_on_and_is_read_from_where_one_was(jetty):
    task = jetty.task()
    jetty.post(f"/run/{jetty.collection}/{task}", {})
    claim = claim_work(jetty, task)
    assert {"parts": [], "next": 0, "is_over": False} == log_of(jetty, task, claim)

    for part, text in enumerate(["begun\n", "more\n", "more\n"]):
        assert {"is_full": False} == say(jetty, claim, min(part, 1), text).json()  # the last is sent again
    first, *others = log_of(jetty, task, claim)["parts"]

    assert [claim["claim_id"]] * 2 == [part["claim_id"] for part in (first, *others)]
    assert [{"stream": "stdout", "text": "begun\n"}] == first["output"]
    assert others == log_of(jetty, task, claim, after=first["position"])["parts"]
    jetty.post(f"{path_of(jetty, claim)}/finish", {})
    assert log_of(jetty, task, claim)["is_over"]


def test_only_the_worker_that_has_the_trajectory_writes_its_log(jetty, other_collection):
    task = jetty.task()
    jetty.post(f"/run/{jetty.collection}/{task}", {})
    claim = claim_work(jetty, task)

    assert 409 == say(jetty, claim | {"claim_id": str(uuid4())}, 0, "not mine").status_code
    address = f"{path_of(jetty, claim)}/log"
    body = {"part": 0, "output": [{"stream": "stdout", "text": "x"}]}
    assert 404 == other_collection.request("POST", address, body).status_code
    jetty.post(f"{path_of(jetty, claim)}/finish", {})
    assert 409 == say(jetty, claim, 0, "late").status_code
    assert [] == log_of(jetty, task, claim)["parts"]


def test_the_log_of_a_routines_trajectory_is_that_of_its_run(jetty):
    task = jetty.task()
    jetty.post(f"{jetty.routine(task)}/run-now")
    claim = claim_work(jetty, task)

    say(jetty, claim, 0, "begun\n")

    [part] = jetty.api.get(f"/routine-runs/{claim['trajectory']['run_id']}/log")["parts"]
    assert (claim["claim_id"], [{"stream": "stdout", "text": "begun\n"}]) == (part["sessionId"], part["output"])


def usage_of(trajectory):
    return [trajectory.get(name) for name in ("cost_micros", "input_tokens", "output_tokens")]


def test_what_a_trajectory_has_used_is_shown_by_it_and_by_its_run(jetty):
    task = jetty.task()
    jetty.post(f"{jetty.routine(task)}/run-now")
    claim = claim_work(jetty, task)
    assert [None] * 3 == usage_of(claim["trajectory"])

    assert [5, 90, None] == usage_of(
        jetty.post(f"{path_of(jetty, claim)}/usage", {"cost_micros": 5, "input_tokens": 90})
    )
    jetty.post(f"{path_of(jetty, claim)}/usage", {"cost_micros": 7})
    assert [7, 90, None] == usage_of(jetty.post(f"{path_of(jetty, claim)}/finish", {}))

    run = f"/routine-runs/{claim['trajectory']['run_id']}"
    shown = jetty.api.get(run)
    assert (7, 90) == (shown["costMicros"], shown["inputTokens"])
    jetty.api.post(f"{run}/usage", {"outputTokens": 3})
    number = claim["trajectory"]["trajectory_id"]
    assert [7, 90, 3] == usage_of(jetty.get(f"/db/trajectory/{jetty.collection}/{task}/{number}"))


@pytest.mark.parametrize("calls", ["task", "routine"])
def test_a_companys_budget_holds_for_every_call_of_its_tasks(collection_of, calls):
    jetty = collection_of()
    task = jetty.task()
    call = (f"/run/{jetty.collection}/{task}", {}) if calls == "task" else (f"{jetty.routine(task)}/run-now",)
    jetty.post(*call)
    company = jetty.get("/collections/")[0]["company_id"]
    budget = {"budget": {"maxCostMicros": 10, "windowSec": 3600}}
    assert jetty.api.request("PATCH", f"/companies/{company}", budget).is_success

    path = path_of(jetty, claim_work(jetty))
    jetty.post(f"{path}/usage", {"cost_micros": 10})
    jetty.post(f"{path}/finish", {})
    refusal = jetty.request("POST", *call)

    assert refusal.status_code in (400, 422)
    assert "the budget of the company is used up: 0.00001 of 0.00001" in refusal.text


def test_a_trajectory_whose_workers_fall_silent_again_and_again_fails_with_the_reason(jetty):
    task = jetty.task()
    stuck, behind = (jetty.post(f"/run/{jetty.collection}/{task}", {})["trajectory_id"] for _ in range(2))
    for _ in range(MOST_LAPSES):
        assert stuck == claim_work(jetty, task)["trajectory"]["trajectory_id"]
        expire(jetty.api.system, stuck)

    assert behind == claim_work(jetty, task)["trajectory"]["trajectory_id"]
    trajectory = jetty.get(f"/db/trajectory/{jetty.collection}/{task}/{stuck}")
    assert ("failed", GIVEN_UP) == (trajectory["status"], trajectory["error"])
