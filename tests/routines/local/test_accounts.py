import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from routines.errors import CannotStart
from routines.local import accounts
from routines.local.accounts import Account
from routines.postgres.access import Login, ident
from tests.strangers import NOBODY, PARTS

ELSEWHERE = Path("/nonexistent")


class Machine:
    """A machine with these accounts, on which we are root."""

    def __init__(self, monkeypatch, *names):
        self.said = []
        self.commands = []
        self.entries = {"nobody": entry("nobody", 65534)} | {name: entry(name, 900 + n) for n, name in enumerate(names)}
        self.fails = False
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(pwd, "getpwnam", self.entries.__getitem__)
        monkeypatch.setattr(subprocess, "run", self.run)
        monkeypatch.setattr(shutil, "which", lambda name, **_: f"/usr/sbin/{name}")

    def run(self, command, **_):
        self.commands.append(command)
        if not self.fails:
            self.entries[command[-1]] = entry(command[-1], 950 + len(self.commands))
        return subprocess.CompletedProcess(command, int(self.fails), "", "useradd: cannot lock /etc/passwd")


def entry(name, uid):
    return pwd.struct_passwd((name, "x", uid, uid, "", "/nonexistent", "/usr/sbin/nologin"))


@pytest.fixture
def machine(monkeypatch):
    return lambda *names: Machine(monkeypatch, *names)


def test_accounts_that_are_there_are_taken(machine):
    bare = machine("postgres", "routines")

    assert "routines" == accounts.of_parts(bare.said.append).name
    assert "postgres" == accounts.of_cluster(ELSEWHERE, None, bare.said.append).name
    assert [] == bare.said == bare.commands


def test_an_account_for_our_cluster_comes_before_that_of_another_postgres(machine):
    assert "routines-db" == accounts.of_cluster(ELSEWHERE, None, machine("postgres", "routines-db").said.append).name


def test_on_a_bare_machine_root_makes_system_accounts_and_says_so(machine):
    bare = machine()

    parts = accounts.of_parts(bare.said.append)
    cluster = accounts.of_cluster(ELSEWHERE, parts, bare.said.append)

    assert ["routines", "routines-db"] == [parts.name, cluster.name]
    assert (parts.gid,) == cluster.groups
    assert all({"--system", "--no-create-home", "/usr/sbin/nologin"} < set(command) for command in bare.commands)
    assert [
        f"made the system account {name}, which has no password and no home" for name in ("routines", "routines-db")
    ] == (bare.said)


def test_without_useradd_root_is_told_what_to_do(machine, monkeypatch):
    bare = machine()
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)

    with pytest.raises(
        CannotStart, match=r"account routines is missing .*`useradd --system .* routines`.*ordinary user"
    ):
        accounts.of_parts(bare.said.append)


def test_a_useradd_that_fails_is_quoted(machine):
    bare = machine()
    bare.fails = True

    with pytest.raises(CannotStart, match="useradd: cannot lock /etc/passwd"):
        accounts.of_cluster(ELSEWHERE, None, bare.said.append)


def test_an_account_that_is_nobody_or_root_by_another_name_is_refused(machine):
    for uid in (0, 65534):
        bare = machine()
        bare.entries["routines"] = entry("routines", uid)
        with pytest.raises(CannotStart, match="needs one of its own"):
            accounts.of_parts(bare.said.append)


def test_what_does_not_help_is_not_advised(machine, monkeypatch):
    """The parts run here wherever the database is; only Postgres of our own knows accounts by their names."""
    bare = machine()
    bare.fails = True
    with pytest.raises(CannotStart, match=r"ordinary user$"):
        accounts.of_parts(bare.said.append)
    with pytest.raises(CannotStart, match="ordinary user, or set ROUTINES_DATABASE_URL"):
        accounts.of_cluster(ELSEWHERE, None, bare.said.append)

    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert "54321" == accounts.of_parts(bare.said.append).name
    with pytest.raises(CannotStart, match=r"54321 has no name here.*/etc/passwd, or set ROUTINES_DATABASE_URL"):
        accounts.of_cluster(ELSEWHERE, None, bare.said.append)


def test_the_parts_and_the_cluster_never_share_an_account(machine):
    bare = machine("postgres")
    parts = Account("postgres", 900, 900)

    with pytest.raises(CannotStart, match="one account"):
        accounts.of_cluster(ELSEWHERE, parts, bare.said.append)


@pytest.mark.skipif(os.geteuid() != 0, reason="root only: gives a directory away")
def test_the_owner_of_a_cluster_stays_unless_it_is_nobody_root_or_the_parts(machine, tmp_path):
    bare = machine("routines-db")
    owners = []
    for uid in (77, NOBODY.uid, 0, PARTS.uid):
        os.chown(tmp_path, uid, uid)
        owners.append(accounts.of_cluster(tmp_path, PARTS, bare.said.append).uid)

    assert [77, 900, 900, 900] == owners


@pytest.mark.skipif(os.geteuid() == 0, reason="root runs nothing as itself")
def test_a_user_runs_everything(tmp_path):
    assert accounts.current_account() == accounts.of_parts(print) == accounts.of_cluster(tmp_path, None, print)
    assert {} == accounts.current_account().switch


def test_what_runs_beside_us_gets_no_secret_of_our_environment(monkeypatch):
    monkeypatch.setenv("ROUTINES_DATABASE_URL", "postgresql://owner:secret@db/routines")
    monkeypatch.setenv("PGOPTIONS", "-c fsync=off")

    assert accounts.environment().keys() <= {"PATH", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH"}


def test_the_map_names_each_account_and_role_and_a_name_cannot_end_its_line():
    lines = ident([Login("root", ("postgres", "routines_service")), Login('a"b', ("routines_service",))])

    assert [
        'routines "root" "postgres"',
        'routines "root" "routines_service"',
        'routines "a""b" "routines_service"',
    ] == lines.splitlines()[1:]
