"""Webhook endpoints of a company, and deliveries: what left the system, and what became of it (ours)."""

from functools import partial
from typing import Any, get_args
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody

from application.access import Caller
from application.request_bodies import EndpointDraft, EndpointPatch, SecretRotation
from application.use_cases import endpoints as use_cases
from domain.delivery.delivery import PendingDelivery
from domain.errors import NotFound
from projections.delivery import deliveries, endpoints
from projections.delivery.deliveries import Delivery, Status
from projections.delivery.endpoints import EndpointFields
from projections.engine.read_model import Connection
from web.http.backend import Backend, Changed
from web.http.paging import NEXT, Paging, cursor_only, page, paging, place_of, read_page
from web.http.requests import identified, number
from web.http.routing import delete, get, patch, post
from web.http.validation import Invalid

ENDPOINTS = ("endpoints",)
DELIVERIES = ("deliveries",)
LIST = "deliveries"
USUAL, MOST = 50, 200


class MadeEndpoint(EndpointFields, frozen=True, kw_only=True):
    """The secret is shown here and never again: it signs what is sent (Standard Webhooks)."""

    secret: str

    def __repr__(self) -> str:
        return f"MadeEndpoint({self.id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


class Endpoints(Controller):
    path = "/companies/{company_id:str}"
    tags = ("webhook endpoints",)
    dependencies = {"paging": Provide(paging), "cursor_paging": Provide(cursor_only)}

    @post("/webhook-endpoints", operation_id="createWebhookEndpoint", refuses=(403, 422))
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        data: JSONBody[EndpointDraft],
    ) -> Response[MadeEndpoint]:
        """The company's events of these kinds are sent there, signed. The secret is shown once."""
        changed = backend.change(caller, ENDPOINTS, use_cases.create, identified(company_id, "Company"), data)
        return _with_secret(changed, 201)

    @get("/webhook-endpoints", operation_id="listWebhookEndpoints", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        cursor_paging: NamedDependency[Paging],
        company_id: FromPath[str],
    ) -> Response[list[EndpointFields]]:
        """Oldest first."""
        id_ = identified(company_id, "Company")
        backend.authorize(caller, use_cases.may_list, id_)
        read = partial(endpoints.of_company, company_id=id_)
        return read_page(backend, cursor_paging, f"webhook endpoints of {id_}", ENDPOINTS, read)

    @get("/webhook-endpoints/{endpoint_id:str}", operation_id="getWebhookEndpoint", refuses=(403,))
    def detail(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        endpoint_id: FromPath[str],
    ) -> EndpointFields:
        ids = _ids(company_id, endpoint_id)
        backend.authorize(caller, use_cases.may_see, *ids)
        with backend.consistent_read(*ENDPOINTS) as conn:
            if (found := endpoints.one(conn, ids[1])) is None:
                raise NotFound("Webhook endpoint not found")
            return found

    @patch("/webhook-endpoints/{endpoint_id:str}", operation_id="updateWebhookEndpoint", refuses=(403, 422))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        endpoint_id: FromPath[str],
        data: JSONBody[EndpointPatch],
    ) -> Response[EndpointFields]:
        """`enabled` true makes one work again that answered 410."""
        changed = backend.change(caller, ENDPOINTS, use_cases.update, *_ids(company_id, endpoint_id), data)
        return changed.answer(lambda conn: endpoints.one(conn, changed.result))

    @delete("/webhook-endpoints/{endpoint_id:str}", operation_id="deleteWebhookEndpoint", refuses=(403,))
    def remove(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        endpoint_id: FromPath[str],
    ) -> None:
        """What is on its way to it is given up."""
        backend.executor.execute(caller, use_cases.delete, *_ids(company_id, endpoint_id))

    @post(
        "/webhook-endpoints/{endpoint_id:str}/rotate-secret",
        operation_id="rotateWebhookEndpointSecret",
        refuses=(403,),
        status_code=200,
    )
    def rotate(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        endpoint_id: FromPath[str],
        data: JSONBody[SecretRotation],
    ) -> Response[MadeEndpoint]:
        """Another secret, shown once; for `overlapSec` seconds the one before signs beside it."""
        ids = _ids(company_id, endpoint_id)
        changed = backend.change(caller, ENDPOINTS, use_cases.rotate, *ids, data.overlap_sec)
        return _with_secret(changed, 200)

    @post(
        "/webhook-endpoints/{endpoint_id:str}/test",
        operation_id="testWebhookEndpoint",
        refuses=(403, 409),
        status_code=202,
    )
    def test(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        endpoint_id: FromPath[str],
    ) -> Response[Delivery]:
        """Sends `endpoint.tested` there; the delivery says what came of it."""
        ids = _ids(company_id, endpoint_id)
        changed = backend.change(caller, DELIVERIES, use_cases.test, *ids)
        return changed.answer(lambda conn: _newest(conn, *ids), 202)

    @get(
        "/webhook-endpoints/{endpoint_id:str}/deliveries",
        operation_id="listWebhookDeliveries",
        refuses=(403,),
        response_headers=NEXT,
    )
    def of_endpoint(  # noqa: PLR0913, PLR0917 the path and the query
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[str],
        endpoint_id: FromPath[str],
        status: FromQuery[str | None] = None,
    ) -> Response[list[Delivery]]:
        """Newest first, with every attempt; `status` waiting, delivered or dead."""
        ids = _ids(company_id, endpoint_id)
        backend.authorize(caller, use_cases.may_see, *ids)
        return _page(backend, paging, ids[0], ids[1], status)

    @get("/deliveries", operation_id="listDeliveries", refuses=(403,), response_headers=NEXT)
    def of_company(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[str],
        status: FromQuery[str | None] = None,
    ) -> Response[list[Delivery]]:
        """All of the company: to endpoints, heartbeats of agents, callbacks of trajectories; newest first."""
        id_ = identified(company_id, "Company")
        backend.authorize(caller, use_cases.may_list, id_)
        return _page(backend, paging, id_, None, status)

    @post("/deliveries/{delivery_id:str}/redeliver", operation_id="redeliver", refuses=(403,), status_code=202)
    def redeliver(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        delivery_id: FromPath[str],
    ) -> Response[Delivery]:
        """Sends it once more under the same id, dead or not."""
        id_, letter_id = identified(company_id, "Company"), identified(delivery_id, "Delivery")
        backend.authorize(caller, use_cases.may_list, id_)
        with backend.consistent_read(*DELIVERIES) as conn:
            if (found := deliveries.one(conn, letter_id)) is None:
                raise NotFound("Delivery not found")
        changed = backend.change(caller, DELIVERIES, use_cases.redeliver, id_, _pending_delivery(found))
        return changed.answer(lambda conn: deliveries.one(conn, letter_id), 202)


def _ids(company_id: str, endpoint_id: str) -> tuple[UUID, UUID]:
    return identified(company_id, "Company"), identified(endpoint_id, "Webhook endpoint")


def _with_secret(changed: Changed, status: int) -> Response[MadeEndpoint]:
    minted: use_cases.EndpointResult = changed.result
    shown = changed.answer(lambda conn: endpoints.one(conn, minted.endpoint_id), status)
    fields = {name: getattr(shown.content, name) for name in EndpointFields.__struct_fields__}
    return Response(MadeEndpoint(**fields, secret=minted.secret), status_code=status, headers=shown.headers)


def _newest(conn: Connection, company_id: UUID, endpoint_id: UUID) -> Delivery | None:
    return next(iter(deliveries.of_company(conn, company_id, 1, target_id=endpoint_id)), None)


def _page(
    backend: Backend, paging: Paging, company_id: UUID, target_id: UUID | None, status: str | None
) -> Response[list[Delivery]]:
    wanted = None if status is None else _status(status)
    limit = number(paging.limit, "limit", USUAL, 1, MOST)
    list_ = f"{LIST} {target_id or company_id}"
    after = place_of(paging.cursor, list_, tuple[int, UUID])
    with backend.consistent_read(*DELIVERIES) as conn:
        found = deliveries.of_company(
            conn,
            company_id,
            limit,
            target_id=target_id,
            status=wanted,
            after=after,
            max_bytes=backend.limits.max_page_bytes,
        )
    return page(paging, list_, found, lambda one: (one.event_position, one.id))


def _status(text: str) -> Status:
    """Raises Invalid."""
    for status in get_args(Status):
        if status == text:
            return status  # type: ignore[no-any-return]
    message = f"status must be one of {', '.join(get_args(Status))}"
    raise Invalid([{"code": "custom", "message": message, "path": ["status"]}])


def _pending_delivery(delivery: Delivery) -> PendingDelivery:
    return PendingDelivery(
        id=delivery.id,
        version=0,
        kind=delivery.kind,
        target_id=delivery.target_id,
        partition_key=delivery.target_id,
        ordered=False,
        company_id=delivery.company_id,
        position=delivery.event_position,
        attempts=0,
    )
