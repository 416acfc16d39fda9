"""The supervisor keeps its parts running, gives each what is its own, and ends all of them."""

import errno
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from routines.errors import CannotStart
from routines.local.supervisor import Part, Supervisor
from tests.routines.local.machine import mode, refuse
from tests.strangers import PARTS
from tests.waiting import exists, wait_for

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root only: nobody else can be another account")
SLEEP = [sys.executable, "-S", "-c", "import time; print('awake', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('awake', flush=True); time.sleep(600)",
]
FAIL = [sys.executable, "-S", "-c", "raise SystemExit('no such thing')"]
SUPERVISE = """
import sys, time
from pathlib import Path
from routines.local.private_files import give_file
from routines.local.reach import Reach
from routines.local.supervisor import Part, Supervisor
supervisor = Supervisor([Part("one", sys.argv[2:])], Path(sys.argv[1]), lambda pids: print(pids["one"], flush=True))
supervisor.start()
time.sleep(600)
"""


@pytest.fixture
def supervise_parts(tmp_path):
    running = []

    def supervise(*parts):
        heard: list[Any] = []
        supervisor: Any = Supervisor(parts, tmp_path / "logs", on_change=heard.append, say=heard.append)
        supervisor.heard = heard
        running.append(supervisor)
        supervisor.start()
        return supervisor

    yield supervise
    for supervisor in running:
        supervisor.stop()


def test_a_part_that_cannot_be_started_now_is_tried_again(supervise_parts, monkeypatch):
    supervisor = supervise_parts(Part("one", SLEEP))
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse(OSError(errno.EAGAIN, "Resource temporarily unavailable")))
        supervisor.children[0].signal(signal.SIGKILL)
        wait_for(lambda: supervisor.tick() or any("cannot be started" in str(text) for text in supervisor.heard))

    wait_for(lambda: supervisor.tick() or supervisor.pids())


def test_a_killed_part_is_started_again_at_once(supervise_parts):
    supervisor = supervise_parts(Part("one", SLEEP), Part("two", SLEEP))
    old_pids = supervisor.pids()

    os.kill(old_pids["one"], signal.SIGKILL)
    wait_for(lambda: supervisor.pids().get("one", old_pids["one"]) != old_pids["one"], tick=supervisor.tick)

    assert old_pids["two"] == supervisor.pids()["two"]
    assert supervisor.children[0].not_before <= supervisor.children[0].started_at
    assert [old_pids, {"two": old_pids["two"]}, supervisor.pids()] == [
        x for x in supervisor.heard if isinstance(x, dict)
    ]
    assert "one ended (signal 9)" in supervisor.heard


def test_a_part_that_keeps_dying_is_given_pauses_and_quoted(supervise_parts):
    supervisor = supervise_parts(Part("one", FAIL))

    wait_for(lambda: supervisor.children[0].quick_deaths == 2, tick=supervisor.tick)

    assert supervisor.children[0].not_before > time.monotonic()
    assert "ended 2 times within a second of its start; the next try is in 1 s" in supervisor.heard[-2]
    assert supervisor.heard[-2].endswith("ends with: no such thing")
    assert supervisor.heard[-1] == {}


def test_the_pauses_grow_to_five_seconds_and_end_with_a_longer_life(supervise_parts):
    child = supervise_parts(Part("one", SLEEP)).children[0]

    assert [0, 1, 2, 4, 5, 5] == [child.plan() for _ in range(6)]
    child.started_at -= 60
    assert 0 == child.plan()


def test_a_part_gets_its_environment_and_its_own_log(supervise_parts, tmp_path):
    supervise_parts(
        Part("one", [sys.executable, "-c", "import os; print(os.environ['GREETING'])"], {"GREETING": "hello"})
    )

    wait_for(lambda: (tmp_path / "logs/one.log").read_text() == "hello\n")


def test_a_part_gets_nothing_else_of_our_environment(supervise_parts, tmp_path, monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "ROUTINES_DATABASE_URL", "ROUTINES_KEY_FILE", "ROUTINES_BATCH"):
        monkeypatch.setenv(name, "7")

    supervise_parts(Part("one", [sys.executable, "-S", "-c", "import os; print(sorted(os.environ), flush=True)"]))

    output = wait_for((tmp_path / "logs/one.log").read_text)
    assert "'ROUTINES_BATCH'" in output
    assert "'PATH'" in output
    assert not any(name in output for name in ("AWS_SECRET_ACCESS_KEY", "ROUTINES_DATABASE_URL", "ROUTINES_KEY_FILE"))


def test_what_a_part_says_is_for_us_alone_and_goes_to_no_file_of_others(supervise_parts, tmp_path):
    (tmp_path / "logs").mkdir(mode=0o755)
    (tmp_path / "victim").touch()
    (tmp_path / "logs/two.log").symlink_to(tmp_path / "victim")
    supervise_parts(Part("one", SLEEP))

    with pytest.raises(CannotStart, match=r"two\.log"):
        supervise_parts(Part("two", SLEEP))

    assert [0o700, 0o600] == [mode(tmp_path / name) for name in ("logs", "logs/one.log")]
    assert 0 == (tmp_path / "victim").stat().st_size


@as_root
def test_a_part_runs_as_its_account_and_gets_no_rights_back(supervise_parts, tmp_path):
    tmp_path.chmod(0o700)
    command = ["/bin/sh", "-c", "cat /proc/self/status; echo read; exec sleep 600"]
    supervisor = supervise_parts(Part("one", command, account=PARTS))

    output = wait_for(
        lambda: "read" in (tmp_path / "logs/one.log").read_text() and (tmp_path / "logs/one.log").read_text()
    )

    status = dict(line.split(":\t", 1) for line in output.splitlines() if ":\t" in line)
    assert [["2"] * 4, ["2"] * 4] == [status[name].split() for name in ("Uid", "Gid")]
    assert "" == status["Groups"].strip()
    assert "0" * 16 == status["CapEff"] == status["CapPrm"]
    assert "1" == status["NoNewPrivs"]
    pid = supervisor.pids()["one"]
    supervisor.stop()
    assert not exists(pid)


def test_a_stop_ends_every_part(supervise_parts):
    supervisor = supervise_parts(Part("one", SLEEP), Part("two", SLEEP))
    pids = supervisor.pids().values()

    supervisor.stop()

    assert {} == supervisor.pids()
    assert [False, False] == [exists(pid) for pid in pids]


def test_a_part_that_ignores_the_stop_is_killed(supervise_parts, tmp_path, monkeypatch):
    monkeypatch.setattr("routines.local.supervisor.TERM_LIMIT_S", 0.2)
    supervisor = supervise_parts(Part("one", STUBBORN))
    wait_for(lambda: "awake" in (tmp_path / "logs/one.log").read_text())
    pid = supervisor.pids()["one"]

    supervisor.stop()

    assert not exists(pid)


def test_parts_die_with_a_killed_supervisor(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, tmp_path, *SLEEP], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        pid = int(supervisor.stdout.readline())
        wait_for(lambda: (tmp_path / "one.log").read_text() == "awake\n")

        supervisor.kill()

        wait_for(lambda: not exists(pid))
