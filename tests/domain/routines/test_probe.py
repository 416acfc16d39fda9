"""What a probe makes of an answer."""

import pytest

from domain.delivery.delivery import Answer
from domain.routines import probe
from domain.routines.probe import LONGEST_FOUND
from domain.values import JsonCondition, Probe, ProbeFinding, Skipped

URL = "https://example.com/queue"
QUEUE = b'{"queue": {"waiting": true, "jobs": [{"id": 7}, null], "rate": 1.0}}'


def judge_answer(
    body: bytes = QUEUE, status: int | None = 200, *, path: str | None = None, equals: object = None
) -> ProbeFinding:
    condition = None if path is None else JsonCondition(path=path, equals=equals)  # type: ignore[arg-type]
    return probe.judge(Probe(url=URL, json=condition), Answer(status=status, took_ms=12), body)


@pytest.mark.parametrize(("status", "verdict"), [(199, "failed"), (200, "passed"), (299, "passed"), (302, "failed")])
def test_any_2xx_passes_unless_a_status_is_wanted(status: int, verdict: str):
    assert (verdict, status) == ((finding := judge_answer(status=status)).verdict, finding.status)


@pytest.mark.parametrize(("status", "verdict"), [(503, "passed"), (200, "failed")])
def test_the_status_that_is_wanted_passes_and_no_other(status: int, verdict: str):
    finding = probe.judge(Probe(url=URL, status=503), Answer(status=status), b"")

    assert verdict == finding.verdict
    assert (finding.reason is None) == (verdict == "passed")


@pytest.mark.parametrize(
    ("path", "equals"),
    [("queue.waiting", True), ("queue.jobs.0.id", 7), ("queue.jobs.1", None), ("queue.rate", 1)],
)
def test_a_value_at_a_path_passes(path: str, equals: object):
    assert "passed" == judge_answer(path=path, equals=equals).verdict


@pytest.mark.parametrize(
    ("path", "equals", "reason"),
    [
        ("queue.waiting", 1, "queue.waiting is true, and should be 1"),
        ("queue.rate", True, "queue.rate is 1.0, and should be true"),
        ("queue.jobs.0.id", "7", 'queue.jobs.0.id is 7, and should be "7"'),
        ("queue.jobs.2", None, "There is nothing at queue.jobs.2"),
        ("queue.jobs.-1", None, "There is nothing at queue.jobs.-1"),
        ("queue", None, "queue is an object, and should be null"),
        ("queue.jobs", None, "queue.jobs is an array, and should be null"),
        ("queue.waiting.long", True, "There is nothing at queue.waiting.long"),
    ],
)
def test_another_value_does_not_pass_and_the_reason_names_both(path: str, equals: object, reason: str):
    assert ("failed", reason) == ((finding := judge_answer(path=path, equals=equals)).verdict, finding.reason)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"queue": ', b"\xff", b"[" * 10_000, b'{"queue": NaN}'])
def test_what_is_not_json_does_not_pass(body: bytes):
    assert ("failed", "The answer is not JSON", None) == (
        (finding := judge_answer(body, path="queue", equals=None)).verdict,
        finding.reason,
        finding.found,
    )


def test_of_what_was_found_little_is_kept():
    finding = judge_answer(b'{"a": "' + b"x" * 5_000 + b'"}', path="a", equals="x")

    assert LONGEST_FOUND == len(finding.found or "")
    assert len(finding.reason or "") < 2 * LONGEST_FOUND


def test_no_answer_is_a_finding_of_its_own_and_skips_unless_the_probe_says_otherwise():
    finding = judge_answer(status=None)

    assert "unanswered" == finding.verdict
    assert Skipped(reason="probe_unanswered") == probe.skip_by_probe(Probe(url=URL), finding)
    assert None is probe.skip_by_probe(Probe(url=URL, if_unanswered="fire"), finding)


def test_a_probe_that_failed_skips_whatever_it_says_of_no_answer():
    assert Skipped(reason="probe_failed") == probe.skip_by_probe(
        Probe(url=URL, if_unanswered="fire"), judge_answer(status=500)
    )


def test_the_condition_is_a_sentence_without_the_address():
    guard = Probe(url=URL, json=JsonCondition(path="queue.waiting", equals=True))

    assert (
        "An occurrence is skipped unless the routine's probe answers with the status 2xx and true at queue.waiting; "
        "if nobody answers, it is skipped as well."
    ) == probe.condition(guard)
