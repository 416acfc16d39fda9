"""What becomes of what a command prints: shown, kept as a comment, reported as outputs and usage."""

import json
import sys

import pytest

from routines.worker.command import MOST_OUTPUT
from tests.routines.hostile import HOSTILE, assert_harmless
from tests.routines.worker.stub_server import RUN, fire


def test_a_command_without_output_leaves_no_comment(stub, run_once):
    stub.open()

    run_once("true")

    assert [None] == stub.comments


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
def test_the_json_object_that_a_command_prints_is_reported_as_outputs(stub, run_once, script, outputs):
    stub.open()

    run_once("sh", "-c", script)

    assert [outputs] == stub.outputs
    assert 1 == stub.count("PATCH", stub.requests[-1][1])


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
def test_what_a_command_says_that_it_has_used_is_reported(stub, run_once, printed, usage):
    stub.open()

    run_once("echo", printed)

    names = ("costMicros", "inputTokens", "outputTokens")
    expected_usage = None if usage is None else {n: v for n, v in zip(names, usage, strict=True) if v is not None}
    assert [expected_usage] == stub.usage
    assert [json.loads(printed)] == stub.outputs


def test_what_earlier_attempts_have_used_is_added_since_a_report_is_a_total(stub, run_once):
    fire(stub)
    stub.runs[RUN] |= {"costMicros": 1_000, "inputTokens": None}

    run_once("echo", '{"usage": {"costMicros": 250, "inputTokens": 12}}')

    assert [{"costMicros": 1_250, "inputTokens": 12}] == stub.usage


def test_outputs_that_the_server_refuses_do_not_keep_the_issue_from_ending(stub, run_once):
    issue = stub.open()
    stub.refused_outputs = 400, {"error": "Validation error"}

    result = run_once("sh", "-c", """echo '{"a": 1}'""")

    assert ("done", [None]) == (issue["status"], stub.outputs)
    assert "outputs refused (Validation error), and in the comment only" in result.output


def test_usage_that_the_server_refuses_does_not_keep_the_issue_from_ending(stub, run_once):
    issue = stub.open()
    stub.refused_outputs = stub.refused_usage = 422, {"error": "Its history is full"}

    result = run_once("sh", "-c", """echo '{"usage": {"costMicros": 5}}'""")

    assert ("done", [None], [None]) == (issue["status"], stub.outputs, stub.usage)
    assert "usage refused (Its history is full)" in result.output


def test_an_issue_that_no_run_opened_has_no_outputs(stub, run_once):
    stub.open(originId=None, originRunId=None)

    run_once("sh", "-c", """echo '{"a": 1}'""")

    assert [None] == stub.outputs


def test_the_comment_is_the_whole_output_as_sound_text_and_standard_error_apart(stub, run_once):
    stub.open()
    script = (
        "import sys; sys.stdout.buffer.write(b'first' + b'\\xff\\x00' + 'é'.encode() * 50_000);"
        "sys.stderr.write('warning')"
    )

    result = run_once(sys.executable, "-S", "-c", script, options=["--json"])

    output = "first\N{REPLACEMENT CHARACTER}" + "é" * 50_000
    assert [f"{output}\n\nStandard error:\n\nwarning"] == stub.comments
    line = json.loads(result.stdout.splitlines()[-1])
    assert (output, "warning") == (line["output"], line["error_output"])
    assert "  | warning" in result.stderr


def test_the_middle_of_a_long_output_is_left_out_with_a_mark(stub, run_once):
    stub.open()
    script = "import sys; sys.stdout.write('a' + 'é' * 400_000 + 'b'); sys.stderr.write('c' + 'x' * 20_000 + 'd')"

    run_once(sys.executable, "-S", "-c", script)

    output, errors = stub.comments[0].split("\n\nStandard error:\n\n")
    half = MOST_OUTPUT // 2 - 1
    assert f"a{'é' * half}\n[... {800_000 - 4 * half} bytes are left out here ...]\n{'é' * half}b" == output
    assert f"c{'x' * 9_999}\n[... 2 bytes are left out here ...]\n{'x' * 9_999}d" == errors


def test_the_output_is_shown_while_the_command_runs(stub, start, tmp_path):
    stub.open()
    process = start("sh", "-c", "echo begun; exec sleep 600")

    while "  | begun" not in process.stdout.readline():
        assert process.poll() is None


KEYS = ("identifier", "outcome", "reason", "exit_status", "output")


def test_with_json_each_finished_issue_is_an_object(stub, run_once):
    stub.open("first")
    stub.open("second")

    result = run_once("sh", "-c", "echo hello; test $ROUTINES_ISSUE_TITLE = first", options=["--json"])

    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert ("ACM-1", "done", None, 0, "hello\n") == tuple(first[name] for name in KEYS)
    assert ("ACM-2", "cancelled", "exit status 1", 1, "hello\n") == tuple(second[name] for name in KEYS)
    assert (RUN, "first") == (first["run_id"], first["title"])
    assert "ACM-1 taken" in result.stderr


def test_what_others_wrote_does_not_reach_the_workers_terminal_as_orders(stub, run_once):
    stub.open(HOSTILE, identifier=HOSTILE)

    output = run_once("sh", "-c", "printf '\\033[2J'; exit 1").output
    stub.open(HOSTILE)
    lines = run_once("sh", "-c", "printf '\\033[2J\\302\\233'; exit 1", options=["--json"])

    assert_harmless(output)
    assert "\\x1b]0;owned\\x07" in output
    assert "[red]" in output
    assert_harmless(lines.output)
    assert json.loads(lines.stdout.splitlines()[-1])["title"] == HOSTILE


def test_what_a_server_says_does_not_either(stub, run_once):
    stub.troubles = [(403, {"error": HOSTILE})]

    result = run_once("true")

    assert 2 == result.exit_code
    assert_harmless(result.output)
