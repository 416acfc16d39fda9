"""What `make install` shows while it works: a line for each step, and pip's own progress on a terminal."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

STEPS = ["making {}", "installing the packages of requirements.txt into {} (once)", "installing routines into {}"]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("on_terminal", [True, False])
def test_an_installation_shows_what_it_does(root: Path, tmp_path: Path, on_terminal: bool):
    ours, theirs = os.openpty()
    argv = ["make", "--no-print-directory", f"VENV={tmp_path}", "PYTHON=true", "PIP=echo pip", f"{tmp_path}/installed"]
    try:
        stderr = theirs if on_terminal else subprocess.PIPE
        done = subprocess.run(argv, cwd=root, check=True, stdout=subprocess.PIPE, stderr=stderr, text=True)
    finally:
        os.close(ours)
        os.close(theirs)

    said = [line for line in done.stdout.splitlines() if not line.startswith("pip ")]
    by_pip = [line for line in done.stdout.splitlines() if line.startswith("pip ")]
    assert all(line.startswith(step.format(tmp_path)) for line, step in zip(said, STEPS, strict=True))
    assert [not on_terminal] * 2 == ["--quiet" in line for line in by_pip]
