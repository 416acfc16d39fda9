"""`routines worker` with a collection's key, against the running API."""

import json
import os
import signal
import subprocess
import sys

import pytest

from routines.worker.tasks import outputs_of
from tests.waiting import exists, wait_for


def command_of(jetty, *command, task=None, once=True):
    options = ["--url", jetty.api.url, *(["--task", task] if task else []), *(["--once"] if once else []), "--json"]
    return [sys.executable, "-m", "routines", "worker", *options, "--poll-s", "0.05", "--", *command]


def environment(jetty):
    return {**os.environ, "JETTY_API_TOKEN": jetty.key, "ROUTINES_AGENT_TOKEN": ""} | {"PYTHONUNBUFFERED": "1"}


def run(jetty, *command, **options):
    env = {name: value for name, value in environment(jetty).items() if name != "ROUTINES_AGENT_TOKEN"}
    return subprocess.run(
        command_of(jetty, *command, **options), env=env, capture_output=True, text=True, timeout=60, check=False
    )


def status(jetty, task, fired):
    return jetty.get(f"/db/trajectory/{jetty.collection}/{task}/{fired['trajectory_id']}")


def test_a_command_gets_parameters_and_secrets_and_its_json_becomes_the_outputs(jetty):
    task = jetty.task()
    address = jetty.routine(task, init_params_overrides={"sample_size": 7}, secret_params={"key": "sk-hidden"})
    jetty.patch(f"/collections/{jetty.collection}/environment", {"environment_variables": {"HOST": "db"}})
    fired = jetty.post(f"{address}/run-now")
    script = (
        "import json, os, sys; given = json.load(sys.stdin);"
        "print(json.dumps({'size': given['init_params']['sample_size'], 'known': given['secret_params']['key'].startswith('sk-'),"
        "'host': os.environ['HOST'], 'same': given['trajectory']['trajectory_id'] == int(os.environ['ROUTINES_TRAJECTORY_ID'])}))"
    )

    worked = run(jetty, sys.executable, "-c", script)

    assert worked.returncode == 0, worked.stderr
    assert json.loads(worked.stdout)["outcome"] == "completed"
    found = status(jetty, task, fired)
    assert found["status"] == "completed"
    assert found["steps"]["query"]["outputs"] == {"size": 7, "known": True, "host": "db", "same": True}
    assert "sk-hidden" not in worked.stdout + worked.stderr


def test_a_command_that_fails_fails_the_trajectory_with_the_reason(jetty):
    task = jetty.task()
    fired = jetty.post(f"/run/{jetty.collection}/{task}", {})

    worked = run(jetty, "sh", "-c", "echo oh no; exit 3")

    assert worked.returncode == 1
    found = status(jetty, task, fired)
    assert (found["status"], found["error"]) == ("failed", "exit status 3")
    assert found["steps"]["query"]["outputs"] == {"text": "oh no\n"}


def test_it_takes_one_task_only_where_it_is_told_to_and_ends_when_nothing_waits(jetty):
    wanted, other = jetty.task(), jetty.task()
    fired = [jetty.post(f"/run/{jetty.collection}/{task}", {}) for task in (other, wanted)]

    worked = run(jetty, "true", task=wanted)

    assert worked.returncode == 0
    assert status(jetty, wanted, fired[1])["status"] == "completed"
    assert status(jetty, other, fired[0])["status"] == "pending"


def test_a_worker_that_is_told_to_stop_hands_back_what_it_has(jetty):
    task = jetty.task()
    fired = jetty.post(f"/run/{jetty.collection}/{task}", {})
    env = {name: value for name, value in environment(jetty).items() if name != "ROUTINES_AGENT_TOKEN"}
    working = subprocess.Popen(command_of(jetty, "sleep", "60", once=False), env=env, stderr=subprocess.DEVNULL)
    wait_for(lambda: status(jetty, task, fired)["status"] == "running")

    working.send_signal(signal.SIGTERM)
    working.wait(20)

    assert not exists(working.pid)
    assert status(jetty, task, fired)["status"] == "pending"


def test_a_key_that_is_none_is_a_clear_error(jetty):
    jetty.key = "mlc_nonsense"

    worked = run(jetty, "true")

    assert worked.returncode == 2
    assert "does not take the token" in worked.stderr


@pytest.mark.parametrize(
    ("text", "steps", "outputs"),
    [
        ("hello", ["a", "b"], {"b": {"text": "hello"}}),
        ('{"x": 1}', ["a", "b"], {"b": {"x": 1}}),
        ('{"a": {"x": 1}, "b": {}}', ["a", "b"], {"a": {"x": 1}, "b": {}}),
        ('{"a": 1}', ["a", "b"], {"b": {"a": 1}}),
        ("[1]", ["a"], {"a": {"text": "[1]"}}),
        ("", ["a"], {}),
        ("hello", [], {"run": {"text": "hello"}}),
    ],
)
def test_what_a_command_says_is_the_outputs_of_its_steps(text, steps, outputs):
    assert outputs_of(text, steps) == outputs
