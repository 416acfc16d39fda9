"""Over every quota, and however full the history of a thing is: Jetty's clients can stop it, too."""

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from domain.bounds.limits import Limits
from tests.web.jetty.conftest import Jetty
from tests.web.jetty.test_access import claim_path, key, trajectory
from tests.web.served import serve_further

LARGE = {"sample_size": "x" * 20_000}


def pause(jetty):
    path = jetty.routine(init_params_overrides=LARGE)
    return ("POST", f"{path}/pause"), ("PATCH", path, {"init_params_overrides": {}}), ("POST", f"{path}/resume")


def patch_paused(jetty):
    path = jetty.routine()
    return (
        ("PATCH", path, {"paused": True}),
        ("PATCH", path, {"paused": True, "init_params_overrides": LARGE}),
        ("PATCH", path, {"paused": False}),
    )


def delete_routine(jetty):
    path = jetty.routine()
    return ("DELETE", path), ("PATCH", path, {"init_params_overrides": LARGE}), None


def delete_task(jetty):
    task = jetty.task()
    jetty.routine(task)
    path = f"/tasks/{jetty.collection}/{task}"
    return ("DELETE", path), ("PUT", path, {"description": "x"}), None


def statuses(jetty, status):
    task = jetty.task()
    number = str(jetty.post(f"{jetty.routine(task)}/run-now")["trajectory_id"])
    path = f"/trajectory/{jetty.collection}/{task}"
    label = ("POST", f"{path}/{number}/labels", {"key": "a", "value": "b", "author": "c"})
    return ("POST", f"{path}/statuses", {number: status}), label, ("POST", f"{path}/statuses", {number: "pending"})


def finish(jetty, status):
    path = claim_path(jetty)
    return ("POST", f"{path}/finish", {"status": status}), ("POST", f"{path}/steps", {"step": "query"}), None


def revoke_key(jetty):
    return ("DELETE", key(jetty)[0]), None, None


def delete_variable(jetty):
    path = f"/collections/{jetty.collection}/environment"
    jetty.patch(path, {"environment_variables": {"A": "b", "C": "d"}})
    end = ("PATCH", path, {"environment_variables": {"A": None}})
    return (
        end,
        ("PATCH", path, {"environment_variables": {"E": "f"}}),
        (*end[:2], {"environment_variables": {"A": "g"}}),
    )


CASES: dict[str, Callable[..., Any]] = {
    "pause a routine": pause,
    "pause a routine by an update": patch_paused,
    "delete a routine": delete_routine,
    "delete a task with a routine": delete_task,
    **{f"move a trajectory to {status}": partial(statuses, status=status) for status in ("cancelled", "archived")},
    **{f"end a trajectory as {status}": partial(finish, status=status) for status in ("completed", "failed")},
    "revoke a key": revoke_key,
    "delete a variable": delete_variable,
}


@pytest.fixture(scope="module")
def over_rate(api):
    with serve_further(api, limits=Limits(max_company_events_per_minute=1, max_key_events_per_minute=1)) as here:
        yield here


@pytest.fixture(params=["over a rate", "with a full history"])
def bound(jetty, set_limits, request):
    """Lets the bound hold from now on: gives the client that meets it, and how it is refused then."""
    clients = []

    def meet():
        if request.param == "with a full history":
            set_limits(max_stream_events=1)
            return jetty, {422, 400}
        clients.append(Jetty(request.getfixturevalue("over_rate"), jetty.collection, jetty.key))
        return clients[0], {429}

    yield meet
    for client in clients:
        client.close()


@pytest.mark.parametrize("name", CASES)
def test_whoever_owns_it_can(jetty, bound, name):
    end, growth, further_growth = CASES[name](jetty)
    here, refused = bound()
    board = {"Authorization": f"Bearer {jetty.api.token}"}
    here.request("POST", f"/tasks/{jetty.collection}", {"name": "the-one-that-was-left"})

    def send(method, path, body=...):
        if not path.startswith("/api-keys"):
            return here.request(method, path, body)
        return httpx.request(method, f"{here.api.url}/api/v1{path}", headers=board)

    if growth is not None:
        assert send(*growth).status_code in refused
    answer = send(*end)

    assert answer.is_success, answer.text
    if further_growth is not None:
        assert send(*further_growth).status_code in refused


def test_a_trajectory_that_is_over_is_only_archived_once_more(jetty, bound):
    task = jetty.task()
    number = str(trajectory(jetty, task)["trajectory_id"])
    (here, _), path = bound(), f"/trajectory/{jetty.collection}/{task}/statuses"
    here.request("POST", f"/tasks/{jetty.collection}", {"name": "the-one-that-was-left"})

    answers = [here.request("POST", path, {number: status}) for status in ("failed", "completed", "archived", "failed")]

    assert [True, False, True, False] == [answer.is_success for answer in answers]
