"""The main job on a real system: `routines demo` against `routines up`."""

import re
import subprocess
import sys

import pytest

from tests.acceptance.running_system import running_system

DEMO_LIMIT_S = 120.0


def demo(*options, limit_s=DEMO_LIMIT_S):
    argv = [sys.executable, "-m", "routines", "demo", *options]
    return subprocess.run(argv, capture_output=True, text=True, timeout=limit_s, check=False)


@pytest.mark.timeout(180)
def test_the_demo_shows_a_scheduled_run_from_its_tick_to_its_end(tmp_path):
    with running_system(tmp_path) as state:
        played = demo("--data-dir", tmp_path, "--timeout-s", "110")

    print(played.stdout)
    assert (0, "") == (played.returncode, played.stderr), (tmp_path / "logs/scheduler.log").read_text()
    url = state["url"]
    for line in (
        rf"system  {url}",
        r'trigger  cron "\* \* \* \* \*", first tick at \d\d:\d\d:00\.000 UTC, in \d+ s',
        r"tick  \d\d:\d\d:00\.000",
        r"run  \d\d:\d\d:\S+  \d+ ms after the tick, source schedule",
        r"issue  \S+  DEM-1: Say hello",
        r"output  Hello from DEM-1, \d+ bytes of JSON on my standard input",
        r"done  \S+  the issue is done",
        r"completed  run [0-9a-f-]{36}",
        rf'curl -H "Authorization: Bearer \$\(cat {tmp_path}/board\.token\)" {url}/api/routines/[0-9a-f-]{{36}}/runs',
    ):
        assert re.search(line, played.stdout), line


def test_without_a_system_the_demo_says_how_to_start_one(tmp_path):
    (tmp_path / "board.token").write_text("pcp_board_any\n")

    played = demo("--data-dir", tmp_path, "--url", "http://127.0.0.1:9", limit_s=30)

    assert 1 == played.returncode
    assert "cannot reach Routines at http://127.0.0.1:9: start it with `make up`" in played.stderr


def test_without_a_token_the_demo_says_where_it_looked(tmp_path):
    played = demo("--data-dir", tmp_path, limit_s=30)

    assert 1 == played.returncode
    assert f"no board token in {tmp_path}/board.token" in played.stderr
