"""What a letter says: the same bytes at each attempt, made of what the log holds."""

from collections.abc import Mapping
from typing import Any

import msgspec

from application.event_store.unit_of_work import Work
from application.use_cases.delivery_attempts import Address
from domain import disclosure
from domain.delivery.delivery import Letter
from domain.events import IssueOpened
from domain.recorded import Recorded
from domain.webhooks import signatures
from projections.jetty import trajectories
from projections.responses import time


class Composed(msgspec.Struct, frozen=True):
    """A request that is ready to be sent, its signature apart."""

    body: bytes
    number: int = 0  # of the trajectory that it is about


def composed(work: Work, letter: Letter, told: Recorded) -> Composed:
    """`told` is the event that the letter tells."""
    match letter.kind:
        case "webhook":
            return Composed(_encoded(_event(told)))
        case "heartbeat":
            return Composed(_encoded(_heartbeat(letter, told)))
        case "callback":
            history = [recorded for recorded in work.history(letter.target_id) if recorded.version <= told.version]
            found = trajectories.trajectory_of(history)
            return Composed(_encoded(found), number=found.trajectory_id)


def headers(letter: Letter, of: Composed, to: Address, work: Work) -> Mapping[str, str]:
    """Of one attempt: its time is signed with the body."""
    own = signatures.standard_headers(letter.id, to.secrets, of.body, work.now)
    if letter.kind != "callback":
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


def _heartbeat(letter: Letter, told: Recorded) -> dict[str, Any]:
    event = told.event
    if not isinstance(event, IssueOpened):
        raise TypeError(event)
    return {
        "type": "issue.opened",
        "timestamp": time(told.at),
        "data": {
            "agentId": letter.target_id,
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
