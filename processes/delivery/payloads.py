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


def headers(pending: PendingDelivery, of: Payload, to: Address, work: UnitOfWork) -> Mapping[str, str]:
    """Of one attempt: its time is signed with the body."""
    own = signatures.standard_headers(pending.id, to.secrets, of.body, work.now)
    if pending.kind != "callback":
        return own
    secret = to.secrets[0] if to.secrets else None
    return {**own, **signatures.callback_headers(of.number, secret, of.body, work.now)}


def _event(told: Recorded) -> dict[str, Any]:
    """Without addresses: whoever reads an endpoint's messages need not be allowed to change what they are about."""
    return {
        "type": told.name,
        "timestamp": time(told.at),
        "data": {
            "companyId": told.company_id,
            "streamId": told.stream_id,
            "version": told.version,
            "position": told.position,
            "actor": told.actor,
            "cause": told.cause,
            "event": disclosure.masked(told.event),
        },
    }


def _heartbeat(pending: PendingDelivery, told: Recorded) -> dict[str, Any]:
    event = told.event
    if not isinstance(event, IssueOpened):
        raise TypeError(event)
    return {
        "type": "issue.opened",
        "timestamp": time(told.at),
        "data": {
            "agentId": pending.target_id,
            "companyId": told.company_id,
            "issueId": told.stream_id,
            "title": event.details.title,
            "priority": event.details.priority,
            "status": event.status,
            "routineId": event.routine_id,
            "runId": event.run_id,
        },
    }


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value)
