"""A run as clients read it, folded from its events; lists show it without its largest payloads (run_history.py)."""

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import asdict, replace

from domain.bounds import json_size
from domain.bounds.limits import SHOWN_PAYLOAD_BYTES
from domain.errors import ImpossibleHistory
from domain.events import (
    RunAttemptBegun,
    RunAttemptFailed,
    RunCompleted,
    RunFailed,
    RunFired,
    RunReported,
)
from domain.identity import revision_of
from domain.recorded import Recorded
from domain.values import Coalesced, Failed, Opened, OverBudget, Skipped, Started
from projections import responses
from projections.responses import RunAttempt, text_or_none, time, time_or_none

SEPARATORS = 2  # bytes of a colon and a comma in JSON
F = TypeVar("F", bound=responses.RunFields)


def run_of(events: Sequence[Recorded]) -> responses.Run:
    """Return a run as clients read it, folded from the events of its stream; raise ValueError if there are none."""
    match events:
        case [Recorded(event=RunFired() as event) as first, *later]:
            doc = fired_run(responses.Run, first, event, responsible_user_id=text_or_none(event.responsible_user_id))
        case [first, *_]:
            raise ImpossibleHistory(None, first.event)
        case _:
            raise ValueError(events)
    for recorded in later:
        doc = run_after(doc, recorded)
    return doc


def detail_of(events: Sequence[Recorded]) -> responses.RunDetail:
    """Return a run as `run_of` does, with its attempts, the deadline of the newest one, its successor and its outputs."""
    attempts, facts = list[RunAttempt](), dict[str, Any]()
    for recorded in events:
        timestamp = time(recorded.at)
        match recorded.event:
            case RunFired(retry=policy, deadline=deadline) as firing:
                facts = {"deadline": time_or_none(deadline), "max_attempts": policy.max_attempts if policy else 1}
                if isinstance(firing.outcome, Opened | Started):
                    attempts.append(RunAttempt(attempt=1, begun_at=timestamp))
            case RunAttemptBegun(attempt=attempt, deadline=deadline):
                facts |= {"deadline": time_or_none(deadline), "next_attempt_at": None, "attempt": attempt}
                attempts.append(RunAttempt(attempt=attempt, begun_at=timestamp))
            case RunAttemptFailed(reason=reason, next_at=next_at):
                facts |= {"deadline": None, "next_attempt_at": time(next_at)}
                attempts[-1] = replace(attempts[-1], outcome="failed", reason=reason, ended_at=timestamp)
            case RunReported(outputs=outputs) if outputs is not None:
                facts |= {"outputs": outputs}
            case (RunCompleted() | RunFailed()) as end:
                if facts.get("next_attempt_at") is None:  # else the attempt has failed already, for its own reason
                    attempts[-1] = replace(attempts[-1], **_last_attempt_fields(end), ended_at=timestamp)
                facts |= {"next_attempt_at": None, "successor_run_id": getattr(end, "successor_run_id", None)}
    run = {name: value for name, value in asdict(run_of(events)).items() if name not in ("attempt", "max_attempts")}
    return responses.RunDetail(**run, **facts, attempts=attempts)


def _last_attempt_fields(event: RunCompleted | RunFailed) -> dict[str, Any]:
    """Return what the end of a run says of its last attempt."""
    if isinstance(event, RunCompleted):
        return {"outcome": "completed", "reason": None}
    return {"outcome": "failed", "reason": event.reason}


def with_shortened_payload(run: F) -> F:
    """Return a run as lists show it: a payload of more than SHOWN_PAYLOAD_BYTES without its largest fields."""
    if run.trigger_payload is None or (size := json_size.size_of(run.trigger_payload)) <= SHOWN_PAYLOAD_BYTES:
        return run
    sizes = {name: json_size.size_of(name, value) for name, value in run.trigger_payload.items()}
    left, kept_names = SHOWN_PAYLOAD_BYTES, set[str]()
    for name in sorted(sizes, key=sizes.__getitem__):
        left -= sizes[name] + SEPARATORS
        if left < 0:
            break
        kept_names.add(name)
    payload = {name: value for name, value in run.trigger_payload.items() if name in kept_names}
    return replace(run, trigger_payload=payload, trigger_payload_bytes=size)


def run_after(doc: F, recorded: Recorded) -> F:
    """Return a run as it is after an event that follows its firing. Raises ImpossibleHistory for one that cannot."""
    timestamp = time(recorded.at)
    match recorded.event:
        case RunAttemptFailed():
            return replace(doc, updated_at=timestamp)
        case RunAttemptBegun(attempt=attempt):
            return replace(doc, attempt=attempt, updated_at=timestamp)
        case RunReported() as event:
            return replace(doc, **_usage_fields(event))
        case RunCompleted():
            return replace(doc, status="completed", completed_at=timestamp, failure_reason=None, updated_at=timestamp)
        case RunFailed(reason=reason):
            return replace(doc, status="failed", completed_at=timestamp, failure_reason=reason, updated_at=timestamp)
        case _:
            raise ImpossibleHistory(doc, recorded.event)


def fired_run(shape: type[F], recorded: Recorded, event: RunFired, **more: Any) -> F:
    """Return the run that a firing makes, in a shape that may have more fields."""
    timestamp = time(recorded.at)
    return shape(
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        routine_id=event.routine_id,
        trigger_id=event.trigger_id,
        source=event.source,
        status="received" if isinstance(event.outcome, Started) else event.outcome.__struct_config__.tag,  # type: ignore[arg-type]
        triggered_at=timestamp,
        routine_revision_id=revision_of(event.routine_id, event.revision),
        idempotency_key=event.idempotency_key,
        trigger_payload=event.payload,
        dispatch_fingerprint=_fingerprint_of(event),
        created_at=timestamp,
        updated_at=timestamp,
        completed_at=None if isinstance(event.outcome, Opened | Started) else timestamp,
        planned_at=UNSET if event.occurrence is None else time(event.occurrence),
        backfill_id=event.backfill_id or UNSET,
        cause_run_id=event.cause_run_id or UNSET,
        probe=event.probe or UNSET,
        attempt=1 if event.retry else UNSET,
        max_attempts=event.retry.max_attempts if event.retry else UNSET,
        **_link_fields(event),
        **more,
    )


def _usage_fields(event: RunReported) -> dict[str, int]:
    """Return the usage that was reported, without what the report does not mention."""
    usage = {name: getattr(event, name) for name in ("cost_micros", "input_tokens", "output_tokens")}
    return {name: number for name, number in usage.items() if number is not None}


def _budget_answer(exceeded_budget: OverBudget) -> responses.OverBudget:
    return responses.OverBudget(**asdict(exceeded_budget) | {"frees_at": time_or_none(exceeded_budget.frees_at)})


def _fingerprint_of(event: RunFired) -> str:
    """Return 64 hexadecimal digits that are equal for the same routine and payload."""
    payload = msgspec.json.encode(event.payload, order="deterministic")
    return hashlib.sha256(event.routine_id.bytes + payload).hexdigest()


def _link_fields(event: RunFired) -> dict[str, Any]:
    match event.outcome:
        case Opened(issue_id=issue_id):
            return {"linked_issue_id": issue_id, "coalesced_into_run_id": None, "failure_reason": None}
        case Started():
            return {"linked_issue_id": None, "coalesced_into_run_id": None, "failure_reason": None}
        case Coalesced(issue_id=issue_id, into_run_id=run_id):
            return {"linked_issue_id": issue_id, "coalesced_into_run_id": run_id, "failure_reason": None}
        case Skipped(issue_id=issue_id, into_run_id=run_id, reason=reason, budget=budget):
            links = {"linked_issue_id": issue_id, "coalesced_into_run_id": run_id, "failure_reason": reason}
            return links if budget is None else links | {"budget": _budget_answer(budget)}
        case Failed(reason=reason):
            return {"linked_issue_id": None, "coalesced_into_run_id": None, "failure_reason": reason}
