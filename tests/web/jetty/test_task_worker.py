"""`routines worker` with a collection's key, against the running API."""

import json
import os
import signal
import subprocess
import sys
from uuid import UUID

import pytest

from application.use_cases import named_secrets
from domain.events import CompanyEnvironmentChanged
from routines.worker.environment import is_dangerous
from routines.worker.tasks import outputs_of
from tests.waiting import exists, wait_for

ROW = f"[NaN, {'1, ' * 50_000}1]"


def command_of(jetty, *command, task=None, once=True, more=()):
    options = [
        "--url",
        jetty.api.url,
        *(["--task", task] if task else []),
        *(["--once"] if once else []),
        "--json",
        *more,
    ]
    return [sys.executable, "-m", "routines", "worker", *options, "--poll-s", "0.05", "--", *command]


def environment(jetty):
    return {**os.environ, "JETTY_API_TOKEN": jetty.key, "ROUTINES_AGENT_TOKEN": ""} | {"PYTHONUNBUFFERED": "1"}


def run_worker(jetty, *command, env=(), **options):
    env = {name: value for name, value in environment(jetty).items() if name != "ROUTINES_AGENT_TOKEN"} | dict(env)
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

    worked = run_worker(jetty, sys.executable, "-c", script)

    assert worked.returncode == 0, worked.stderr
    assert json.loads(worked.stdout)["outcome"] == "completed"
    trajectory = status(jetty, task, fired)
    assert trajectory["status"] == "completed"
    assert trajectory["steps"]["query"]["outputs"] == {"size": 7, "known": True, "host": "db", "same": True}
    assert "sk-hidden" not in worked.stdout + worked.stderr


def test_several_trajectories_are_worked_on_at_once(jetty, tmp_path):
    task = jetty.task()
    fired = [jetty.post(f"/run/{jetty.collection}/{task}", {}) for _ in range(3)]
    together = f"""
        touch {tmp_path}/begun.$ROUTINES_TRAJECTORY_ID
        until test $(ls {tmp_path}/begun.* | wc -l) -ge 3; do sleep 0.05; done"""

    worked = run_worker(jetty, "sh", "-c", together, more=["--concurrency", "3"])

    assert worked.returncode == 0, worked.stderr
    assert {"completed"} == {status(jetty, task, one)["status"] for one in fired}
    assert 3 == len(worked.stdout.splitlines())


def test_a_command_that_fails_fails_the_trajectory_with_the_reason(jetty):
    task = jetty.task()
    fired = jetty.post(f"/run/{jetty.collection}/{task}", {})

    worked = run_worker(jetty, "sh", "-c", "echo oh no; exit 3")

    assert worked.returncode == 1
    trajectory = status(jetty, task, fired)
    assert (trajectory["status"], trajectory["error"]) == ("failed", "exit status 3")
    assert trajectory["steps"]["query"]["outputs"] == {"text": "oh no\n"}


def test_standard_error_breaks_no_json_and_gives_the_reason_of_a_failure(jetty):
    task = jetty.task()
    good, bad = (jetty.post(f"/run/{jetty.collection}/{task}", {}) for _ in range(2))
    script = (
        "import os, sys; print('warning', os.environ.get('JETTY_API_TOKEN'), file=sys.stderr); print('{\"x\": 1}');"
        f"sys.exit(3 if os.environ['ROUTINES_TRAJECTORY_ID'] == '{bad['trajectory_id']}' else 0)"
    )

    worked = run_worker(jetty, sys.executable, "-c", script)

    assert worked.returncode == 1
    assert "  | warning None" in worked.stderr
    assert [json.loads(line)["error_output"] for line in worked.stdout.splitlines()] == ["warning None\n"] * 2
    for fired, ending in [(good, ("completed", None)), (bad, ("failed", "exit status 3: warning None"))]:
        trajectory = status(jetty, task, fired)
        assert (trajectory["status"], trajectory["error"]) == ending
        assert trajectory["steps"]["query"]["outputs"] == {"x": 1}


def test_a_json_result_is_kept_whole_or_refused_and_a_long_text_is_cut_in_the_middle(jetty):
    task = jetty.task()
    fired = {
        size: jetty.post(f"/run/{jetty.collection}/{task}", {"init_params": {"size": size}})
        for size in (150_000, 700_000, 1_000_001, -150_000)
    }
    script = (
        "import json, sys; size = json.load(sys.stdin)['init_params']['size'];"
        "print(json.dumps({'x': 'y' * size}) if size > 0 else 'a' + 'y' * -size, end='')"
    )

    run_worker(jetty, sys.executable, "-c", script)

    whole, refused, cut, text = (status(jetty, task, fired[size]) for size in fired)
    assert (whole["status"], whole["steps"]["query"]["outputs"]) == ("completed", {"x": "y" * 150_000})
    assert refused["status"] == cut["status"] == "failed"
    assert "the outputs were refused (422: " in refused["error"]
    assert cut["error"] == "the output is JSON of more than 1000000 characters"
    left_out = "\n[... 50001 bytes are left out here ...]\n"
    assert text["steps"]["query"]["outputs"] == {"text": f"a{'y' * 49_999}{left_out}{'y' * 50_000}"}


def test_a_trajectory_that_is_ended_by_somebody_else_stops_its_command(jetty):
    task = jetty.task()
    fired = jetty.post(f"/run/{jetty.collection}/{task}", {})
    env = {name: value for name, value in environment(jetty).items() if name != "ROUTINES_AGENT_TOKEN"}
    script = "echo $JETTY_API_TOKEN; exec sleep 60"
    working = subprocess.Popen(
        command_of(jetty, "sh", "-c", script, more=["--pass-token"]), env=env, stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: status(jetty, task, fired)["status"] == "running")

    jetty.post(f"/trajectory/{jetty.collection}/{task}/statuses", {str(fired["trajectory_id"]): "cancelled"})
    line = json.loads(working.communicate(timeout=60)[0])

    assert working.returncode == 1
    assert (line["outcome"], line["reason"], line["output"]) == ("stopped", "the trajectory is cancelled", "***\n")
    assert status(jetty, task, fired)["status"] == "cancelled"


def log_of(jetty, task, fired):
    parts = jetty.get(f"/db/trajectory/{jetty.collection}/{task}/{fired['trajectory_id']}/log")["parts"]
    return [(piece["stream"], piece["text"]) for part in parts for piece in part["output"]]


def test_what_a_command_prints_is_in_the_log_while_it_runs(jetty, tmp_path):
    task = jetty.task()
    fired = jetty.post(f"/run/{jetty.collection}/{task}", {})
    script = f"echo begun; until test -e {tmp_path}/seen; do sleep 0.05; done; echo $JETTY_API_TOKEN >&2"
    working = subprocess.Popen(
        command_of(jetty, "sh", "-c", script, more=["--pass-token"]), env=environment(jetty), stdout=subprocess.PIPE
    )

    wait_for(lambda: log_of(jetty, task, fired) == [("stdout", "begun\n")])
    assert "running" == status(jetty, task, fired)["status"]
    (tmp_path / "seen").touch()
    working.communicate(timeout=60)

    assert [("stdout", "begun\n"), ("stderr", "***\n")] == log_of(jetty, task, fired)
    assert "completed" == status(jetty, task, fired)["status"]


def test_what_a_command_says_that_it_has_used_is_added_to_what_was_used_before(jetty):
    task = jetty.task()
    fired = jetty.post(f"/run/{jetty.collection}/{task}", {})
    claim = jetty.post(f"/workers/{jetty.collection}/claim", {})
    earlier = f"/workers/{jetty.collection}/{fired['trajectory_id']}/{claim['claim_id']}"
    jetty.post(f"{earlier}/usage", {"cost_micros": 1_000, "input_tokens": 5})
    jetty.post(f"{earlier}/finish", {"status": "pending"})

    run_worker(jetty, "sh", "-c", """echo '{"total_cost_usd": 0.25, "usage": {"output_tokens": 8}}'; exit 3""")

    trajectory_status = status(jetty, task, fired)
    assert "failed" == trajectory_status["status"]
    assert (251_000, 5, 8) == (
        trajectory_status["cost_micros"],
        trajectory_status["input_tokens"],
        trajectory_status["output_tokens"],
    )


def test_what_a_command_is_handed_as_a_secret_is_masked_wherever_it_is_shown(jetty):
    task = jetty.task()
    jetty.patch(
        f"/collections/{jetty.collection}/environment", {"environment_variables": {"API_KEY": "key-of-the-env"}}
    )
    secret = {"secret_params": {"token": "sk-of-the-call"}}
    fired = jetty.post(f"/run/{jetty.collection}/{task}", secret)
    script = """
        printf key-of-; sleep 0.1; printf 'the-env\n' >&2
        python3 -c 'import json, sys; print(json.load(sys.stdin)["secret_params"])'; echo "lost $API_KEY" >&2; exit 3"""

    worked = run_worker(jetty, "sh", "-c", script)

    trajectory_status = status(jetty, task, fired)
    assert "exit status 3: lost ***" == trajectory_status["error"]
    assert {"text": "key-of-{'token': '***'}\n"} == trajectory_status["steps"]["query"]["outputs"]
    for shown in (worked.stdout, worked.stderr, json.dumps(trajectory_status), json.dumps(log_of(jetty, task, fired))):
        assert "the-call" not in shown
        assert "key-of-the-env" not in shown


def test_it_takes_one_task_only_where_it_is_told_to_and_ends_when_nothing_waits(jetty):
    wanted, other_collection = jetty.task(), jetty.task()
    fired = [jetty.post(f"/run/{jetty.collection}/{task}", {}) for task in (other_collection, wanted)]

    worked = run_worker(jetty, "true", task=wanted)

    assert worked.returncode == 0
    assert status(jetty, wanted, fired[1])["status"] == "completed"
    assert status(jetty, other_collection, fired[0])["status"] == "pending"


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

    worked = run_worker(jetty, "true")

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
        ('{"loss": NaN}', ["a"], {"a": {"text": '{"loss": NaN}'}}),
        (ROW, ["a"], {"a": {"text": ROW}}),
        ("", ["a"], {}),
        ("hello", [], {"run": {"text": "hello"}}),
    ],
)
def test_what_a_command_says_is_the_outputs_of_its_steps(text, steps, outputs):
    assert outputs_of(text, steps) == outputs


SET = "/collections/{}/environment"


def set_environment(jetty, variables):
    return jetty.patch(SET.format(jetty.collection), {"environment_variables": variables})


def store_environment(jetty, variables):
    """As if an earlier version had stored what is refused now."""
    company_id = UUID(jetty.get("/collections/")[0]["company_id"])

    def change(work):
        sealed = named_secrets.seal(work, company_id, "environment", variables, company_id)
        work.record(company_id, [CompanyEnvironmentChanged(environment=sealed)])

    jetty.api.system.executor.attempt(change)


def test_a_collections_environment_chooses_no_code_that_a_worker_runs(jetty, tmp_path):
    trap, mark = tmp_path / "trap", tmp_path / "ran"
    trap.write_text(f"touch {mark}\n")
    set_environment(jetty, {"BASH_ENV": str(trap), "GREETING": "hello"})
    task = jetty.task()
    fired = jetty.post(f"/run/{jetty.collection}/{task}", {})

    worked = run_worker(jetty, "bash", "-c", "true")

    assert worked.returncode == 1, worked.stderr
    assert not mark.exists()
    trajectory = status(jetty, task, fired)
    assert trajectory["status"] == "failed"
    assert "environment has BASH_ENV" in trajectory["error"]
    assert "--allow-env" in trajectory["error"]


def test_what_the_workers_operator_allows_is_taken(jetty, tmp_path):
    trap, mark = tmp_path / "trap", tmp_path / "ran"
    trap.write_text(f"touch {mark}\n")
    set_environment(jetty, {"BASH_ENV": str(trap), "TZDIR": "/tmp"})
    task = jetty.task()
    fired = jetty.post(f"/run/{jetty.collection}/{task}", {})

    worked = run_worker(jetty, "bash", "-c", "true", more=["--allow-env", "BASH_ENV", "--allow-env", "TZDIR"])

    assert worked.returncode == 0, worked.stderr
    assert mark.exists()
    assert status(jetty, task, fired)["status"] == "completed"


def test_the_command_is_found_by_the_workers_own_path(jetty, tmp_path):
    false = tmp_path / "true"
    false.write_text("#!/bin/sh\nexit 9\n")
    false.chmod(0o755)
    set_environment(jetty, {"PATH": str(tmp_path)})
    task = jetty.task()
    fired = jetty.post(f"/run/{jetty.collection}/{task}", {})

    run_worker(jetty, "true", env={"ROUTINES_WORKER_ALLOW_ENV": "PATH TZDIR"})

    assert status(jetty, task, fired)["status"] == "completed"


def test_old_names_that_cannot_be_variables_are_left_out_and_the_worker_says_so(jetty):
    store_environment(jetty, {"A=B": "x", "": "y", "NUL": "a\0b", "\x1b[2J": "z", "GOOD": "g"})
    task = jetty.task()
    fired = jetty.post(f"/run/{jetty.collection}/{task}", {})

    worked = run_worker(jetty, "sh", "-c", "echo $GOOD")

    assert worked.returncode == 0, worked.stderr
    assert status(jetty, task, fired)["steps"]["query"]["outputs"] == {"text": "g\n"}
    assert "A=B, , NUL, \\x1b[2J" in worked.stderr


def test_an_environment_that_is_too_large_fails_its_trajectory_and_the_worker_goes_on(jetty):
    store_environment(jetty, {"LARGE": "x" * 200_000})
    task = jetty.task()
    fired = [jetty.post(f"/run/{jetty.collection}/{task}", {}) for _ in range(2)]

    worked = run_worker(jetty, "true")

    assert worked.returncode == 1, worked.stderr
    for one in fired:
        assert status(jetty, task, one)["error"] == "cannot run true: Argument list too long"


SAID = {
    "deep": "[" * 50_000,
    "no number": '{"loss": NaN}',
    "huge": f'{{"x": {"9" * 400}}}',
    "endless": '{"x": 1e999}',
    "half a character": '{"x": "\\ud800"}',
    "NUL": '{"x": "\\u0000"}',
    "nested": '{"x":' * 500 + "1" + "}" * 500,
}


def test_whatever_a_command_says_ends_its_trajectory_and_the_worker_goes_on(jetty, tmp_path):
    task = jetty.task()
    fired = {name: jetty.post(f"/run/{jetty.collection}/{task}", {}) for name in (*SAID, "in order")}
    for name, one in fired.items():
        (tmp_path / str(one["trajectory_id"])).write_text(SAID.get(name, '{"x": 1}'))

    worked = run_worker(jetty, "sh", "-c", f"cat {tmp_path}/$ROUTINES_TRAJECTORY_ID")

    assert worked.returncode in {0, 1}, worked.stderr
    ended = {name: status(jetty, task, one)["status"] for name, one in fired.items()}
    assert "completed" == ended.pop("in order")
    assert set(ended.values()) <= {"completed", "failed"}, ended


@pytest.mark.parametrize(
    "name",
    [
        *(
            "PATH",
            "HOME",
            "IFS",
            "ENV",
            "PS4",
            "LD_PRELOAD",
            "DYLD_INSERT_LIBRARIES",
            "BASH_ENV",
            "BASH_FUNC_x",
            "PERL5OPT",
        ),
        *("PYTHONSTARTUP", "PYTHONPATH", "NODE_OPTIONS", "RUBYOPT", "GIT_SSH_COMMAND", "JAVA_TOOL_OPTIONS"),
        *("_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "GCONV_PATH", "LOCPATH", "SSL_CERT_FILE", "HTTPS_PROXY", "http_proxy"),
        *("no_proxy", "PAGER", "EDITOR", "ROUTINES_URL", "ROUTINES_AGENT_TOKEN", "JETTY_API_TOKEN", "PGSERVICEFILE"),
        *("npm_config_script_shell", "MAKEFLAGS", "TAR_OPTIONS", "LESSOPEN", "RUSTC_WRAPPER", "TMPDIR"),
        *("ANSIBLE_CONFIG", "TF_CLI_CONFIG_FILE", "CLOUDSDK_CONFIG", "FZF_DEFAULT_COMMAND", "INPUTRC", "KUBE_EDITOR"),
        *(
            "HELM_PLUGINS",
            "CMAKE_TOOLCHAIN_FILE",
            "PKG_CONFIG_PATH",
            "MYVIMRC",
            "PHP_INI_SCAN_DIR",
            "VAULT_ADDR",
            "ENV",
        ),
        *("AWS_CONFIG_FILE", "AWS_ENDPOINT_URL_S3", "COMPOSER_HOME", "MSBUILDSDKSPATH", "GNUPGHOME", "PGSERVICEFILE"),
    ],
)
def test_what_programs_take_for_an_order_is_dangerous(name):
    assert is_dangerous(name)


@pytest.mark.parametrize(
    "name", ["TOKEN", "HOST", "API_KEY", "DATABASE_URL", "TEXT", "MYSQL_PASSWORD", "TZ", "LANG", "A", "_"]
)
def test_what_is_data_is_not(name):
    assert not is_dangerous(name)
