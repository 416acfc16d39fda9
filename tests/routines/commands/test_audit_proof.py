"""From the running log to what others can check without it: export, verify, receipt, check, and keys."""

import json
from functools import partial
from pathlib import Path
from threading import Event as Stop
from uuid import uuid4

import pytest
from click.testing import CliRunner

from application.proof import log_key, signed_heads
from audit_verifier import cli as verifier
from domain.proof.checkpoints import head_of
from processes import notary as notaries
from processes.notary import Notary
from projections.proof import log_tree, witnessing
from projections.proof.log_tree import WHOLE_LOG
from routines import bootstrap
from routines.cli import main
from tests.api import Api
from tests.waiting import wait_for
from tests.witness import Cosigner


@pytest.fixture(scope="module")
def working_notary(api: Api, tmp_path_factory):
    """A notary is at work on the API's log; the verifier key."""
    key_file: Path = tmp_path_factory.mktemp("notary") / "log.key"
    bootstrap.make_log_key(str(key_file))
    with notaries.at_work(
        Notary(key_file, 3_600.0), partial(bootstrap.connect, api.system.settings), Stop(), api.system.outage
    ):
        key = log_key.read(key_file)
        yield key.verifier_key(key.name)


@pytest.fixture
def run_id(api: Api) -> str:
    company = api.company()
    agent, _ = api.agent(company)
    return str(api.post(f"/routines/{api.routine(company, agent)}/run", {"payload": {"invoice": 7}})["id"])


def run_command(api: Api, *arguments: object, login: str = "routines_service"):
    url = api.system.settings.database_url.replace("routines_service@", f"{login}@")
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env={"ROUTINES_DATABASE_URL": url})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_receipt_proves_a_run_to_whoever_has_the_key(api, working_notary, run_id, tmp_path):
    file = tmp_path / "run.receipt"

    assert run_command(api, "audit", "receipt", run_id, "--output", file)[0] == 0

    code, output = run_command(api, "audit", "check", file, "--key", working_notary)
    assert code == 0
    assert output.startswith(f"Run {run_id} is in the log ")
    assert "run.fired, position " in output
    code, output = run_command(api, "audit", "check", file, "--key", working_notary, "--json")
    body = json.loads(output)["events"][0]["body"]
    assert body["event"]["payload"] == {"invoice": 7}


def test_a_receipt_that_was_altered_proves_nothing(api, working_notary, run_id, tmp_path, capsys):
    file = tmp_path / "run.receipt"
    run_command(api, "audit", "receipt", run_id, "--output", file)
    receipt = json.loads(file.read_text())
    event = receipt["events"][0]
    proof = event["proof"]
    altered = {
        "another run": {**receipt, "run": str(uuid4())},
        "another payload": {**receipt, "events": [{**event, "body": event["body"].replace("7", "8")}]},
        "another leaf": {**receipt, "events": [{**event, "leaf": "B" + event["leaf"][1:]}]},
        "another place": {**receipt, "events": [{**event, "proof": proof.replace("\nindex ", "\nindex 1")}]},
        "a shorter proof": {
            **receipt,
            "events": [{**event, "proof": proof.replace(proof.split("\n")[2] + "\n", "", 1)}],
        },
        "another log": {**receipt, "events": [{**event, "proof": proof.replace("routines-log/", "routines-lot/")}]},
        "twice": {**receipt, "events": [event, event]},
        "no event": {**receipt, "events": []},
        "another format": {**receipt, "format": "other"},
        "no object": [],
    }
    for name, content in altered.items():
        file.write_text(json.dumps(content))
        assert verifier.main(["check", str(file), "--key", working_notary]) in {1, 2}, name
        assert capsys.readouterr().out == ""


def test_an_erased_body_leaves_the_rest_proved(api, working_notary, run_id, tmp_path):
    file = tmp_path / "run.receipt"
    run_command(api, "audit", "receipt", run_id, "--output", file)
    receipt = json.loads(file.read_text())
    del receipt["events"][0]["body"]
    file.write_text(json.dumps(receipt))

    code, output = run_command(api, "audit", "check", file, "--key", working_notary, "--json")

    assert code == 0
    assert json.loads(output)["events"][0]["body"] is None


def test_there_is_no_receipt_of_what_is_no_run(api, working_notary):
    company = api.company()

    assert run_command(api, "audit", "receipt", company) == (1, f"Error: There is no run {company}\n")
    assert run_command(api, "audit", "receipt", "x") == (1, "Error: x is no id of a run\n")


def test_without_a_signature_there_is_no_receipt_and_it_is_said_what_is_missing(api, run_id, monkeypatch):
    monkeypatch.setattr("routines.commands.audit.SIGNED_WITHIN_S", 0.0)
    monkeypatch.setattr(log_tree, "state_of", lambda *_: log_tree.TreeState())

    code, output = run_command(api, "audit", "receipt", run_id)

    assert code == 1
    assert "does a projector run, with ROUTINES_LOG_KEY_FILE?" in output


def test_an_auditor_exports_the_log_and_anybody_verifies_the_file(api, working_notary, run_id, tmp_path):
    api.request("GET", "/log/checkpoint?fresh=true")
    file = tmp_path / "log.ndjson"

    assert run_command(api, "audit", "export", "--output", file, login="routines_auditor")[0] == 0

    with file.open() as lines:
        header = json.loads(next(lines))
        assert len([json.loads(line) for line in lines]) == header["position"]
    assert head_of(header["checkpoint"]).size <= header["position"]
    code, output = run_command(api, "audit", "verify", "--export", file, "--key", working_notary, "--json")
    report = json.loads(output)
    assert (code, report["events"], report["checkpoints"], report["findings"]) == (0, header["position"], 1, [])


def test_an_auditor_verifies_the_database_and_the_service(api, working_notary):
    api.request("GET", "/log/checkpoint?fresh=true")
    url = api.system.settings.database_url.replace("routines_service@", "routines_auditor@")
    address = f"{api.url}/api/log"

    assert run_command(api, "audit", "verify", "--database", url, "--key", working_notary)[0] == 0
    code, output = run_command(api, "audit", "verify", "--url", address, "--token", api.token, "--key", working_notary)
    assert code == 0
    assert "nothing is wrong" in output
    code, output = run_command(api, "audit", "verify", "--url", address, "--token", "wrong", "--key", working_notary)
    assert (code, "answers 401" in output) == (2, True)


def test_the_help_is_that_of_the_verifier(api):
    assert "usage: routines audit verify" in run_command(api, "audit", "verify", "--help")[1]
    assert "usage: routines audit check" in run_command(api, "audit", "check", "--help")[1]


def test_a_new_key_keeps_the_one_before_and_prints_what_verifiers_need(api, tmp_path, monkeypatch):
    key_file = tmp_path / "log.key"
    monkeypatch.setenv("ROUTINES_LOG_KEY_FILE", str(key_file))

    code, output = run_command(api, "audit", "new-key", "--name", "example.org/log")
    first = log_key.read(key_file)
    assert (code, output.splitlines()[-1]) == (0, first.verifier_key("example.org/log"))
    code, output = run_command(api, "audit", "new-key")

    assert (code, f"{key_file}.1" in output) == (0, True)
    assert log_key.read(Path(f"{key_file}.1")).verifier_key("x") == first.verifier_key("x")
    assert signed_heads.path_beside(Path(f"{key_file}.1")).exists()
    assert log_key.read(key_file).name != "example.org/log"
    assert run_command(api, "audit", "new-key", "--name", "a b")[0] == 2
    monkeypatch.setenv("ROUTINES_LOG_KEY_FILE", str(tmp_path / "nowhere" / "log.key"))
    assert run_command(api, "audit", "new-key")[0] == 1


def test_the_trees_are_folded_again_on_request(api, working_notary):
    assert run_command(api, "audit", "rebuild-tree")[0] == 0

    with bootstrap.connect(api.system.settings) as conn:
        end = log_tree.log_end(conn)
    answer = api.request("GET", "/log/checkpoint?fresh=true")
    assert head_of(answer.text).size >= end
    with bootstrap.connect(api.system.settings) as conn:
        assert log_tree.state_of(conn, WHOLE_LOG).size >= end


def test_a_receipt_says_what_witnesses_have_seen_and_may_have_to(api, working_notary, run_id, tmp_path):
    cosigner, other = Cosigner("witness.example/w1"), Cosigner("witness.example/w2")
    with bootstrap.connect(api.system.settings) as conn:
        witnessing.name_witnesses(conn, [cosigner.verifier_key])
        run_command(api, "audit", "receipt", run_id, "--output", tmp_path / "unseen.receipt")
        (due,) = witnessing.due(conn, api.system.clock())
        witnessing.note_cosigned(conn, due, cosigner.line(due.checkpoint))

        assert run_command(api, "audit", "receipt", run_id, "--output", tmp_path / "run.receipt")[0] == 0
        assert (
            run_command(api, "audit", "export", "--output", tmp_path / "log.ndjson", login="routines_auditor")[0] == 0
        )
        witnessing.name_witnesses(conn, [])

    options = ("--key", working_notary, "--witness", cosigner.verifier_key)
    code, output = run_command(api, "audit", "check", tmp_path / "run.receipt", *options)
    assert (code, "witness.example/w1 has seen this log at 2026-11-29T" in output) == (0, True)
    assert run_command(api, "audit", "check", tmp_path / "unseen.receipt", *options)[0] == 1
    assert (
        run_command(api, "audit", "check", tmp_path / "run.receipt", *options, "--witness", other.verifier_key)[0] == 1
    )
    assert run_command(api, "audit", "verify", "--export", tmp_path / "log.ndjson", *options)[0] == 0


def test_an_auditor_verifies_what_witnesses_have_seen_in_the_database_and_over_http(api, working_notary, run_id):
    cosigner = Cosigner("witness.example/w1")
    options = ("--key", working_notary, "--witness", cosigner.verifier_key)
    url = api.system.settings.database_url.replace("routines_service@", "routines_auditor@")
    with bootstrap.connect(api.system.settings) as conn:
        log_tree.want_checkpoint(conn, WHOLE_LOG, 1)
        wait_for(lambda: log_tree.state_of(conn, WHOLE_LOG).checkpoint)
        assert run_command(api, "audit", "verify", "--database", url, *options)[0] == 1
        assert (
            run_command(api, "audit", "verify", "--url", f"{api.url}/api/log", "--token", api.token, *options)[0] == 1
        )
        witnessing.name_witnesses(conn, [cosigner.verifier_key])
        (due,) = witnessing.due(conn, api.system.clock())
        witnessing.note_cosigned(conn, due, cosigner.line(due.checkpoint))

        assert run_command(api, "audit", "verify", "--database", url, *options)[0] == 0
        assert (
            run_command(api, "audit", "verify", "--url", f"{api.url}/api/log", "--token", api.token, *options)[0] == 0
        )
        witnessing.name_witnesses(conn, [])
