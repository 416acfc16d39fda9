"""The worker and its server: what is taken, how it ends, and trouble on the way."""

import errno
import signal
import sys
from threading import Event
from uuid import uuid4

import httpx
import pytest

from routines.worker import claims, cli, command, server
from tests.routines.worker.stub_server import LIMIT_S, TOKEN
from tests.waiting import wait_for

MOVE = """
import os, urllib.request
urllib.request.urlopen(urllib.request.Request(
    f"{os.environ['ROUTINES_URL']}/api/issues/{os.environ['ROUTINES_ISSUE_ID']}",
    b'{"status": "blocked"}',
    {"Authorization": "Bearer pcp_secret", "X-Paperclip-Run-Id": os.environ["ROUTINES_SESSION_ID"]},
    method="PATCH",
))
"""


def test_a_command_that_succeeds_makes_its_issue_done(stub, run_once, tmp_path):
    issue = stub.open()

    result = run_once("echo", "hello")

    assert 0 == result.exit_code
    assert ("done", None) == (issue["status"], issue["checkoutRunId"])
    assert ["hello\n"] == stub.comments
    assert "ACM-1 taken: Say hello" in result.output
    assert "ACM-1 done" in result.output
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("script", "options", "reason"),
    [
        ("echo oh no; echo no such file >&2; echo >&2; exit 3", (), "exit status 3: no such file"),
        ("echo oh no; kill -9 $$", (), "ended by SIGKILL"),
        ("echo oh no; kill -40 $$", (), "ended by signal 40"),
        ("echo oh no; exec sleep 600", ("--timeout-s", "0.3"), "stopped after 0.3 s"),
    ],
)
def test_a_command_that_goes_wrong_cancels_its_issue_with_the_reason(stub, run_once, script, options, reason):
    issue = stub.open()

    result = run_once("sh", "-c", script, options=options)

    assert 1 == result.exit_code
    assert "cancelled" == issue["status"]
    assert stub.comments[0].startswith(f"{reason}\n\noh no\n")
    assert [reason] == stub.reasons
    assert f"ACM-1 cancelled: {reason}" in result.output


def test_a_command_that_cannot_be_run_cancels_its_issue(stub, run_once, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    stub.open()

    assert 1 == run_once(str(script)).exit_code
    assert [f"command not found: {script}"] == stub.comments


class Full:
    """A call that finds no room on the disk a few times, and then does what it replaces."""

    def __init__(self, call, times=2):
        self.call = call
        self.times = times

    def __call__(self, *arguments, **variable):
        self.times -= 1
        if self.times >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.call(*arguments, **variable)


@pytest.mark.parametrize("place", [(claims, "_lock_file"), (command, "_start")])
def test_a_full_disk_of_this_machine_is_waited_for_and_cancels_nothing(stub, run_once, monkeypatch, place):
    monkeypatch.setattr(*place, Full(getattr(*place)))
    issue = stub.open()

    result = run_once("echo", "hello")

    assert (0, "done", ["hello\n"]) == (result.exit_code, issue["status"], stub.comments)


def test_a_command_that_is_not_there_at_the_start_touches_no_issue(stub, run_once):
    issue = stub.open()

    result = run_once("no-such-command")

    assert 2 == result.exit_code
    assert "command not found: no-such-command" in result.output
    assert "todo" == issue["status"]


def test_an_issue_that_someone_else_has_is_asked_for_once(stub, start):
    issue = stub.open(checkoutRunId=str(uuid4()))
    process = start("true")

    wait_for(lambda: stub.count("GET", "inbox-lite") >= 4)
    process.send_signal(signal.SIGINT)

    assert "ACM-1 left alone: Issue checkout conflict" in process.communicate(timeout=LIMIT_S)[0]
    assert 0 == process.returncode
    assert "todo" == issue["status"]
    assert 1 == stub.count("POST", "checkout")


def test_an_issue_in_progress_that_no_worker_here_began_is_left_alone(stub, run_once):
    stub.open(status="in_progress", checkoutRunId=str(uuid4()))

    result = run_once("true")

    assert 0 == result.exit_code
    assert "nothing to do" in result.output
    assert 0 == stub.count("POST", "checkout")


def test_a_claim_that_the_board_has_undone_is_forgotten(stub, run_once, tmp_path):
    issue = stub.open(status="in_progress", checkoutRunId=str(uuid4()))
    (tmp_path / f"{issue['id']}.{uuid4()}").touch()

    result = run_once("true")

    assert "ACM-1 left alone" in result.output
    assert [] == list(tmp_path.iterdir())


def test_an_issue_that_its_command_moved_is_left_as_it_is(stub, run_once):
    issue = stub.open()

    result = run_once(sys.executable, "-S", "-c", MOVE)

    assert 0 == result.exit_code
    assert "blocked" == issue["status"]
    assert "ACM-1 moved: it is blocked already" in result.output


def test_an_issue_that_was_cancelled_just_before_its_command_ended_keeps_the_output(stub, run_once):
    issue = stub.open()

    result = run_once(sys.executable, "-S", "-c", MOVE.replace("blocked", "cancelled") + "print('all but one')")

    assert 1 == result.exit_code
    assert "cancelled" == issue["status"]
    assert "the issue was moved to cancelled\n\nall but one\n" == stub.comments[-1]


def test_a_list_is_read_to_its_last_page(monkeypatch):
    pages = {None: (["a", "b"], "2"), "2": (["c"], "3"), "3": (["d"], None)}

    def answer(request):
        rows, cursor = pages[request.url.params.get("cursor")]
        return httpx.Response(200, json=rows, headers={"X-Next-Cursor": cursor} if cursor else {})

    mocked = httpx.Client(base_url="http://localhost", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(server, "client", lambda *_: mocked)
    api = server.Server("http://localhost", TOKEN, stop=Event(), say=print, patience_s=0)

    assert ["a", "b", "c", "d"] == list(api.list_rows("/api/agents/me/inbox-lite"))


def test_an_empty_inbox_is_nothing_to_do(run_once):
    result = run_once("true")

    assert 0 == result.exit_code
    assert "nothing to do" in result.output


def test_a_token_that_is_not_taken_ends_it_and_is_not_shown(run_once):
    result = run_once("true", token="pcp_wrong")

    assert 2 == result.exit_code
    assert "the server does not take the token (401: Unauthorized)" in result.output
    assert "pcp_wrong" not in result.output


@pytest.mark.parametrize(
    "options", [("--url", "localhost:3100"), ("--token", "two words"), ("--timeout-s", "0"), ("--allow-env", "A=B")]
)
def test_wrong_options_are_named(run_once, options):
    result = run_once("true", options=options)

    assert 2 == result.exit_code
    assert f"Invalid value for '{options[0]}'" in result.output


def test_trouble_is_waited_out_and_spoken_of(stub, run_once):
    issue = stub.open()
    stub.troubles = [(503, {"error": "The database is busy"}), (502, {"error": "Bad Gateway"})]

    result = run_once("true")

    assert 0 == result.exit_code
    assert "done" == issue["status"]
    assert f"{stub.url} is in trouble (503: The database is busy); the next try is in 0 s" in result.output


def test_a_change_that_is_recorded_is_not_repeated(stub, run_once):
    stub.open()
    patch = stub.patch
    stub.patch = lambda *args: (patch(*args), (503, {"error": "recorded", "details": {"position": 7}}))[1]

    assert 0 == run_once("echo", "hello").exit_code
    assert ["hello\n"] == stub.comments


def test_one_round_gives_up_when_the_server_does_not_come_back(stub, run_once, monkeypatch):
    monkeypatch.setattr(cli, "ONCE_PATIENCE_S", 0.05)
    stub.troubles = [(503, {"error": "The database is busy"})] * 1000

    result = run_once("true")

    assert 2 == result.exit_code
    assert "(503: The database is busy); giving up" in result.output


def test_the_pauses_grow_to_half_a_minute():
    assert [1, 2, 4, 8, 16, 30, 30] == [pause for pause, _ in zip(server.pauses(), range(7), strict=False)]
