"""Webhook endpoints of a company, and the deliveries to them: kept by whoever may write there."""

from typing import Any
from uuid import UUID

from application.access import Principal, Resource, authorize
from application.event_store.stream_kinds import DELIVERY, ENDPOINT
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies import EndpointDraft, EndpointPatch
from application.use_cases import signing_secrets
from application.use_cases.board import companies
from application.use_cases.references import merged
from domain.delivery import endpoint, outbound_url
from domain.delivery.delivery import PendingDelivery
from domain.delivery.endpoint import Endpoint
from domain.errors import NotFound
from domain.events import DeliveryRequested, EndpointCreated, EndpointDeleted
from domain.values import EndpointSettings, Value
from domain.webhooks import signing_keys

PURPOSE = "webhook endpoint"


class EndpointResult(Value, frozen=True):
    """An endpoint, and its new secret, which is shown here and never again."""

    endpoint_id: UUID
    secret: str

    def __repr__(self) -> str:
        return f"EndpointResult({self.endpoint_id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("endpoint_id", self.endpoint_id)]


def create(work: UnitOfWork, principal: Principal, company_id: UUID, draft: EndpointDraft) -> EndpointResult:
    """Raises Misfit."""
    may_list(work, principal, company_id)
    settings = merged(EndpointSettings(url=draft.url, events=draft.events), draft)
    _check(settings)
    endpoint_id = work.new_id()
    secret_id, secret = signing_secrets.mint(work, endpoint_id, company_id, PURPOSE)
    work.record(endpoint_id, [EndpointCreated(settings=settings, secret_id=secret_id)], company_id)
    return EndpointResult(endpoint_id=endpoint_id, secret=secret)


def update(work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID, patch: EndpointPatch) -> UUID:
    """Raises Misfit."""
    current = _writable(work, principal, company_id, endpoint_id)
    settings = merged(current.settings, patch)
    _check(settings)
    work.record(endpoint_id, endpoint.update(current, settings))
    return endpoint_id


def delete(work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID) -> UUID:
    """What is still on its way is given up."""
    current = _writable(work, principal, company_id, endpoint_id)
    work.drop(signing_keys.ids(current.signing))
    work.record(endpoint_id, [EndpointDeleted()])
    return endpoint_id


def rotate(
    work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID, overlap_s: int
) -> EndpointResult:
    """Another secret; for `overlap_s` seconds the one before signs beside it."""
    current = _writable(work, principal, company_id, endpoint_id)
    secret_id, secret = signing_secrets.mint(work, endpoint_id, company_id, PURPOSE)
    until = signing_secrets.retire(work, current.signing, overlap_s)
    work.record(endpoint_id, endpoint.rotate(secret_id, until))
    return EndpointResult(endpoint_id=endpoint_id, secret=secret)


def test(work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID) -> UUID:
    """The id of the message that is sent. Raises Conflict for a disabled one."""
    current = _writable(work, principal, company_id, endpoint_id)
    work.record(endpoint_id, endpoint.test(current))
    return endpoint_id


def redeliver(work: UnitOfWork, principal: Principal, company_id: UUID, pending: PendingDelivery) -> UUID:
    """Sends it once more, under the same id, whatever became of it. Raises NotFound for another company's."""
    may_list(work, principal, company_id)
    if pending.company_id != company_id:
        raise NotFound("Delivery not found")
    work.get(DELIVERY, pending.id)
    request = DeliveryRequested(kind=pending.kind, target_id=pending.target_id, position=pending.position)
    work.record(pending.id, [request], company_id)
    return pending.id


def may_list(work: UnitOfWork, principal: Principal, company_id: UUID) -> None:
    """An address may be a secret in itself: they are for those who may write."""
    authorize(work, principal, "administer", companies.enter(work, company_id))


def may_see(work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID) -> None:
    """Raises NotFound for another company's."""
    _writable(work, principal, company_id, endpoint_id)


def _check(settings: EndpointSettings) -> None:
    outbound_url.must_be_url(settings.url, "url")
    endpoint.check(settings)


def _writable(work: UnitOfWork, principal: Principal, company_id: UUID, endpoint_id: UUID) -> Endpoint:
    may_list(work, principal, company_id)
    owner = work.owner_of(ENDPOINT, endpoint_id)
    authorize(work, principal, "administer", Resource(company_id=owner, kind="Webhook endpoint"))
    if owner != company_id:
        raise NotFound("Webhook endpoint not found")
    return endpoint.must_be_there(work.get(ENDPOINT, endpoint_id))
