"""The body and the headers of a delivery. The body is made from the log: the same bytes at each attempt."""

from collections.abc import Mapping
from typing import Any

import msgspec

from application.event_store.unit_of_work import UnitOfWork
from application.use_cases.delivery_attempts import Address
from domain import disclosure
from domain.delivery.delivery import PendingDelivery
from domain.events import IssueOpened, RunAttemptBegun
from domain.recorded import Recorded
from domain.webhooks import signatures
from projections.jetty import trajectories
from projections.responses import time


class Payload(msgspec.Struct, frozen=True):
    """The body of a delivery, before it is signed."""

    body: bytes
    number: int = 0  # of the trajectory that a callback is about; 0 for other deliveries


def compose(work: UnitOfWork, pending: PendingDelivery, recorded: Recorded) -> Payload:
    """Return the payload of the delivery, which reports the recorded event."""
    match pending.kind:
        case "webhook":
            return Payload(_encode_payload(_event_payload(recorded)))
        case "heartbeat":
            return Payload(_encode_payload(_heartbeat_payload(work, pending, recorded)))
        case "callback":
            history = [entry for entry in work.history(pending.target_id) if entry.version <= recorded.version]
            trajectory = trajectories.trajectory_of(history)
            return Payload(_encode_payload(trajectory), number=trajectory.trajectory_id)


def headers(pending: PendingDelivery, payload: Payload, address: Address, work: UnitOfWork) -> Mapping[str, str]:
    """Return the headers of one attempt; its signature covers the body and the time of the attempt."""
    own = signatures.standard_headers(pending.id, address.secrets, payload.body, work.now)
    if pending.kind != "callback":
        return own
    secret = address.secrets[0] if address.secrets else None
    return {**own, **signatures.callback_headers(payload.number, secret, payload.body, work.now)}


def _event_payload(recorded: Recorded) -> dict[str, Any]:
    """Return the event with its addresses masked: who reads an endpoint's messages may not be allowed to see them."""
    return {
        "type": recorded.name,
        "timestamp": time(recorded.at),
        "data": {
            "companyId": recorded.company_id,
            "streamId": recorded.stream_id,
            "version": recorded.version,
            "position": recorded.position,
            "actor": recorded.actor,
            "cause": recorded.cause,
            "event": disclosure.mask_addresses(recorded.event),
        },
    }


def _heartbeat_payload(work: UnitOfWork, pending: PendingDelivery, recorded: Recorded) -> dict[str, Any]:
    """Return what an agent is told: that an issue was opened for it, or that its run is tried again."""
    began = recorded.event
    issue_id = began.issue_id if isinstance(began, RunAttemptBegun) else recorded.stream_id
    opening = work.history(issue_id)[0].event
    if not isinstance(opening, IssueOpened):
        raise TypeError(opening)
    return {
        "type": recorded.name,
        "timestamp": time(recorded.at),
        "data": {
            "agentId": pending.target_id,
            "companyId": recorded.company_id,
            "issueId": issue_id,
            "title": opening.details.title,
            "priority": opening.details.priority,
            "status": opening.status,
            "routineId": opening.routine_id,
            "runId": opening.run_id,
            "attempt": began.attempt if isinstance(began, RunAttemptBegun) else 1,
        },
    }


def _encode_payload(value: object) -> bytes:
    return msgspec.json.encode(value)
