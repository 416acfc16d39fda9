"""What a letter says: the same bytes at each attempt, made of what the log holds."""

from collections.abc import Mapping
from typing import Any

import msgspec

from application.event_store.unit_of_work import UnitOfWork
from application.use_cases.delivery_attempts import Address
from domain import disclosure
from domain.delivery.delivery import PendingDelivery
from domain.events import IssueOpened
from domain.recorded import Recorded
from domain.webhooks import signatures
from projections.jetty import trajectories
from projections.responses import time


class Payload(msgspec.Struct, frozen=True):
    """A request that is ready to be sent, its signature apart."""

    body: bytes
    number: int = 0  # of the trajectory that it is about


def compose(work: UnitOfWork, pending: PendingDelivery, told: Recorded) -> Payload:
    """`told` is the event that the letter tells."""
    match pending.kind:
        case "webhook":
            return Payload(_encoded(_event(told)))
        case "heartbeat":
            return Payload(_encoded(_heartbeat(pending, told)))
        case "callback":
            history = [recorded for recorded in work.history(pending.target_id) if recorded.version <= told.version]
            found = trajectories.trajectory_of(history)
            return Payload(_encoded(found), number=found.trajectory_id)


def headers(pending: PendingDelivery, payload: Payload, address: Address, work: UnitOfWork) -> Mapping[str, str]:
    """Of one attempt: its time is signed with the body."""
    own = signatures.standard_headers(pending.id, address.secrets, payload.body, work.now)
    if pending.kind != "callback":
        return own
    secret = address.secrets[0] if address.secrets else None
    return {**own, **signatures.callback_headers(payload.number, secret, payload.body, work.now)}


def _event(recorded: Recorded) -> dict[str, Any]:
    """Without addresses: whoever reads an endpoint's messages need not be allowed to change what they are about."""
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
            "event": disclosure.masked(recorded.event),
        },
    }


def _heartbeat(pending: PendingDelivery, recorded: Recorded) -> dict[str, Any]:
    event = recorded.event
    if not isinstance(event, IssueOpened):
        raise TypeError(event)
    return {
        "type": "issue.opened",
        "timestamp": time(recorded.at),
        "data": {
            "agentId": pending.target_id,
            "companyId": recorded.company_id,
            "issueId": recorded.stream_id,
            "title": event.details.title,
            "priority": event.details.priority,
            "status": event.status,
            "routineId": event.routine_id,
            "runId": event.run_id,
        },
    }


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value)
