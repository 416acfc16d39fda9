"""How the commands of operators find their database, and which login each of them needs."""

import json
import os

import pytest
from click.testing import CliRunner

from application.secrets.key_ring import KeyRing
from routines import bootstrap
from routines.cli import main
from routines.local.data_directory import DATA_DIR

BY_AUDITOR = (["log", "--limit", "1"], ["audit", "chain"], ["audit", "grants"])
BY_SERVICE = (["projections", "status"], ["projections", "isolated"], ["quotas"], ["secrets", "status"])
GONE = 2**22  # larger than any process id


def run_command(*arguments, **env):
    names = {"ROUTINES_DATABASE_URL": None, "ROUTINES_KEY_FILE": None}
    result = CliRunner().invoke(main, arguments, env=names | env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def data(tmp_path, settings, admin_url, system):
    """A data directory as that of a `routines up` on the database of the test."""
    bootstrap.first_board_token(settings)
    KeyRing(tmp_path / "secret.keys").create()
    write_state(tmp_path, settings.database_url, owner_database_url=admin_url)
    return tmp_path


def write_state(directory, url, **more):
    state = {"url": "http://127.0.0.1:3100", "pid": os.getpid(), "database_url": url, "processes": {}}
    state |= {"key_file": str(directory / "secret.keys")} | more
    (directory / "up.json").write_text(json.dumps(state))


def test_every_command_finds_the_system_that_runs_in_the_data_directory_and_says_so(data, monkeypatch):
    for command in [*BY_AUDITOR, *BY_SERVICE, ["projections", "rebuild", "routines"], ["secrets", "rotate-key"]]:
        result = run_command(*command, "--data-dir", str(data))
        assert result.exit_code == 0, result.output
        assert result.stderr.startswith("Database: test_")
        assert f" as routines_service, of the `routines up` in {data}\n" in result.stderr

    result = run_command("board-key", "--data-dir", str(data))
    assert result.stdout.startswith("pcp_board_")
    assert " as postgres, of the `routines up` in" in result.stderr

    monkeypatch.chdir(data)
    (data / DATA_DIR).symlink_to(data)
    assert run_command("log", "--limit", "1").exit_code == 0


def test_a_named_database_comes_before_the_one_of_the_data_directory(data, settings, tmp_path):
    write_state(data, "postgresql://nobody@127.0.0.1:1/nowhere")

    by_variable = run_command("log", "--limit", "1", ROUTINES_DATABASE_URL=settings.database_url)
    second_result = run_command(
        "log", "--limit", "1", "--data-dir", str(data), ROUTINES_DATABASE_URL=settings.database_url
    )
    option = ["--database", settings.database_url]
    by_option = run_command(
        "log", "--limit", "1", *option, ROUTINES_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nowhere"
    )

    assert [0, 0, 0] == [result.exit_code for result in (by_variable, second_result, by_option)]
    assert by_variable.stderr == by_option.stderr == ""
    assert "named by ROUTINES_DATABASE_URL, which comes before --data-dir" in second_result.stderr


def test_where_no_system_runs_the_ways_to_name_a_database_are_told(tmp_path):
    missing = run_command("log", "--data-dir", str(tmp_path / "other"))
    (tmp_path / "up.json").write_text("{}")
    broken_result = run_command("log", "--data-dir", str(tmp_path))
    wrong = run_command("log", "--database", "nonsense")

    assert [1, 1, 1] == [result.exit_code for result in (missing, broken_result, wrong)]
    assert (
        f"No database: no `routines up` runs in {tmp_path / 'other'}; start it, or name the --data-dir"
        in missing.stderr
    )
    assert "Or name one: --database, or ROUTINES_DATABASE_URL" in missing.stderr
    assert f"{tmp_path / 'up.json'} is not as `routines up` writes it" in broken_result.stderr
    assert "--database is not the URL of a Postgres database" in wrong.stderr


def test_a_system_that_was_killed_is_told_with_the_database_that_does_not_answer(tmp_path):
    write_state(tmp_path, "postgresql://somebody:secret@127.0.0.1:1/routines", pid=GONE)

    result = run_command("quotas", "--data-dir", str(tmp_path))

    assert result.exit_code == 1
    assert (
        f"Database: routines on 127.0.0.1:1 as somebody, of the `routines up` in {tmp_path}, though its"
        in result.stderr
    )
    assert f"process {GONE} has ended\n" in result.stderr
    assert "Connection refused" in result.stderr
    assert "secret" not in result.stderr


def test_an_auditor_reads_the_log_and_is_told_what_needs_the_service(data, settings, admin_url):
    auditor = admin_url.replace("postgres@", "routines_auditor@")
    keys = {"ROUTINES_KEY_FILE": str(data / "secret.keys")}

    log, as_service = (run_command("log", ROUTINES_DATABASE_URL=url).stdout for url in (auditor, settings.database_url))
    chain, grants = (run_command(*command, ROUTINES_DATABASE_URL=auditor) for command in BY_AUDITOR[1:])
    refused = [run_command(*command, **keys, ROUTINES_DATABASE_URL=auditor) for command in (*BY_SERVICE, ["board-key"])]

    assert log == as_service
    assert ["user.registered", "key.issued"] == [json.loads(line)["name"] for line in log.splitlines()]
    assert [0, 0] == [chain.exit_code, grants.exit_code]
    for result in refused:
        assert result.exit_code == 1
        assert "routines_auditor may not act as routines_service" in result.stderr
