"""How a worker takes a trajectory, and what only it is told."""

from datetime import timedelta
from uuid import uuid4

import pytest

from application.use_cases import task_firing
from domain.events import TrajectoryLeaseExtended
from domain.jetty.trajectory import LEASE


def claimed(jetty, task=None):
    return jetty.post(f"/workers/{jetty.collection}/claim", {"worker": "w1", "task": task})


def path_of(jetty, claim):
    return f"/workers/{jetty.collection}/{claim['trajectory']['trajectory_id']}/{claim['claim_id']}"


def test_the_oldest_is_taken_first_and_by_one_only(jetty):
    task = jetty.task()
    ids = [jetty.post(f"/run/{jetty.collection}/{task}", {})["trajectory_id"] for _ in range(2)]

    claims = [claimed(jetty) for _ in range(3)]

    assert [claim and claim["trajectory"]["trajectory_id"] for claim in claims] == [*ids, None]
    assert claims[0]["trajectory"]["status"] == "running"
    assert claims[0]["lease_s"] == 60


def test_a_worker_may_ask_for_one_task_only(jetty, other):
    wanted = jetty.task()
    jetty.post(f"/run/{jetty.collection}/{jetty.task()}", {})
    number = jetty.post(f"/run/{jetty.collection}/{wanted}", {})["trajectory_id"]

    assert claimed(jetty, wanted)["trajectory"]["trajectory_id"] == number
    assert jetty.request("POST", f"/workers/{jetty.collection}/claim", {"task": "nowhere"}).status_code == 404
    assert jetty.request("POST", f"/workers/{other.collection}/claim", {}).status_code == 404


def test_only_the_worker_is_told_the_secrets(jetty):
    task = jetty.task()
    address = jetty.routine(task, secret_params={"api_key": "sk-secret-1"})
    jetty.patch(f"/collections/{jetty.collection}/environment", {"environment_variables": {"TOKEN": "env-secret"}})
    fired = jetty.post(f"{address}/run-now")

    claim = claimed(jetty)

    assert claim["secret_params"] == {"api_key": "sk-secret-1"}
    assert claim["environment_variables"] == {"TOKEN": "env-secret"}
    read = jetty.request("GET", f"/db/trajectory/{jetty.collection}/{task}/{fired['trajectory_id']}").text
    assert "secret-1" not in read
    assert "env-secret" not in read


def test_a_routines_secrets_are_those_of_the_moment_of_the_claim(jetty):
    address = jetty.routine(secret_params={"api_key": "old"})
    jetty.post(f"{address}/run-now")
    jetty.patch(address, {"secret_params": {"api_key": "new"}})

    assert claimed(jetty)["secret_params"] == {"api_key": "new"}


def test_steps_are_reported_and_the_end_frees_the_slot(jetty):
    address = jetty.routine()
    jetty.post(f"{address}/run-now")
    path = path_of(jetty, claimed(jetty))

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
    path = path_of(jetty, claimed(jetty))

    failed = jetty.post(f"{path}/finish", {"status": "failed", "error": "no database"})

    assert (failed["status"], failed["error"]) == ("failed", "no database")


@pytest.mark.parametrize(
    ("action", "body"),
    [("extend", ...), ("steps", {"step": "query"}), ("finish", {}), ("finish", {"status": "failed"})],
)
def test_a_claim_that_is_not_the_current_one_is_a_409(jetty, action, body):
    jetty.post(f"/run/{jetty.collection}/{jetty.task()}", {})
    claim = claimed(jetty)
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
    ],
)
def test_what_does_not_fit_is_refused(jetty, action, body, status):
    jetty.post(f"/run/{jetty.collection}/{jetty.task()}", {})
    path = path_of(jetty, claimed(jetty))

    assert jetty.request("POST", f"{path}/{action}", body).status_code == status


def test_who_is_not_heard_of_in_time_loses_it_to_another(jetty):
    number = jetty.post(f"/run/{jetty.collection}/{jetty.task()}", {})["trajectory_id"]
    first = claimed(jetty)
    expire(jetty.api.system, number)

    second = claimed(jetty)

    assert second["trajectory"]["trajectory_id"] == number
    assert jetty.request("POST", f"{path_of(jetty, first)}/finish", {}).status_code == 409
    jetty.post(f"{path_of(jetty, second)}/finish", {})


def expire(system, number):
    """As if a lease had been given so long ago that it is over."""
    stream_id = system.store.after(number - 1, 1)[0].stream_id

    def backdate(work):
        trajectory = task_firing.present(work, stream_id)
        over = TrajectoryLeaseExtended(claim_id=trajectory.claim.id, until=work.now - LEASE - timedelta(seconds=1))
        work.record(stream_id, [over])

    system.executor.attempt(backdate)
