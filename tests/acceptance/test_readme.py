"""The README's commands, as a newcomer would type them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import RunningUp

BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)


@pytest.mark.usefixtures("begun_minute")
@pytest.mark.timeout(180)
def test_the_first_routine_of_the_readme_works_as_it_stands(root: Path, running_up: RunningUp) -> None:
    start, *blocks = BLOCK.findall((root / "README.md").read_text())
    assert start == "export API=http://127.0.0.1:3100/api TOKEN=$(cat .routines/board.token)\n"

    script = "\n".join([start.replace("http://127.0.0.1:3100", running_up.url), *blocks])
    script = script.replace(".venv/bin/routines", f"{sys.executable} -m routines")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=running_up.place,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"status":"completed"' in done.stdout
    assert '"name":"issue.moved"' in done.stdout
