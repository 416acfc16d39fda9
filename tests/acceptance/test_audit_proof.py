"""The commands of docs/audit-proof.md, as an auditor would type them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import RunningUp

BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)


@pytest.mark.timeout(180)
def test_the_walk_from_show_me_to_prove_it_works_as_it_stands(root: Path, running_up: RunningUp) -> None:
    blocks = BLOCK.findall((root / "docs" / "audit-proof.md").read_text())

    script = "\n".join(blocks).replace("http://127.0.0.1:3100", running_up.url)
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
    said = done.stdout
    assert re.search(r"changed at \d+ to \d+: .*\n.* [1-9]\d* finding\(s\)\nfound\n", said), said
    assert len(re.findall(r"compared with \d checkpoint\(s\): nothing is wrong", said)) >= 3, said
    assert re.search(
        r"Run [0-9a-f-]{36} is in the log routines-log/\w+, which was signed when it held \d+ events", said
    )
    assert "c2sp.org/tlog-proof@v1" in said
