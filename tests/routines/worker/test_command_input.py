"""What a command is given: the document on its standard input, its variables, and no token."""

import json
import sys
from uuid import UUID, uuid4

import pytest

from tests.routines.worker.stub_server import COMPANY, ROUTINE, RUN, TOKEN, fire, read


def with_environment(stub, variables, missing=()):
    stub.open()
    stub.routines[ROUTINE] = {"id": ROUTINE, "env": {"A": {"type": "plain", "value": "***"}}, "triggers": []}
    stub.environment, stub.missing = variables, list(missing)


def test_the_environment_of_the_routine_is_the_commands_and_on_its_standard_input(stub, run_once, tmp_path):
    with_environment(stub, {"REGION": "eu", "PORT": "1"})

    assert 0 == run_once(*script_of(tmp_path)).exit_code

    assert {"REGION=eu", "PORT=1"} <= set((tmp_path / "env").read_text().splitlines())
    assert {"REGION": "eu", "PORT": "1"} == json.loads((tmp_path / "input").read_text())["environmentVariables"]


def test_what_the_environment_of_the_routine_holds_is_masked_in_whatever_the_command_prints(stub, run_once):
    with_environment(stub, {"API_KEY": "sk-1234567", "PORT": "5432"})
    split = "printf 'key sk-123'; sleep 0.1; echo 4567 $PORT"

    result = run_once("sh", "-c", f"{split}; ({split}) >&2; exit 3", options=["--json"])

    assert ["exit status 3: key *** 5432"] == stub.reasons
    assert ["exit status 3: key *** 5432\n\nkey *** 5432\n\n\nStandard error:\n\nkey *** 5432\n"] == stub.comments
    assert "sk-1234567" not in result.output


@pytest.mark.parametrize(
    ("variables", "missing", "reason"),
    [
        (
            {"LD_PRELOAD": "/tmp/x.so", "REGION": "eu"},
            [],
            "the routine's environment has LD_PRELOAD: programs take such",
        ),
        ({"ROUTINES_RUN_ID": "x"}, [], "the routine's environment has ROUTINES_RUN_ID: programs take such"),
        ({}, ["CRM_TOKEN"], "has variables that have no value any more: CRM_TOKEN"),
    ],
)
def test_a_run_whose_environment_cannot_be_given_fails_before_its_command(  # noqa: PLR0917 fixtures and what is given
    stub, run_once, tmp_path, variables, missing, reason
):
    with_environment(stub, variables, missing)

    run_once("touch", str(tmp_path / "started"))

    assert not (tmp_path / "started").exists()
    assert reason in stub.reasons[-1]


def test_a_variable_that_the_workers_operator_allows_is_given(stub, run_once, tmp_path):
    with_environment(stub, {"NODE_OPTIONS": "--trace-warnings"})

    assert 0 == run_once(*script_of(tmp_path), options=("--allow-env", "NODE_OPTIONS")).exit_code

    assert "NODE_OPTIONS=--trace-warnings" in (tmp_path / "env").read_text().splitlines()


def script_of(tmp_path):
    return "sh", "-c", f"cat > {tmp_path}/input; env > {tmp_path}/env"


def input_of(tmp_path):
    env = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines())
    return json.loads((tmp_path / "input").read_text()), env


def test_a_command_gets_the_issue_on_its_input_and_in_its_environment(stub, run_once, tmp_path):
    issue = stub.open(description="Bonjour\n")

    run_once(*script_of(tmp_path))

    document, env = input_of(tmp_path)
    assert issue | {"status": "in_progress"} == document["issue"] | {"checkoutRunId": None}
    assert document["issue"].items() <= document.items()
    assert UUID(env["ROUTINES_SESSION_ID"])
    assert {
        "ROUTINES_ISSUE_ID": issue["id"],
        "ROUTINES_ISSUE_IDENTIFIER": "ACM-1",
        "ROUTINES_ISSUE_TITLE": "Say hello",
        "ROUTINES_ROUTINE_ID": ROUTINE,
        "ROUTINES_RUN_ID": RUN,
        "ROUTINES_COMPANY_ID": COMPANY,
        "ROUTINES_URL": stub.url,
        "ROUTINES_OMITTED": "",
    }.items() <= env.items()
    assert "ROUTINES_AGENT_TOKEN" not in env


def test_a_command_gets_the_run_the_routine_the_trigger_the_payload_and_the_variables(stub, run_once, tmp_path):
    fire(stub, repository={"name": "café"}, variables={"branch": "main", "depth": 3, "forced": True})

    run_once(*script_of(tmp_path))

    document, env = input_of(tmp_path)
    assert stub.runs[RUN] == document["run"]
    assert stub.routines[ROUTINE] == document["routine"] | {"recentRuns": []}
    assert stub.routines[ROUTINE]["triggers"][1] == document["trigger"]
    assert stub.runs[RUN]["triggerPayload"] == document["payload"] == json.loads(env["ROUTINES_PAYLOAD"])
    assert {"branch": "main", "depth": 3, "forced": True} == document["variables"]
    assert ("2026-11-22T01:05:00.000Z", 1) == (document["plannedAt"], document["attempt"])
    assert "2026-11-22T02:05:00.000Z" == document["deadline"] == env["ROUTINES_DEADLINE"]
    assert {
        "ROUTINES_VARIABLE_branch": "main",
        "ROUTINES_VARIABLE_depth": "3",
        "ROUTINES_VARIABLE_forced": "true",
        "ROUTINES_TRIGGER_ID": document["trigger"]["id"],
        "ROUTINES_RUN_SOURCE": "webhook",
        "ROUTINES_PLANNED_AT": document["plannedAt"],
        "ROUTINES_ATTEMPT": "1",
    }.items() <= env.items()


def test_a_command_that_is_run_again_in_the_same_session_is_told_so(stub, run_once, tmp_path):
    session = uuid4()
    stub.open(status="in_progress", checkoutRunId=str(session))
    claims_path = tmp_path / "claims"
    claims_path.mkdir()
    (claims_path / f"{next(iter(stub.issues))}.{session}").write_bytes(b".")

    run_once(*script_of(tmp_path), options=["--state-dir", str(claims_path)])

    document, env = input_of(tmp_path)
    assert (2, "2") == (document["start"], env["ROUTINES_START"])
    assert (1, "1") == (document["attempt"], env["ROUTINES_ATTEMPT"])


def test_what_is_too_large_for_variables_is_on_the_input_only_and_named(stub, run_once, tmp_path, monkeypatch):
    monkeypatch.setenv("ROUTINES_PAYLOAD", "of the worker itself")
    monkeypatch.setenv("ROUTINES_VARIABLE_other", "of the worker itself")
    issue = fire(stub, text="x" * 1_000_000, variables={f"v{number}": "y" * 16_000 for number in range(5)})
    issue["title"] = "x" * 140_000

    result = run_once(*script_of(tmp_path))

    assert (0, "done") == (result.exit_code, issue["status"])
    document, env = input_of(tmp_path)
    assert (issue["title"], stub.runs[RUN]["triggerPayload"]) == (document["issue"]["title"], document["payload"])
    omitted = "ROUTINES_ISSUE_TITLE, ROUTINES_VARIABLE_v4, ROUTINES_PAYLOAD"
    assert omitted == env["ROUTINES_OMITTED"]
    assert f"on standard input only: {omitted}" in result.output
    assert not {"ROUTINES_ISSUE_TITLE", "ROUTINES_PAYLOAD", "ROUTINES_VARIABLE_other"} & env.keys()
    assert env["ROUTINES_VARIABLE_v3"]


def test_a_worker_keeps_its_tokens_from_its_command(stub, run_once, monkeypatch, tmp_path):
    monkeypatch.setenv("ROUTINES_AGENT_TOKEN", TOKEN)
    monkeypatch.setenv("JETTY_API_TOKEN", "mlc_another")
    monkeypatch.setenv("PAPERCLIP_API_KEY", TOKEN)
    stub.open()

    run_once(*script_of(tmp_path))

    assert not {"ROUTINES_AGENT_TOKEN", "JETTY_API_TOKEN", "PAPERCLIP_API_KEY"} & input_of(tmp_path)[1].keys()


def test_it_passes_its_token_on_where_it_is_told_to_and_masks_it_in_what_the_command_prints(stub, run_once):
    stub.open()
    script = (
        "import os, sys, time; token = os.environ['ROUTINES_AGENT_TOKEN']; print('key ' + token[:4], end='', flush=True);"
        "time.sleep(0.1); print(token[4:]); sys.stderr.write('x' * 200_000 + token * 2000 + '\\nbad ' + token); sys.exit(token == 'pcp_secret')"
    )

    result = run_once(sys.executable, "-S", "-c", script, options=["--pass-token"])

    assert "exit status 1" in stub.reasons[0]
    assert "key ***" in stub.comments[0]
    for text in (stub.comments[0], stub.reasons[0], result.output):
        assert "pcp_secret" not in text
        assert "***" in text


def test_an_issue_without_a_routine_has_empty_variables(stub, run_once):
    stub.open(originId=None, originRunId=None)

    run_once("sh", "-uc", 'echo "<$ROUTINES_ROUTINE_ID$ROUTINES_RUN_ID>"')

    assert ["<>\n"] == stub.comments


def test_a_command_need_not_read_its_input(stub, run_once):
    stub.open(description="x" * 1_000_000)

    assert 0 == run_once("true").exit_code


def test_a_command_is_told_how_often_its_issue_was_begun_on_any_machine(stub, run_once, tmp_path):
    stub.open(checkoutCount=2)

    run_once("sh", "-c", f"echo $ROUTINES_START > {tmp_path}/start")

    assert "3" == read(tmp_path / "start")


def test_a_title_with_a_nul_is_a_variable_without_it(stub, run_once):
    issue = stub.open("a\0b")

    run_once("sh", "-c", "printf %s $ROUTINES_ISSUE_TITLE")

    assert (["ab"], "done") == (stub.comments, issue["status"])
