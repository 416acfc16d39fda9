"""When a command is stopped: its issue is lost, its worker ends, freezes or dies, or cannot renew the lease."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest

from routines.worker import command, supervision
from tests.routines.worker.stub_server import AGENT, LIMIT_S, RUN, fire, read
from tests.waiting import exists, wait_for


def is_over(pid):
    """Whether the process has ended, even if nobody has asked for its status yet."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print("begun", flush=True)
    time.sleep(600)
with open(PATH + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(PATH + ".new", PATH)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "cancelled"}, "the issue was moved to cancelled"),
        (
            {"status": "cancelled", "run": {"failureReason": "timed_out"}},
            "the run lasted longer than its routine allows",
        ),
        (
            {
                "status": "backlog",
                "run": {
                    "attempts": [{"reason": "timed_out"}],
                    "attempt": 1,
                    "maxAttempts": 3,
                    "nextAttemptAt": "2026-11-22T03:00:00.000Z",
                },
            },
            "the run lasted longer than its routine allows; attempt 2 of 3 is at 2026-11-22T03:00:00.000Z",
        ),
        ({"status": "backlog"}, "the issue was moved to backlog"),
        (
            {"status": "cancelled", "run": {"successorRunId": str(uuid4())}},
            "a later run of the routine has taken its place",
        ),
        ({"assigneeAgentId": str(uuid4())}, "the issue is not assigned to this agent any more"),
        ({"checkoutRunId": str(uuid4())}, "another work session has the issue"),
    ],
)
def test_a_command_is_stopped_with_all_its_children_once_its_issue_is_lost(
    stub, run_once, *, tmp_path, monkeypatch, change, reason
):
    monkeypatch.setattr(supervision, "LOOK_S", 0.05)
    monkeypatch.setattr(command, "GRACE_S", 0.3)
    issue = fire(stub)
    path = tmp_path / "pid"

    def lose():
        wait_for(lambda: read(path))
        stub.runs[RUN] |= change.get("run", {})
        issue.update({name: value for name, value in change.items() if name != "run"})

    thread = Thread(target=lose)
    thread.start()
    result = run_once(sys.executable, "-S", "-c", f"PATH = {str(path)!r}\n{STUBBORN}")
    thread.join()

    assert 1 == result.exit_code
    assert f"ACM-1 stopped: {reason}" in result.output
    assert [f"stopped: {reason}\n\nbegun\n"] == stub.comments
    assert [] == stub.reasons
    wait_for(lambda: not exists(int(path.read_text())))


def test_a_process_that_the_command_leaves_behind_does_not_hold_us_up(stub, run_once):
    stub.open()

    result = run_once("sh", "-c", "sleep 3 & echo $!")

    assert 0 == result.exit_code
    os.kill(int(stub.comments[0]), signal.SIGKILL)


def test_a_stop_ends_the_command_and_hands_the_issue_back(stub, start, tmp_path):
    issue = stub.open()
    process = start("sh", "-c", f"echo begun; echo $$ > {tmp_path}/pid; exec sleep 600")
    pid = int(wait_for(lambda: read(tmp_path / "pid")))

    process.terminate()
    output, _ = process.communicate(timeout=LIMIT_S)

    assert 0 == process.returncode
    assert "ACM-1 handed back: the worker was stopped" in output
    assert ("todo", AGENT, None) == (issue["status"], issue["assigneeAgentId"], issue["checkoutRunId"])
    assert ["the worker was stopped\n\nbegun\n"] == stub.comments
    assert [] == list((tmp_path / "claims").iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_command_of_a_killed_worker_ends_and_its_issue_is_resumed_in_the_same_session(stub, start, tmp_path):
    issue = stub.open()
    script = f"sleep 0.3; echo $$ >> {shlex.quote(str(tmp_path / 'pids'))}; test -e {tmp_path}/go && exec true; exec sleep 600"
    killed = start("sh", "-c", script)
    orphan = int(wait_for(lambda: read(tmp_path / "pids")))
    session = issue["checkoutRunId"]
    (tmp_path / "go").touch()
    killed.kill()
    killed.wait()
    wait_for(lambda: is_over(orphan))

    start("sh", "-c", script)

    wait_for(lambda: issue["status"] == "done")
    assert 2 == len(read(tmp_path / "pids").splitlines())
    assert [session] == stub.sessions
    assert 2 == stub.count("POST", "checkout")


def test_while_the_command_of_a_dead_worker_still_runs_no_other_worker_of_the_machine_takes_its_issue(
    stub, start, tmp_path
):
    """Whoever kills the guard as well."""
    issue = stub.open()
    script = f"sleep 0.3; echo $$ >> {shlex.quote(str(tmp_path / 'pids'))}; test -e {tmp_path}/go && exec true; exec sleep 600"
    killed = start("sh", "-c", script)
    orphan = int(wait_for(lambda: read(tmp_path / "pids")))
    (guard,) = guards(killed.pid)
    for pid in (guard, killed.pid):
        os.kill(pid, signal.SIGKILL)
    killed.wait()
    poll_count = stub.count("GET", "inbox-lite")

    start("sh", "-c", script)
    wait_for(lambda: stub.count("GET", "inbox-lite") >= poll_count + 3)
    assert ("in_progress", 1) == (issue["status"], stub.count("POST", "checkout"))
    (tmp_path / "go").touch()
    os.kill(orphan, signal.SIGKILL)

    wait_for(lambda: issue["status"] == "done")


def guards(pid):
    """The guards of a worker."""
    return {
        int(line.split()[0])
        for line in subprocess.check_output(["ps", "-eo", "pid,ppid,args", "-ww"], text=True).splitlines()
        if "guard.py" in line and line.split()[1] == str(pid)
    }


def test_a_lease_is_renewed_while_the_command_runs(stub, start, tmp_path):
    issue = stub.open()
    start("sh", "-c", f"until test -e {tmp_path}/go; do sleep 0.05; done", options=("--lease-s", "2"))

    wait_for(lambda: stub.count("POST", "checkout") >= 6)
    (tmp_path / "go").touch()
    wait_for(lambda: issue["status"] == "done")

    assert ["todo", *["in_progress"] * (len(stub.leases) - 1)] == [expected for expected, _ in stub.leases]
    assert {2} == {seconds for _, seconds in stub.leases}


def test_a_frozen_workers_command_ends_before_its_lease_and_what_it_reports_later_is_refused(stub, start, tmp_path):
    issue = stub.open()
    process = start(
        "sh", "-c", f"echo begun; sleep 0.3; echo $$ > {tmp_path}/pid; exec sleep 600", options=("--lease-s", "3")
    )
    pid = int(wait_for(lambda: read(tmp_path / "pid")))
    first = issue["checkoutRunId"]

    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lambda: is_over(pid))
    issue |= {"status": "todo", "checkoutRunId": None, "checkoutCount": 1}
    stub.lost = {first}
    os.kill(process.pid, signal.SIGCONT)

    wait_for(lambda: len(stub.comments) == 1)
    assert ["the lease could not be renewed in time\n\nbegun\n"] == stub.comments
    wait_for(lambda: issue["checkoutRunId"] not in (None, first))
    assert [] == stub.reasons


def test_a_worker_that_cannot_renew_its_lease_stops_its_command_in_time_and_hands_the_issue_back(stub, start, tmp_path):
    issue = stub.open()
    start("sh", "-c", f"echo $$ >> {tmp_path}/pid; exec sleep 600", options=("--lease-s", "3"))
    pid = int(wait_for(lambda: read(tmp_path / "pid")))

    stub.is_silent = True
    wait_for(lambda: not exists(pid))
    stub.is_silent = False

    wait_for(lambda: stub.comments)
    assert ["the lease could not be renewed in time"] == stub.comments
    wait_for(lambda: len(set(stub.sessions)) == 2)
    assert "in_progress" == issue["status"]


def test_a_session_that_was_left_on_an_issue_that_is_to_do_is_not_taken_up_again(stub, run_once, tmp_path):
    """It has lost the issue, or never had it."""
    issue = stub.open()
    session_id = uuid4()
    (tmp_path / f"{issue['id']}.{session_id}").touch()

    assert 0 == run_once("true").exit_code

    assert str(session_id) not in stub.sessions
    assert [] == list(tmp_path.iterdir())
