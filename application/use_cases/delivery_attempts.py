"""Deliveries on their way: where each goes, what signs it, and what became of an attempt."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from application.event_store.stream_kinds import AGENT, COMPANY, DELIVERY, ENDPOINT, ROUTINE, TRAJECTORY
from application.event_store.unit_of_work import UnitOfWork
from domain.board import agent
from domain.board import company as companies
from domain.delivery import delivery, endpoint
from domain.delivery.delivery import GONE, Answer, PendingDelivery
from domain.erasure import ERASED
from domain.values import Callback, Value
from domain.webhooks import signing_keys
from domain.webhooks.secret import Secret
from domain.webhooks.signing_keys import Signing

NO_RECEIVER = "There is no receiver any more"
ADDRESS_ERASED = "The address of the receiver was erased"
DISABLED = "The endpoint is disabled"
SECRET_GONE = "The secret that signs it is gone"  # noqa: S105 it is a message


class Address(Value, frozen=True):
    """Where a delivery goes, and the secrets that sign it."""

    url: str
    secrets: tuple[Secret, ...]

    def __repr__(self) -> str:
        return "Address(***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class GivenUp(Exception):
    """A delivery cannot be sent; the message says why."""


def is_due(work: UnitOfWork, pending: PendingDelivery) -> bool:
    """Return whether nothing was recorded of the delivery since the read model saw it."""
    return work.version_of(pending.id) == pending.version


def address(work: UnitOfWork, pending: PendingDelivery) -> Address:
    """Return where the delivery goes; raise GivenUp when it cannot be sent, VaultClosed without the key."""
    destination = _address_of(work, pending)
    if destination.url == ERASED:
        raise GivenUp(ADDRESS_ERASED)
    return destination


def _address_of(work: UnitOfWork, pending: PendingDelivery) -> Address:
    match pending.kind:
        case "webhook":
            return _of_endpoint(work, pending)
        case "heartbeat":
            return _of_agent(work, pending)
        case "callback":
            return _of_trajectory(work, pending)


def record(work: UnitOfWork, pending: PendingDelivery, url: str, answer: Answer) -> bool:
    """
    Record what became of an attempt at this URL; return False when another process has recorded one meanwhile.

    A receiver that answers that it is gone is sent nothing more, unless it has another URL by now. What somebody asked for
    during the attempt is still to be sent, so that is recorded anew after the outcome, which ends all requests before it.
    """
    state = work.get(DELIVERY, pending.id)
    news = work.version_of(pending.id) - pending.version
    if news > (state.requests if state is not None else 0):
        return False
    has_moved = _url_of(work, pending) not in {url, None}
    outcome = delivery.record_attempt(pending.id, pending.attempts, answer, work.now, has_moved=has_moved)
    work.record(pending.id, [*outcome, *([delivery.request(pending)] if news else [])], pending.company_id)
    if answer.status == GONE and not has_moved:
        _close(work, pending)
    return True


def give_up(work: UnitOfWork, pending: PendingDelivery, reason: str) -> bool:
    """Record that the delivery is dead, which somebody may ask for again; return False as `record` does."""
    if not is_due(work, pending):
        return False
    work.record(pending.id, delivery.given_up(work.get(DELIVERY, pending.id), reason), pending.company_id)
    return True


def _url_of(work: UnitOfWork, pending: PendingDelivery) -> str | None:
    """Return the URL that the receiver has now; None if it has none. That of a callback never changes."""
    match pending.kind:
        case "webhook":
            current = work.get(ENDPOINT, pending.target_id)
            return None if current is None else current.settings.url
        case "heartbeat":
            holder = work.get(AGENT, pending.target_id)
            return None if holder is None else holder.profile.heartbeat_url
        case "callback":
            return None


def _close(work: UnitOfWork, pending: PendingDelivery) -> None:
    """Stop sending to a receiver that says that it is gone for good."""
    if pending.kind == "webhook" and (current := work.get(ENDPOINT, pending.target_id)) is not None:
        work.record(pending.target_id, endpoint.disable(current, "gone"))
    elif pending.kind == "heartbeat" and (holder := work.get(AGENT, pending.target_id)) is not None:
        work.record(pending.target_id, agent.stop_heartbeat(holder, "gone"))


def _of_endpoint(work: UnitOfWork, pending: PendingDelivery) -> Address:
    current = work.get(ENDPOINT, pending.target_id)
    if current is None or current.deleted:
        raise GivenUp(NO_RECEIVER)
    if not current.settings.enabled:
        raise GivenUp(DISABLED)
    return _signed_address(work, current.settings.url, current.signing)


def _of_agent(work: UnitOfWork, pending: PendingDelivery) -> Address:
    current = work.get(AGENT, pending.target_id)
    if companies.is_archived(work.get(COMPANY, pending.company_id)):
        raise GivenUp(companies.ARCHIVED)
    if current is None or current.profile.heartbeat_url is None or current.status == "terminated":
        raise GivenUp(NO_RECEIVER)
    return _signed_address(work, current.profile.heartbeat_url, current.heartbeat)


def _of_trajectory(work: UnitOfWork, pending: PendingDelivery) -> Address:
    trajectory = work.get(TRAJECTORY, pending.target_id)
    if trajectory is None or trajectory.callback is None or trajectory.callback.url is None:
        raise GivenUp(NO_RECEIVER)
    secret_id = _callback_secret_id(work, trajectory.routine_id, trajectory.callback)
    secrets = () if secret_id is None else _reveal_secrets(work, [secret_id])
    return Address(url=trajectory.callback.url, secrets=secrets)


def _callback_secret_id(work: UnitOfWork, routine_id: UUID | None, callback: Callback) -> UUID | None:
    """
    Return the id of the secret that signs a callback; None if nothing does.

    Of a routine's trajectory that is what the routine has now, so one that was replaced or cleared counts at once.
    """
    routine = work.get(ROUTINE, routine_id)
    if routine is None or routine.settings.call is None or routine.settings.status == "archived":
        return callback.secret_id
    current = routine.settings.call.callback
    return None if current is None else current.secret_id


def _signed_address(work: UnitOfWork, url: str, signing: Signing | None) -> Address:
    if signing is None:
        raise GivenUp(SECRET_GONE)
    return Address(url=url, secrets=_reveal_secrets(work, signing_keys.signing_secret_ids(signing, work.now)))


def _reveal_secrets(work: UnitOfWork, ids: Sequence[UUID]) -> tuple[Secret, ...]:
    secrets_by_id = work.reveal(ids)
    secrets = tuple(secrets_by_id[id_] for id_ in ids if id_ in secrets_by_id)
    if not secrets:
        raise GivenUp(SECRET_GONE)
    return secrets
