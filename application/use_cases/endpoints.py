"""Webhook endpoints of a company, and the deliveries to them. They are for members who may write."""

from typing import Any
from uuid import UUID

from application.access import Principal, Resource, authorize
from application.event_store.stream_kinds import DELIVERY, ENDPOINT
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.endpoints import EndpointDraft, EndpointPatch
from application.use_cases import signing_secrets, targets
from application.use_cases.board import companies
from application.use_cases.references import merge_patch
from domain.delivery import delivery, endpoint
from domain.delivery.delivery import PendingDelivery
from domain.delivery.endpoint import Endpoint
from domain.errors import NotFound
from domain.events import EndpointCreated, EndpointDeleted
from domain.identity import delivery_of
from domain.values import EndpointSettings, Value
from domain.webhooks import signing_keys

PURPOSE = "webhook endpoint"


class EndpointResult(Value, frozen=True):
    """An endpoint and its new secret, which is shown in one reply and never again."""

    endpoint_id: UUID
    secret: str

    def __repr__(self) -> str:
        return f"EndpointResult({self.endpoint_id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("endpoint_id", self.endpoint_id)]


def create(work: UnitOfWork, principal: Principal, company_id: UUID, draft: EndpointDraft) -> EndpointResult:
    """Create an endpoint with a secret; raise InvalidField for a URL to which nothing is sent, or an unknown kind of event."""
    may_list(work, principal, company_id)
    settings = merge_patch(EndpointSettings(url=draft.url, events=draft.events), draft)
    _check(work, settings)
    endpoint_id = work.new_id()
    secret_id, secret = signing_secrets.mint(work, endpoint_id, company_id, PURPOSE)
    work.record(endpoint_id, [EndpointCreated(settings=settings, secret_id=secret_id)], company_id)
    return EndpointResult(endpoint_id=endpoint_id, secret=secret)


def update(work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID, patch: EndpointPatch) -> UUID:
    """Change the fields that the patch sets; raise InvalidField as `create` does."""
    current = _find_writable(work, principal, company_id, endpoint_id)
    settings = merge_patch(current.settings, patch)
    _check(work, settings, current.settings.url)
    work.record(endpoint_id, endpoint.update(current, settings))
    return endpoint_id


def delete(work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID) -> UUID:
    """Delete an endpoint and its secrets; deliveries that are still on their way are given up."""
    current = _find_writable(work, principal, company_id, endpoint_id)
    work.drop(signing_keys.ids(current.signing))
    work.record(endpoint_id, [EndpointDeleted()])
    return endpoint_id


def rotate(
    work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID, overlap_s: int
) -> EndpointResult:
    """Give the endpoint a new secret; for `overlap_s` seconds the old one signs beside it."""
    current = _find_writable(work, principal, company_id, endpoint_id)
    secret_id, secret = signing_secrets.mint(work, endpoint_id, company_id, PURPOSE)
    until = signing_secrets.retire(work, current.signing, overlap_s)
    work.record(endpoint_id, endpoint.rotate(secret_id, until))
    return EndpointResult(endpoint_id=endpoint_id, secret=secret)


def test(work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID) -> UUID:
    """Ask for a test message and return the id of its delivery; raise Conflict for a disabled endpoint."""
    current = _find_writable(work, principal, company_id, endpoint_id)
    work.record(endpoint_id, endpoint.test(current))
    return delivery_of(endpoint_id, work.version_of(endpoint_id), endpoint_id)


def redeliver(work: UnitOfWork, principal: Principal, company_id: UUID, pending: PendingDelivery) -> UUID:
    """
    Send a delivery once more under the same id, whatever became of it; raise NotFound for one of another company.

    The attempt that begins next is the one that was asked for. One that is under way does not count.
    """
    may_list(work, principal, company_id)
    if pending.company_id != company_id:
        raise NotFound("Delivery not found")
    work.get(DELIVERY, pending.id)
    work.record(pending.id, [delivery.request(pending)], company_id)
    return pending.id


def may_list(work: UnitOfWork, principal: Principal, company_id: UUID) -> None:
    """Raise unless the caller is a member who may write: an address may be a secret in itself."""
    authorize(work, principal, "administer", companies.enter(work, company_id))


def may_see(work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID) -> None:
    """Raise as `may_list` does, and NotFound for an endpoint of another company."""
    _find_writable(work, principal, company_id, endpoint_id)


def _check(work: UnitOfWork, settings: EndpointSettings, old_url: str | None = None) -> None:
    targets.check_target(work, settings.url, "url", old_url)
    endpoint.check_patterns(settings)


def _find_writable(work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID) -> Endpoint:
    may_list(work, principal, company_id)
    owner = work.owner_of(ENDPOINT, endpoint_id)
    authorize(work, principal, "administer", Resource(company_id=owner, kind="Webhook endpoint"))
    if owner != company_id:
        raise NotFound("Webhook endpoint not found")
    return endpoint.must_be_there(work.get(ENDPOINT, endpoint_id))
