"""
A probe: occurrences of a schedule fire only if a GET of a URL answers as the routine wants it.

The scheduler does not wait for anybody's answer. It records that the probe of an occurrence is to be asked; the delivery
process asks, and records what it has found; then the scheduler settles the occurrence by that. A finding counts for what
was due when the probe was requested, and for COUNTS_FOR.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.delivery.delivery import Answer
from domain.errors import ImpossibleHistory
from domain.events import ProbeAnswered, ProbeEvent, ProbeRequested
from domain.routines import template
from domain.routines.settlement import GRACE
from domain.values import Probe, ProbeFinding, Scalar, Skipped, Value

FAILED, UNANSWERED = "probe_failed", "probe_unanswered"  # the reasons for which a firing is skipped
ANSWER_LIMIT = timedelta(seconds=30)  # how long an occurrence waits for the answer of its probe
COUNTS_FOR = GRACE  # how long after the request its answer counts; after that it is asked anew
NOT_ASKED = "The delivery process has not asked in time"
REMOVED = "The routine has no probe any more"
LONGEST_FOUND = 100  # characters of the JSON of what was found
NOWHERE = object()


class Request(Value, frozen=True):
    """The state of the probe of an occurrence: since when it waits for an answer and until when, and the answer."""

    trigger_id: UUID
    routine_id: UUID
    occurrence: datetime
    as_of: datetime
    until: datetime
    finding: ProbeFinding | None = None

    def counts(self, now: datetime) -> bool:
        """Return whether the occurrence may still be settled by this request; else the probe is requested anew."""
        return self.as_of <= now <= self.as_of + COUNTS_FOR

    def waits(self, now: datetime) -> bool:
        """Return whether there may still be an answer."""
        return self.finding is None and now < self.until


class PendingProbe(Value, frozen=True):
    """A probe that is to be asked, as the read model of pending probes knows it."""

    id: UUID
    version: int  # of its stream when it was listed; if the stream has another version now, this is stale
    routine_id: UUID
    company_id: UUID


def evolve(request: Request | None, event: ProbeEvent) -> Request:
    """Fold an event into the state of a probe. Raise ImpossibleHistory if it cannot follow."""
    match request, event:
        case _, ProbeRequested():
            return Request(
                trigger_id=event.trigger_id,
                routine_id=event.routine_id,
                occurrence=event.occurrence,
                as_of=event.as_of,
                until=event.until,
            )
        case Request(finding=None), ProbeAnswered(finding=finding):
            return replace(request, finding=finding)
        case _:
            raise ImpossibleHistory(request, event)


def request(trigger_id: UUID, routine_id: UUID, occurrence: datetime, now: datetime) -> ProbeRequested:
    """Return the event that the probe of an occurrence is to be asked."""
    return ProbeRequested(
        trigger_id=trigger_id, routine_id=routine_id, occurrence=occurrence, as_of=now, until=now + ANSWER_LIMIT
    )


def answer(request: Request, finding: ProbeFinding) -> list[ProbeAnswered]:
    """Record what was found; nothing if there is an answer already."""
    if request.finding is not None:
        return []
    return [ProbeAnswered(trigger_id=request.trigger_id, occurrence=request.occurrence, finding=finding)]


def skip_by_probe(probe: Probe, finding: ProbeFinding) -> Skipped | None:
    """Return the outcome of a firing that the finding keeps from beginning; None if it may begin."""
    match finding.verdict:
        case "failed":
            return Skipped(reason=FAILED)
        case "unanswered" if probe.if_unanswered == "skip":
            return Skipped(reason=UNANSWERED)
        case _:
            return None


def unanswered_finding(reason: str, took_ms: int | None = None) -> ProbeFinding:
    """Return the finding that there was no answer, and why."""
    return ProbeFinding(verdict="unanswered", reason=reason, took_ms=took_ms)


def judge(probe: Probe, answer: Answer, body: bytes) -> ProbeFinding:
    """Return what the probe has found in an answer, or that there was none."""
    if answer.status is None:
        return unanswered_finding(answer.reason or "", answer.took_ms)
    finding = ProbeFinding(verdict="failed", status=answer.status, took_ms=answer.took_ms)
    if not _is_expected(probe, answer.status):
        return replace(finding, reason=f"The status is {answer.status}, and should be {_expected_status(probe)}")
    if probe.json is None:
        return replace(finding, verdict="passed")
    if answer.reason is not None:
        return replace(finding, reason=answer.reason)
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return replace(finding, reason="The answer is not JSON")
    value = template.value_at(document, probe.json.path.split("."), NOWHERE)
    if value is NOWHERE:
        return replace(finding, reason=f"There is nothing at {probe.json.path}")
    finding = replace(finding, found=_describe_value(value))
    if _are_equal(value, probe.json.equals):
        return replace(finding, verdict="passed")
    return replace(
        finding, reason=f"{probe.json.path} is {finding.found}, and should be {_json_text(probe.json.equals)}"
    )


def needs_body(probe: Probe, status: int) -> bool:
    """Return whether the verdict depends on more than the status of an answer."""
    return probe.json is not None and _is_expected(probe, status)


def condition(probe: Probe) -> str:
    """Return the rule of a routine's probe as a sentence, without its address."""
    unanswered_text = "it is skipped as well" if probe.if_unanswered == "skip" else "it fires all the same"
    return f"An occurrence is skipped unless the routine's probe answers with {_expected_answer(probe)}; if nobody answers, {unanswered_text}."


def findings(finding: ProbeFinding) -> str:
    """Return what a probe has found, as the end of a sentence."""
    took = "" if finding.took_ms is None else f" (after {finding.took_ms} ms)"
    match finding.verdict:
        case "passed":
            finding_text = "" if finding.found is None else f" and {finding.found}"
            return f"its probe passed with the status {finding.status}{finding_text}{took}"
        case "failed":
            return f"its probe did not pass{took}: {_as_clause(finding.reason)}"
        case "unanswered":
            return f"its probe was not answered{took}: {_as_clause(finding.reason)}"


def _as_clause(reason: str | None) -> str:
    text = (reason or "the reason is not known").rstrip(".")
    return text[:1].lower() + text[1:]


def _is_expected(probe: Probe, status: int) -> bool:
    return 200 <= status < 300 if probe.status is None else status == probe.status  # noqa: PLR2004 HTTP's


def _expected_status(probe: Probe) -> str:
    return "2xx" if probe.status is None else str(probe.status)


def _expected_answer(probe: Probe) -> str:
    value = "" if probe.json is None else f" and {_json_text(probe.json.equals)} at {probe.json.path}"
    return f"the status {_expected_status(probe)}{value}"


def _are_equal(value: Any, expected: Scalar | None) -> bool:
    """Return whether two JSON values are the same; 1 and 1.0 are, 1 and true are not."""
    return isinstance(value, bool) == isinstance(expected, bool) and bool(value == expected)


def _json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _describe_value(value: Any) -> str:
    """Return what was found: a single value cut to LONGEST_FOUND characters, of anything larger only what it is."""
    match value:
        case dict():
            return "an object"
        case list():
            return "an array"
        case _:
            text = _json_text(value)
            return text if len(text) <= LONGEST_FOUND else f"{text[: LONGEST_FOUND - 1]}…"
