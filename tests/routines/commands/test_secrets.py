"""`routines secrets` as an operator uses it, and where the key file comes from."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from uuid import uuid4

import pytest
from click.testing import CliRunner

from application.secrets.key_ring import KeyRing
from application.secrets.vault import Vault, VaultRecord
from application.use_cases import needed_secrets
from domain.webhooks.secret import Secret
from routines.cli import main
from routines.local.up import Options, System


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "secret.keys"
    KeyRing(path).create()
    return path


@pytest.fixture
def vault(system, path):
    """Twelve secrets under one key, and a hash."""
    vault = Vault(system.pool, KeyRing(path))
    secrets = [Secret(str(n).encode()) for n in range(12)] + [Secret(digest=bytes(32))]
    vault.keep(
        [
            VaultRecord(id=uuid4(), company_id=uuid4(), owner_id=uuid4(), purpose="webhook", secret=each)
            for each in secrets
        ]
    )
    return vault


@pytest.fixture
def routines(settings, path):
    def call(*arguments, **env):
        env = {"ROUTINES_DATABASE_URL": settings.database_url, "ROUTINES_KEY_FILE": str(path)} | env
        return CliRunner().invoke(main, arguments, env=env, prog_name="routines")

    return call


def test_a_rotation_from_beginning_to_end(routines, vault, path):
    [old] = vault.ring.ids()

    rotated = routines("secrets", "rotate-key")

    assert 0 == rotated.exit_code
    new = vault.ring.ids()[0]
    assert [new, old] == vault.ring.ids()
    assert {new: 12} == vault.keys_in_use()
    assert f"The current key is {new}, a new one\n12 of 12\n12 secrets were put under it.\n" in rotated.stdout
    assert f"routines secrets retire-key {old}\n" in rotated.stdout

    output = routines("secrets", "status").stdout
    assert [[new, "12", "current"], [old, "0", "may be retired"]] == [cells(line) for line in output.splitlines()[3:5]]

    assert f"{old} is no longer in the key file.\n" == routines("secrets", "retire-key", old).stdout
    assert [new] == KeyRing(path).ids()


def cells(line):
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_for_scripts_there_is_json_and_nothing_else(routines, vault):
    [old] = vault.ring.ids()
    old_status = json.loads(routines("secrets", "status", "--json").output)

    outcome = json.loads(routines("secrets", "rotate-key", "--json").output)

    new = vault.ring.ids()[0]
    assert {"current": old, "missing": [], "keys": [{"id": old, "secrets": 12}]} == old_status
    assert {"current": new, "new": True, "encrypted": 12, "retirable": [old], "missing": []} == outcome


def test_a_rotation_that_was_cut_off_goes_on_with_the_same_key(routines, vault):
    [old] = vault.ring.ids()
    new = vault.add_key()
    vault.reseal(5)
    assert "in use" in routines("secrets", "status").stdout

    outcome = json.loads(routines("secrets", "rotate-key", "--json").output)

    assert {"current": new, "new": False, "encrypted": 7, "retirable": [old], "missing": []} == outcome
    assert [new, old] == vault.ring.ids()
    assert "going on" not in routines("secrets", "rotate-key").stdout


def test_a_key_is_not_retired_while_it_is_needed(routines, vault):
    [old] = vault.ring.ids()
    new = vault.add_key()
    vault.reseal(5)

    assert (1, f"Error: 7 secrets are under key {old}: rotate first\n") == retire_key(routines, old)
    assert 1 == retire_key(routines, new)[0]
    assert (1, f"Error: Key nosuch is not in {vault.ring.path}\n") == retire_key(routines, "nosuch")
    assert [new, old] == vault.ring.ids()


def retire_key(routines, key_id):
    result = routines("secrets", "retire-key", key_id)
    return result.exit_code, result.stderr


def test_a_current_key_without_secrets_is_not_retired_either(routines, system, path):
    [key] = KeyRing(path).ids()

    assert (1, f"Error: Key {key} is the current one: rotate first\n") == retire_key(routines, key)


def test_secrets_of_a_lost_key_are_counted_and_the_rest_is_rotated(routines, vault, path, system):
    [lost] = vault.ring.ids()
    path.unlink()
    vault.ring.create()
    vault.keep(
        [VaultRecord(id=uuid4(), company_id=uuid4(), owner_id=uuid4(), purpose="webhook", secret=Secret(b"new"))]
    )

    output = routines("secrets", "status").stdout
    rotated = routines("secrets", "rotate-key")

    assert [lost, "12", "not in the key file"] in [cells(line) for line in output.splitlines()]
    assert 1 == rotated.exit_code
    assert f"12 secrets are under {lost}, which is not in the key file: put it back\n" == rotated.stderr
    assert {lost: 12, vault.ring.ids()[0]: 1} == vault.keys_in_use()


@pytest.mark.parametrize("command", [["status"], ["rotate-key"], ["retire-key", "k1"]])
def test_without_a_key_file_each_command_says_which_variable_is_missing(settings, command):
    env = {"ROUTINES_DATABASE_URL": settings.database_url, "ROUTINES_KEY_FILE": None}

    result = CliRunner().invoke(main, ["secrets", *command], env=env)

    assert 1 == result.exit_code
    assert "ROUTINES_KEY_FILE is not set" in result.stderr


def test_a_key_file_that_others_may_read_is_refused_by_name(routines, vault, path):
    path.chmod(0o644)

    result = routines("secrets", "rotate-key")

    assert 1 == result.exit_code
    assert f"{path} is open to others (mode 0644): chmod 600 it" in result.stderr


def test_the_help_shows_the_way_through_a_rotation(routines):
    assert all(word in routines("secrets", "--help").stdout for word in ("rotate-key", "status", "retire-key", "copy"))
    assert "Interrupted? Run it again" in routines("secrets", "rotate-key", "--help").stdout


def test_on_a_terminal_a_bar_shows_the_progress(vault, settings, path):
    env = {
        **os.environ,
        "ROUTINES_DATABASE_URL": settings.database_url,
        "ROUTINES_KEY_FILE": str(path),
        "TERM": "xterm",
    }

    with terminal() as (ours, theirs):
        argv = [sys.executable, "-m", "routines", "secrets", "rotate-key"]
        output = subprocess.run(argv, env=env, check=True, stdout=subprocess.PIPE, stderr=theirs).stdout
        progress = os.read(ours, 100_000)

    assert b"12/12" in progress
    assert b"of 12" not in output


@contextmanager
def terminal():
    ours, theirs = os.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


# Where the key file comes from


def test_init_makes_the_key_file_once_and_says_so(routines, admin_url, tmp_path):
    missing = tmp_path / "new.keys"
    env = {"ROUTINES_DATABASE_URL": admin_url, "ROUTINES_KEY_FILE": str(missing)}

    first, second = routines("init", **env), routines("init", **env)

    assert f"The keys of the secrets are new, in {missing}" in first.stdout
    assert 1 == len(KeyRing(missing).ids())
    assert "keys" not in second.stdout
    assert [0, 0] == [first.exit_code, second.exit_code]


def test_init_without_a_key_file_makes_none(routines, admin_url, tmp_path):
    result = routines("init", ROUTINES_DATABASE_URL=admin_url, ROUTINES_KEY_FILE=None)

    assert 0 == result.exit_code
    assert "keys" not in result.stdout


def test_a_lost_key_file_is_not_passed_off_as_new(routines, vault, admin_url, path):
    [lost] = vault.ring.ids()
    path.unlink()

    refused = routines("init", ROUTINES_DATABASE_URL=admin_url)

    assert 1 == refused.exit_code
    assert f"{path} is not there" in refused.output
    assert lost in refused.output
    assert "`routines secrets new-file`" in refused.output
    assert not path.exists()

    renewed = routines("secrets", "new-file")
    again, warned = routines("secrets", "new-file"), routines("init", ROUTINES_DATABASE_URL=admin_url)

    assert [0, 1, 0] == [renewed.exit_code, again.exit_code, warned.exit_code]
    assert f"secrets are encrypted under {lost}, which is not in {path}" in warned.stdout
    assert [lost] == json.loads(routines("secrets", "status", "--json").output)["missing"]


def test_a_new_key_file_is_that_of_the_data_directory_unless_a_variable_names_one(routines, path, tmp_path):
    data = tmp_path / "data"
    none = routines("secrets", "new-file", "--data-dir", str(data), ROUTINES_KEY_FILE=None)
    data.mkdir()

    command = routines("secrets", "new-file", "--data-dir", str(data), ROUTINES_KEY_FILE=None)
    again = routines("secrets", "new-file", "--data-dir", str(data), ROUTINES_KEY_FILE=None)
    refused_command = routines("secrets", "new-file", "--data-dir", str(data))

    assert f"No `routines up` has run in {data}" in none.output
    assert [1, 0, 1, 1] == [result.exit_code for result in (none, command, again, refused_command)]
    assert f"{data / 'secret.keys'} holds the new key {KeyRing(data / 'secret.keys').ids()[0]}" in command.output
    assert f"{path} is there" in refused_command.output


def test_up_does_not_start_over_a_lost_key_file(routines, vault, admin_url, path, tmp_path):
    path.unlink()

    refused = routines("up", "--data-dir", str(tmp_path / "data"), "--port", "0", ROUTINES_DATABASE_URL=admin_url)

    assert 1 == refused.exit_code
    assert f"{path} is not there" in refused.output


def test_the_system_hands_its_key_file_and_its_address_to_the_parts_that_need_them(tmp_path):
    keys = str(tmp_path / "secret.keys")
    system = System(Options(data_dir=tmp_path, port=8000))
    configured_system = System(
        Options(data_dir=tmp_path, port=8000, key_file="/keys", public_url="https://routines.example")
    )

    assert [keys, keys, None, keys] == handed_variables(system, "KEY_FILE")
    assert ["http://127.0.0.1:8000", None, None, None] == handed_variables(system, "PUBLIC_URL")
    assert ["/keys", "/keys", None, "/keys"] == handed_variables(configured_system, "KEY_FILE")
    assert ["https://routines.example", None, None, None] == handed_variables(configured_system, "PUBLIC_URL")


def handed_variables(system, name):
    return [part.env.get(f"ROUTINES_{name}") for part in system.parts("postgresql://here")]


def test_a_lost_key_is_forgotten_when_nothing_needs_its_secrets(routines, vault, path, monkeypatch):
    """Those of the vault here belong to nothing, as what is left behind when the database goes away."""
    [lost] = vault.ring.ids()
    refused_command = routines("secrets", "forget", lost)
    path.unlink()
    routines("secrets", "new-file")
    with monkeypatch.context() as patch:
        patch.setattr(needed_secrets, "USED", {})
        refused = routines("secrets", "forget", lost)
    assert 12 == vault.keys_in_use()[lost]

    forgotten, again = routines("secrets", "forget", lost), routines("secrets", "forget", lost)

    assert [1, 1, 0, 1] == [result.exit_code for result in (refused_command, refused, forgotten, again)]
    assert f"Key {lost} is in {path}, so its secrets can be read: retire it" in refused_command.output
    assert f"12 of 12 secrets under key {lost} are needed (12 of webhook): set them again" in refused.output
    assert f"12 secrets that nothing needs were deleted; none is under {lost} any more." in forgotten.stdout
    assert f"No secret is under key {lost}" in again.output
    assert {} == vault.keys_in_use()
