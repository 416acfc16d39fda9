import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from uuid import UUID, uuid4

import httpx
import pytest
from click.testing import CliRunner

from routines.worker import claims, cli, command, server, supervision
from routines.worker.command import MOST_OUTPUT
from tests.routines.hostile import HOSTILE, assert_harmless
from tests.waiting import exists, wait_for

LIMIT_S = 20.0
TOKEN = "pcp_secret"
AGENT, COMPANY, ROUTINE, RUN = (str(uuid4()) for _ in range(4))
MOVE = """
import os, urllib.request
urllib.request.urlopen(urllib.request.Request(
    f"{os.environ['ROUTINES_URL']}/api/issues/{os.environ['ROUTINES_ISSUE_ID']}",
    b'{"status": "blocked"}',
    {"Authorization": "Bearer pcp_secret", "X-Paperclip-Run-Id": os.environ["ROUTINES_SESSION_ID"]},
    method="PATCH",
))
"""


class Stub:
    """What the worker uses of the API (contract 7.5), and everything that it was asked."""

    def __init__(self, url):
        self.url = url
        self.issues = {}
        self.asked = []
        self.comments = []
        self.reasons = []  # why the runs failed
        self.outputs = []
        self.usage = []
        self.refused_outputs = None  # the answer to outputs, if they are not taken
        self.runs = {}
        self.routines = {}
        self.environment, self.missing = None, []  # of the routine that opened the issues
        self.troubles = []  # answers that come before the right one
        self.is_silent = False  # whether no request is answered
        self.lost = set()  # sessions from which an issue was taken
        self.sessions = []  # that began work
        self.leases = []  # of each checkout: the status that was expected, and for how long
        self.lock = Lock()

    def open(self, title="Say hello", **fields):
        number = len(self.issues) + 1
        issue = {
            "id": str(uuid4()),
            "companyId": COMPANY,
            "identifier": f"ACM-{number}",
            "title": title,
            "description": "",
            "status": "todo",
            "assigneeAgentId": AGENT,
            "checkoutRunId": None,
            "originId": ROUTINE,
            "originRunId": RUN,
            "updatedAt": f"2026-11-22T01:00:{number:02}.000Z",
        } | fields
        self.issues[issue["id"]] = issue
        return issue

    def answer(self, method, path, token, session, body):
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Unauthorized"}
        self.asked.append((method, path))
        if self.troubles:
            return self.troubles.pop(0)
        match method, path.split("/")[2:]:
            case "GET", ["agents", "me"]:
                return 200, {"id": AGENT, "name": "Ada"}
            case "GET", ["agents", "me", "inbox-lite"]:
                return 200, [i for i in self.issues.values() if i["status"] in ("todo", "in_progress", "blocked")]
            case "GET", ["issues", id_]:
                return 200, self.issues[id_]
            case "GET", ["issues", id_, "environment"] if self.environment is not None:
                return 200, {"environmentVariables": self.environment, "missing": self.missing}
            case "POST", ["issues", id_, "checkout"]:
                return self.check_out(self.issues[id_], session, body)
            case "GET", ["routine-runs", id_] if id_ in self.runs:
                return 200, self.runs[id_]
            case "GET", ["routines", id_] if id_ in self.routines:
                return 200, self.routines[id_]
            case "POST", ["issues", id_, "comments"]:
                self.comments.append(body["body"])
                return 201, {}
            case "PATCH", ["issues", id_]:
                return self.patch(self.issues[id_], session, body)
        return 404, {"error": "API route not found"}

    def check_out(self, issue, session, body):
        assert AGENT == body["agentId"]
        if session not in self.lost:
            self.leases.append((body["expectedStatuses"][0], body["leaseSeconds"]))
        if issue["checkoutRunId"] == session and issue["status"] == "in_progress":
            return 200, issue
        if issue["checkoutRunId"] is not None or issue["status"] not in body["expectedStatuses"]:
            return 409, {"error": "Issue checkout conflict", "details": {"checkoutRunId": issue["checkoutRunId"]}}
        count = issue.get("checkoutCount", 0) + 1
        issue |= {"status": "in_progress", "checkoutRunId": session, "checkoutCount": count}
        self.sessions.append(session)
        return 200, issue

    def patch(self, issue, session, body):
        if issue["checkoutRunId"] != session or session in self.lost:
            return 409, {"error": "Issue run ownership conflict"}
        issue |= {"status": body["status"], "checkoutRunId": None}
        if "outputs" in body and self.refused_outputs is not None:
            issue |= {"status": "in_progress", "checkoutRunId": session}
            return self.refused_outputs
        self.outputs.append(body.get("outputs"))
        self.usage.append(body.get("usage"))
        self.comments.append(body.get("comment"))
        self.reasons.append(body.get("failureReason"))
        return 200, issue

    def count(self, method, end):
        return sum(asked == method and path.endswith(end) for asked, path in self.asked)


@pytest.fixture
def stub():
    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def answer(self):
            given = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = self.headers.get("Authorization"), self.headers.get("X-Paperclip-Run-Id")
            while answering.is_silent:
                time.sleep(0.01)
            with answering.lock:
                status, body = answering.answer(self.command, self.path, *headers, json.loads(given or "{}"))
                text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = answer  # noqa: N815 the names that http.server looks for

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        answering = Stub(f"http://127.0.0.1:{listening.server_port}")
        Thread(target=listening.serve_forever, args=(0.01,)).start()
        yield answering
        listening.shutdown()


@pytest.fixture
def once(stub, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "pauses", lambda: iter([0.01] * 1000))

    def once(*command, options=(), token=TOKEN):
        given = ["--url", stub.url, "--token", token, "--once", "--state-dir", str(tmp_path), *options, "--", *command]
        return CliRunner().invoke(cli.worker, given)

    return once


@pytest.fixture
def start(stub, tmp_path):
    running = []

    def start(*command, options=()):
        options = ["--url", stub.url, "--poll-s", "0.05", "--state-dir", tmp_path / "claims", *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "routines", "worker", *options, "--", *command],
            env={**os.environ, "ROUTINES_AGENT_TOKEN": TOKEN},
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def is_over(pid):
    """Whether the process has ended, even if nobody has asked for its status yet."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def read(path):
    return path.exists() and path.read_text().strip()


def test_a_command_that_succeeds_makes_its_issue_done(stub, once, tmp_path):
    issue = stub.open()

    result = once("echo", "hello")

    assert 0 == result.exit_code
    assert ("done", None) == (issue["status"], issue["checkoutRunId"])
    assert ["hello\n"] == stub.comments
    assert "ACM-1 taken: Say hello" in result.output
    assert "ACM-1 done" in result.output
    assert [] == list(tmp_path.iterdir())


def test_a_command_without_output_leaves_no_comment(stub, once):
    stub.open()

    once("true")

    assert [None] == stub.comments


def with_environment(stub, variables, missing=()):
    stub.open()
    stub.routines[ROUTINE] = {"id": ROUTINE, "env": {"A": {"type": "plain", "value": "***"}}, "triggers": []}
    stub.environment, stub.missing = variables, list(missing)


def test_the_environment_of_the_routine_is_the_commands_and_on_its_standard_input(stub, once, tmp_path):
    with_environment(stub, {"REGION": "eu", "PORT": "1"})

    assert 0 == once(*script_of(tmp_path)).exit_code

    assert {"REGION=eu", "PORT=1"} <= set((tmp_path / "env").read_text().splitlines())
    assert {"REGION": "eu", "PORT": "1"} == json.loads((tmp_path / "input").read_text())["environmentVariables"]


@pytest.mark.parametrize(
    ("variables", "missing", "reason"),
    [
        (
            {"LD_PRELOAD": "/tmp/x.so", "REGION": "eu"},
            [],
            "the routine's environment has LD_PRELOAD: programs take such",
        ),
        ({"ROUTINES_RUN_ID": "x"}, [], "the routine's environment has ROUTINES_RUN_ID: programs take such"),
        ({}, ["CRM_TOKEN"], "has variables that have no value any more: CRM_TOKEN"),
    ],
)
def test_a_run_whose_environment_cannot_be_given_fails_before_its_command(  # noqa: PLR0917 fixtures and what is given
    stub, once, tmp_path, variables, missing, reason
):
    with_environment(stub, variables, missing)

    once("touch", str(tmp_path / "started"))

    assert not (tmp_path / "started").exists()
    assert reason in stub.reasons[-1]


def test_a_variable_that_the_workers_operator_allows_is_given(stub, once, tmp_path):
    with_environment(stub, {"NODE_OPTIONS": "--trace-warnings"})

    assert 0 == once(*script_of(tmp_path), options=("--allow-env", "NODE_OPTIONS")).exit_code

    assert "NODE_OPTIONS=--trace-warnings" in (tmp_path / "env").read_text().splitlines()


def script_of(tmp_path):
    return "sh", "-c", f"cat > {tmp_path}/input; env > {tmp_path}/env"


def input_of(tmp_path):
    env = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines())
    return json.loads((tmp_path / "input").read_text()), env


def test_a_command_gets_the_issue_on_its_input_and_in_its_environment(stub, once, tmp_path):
    issue = stub.open(description="Bonjour\n")

    once(*script_of(tmp_path))

    document, env = input_of(tmp_path)
    assert issue | {"status": "in_progress"} == document["issue"] | {"checkoutRunId": None}
    assert document["issue"].items() <= document.items()
    assert UUID(env["ROUTINES_SESSION_ID"])
    assert {
        "ROUTINES_ISSUE_ID": issue["id"],
        "ROUTINES_ISSUE_IDENTIFIER": "ACM-1",
        "ROUTINES_ISSUE_TITLE": "Say hello",
        "ROUTINES_ROUTINE_ID": ROUTINE,
        "ROUTINES_RUN_ID": RUN,
        "ROUTINES_COMPANY_ID": COMPANY,
        "ROUTINES_URL": stub.url,
        "ROUTINES_OMITTED": "",
    }.items() <= env.items()
    assert "ROUTINES_AGENT_TOKEN" not in env


def fire(stub, **payload):
    trigger = str(uuid4())
    stub.runs[RUN] = {
        "id": RUN,
        "triggerId": trigger,
        "source": "webhook",
        "triggerPayload": payload,
        "plannedAt": "2026-11-22T01:05:00.000Z",
        "deadline": "2026-11-22T02:05:00.000Z",
        "failureReason": None,
    }
    triggers = [{"id": str(uuid4())}, {"id": trigger, "kind": "webhook"}]
    stub.routines[ROUTINE] = {"id": ROUTINE, "triggers": triggers, "recentRuns": []}
    return stub.open()


def test_a_command_gets_the_run_the_routine_the_trigger_the_payload_and_the_variables(stub, once, tmp_path):
    fire(stub, repository={"name": "café"}, variables={"branch": "main", "depth": 3, "forced": True})

    once(*script_of(tmp_path))

    document, env = input_of(tmp_path)
    assert stub.runs[RUN] == document["run"]
    assert stub.routines[ROUTINE] == document["routine"] | {"recentRuns": []}
    assert stub.routines[ROUTINE]["triggers"][1] == document["trigger"]
    assert stub.runs[RUN]["triggerPayload"] == document["payload"] == json.loads(env["ROUTINES_PAYLOAD"])
    assert {"branch": "main", "depth": 3, "forced": True} == document["variables"]
    assert ("2026-11-22T01:05:00.000Z", 1) == (document["plannedAt"], document["attempt"])
    assert "2026-11-22T02:05:00.000Z" == document["deadline"] == env["ROUTINES_DEADLINE"]
    assert {
        "ROUTINES_VARIABLE_branch": "main",
        "ROUTINES_VARIABLE_depth": "3",
        "ROUTINES_VARIABLE_forced": "true",
        "ROUTINES_TRIGGER_ID": document["trigger"]["id"],
        "ROUTINES_RUN_SOURCE": "webhook",
        "ROUTINES_PLANNED_AT": document["plannedAt"],
        "ROUTINES_ATTEMPT": "1",
    }.items() <= env.items()


def test_a_command_that_is_run_again_in_the_same_session_is_told_so(stub, once, tmp_path):
    session = uuid4()
    stub.open(status="in_progress", checkoutRunId=str(session))
    claims_path = tmp_path / "claims"
    claims_path.mkdir()
    (claims_path / f"{next(iter(stub.issues))}.{session}").write_bytes(b".")

    once(*script_of(tmp_path), options=["--state-dir", str(claims_path)])

    document, env = input_of(tmp_path)
    assert (2, "2") == (document["start"], env["ROUTINES_START"])
    assert (1, "1") == (document["attempt"], env["ROUTINES_ATTEMPT"])


def test_what_is_too_large_for_variables_is_on_the_input_only_and_named(stub, once, tmp_path, monkeypatch):
    monkeypatch.setenv("ROUTINES_PAYLOAD", "of the worker itself")
    monkeypatch.setenv("ROUTINES_VARIABLE_other", "of the worker itself")
    issue = fire(stub, text="x" * 1_000_000, variables={f"v{number}": "y" * 16_000 for number in range(5)})
    issue["title"] = "x" * 140_000

    result = once(*script_of(tmp_path))

    assert (0, "done") == (result.exit_code, issue["status"])
    document, env = input_of(tmp_path)
    assert (issue["title"], stub.runs[RUN]["triggerPayload"]) == (document["issue"]["title"], document["payload"])
    omitted = "ROUTINES_ISSUE_TITLE, ROUTINES_VARIABLE_v4, ROUTINES_PAYLOAD"
    assert omitted == env["ROUTINES_OMITTED"]
    assert f"on standard input only: {omitted}" in result.output
    assert not {"ROUTINES_ISSUE_TITLE", "ROUTINES_PAYLOAD", "ROUTINES_VARIABLE_other"} & env.keys()
    assert env["ROUTINES_VARIABLE_v3"]


def test_a_worker_keeps_its_tokens_from_its_command(stub, once, monkeypatch, tmp_path):
    monkeypatch.setenv("ROUTINES_AGENT_TOKEN", TOKEN)
    monkeypatch.setenv("JETTY_API_TOKEN", "mlc_another")
    monkeypatch.setenv("PAPERCLIP_API_KEY", TOKEN)
    stub.open()

    once(*script_of(tmp_path))

    assert not {"ROUTINES_AGENT_TOKEN", "JETTY_API_TOKEN", "PAPERCLIP_API_KEY"} & input_of(tmp_path)[1].keys()


def test_it_passes_its_token_on_where_it_is_told_to_and_masks_it_in_what_the_command_prints(stub, once):
    stub.open()
    script = (
        "import os, sys, time; token = os.environ['ROUTINES_AGENT_TOKEN']; print('key ' + token[:4], end='', flush=True);"
        "time.sleep(0.1); print(token[4:]); sys.stderr.write('x' * 200_000 + token * 2000 + '\\nbad ' + token); sys.exit(token == 'pcp_secret')"
    )

    result = once(sys.executable, "-S", "-c", script, options=["--pass-token"])

    assert "exit status 1" in stub.reasons[0]
    assert "key ***" in stub.comments[0]
    for text in (stub.comments[0], stub.reasons[0], result.output):
        assert "pcp_secret" not in text
        assert "***" in text


def test_an_issue_without_a_routine_has_empty_variables(stub, once):
    stub.open(originId=None, originRunId=None)

    once("sh", "-uc", 'echo "<$ROUTINES_ROUTINE_ID$ROUTINES_RUN_ID>"')

    assert ["<>\n"] == stub.comments


@pytest.mark.parametrize(
    ("script", "outputs"),
    [
        ("""echo '{"articles": 3, "best": ["a"]}'""", {"articles": 3, "best": ["a"]}),
        ("""echo '{"articles": 3}'; exit 3""", {"articles": 3}),
        ("""echo '{"loss": NaN}'""", None),
        ("echo '[1, 2]'", None),
        ("echo three articles", None),
        ("""printf '{"a": "'; head -c 70000 /dev/zero | tr '\\0' x; echo '"}'""", None),
    ],
)
def test_the_json_object_that_a_command_prints_is_reported_as_outputs(stub, once, script, outputs):
    stub.open()

    once("sh", "-c", script)

    assert [outputs] == stub.outputs
    assert 1 == stub.count("PATCH", stub.asked[-1][1])


@pytest.mark.parametrize(
    ("printed", "usage"),
    [
        ('{"usage": {"costMicros": 184000, "inputTokens": 12, "outputTokens": 8}}', (184_000, 12, 8)),
        ('{"usage": {"costMicros": 0}}', (0, None, None)),
        ('{"total_cost_usd": 0.1234567, "usage": {"input_tokens": 12, "output_tokens": 8}}', (123_457, 12, 8)),
        ('{"total_cost_usd": 3}', (3_000_000, None, None)),
        ('{"usage": {"costMicros": 1.5}}', None),
        ('{"usage": {"costMicros": -1}}', None),
        ('{"total_cost_usd": 1e300}', None),
        ('{"usage": "much"}', None),
        ('{"articles": 3}', None),
    ],
)
def test_what_a_command_says_that_it_has_used_is_reported(stub, once, printed, usage):
    stub.open()

    once("echo", printed)

    names = ("costMicros", "inputTokens", "outputTokens")
    wanted = None if usage is None else {n: v for n, v in zip(names, usage, strict=True) if v is not None}
    assert [wanted] == stub.usage
    assert [json.loads(printed)] == stub.outputs


def test_outputs_that_the_server_refuses_do_not_keep_the_issue_from_ending(stub, once):
    issue = stub.open()
    stub.refused_outputs = 400, {"error": "Validation error"}

    result = once("sh", "-c", """echo '{"a": 1}'""")

    assert ("done", [None]) == (issue["status"], stub.outputs)
    assert "the outputs are refused" in result.output


def test_an_issue_that_no_run_opened_has_no_outputs(stub, once):
    stub.open(originId=None, originRunId=None)

    once("sh", "-c", """echo '{"a": 1}'""")

    assert [None] == stub.outputs


def test_a_command_need_not_read_its_input(stub, once):
    stub.open(description="x" * 1_000_000)

    assert 0 == once("true").exit_code


@pytest.mark.parametrize(
    ("script", "options", "reason"),
    [
        ("echo oh no; echo no such file >&2; echo >&2; exit 3", (), "exit status 3: no such file"),
        ("echo oh no; kill -9 $$", (), "ended by SIGKILL"),
        ("echo oh no; kill -40 $$", (), "ended by signal 40"),
        ("echo oh no; exec sleep 600", ("--timeout-s", "0.3"), "stopped after 0.3 s"),
    ],
)
def test_a_command_that_goes_wrong_cancels_its_issue_with_the_reason(stub, once, script, options, reason):
    issue = stub.open()

    result = once("sh", "-c", script, options=options)

    assert 1 == result.exit_code
    assert "cancelled" == issue["status"]
    assert stub.comments[0].startswith(f"{reason}\n\noh no\n")
    assert [reason] == stub.reasons
    assert f"ACM-1 cancelled: {reason}" in result.output


def test_a_command_that_cannot_be_run_cancels_its_issue(stub, once, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    stub.open()

    assert 1 == once(str(script)).exit_code
    assert [f"command not found: {script}"] == stub.comments


class Full:
    """A call that finds no room on the disk a few times, and then does what it replaces."""

    def __init__(self, call, times=2):
        self.call = call
        self.times = times

    def __call__(self, *arguments, **named):
        self.times -= 1
        if self.times >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.call(*arguments, **named)


@pytest.mark.parametrize("place", [(claims, "_locked"), (command, "_start")])
def test_a_full_disk_of_this_machine_is_waited_for_and_cancels_nothing(stub, once, monkeypatch, place):
    monkeypatch.setattr(*place, Full(getattr(*place)))
    issue = stub.open()

    result = once("echo", "hello")

    assert (0, "done", ["hello\n"]) == (result.exit_code, issue["status"], stub.comments)


def test_a_command_that_is_not_there_at_the_start_touches_no_issue(stub, once):
    issue = stub.open()

    result = once("no-such-command")

    assert 2 == result.exit_code
    assert "command not found: no-such-command" in result.output
    assert "todo" == issue["status"]


def test_the_comment_is_the_whole_output_as_sound_text_and_standard_error_apart(stub, once):
    stub.open()
    script = (
        "import sys; sys.stdout.buffer.write(b'first' + b'\\xff\\x00' + 'é'.encode() * 50_000);"
        "sys.stderr.write('warning')"
    )

    result = once(sys.executable, "-S", "-c", script, options=["--json"])

    output = "first\N{REPLACEMENT CHARACTER}" + "é" * 50_000
    assert [f"{output}\n\nStandard error:\n\nwarning"] == stub.comments
    line = json.loads(result.stdout.splitlines()[-1])
    assert (output, "warning") == (line["output"], line["error_output"])
    assert "  | warning" in result.stderr


def test_the_middle_of_a_long_output_is_left_out_with_a_mark(stub, once):
    stub.open()
    script = "import sys; sys.stdout.write('a' + 'é' * 400_000 + 'b'); sys.stderr.write('c' + 'x' * 20_000 + 'd')"

    once(sys.executable, "-S", "-c", script)

    output, errors = stub.comments[0].split("\n\nStandard error:\n\n")
    half = MOST_OUTPUT // 2 - 1
    assert f"a{'é' * half}\n[... {800_000 - 4 * half} bytes are left out here ...]\n{'é' * half}b" == output
    assert f"c{'x' * 9_999}\n[... 2 bytes are left out here ...]\n{'x' * 9_999}d" == errors


def test_the_output_is_shown_while_the_command_runs(stub, start, tmp_path):
    stub.open()
    process = start("sh", "-c", "echo begun; exec sleep 600")

    while "  | begun" not in process.stdout.readline():
        assert process.poll() is None


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
        ({"status": "cancelled", "late": True}, "the run lasted longer than its routine allows"),
        ({"assigneeAgentId": str(uuid4())}, "the issue is not assigned to this agent any more"),
        ({"checkoutRunId": str(uuid4())}, "another work session has the issue"),
    ],
)
def test_a_command_is_stopped_with_all_its_children_once_its_issue_is_lost(
    stub, once, *, tmp_path, monkeypatch, change, reason
):
    monkeypatch.setattr(supervision, "LOOK_S", 0.05)
    monkeypatch.setattr(command, "GRACE_S", 0.3)
    issue = fire(stub)
    path = tmp_path / "pid"

    def lose():
        wait_for(lambda: read(path))
        if change.pop("late", False):
            stub.runs[RUN]["failureReason"] = "timed_out"
        issue.update(change)

    thread = Thread(target=lose)
    thread.start()
    result = once(sys.executable, "-S", "-c", f"PATH = {str(path)!r}\n{STUBBORN}")
    thread.join()

    assert 1 == result.exit_code
    assert f"ACM-1 stopped: {reason}" in result.output
    assert [f"stopped: {reason}\n\nbegun\n"] == stub.comments
    assert [] == stub.reasons
    wait_for(lambda: not exists(int(path.read_text())))


def test_a_process_that_the_command_leaves_behind_does_not_hold_us_up(stub, once):
    stub.open()

    result = once("sh", "-c", "sleep 3 & echo $!")

    assert 0 == result.exit_code
    os.kill(int(stub.comments[0]), signal.SIGKILL)


def test_an_issue_that_someone_else_has_is_asked_for_once(stub, start):
    held = stub.open(checkoutRunId=str(uuid4()))
    process = start("true")

    wait_for(lambda: stub.count("GET", "inbox-lite") >= 4)
    process.send_signal(signal.SIGINT)

    assert "ACM-1 left alone: Issue checkout conflict" in process.communicate(timeout=LIMIT_S)[0]
    assert 0 == process.returncode
    assert "todo" == held["status"]
    assert 1 == stub.count("POST", "checkout")


def test_an_issue_in_progress_that_no_worker_here_began_is_left_alone(stub, once):
    stub.open(status="in_progress", checkoutRunId=str(uuid4()))

    result = once("true")

    assert 0 == result.exit_code
    assert "nothing to do" in result.output
    assert 0 == stub.count("POST", "checkout")


def test_a_claim_that_the_board_has_undone_is_forgotten(stub, once, tmp_path):
    issue = stub.open(status="in_progress", checkoutRunId=str(uuid4()))
    (tmp_path / f"{issue['id']}.{uuid4()}").touch()

    result = once("true")

    assert "ACM-1 left alone" in result.output
    assert [] == list(tmp_path.iterdir())


def test_an_issue_that_its_command_moved_is_left_as_it_is(stub, once):
    issue = stub.open()

    result = once(sys.executable, "-S", "-c", MOVE)

    assert 0 == result.exit_code
    assert "blocked" == issue["status"]
    assert "ACM-1 moved: it is blocked already" in result.output


def test_an_issue_that_was_cancelled_just_before_its_command_ended_keeps_the_output(stub, once):
    issue = stub.open()

    result = once(sys.executable, "-S", "-c", MOVE.replace("blocked", "cancelled") + "print('all but one')")

    assert 1 == result.exit_code
    assert "cancelled" == issue["status"]
    assert "the issue was moved to cancelled\n\nall but one\n" == stub.comments[-1]


KEYS = ("identifier", "outcome", "reason", "exit_status", "output")


def test_with_json_each_finished_issue_is_an_object(stub, once):
    stub.open("first")
    stub.open("second")

    result = once("sh", "-c", "echo hello; test $ROUTINES_ISSUE_TITLE = first", options=["--json"])

    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert ("ACM-1", "done", None, 0, "hello\n") == tuple(first[name] for name in KEYS)
    assert ("ACM-2", "cancelled", "exit status 1", 1, "hello\n") == tuple(second[name] for name in KEYS)
    assert (RUN, "first") == (first["run_id"], first["title"])
    assert "ACM-1 taken" in result.stderr


def test_a_list_is_read_to_its_last_page(monkeypatch):
    pages = {None: (["a", "b"], "2"), "2": (["c"], "3"), "3": (["d"], None)}

    def answer(request):
        rows, cursor = pages[request.url.params.get("cursor")]
        return httpx.Response(200, json=rows, headers={"X-Next-Cursor": cursor} if cursor else {})

    mocked = httpx.Client(base_url="http://localhost", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(server, "client", lambda *_: mocked)
    api = server.Server("http://localhost", TOKEN, stop=Event(), say=print, patience_s=0)

    assert ["a", "b", "c", "d"] == list(api.list_rows("/api/agents/me/inbox-lite"))


def test_an_empty_inbox_is_nothing_to_do(once):
    result = once("true")

    assert 0 == result.exit_code
    assert "nothing to do" in result.output


def test_a_token_that_is_not_taken_ends_it_and_is_not_shown(once):
    result = once("true", token="pcp_wrong")

    assert 2 == result.exit_code
    assert "the server does not take the token (401: Unauthorized)" in result.output
    assert "pcp_wrong" not in result.output


@pytest.mark.parametrize(
    "options", [("--url", "localhost:3100"), ("--token", "two words"), ("--timeout-s", "0"), ("--allow-env", "A=B")]
)
def test_wrong_options_are_named(once, options):
    result = once("true", options=options)

    assert 2 == result.exit_code
    assert f"Invalid value for '{options[0]}'" in result.output


def test_trouble_is_waited_out_and_spoken_of(stub, once):
    issue = stub.open()
    stub.troubles = [(503, {"error": "The database is busy"}), (502, {"error": "Bad Gateway"})]

    result = once("true")

    assert 0 == result.exit_code
    assert "done" == issue["status"]
    assert f"{stub.url} is in trouble (503: The database is busy); the next try is in 0 s" in result.output


def test_a_change_that_is_recorded_is_not_repeated(stub, once):
    stub.open()
    patch = stub.patch
    stub.patch = lambda *args: (patch(*args), (503, {"error": "recorded", "details": {"position": 7}}))[1]

    assert 0 == once("echo", "hello").exit_code
    assert ["hello\n"] == stub.comments


def test_one_round_gives_up_when_the_server_does_not_come_back(stub, once, monkeypatch):
    monkeypatch.setattr(cli, "ONCE_PATIENCE_S", 0.05)
    stub.troubles = [(503, {"error": "The database is busy"})] * 1000

    result = once("true")

    assert 2 == result.exit_code
    assert "(503: The database is busy); giving up" in result.output


def test_the_pauses_grow_to_half_a_minute():
    assert [1, 2, 4, 8, 16, 30, 30] == [pause for pause, _ in zip(server.pauses(), range(7), strict=False)]


def test_a_stop_ends_the_command_and_hands_the_issue_back(stub, start, tmp_path):
    issue = stub.open()
    process = start("sh", "-c", f"echo begun; echo $$ > {tmp_path}/pid; exec sleep 600")
    pid = int(wait_for(lambda: read(tmp_path / "pid")))

    process.terminate()
    said, _ = process.communicate(timeout=LIMIT_S)

    assert 0 == process.returncode
    assert "ACM-1 handed back: the worker was stopped" in said
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
    seen = stub.count("GET", "inbox-lite")

    start("sh", "-c", script)
    wait_for(lambda: stub.count("GET", "inbox-lite") >= seen + 3)
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


def test_a_command_is_told_how_often_its_issue_was_begun_on_any_machine(stub, once, tmp_path):
    stub.open(checkoutCount=2)

    once("sh", "-c", f"echo $ROUTINES_START > {tmp_path}/start")

    assert "3" == read(tmp_path / "start")


def test_a_session_that_was_left_on_an_issue_that_is_to_do_is_not_taken_up_again(stub, once, tmp_path):
    """It has lost the issue, or never had it."""
    issue = stub.open()
    left = uuid4()
    (tmp_path / f"{issue['id']}.{left}").touch()

    assert 0 == once("true").exit_code

    assert str(left) not in stub.sessions
    assert [] == list(tmp_path.iterdir())


def test_several_commands_run_at_once_and_their_lines_are_told_apart(stub, once, tmp_path):
    for _ in range(5):
        stub.open()
    together = f"""
        touch {tmp_path}/begun.$ROUTINES_ISSUE_IDENTIFIER
        until test $(ls {tmp_path}/begun.* | wc -l) -ge 3; do sleep 0.02; done
        echo out of $ROUTINES_ISSUE_IDENTIFIER"""

    result = once("sh", "-c", together, options=("--concurrency", "3"))

    assert 0 == result.exit_code, result.output
    assert {"done"} == {issue["status"] for issue in stub.issues.values()}
    for issue in stub.issues.values():
        assert f"  {issue['identifier']} | out of {issue['identifier']}\n" in result.output


def test_no_more_commands_run_at_once_than_it_is_told_and_no_issue_is_taken_before_there_is_room(stub, start, tmp_path):
    for _ in range(3):
        stub.open()
    start("sh", "-c", f"until test -e {tmp_path}/go; do sleep 0.05; done", options=("--concurrency", "2"))

    wait_for(lambda: stub.count("POST", "checkout") == 2)
    wait_for(lambda: stub.count("GET", "/issues/" + next(iter(stub.issues))) >= 2)
    assert ["in_progress", "in_progress", "todo"] == sorted(issue["status"] for issue in stub.issues.values())
    (tmp_path / "go").touch()
    wait_for(lambda: all(issue["status"] == "done" for issue in stub.issues.values()))


def test_a_stop_ends_all_commands_and_hands_all_issues_back(stub, start, tmp_path):
    for _ in range(3):
        stub.open()
    process = start("sh", "-c", f"echo $$ >> {tmp_path}/pids; exec sleep 600", options=("--concurrency", "3"))
    wait_for(lambda: len((read(tmp_path / "pids") or "").splitlines()) == 3)

    process.terminate()
    process.communicate(timeout=LIMIT_S)

    assert 0 == process.returncode
    assert {"todo"} == {issue["status"] for issue in stub.issues.values()}
    assert [] == list((tmp_path / "claims").iterdir())
    assert not any(exists(int(pid)) for pid in read(tmp_path / "pids").splitlines())


def test_with_once_one_failure_among_several_commands_is_told_by_the_exit_status(stub, once):
    for _ in range(3):
        stub.open()

    result = once("sh", "-c", "test $ROUTINES_ISSUE_IDENTIFIER != ACM-2", options=("--concurrency", "3"))

    assert 1 == result.exit_code
    assert ["cancelled", "done", "done"] == sorted(issue["status"] for issue in stub.issues.values())


def test_two_workers_at_once_run_each_issue_once(stub, start, tmp_path):
    for _ in range(6):
        stub.open()
    for _ in range(2):
        start("sh", "-c", f"echo $ROUTINES_ISSUE_IDENTIFIER >> {tmp_path}/ran")

    wait_for(lambda: all(issue["status"] == "done" for issue in stub.issues.values()))

    assert sorted(f"ACM-{number}" for number in range(1, 7)) == sorted(read(tmp_path / "ran").splitlines())


def test_what_others_wrote_does_not_reach_the_workers_terminal_as_orders(stub, once):
    stub.open(HOSTILE, identifier=HOSTILE)

    shown = once("sh", "-c", "printf '\\033[2J'; exit 1").output
    stub.open(HOSTILE)
    lines = once("sh", "-c", "printf '\\033[2J\\302\\233'; exit 1", options=["--json"])

    assert_harmless(shown)
    assert "\\x1b]0;owned\\x07" in shown
    assert "[red]" in shown
    assert_harmless(lines.output)
    assert json.loads(lines.stdout.splitlines()[-1])["title"] == HOSTILE


def test_what_a_server_says_does_not_either(stub, once):
    stub.troubles = [(403, {"error": HOSTILE})]

    result = once("true")

    assert 2 == result.exit_code
    assert_harmless(result.output)


def test_a_title_with_a_nul_is_a_variable_without_it(stub, once):
    issue = stub.open("a\0b")

    once("sh", "-c", "printf %s $ROUTINES_ISSUE_TITLE")

    assert (["ab"], "done") == (stub.comments, issue["status"])
