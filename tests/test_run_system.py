"""`make dev`: a change of a file starts those parts again that work with it, and no others."""

import json
import os
import signal
import subprocess
import sys

import pytest

from development import run_system
from tests.waiting import wait_for

UP = """
import json, subprocess, sys, time
from pathlib import Path
state, starts = Path(sys.argv[1], "up.json"), Path(sys.argv[1], "starts")
starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
parts = {}
while True:
    ended = [name for name in ("web", "scheduler") if name not in parts or parts[name].poll() is not None]
    for name in ended:
        parts[name] = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    if ended:
        unfinished = state.with_suffix(".new")
        unfinished.write_text(json.dumps({"processes": {name: part.pid for name, part in parts.items()}}))
        unfinished.replace(state)
    time.sleep(0.02)
"""
RUN = """
import sys
from pathlib import Path
from development import run_system
root = Path(sys.argv[1])
sys.exit(run_system.run(root, root, [sys.executable, "-S", "-c", sys.argv[2], str(root)]))
"""


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("domain/routines/run.py", ["web", "scheduler", "projector", "delivery"]),
        ("projections/responses/runs.py", ["web", "scheduler", "projector", "delivery"]),
        ("web/openapi/docs.html", ["web"]),
        ("processes/scheduler/prefetch.py", ["scheduler"]),
        ("processes/projector.py", ["projector"]),
        ("processes/delivery/worker.py", ["delivery"]),
        ("processes/follower.py", ["scheduler", "projector", "delivery"]),
    ],
)
def test_a_file_is_of_the_parts_that_work_with_it(root, path, parts):
    assert (root / path).is_file()
    assert parts == run_system.parts_of([path])
    assert not run_system.needs_new_start([path])


@pytest.mark.parametrize(
    "path", ["routines/settings.py", "application/event_store/log.sql", "projections/catalogue.py"]
)
def test_what_comes_before_any_part_takes_a_new_start(root, path):
    assert (root / path).is_file()
    assert run_system.needs_new_start(["web/app.py", path])


@pytest.fixture
def running_dev(tmp_path):
    (tmp_path / "processes" / "scheduler").mkdir(parents=True)
    (tmp_path / "routines").mkdir()
    argv = [sys.executable, "-c", RUN, str(tmp_path), UP]
    with (tmp_path / "out").open("wb") as out, subprocess.Popen(argv, stdout=out, process_group=0) as process:
        yield tmp_path
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        os.killpg(process.pid, signal.SIGKILL)  # the parts of our `up`, which has no supervisor


def processes(directory):
    state = directory / "up.json"
    return json.loads(state.read_text())["processes"] if state.exists() else {}


def until_seen(path, condition):
    """The watch may begin after the first changes."""
    wait_for(condition, tick=lambda: path.write_text("# changed\n"))


def test_a_changed_file_starts_its_part_again_and_leaves_the_others(running_dev):
    wait_for(lambda: processes(running_dev))
    before = processes(running_dev)

    until_seen(
        running_dev / "processes/scheduler/scheduler.py",
        lambda: processes(running_dev)["scheduler"] != before["scheduler"],
    )

    assert before["web"] == processes(running_dev)["web"]
    assert "x" == (running_dev / "starts").read_text()


def test_a_change_while_the_system_is_not_ready_counts_once_it_is(running_dev):
    wait_for(lambda: processes(running_dev))
    ready, hidden, scheduler = (
        running_dev / "up.json",
        running_dev / "hidden",
        running_dev / "processes/scheduler/scheduler.py",
    )
    before = processes(running_dev)
    ready.rename(hidden)

    until_seen(scheduler, lambda: "to start again: scheduler" in (running_dev / "out").read_text())
    hidden.rename(ready)

    wait_for(lambda: processes(running_dev)["scheduler"] != before["scheduler"])
    assert before["web"] == processes(running_dev)["web"]


def test_a_change_of_what_up_has_loaded_starts_everything_again(running_dev):
    wait_for(lambda: processes(running_dev))

    until_seen(running_dev / "routines/settings.py", lambda: "xx" in (running_dev / "starts").read_text())
