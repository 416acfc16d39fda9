"""The parts can run the code of this process, or are told why not."""

import os
import subprocess

import pytest

from routines.errors import CannotStart
from routines.local.accounts import Account
from routines.local.reach import Reach
from tests.strangers import PARTS

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root only: nobody else can be another account")


@as_root
def test_the_parts_can_run_our_code_wherever_it_is(tmp_path):
    with Reach(PARTS) as reach:
        command, env = reach.program()
        variables = [f"{name}={value}" for name, value in env.items()]
        result = PARTS.run("/usr/bin/env", *variables, *command, "--version", fds=reach.fds)

    assert "routines, version" in result.stdout


def test_code_that_the_parts_cannot_read_is_told(monkeypatch):
    account = Account("somebody", os.geteuid() + 1, 0)
    failed = subprocess.CompletedProcess([], 1, "", "no such module")
    monkeypatch.setattr(Account, "run", lambda *_, **__: failed)

    with Reach(account) as reach, pytest.raises(CannotStart, match=r"cannot run the code in .*chmod -R go\+rX"):
        reach.program()
