"""The main job on a real system: `routines demo` against `routines up`."""

import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from routines.cli import main
from tests.waiting import wait_for

DEMO_LIMIT_S = 120.0


def demo(*options):
    return CliRunner().invoke(main, ["demo", *options])


class Minute(msgspec.Struct):
    """What became of a minute of a real system: the demo, and a schedule beside it."""

    directory: Path
    url: str
    played: subprocess.CompletedProcess[str]
    planned: datetime
    fired: datetime


@pytest.fixture(scope="module")
def minute(running_up, begun_minute):
    """Both wait for the same minute to begin."""
    demo, client = begun_minute.demo, begun_minute.client
    output, errors = demo.communicate(timeout=DEMO_LIMIT_S)
    runs = wait_for(lambda: client.get(f"/routines/{begun_minute.routine}/runs").json(), limit_s=65)
    return Minute(
        running_up.directory,
        running_up.url,
        subprocess.CompletedProcess(demo.args, demo.returncode, output, errors),
        begun_minute.planned,
        datetime.fromisoformat(runs[-1]["triggeredAt"]),
    )


@pytest.mark.timeout(240)
def test_a_schedule_fires_within_a_second_of_its_minute(minute):
    late = minute.fired - minute.planned

    print(f"fired {late.total_seconds():.3f} s after its minute")
    assert timedelta() <= late < timedelta(seconds=1)


@pytest.mark.timeout(240)
def test_the_demo_shows_a_scheduled_run_from_its_tick_to_its_end(minute):
    played, url = minute.played, minute.url

    print(played.stdout)
    assert (0, "") == (played.returncode, played.stderr), (minute.directory / "logs/scheduler.log").read_text()
    for line in (
        rf"system  {url}",
        r'trigger  cron "\* \* \* \* \*", first tick at \d\d:\d\d:00\.000 UTC, in \d+ s',
        r"tick  \d\d:\d\d:00\.000",
        r"run  \d\d:\d\d:\S+  \d+ ms after the tick, source schedule",
        r"issue  \S+  DEM-1: Say hello",
        r"output  Hello from DEM-1, \d+ bytes of JSON on my standard input",
        r"done  \S+  the issue is done",
        r"completed  run [0-9a-f-]{36}",
        rf'curl -H "Authorization: Bearer \$\(cat {minute.directory}/board\.token\)" {url}/api/routines/[0-9a-f-]{{36}}/runs',
    ):
        assert re.search(line, played.stdout), line


def test_without_a_system_the_demo_says_how_to_start_one(tmp_path):
    (tmp_path / "board.token").write_text("pcp_board_any\n")

    played = demo("--data-dir", str(tmp_path), "--url", "http://127.0.0.1:9")

    assert 1 == played.exit_code
    assert "cannot reach Routines at http://127.0.0.1:9: start it with `make up`" in played.stderr


def test_without_a_token_the_demo_says_where_it_looked(tmp_path):
    played = demo("--data-dir", str(tmp_path))

    assert 1 == played.exit_code
    assert f"no board token in {tmp_path}/board.token" in played.stderr
