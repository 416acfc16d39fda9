"""The routes of webhook endpoints, and of the deliveries to them, to agents and to callbacks (our addition)."""

from functools import partial
from typing import Any, get_args
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody

from application.access import Caller
from application.request_bodies.endpoints import EndpointDraft, EndpointPatch
from application.request_bodies.triggers import SecretRotation
from application.use_cases import endpoints as use_cases
from domain.delivery.delivery import PendingDelivery
from domain.errors import NotFound
from projections.delivery import delivery_history, endpoints
from projections.delivery.delivery_history import Delivery, Status
from projections.delivery.endpoints import EndpointFields
from web.http.backend import Backend, Changed
from web.http.paging import NEXT, Paging, cursor_only, make_page, paging, place_of, read_page
from web.http.path_ids import CompanyId, DeliveryId, EndpointId
from web.http.requests import parse_whole_number
from web.http.routing import delete, get, patch, post
from web.http.validation import invalid

ENDPOINTS = ("endpoints",)
DELIVERIES = ("deliveries",)
LIST = "deliveries"
USUAL, MOST = 50, 200


class MadeEndpoint(EndpointFields, frozen=True, kw_only=True):
    """An endpoint with its secret, which signs deliveries (Standard Webhooks) and is shown here and never again."""

    secret: str

    def __repr__(self) -> str:
        return f"MadeEndpoint({self.id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


class Endpoints(Controller):
    """Webhook endpoints of a company, and its deliveries."""

    path = "/companies/{company_id:str}"
    tags = ("webhook endpoints",)
    dependencies = {"paging": Provide(paging), "cursor_paging": Provide(cursor_only)}

    @post("/webhook-endpoints", operation_id="createWebhookEndpoint", refuses=(403, 422))
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        data: JSONBody[EndpointDraft],
    ) -> Response[MadeEndpoint]:
        """
        Creates an endpoint, to which the company's events of these kinds are sent, signed. The secret is shown in this
        answer and never again.
        """
        changed = backend.change(caller, ENDPOINTS, use_cases.create, company_id, data)
        return _with_secret(changed, 201)

    @get("/webhook-endpoints", operation_id="listWebhookEndpoints", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        cursor_paging: NamedDependency[Paging],
        company_id: FromPath[CompanyId],
    ) -> Response[list[EndpointFields]]:
        """Returns the webhook endpoints of the company, oldest first."""
        backend.authorize(caller, use_cases.may_list, company_id)
        read = partial(endpoints.of_company, company_id=company_id)
        return read_page(backend, cursor_paging, f"webhook endpoints of {company_id}", ENDPOINTS, read)

    @get("/webhook-endpoints/{endpoint_id:str}", operation_id="getWebhookEndpoint", refuses=(403,))
    def detail(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        endpoint_id: FromPath[EndpointId],
    ) -> EndpointFields:
        """Returns the endpoint."""
        backend.authorize(caller, use_cases.may_see, company_id, endpoint_id)
        with backend.consistent_read(*ENDPOINTS) as conn:
            if (endpoint := endpoints.one(conn, endpoint_id)) is None:
                raise NotFound("Webhook endpoint not found")
            return endpoint

    @patch("/webhook-endpoints/{endpoint_id:str}", operation_id="updateWebhookEndpoint", refuses=(403, 422))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        endpoint_id: FromPath[EndpointId],
        data: JSONBody[EndpointPatch],
    ) -> Response[EndpointFields]:
        """Changes the fields that are given. With `enabled` true, an endpoint that answered 410 works again."""
        changed = backend.change(caller, ENDPOINTS, use_cases.update, company_id, endpoint_id, data)
        return changed.answer(lambda conn: endpoints.one(conn, changed.result))

    @delete("/webhook-endpoints/{endpoint_id:str}", operation_id="deleteWebhookEndpoint", refuses=(403,))
    def remove(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        endpoint_id: FromPath[EndpointId],
    ) -> None:
        """Deletes the endpoint. Its pending deliveries are given up."""
        backend.executor.execute(caller, use_cases.delete, company_id, endpoint_id)

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
        company_id: FromPath[CompanyId],
        endpoint_id: FromPath[EndpointId],
        data: JSONBody[SecretRotation],
    ) -> Response[MadeEndpoint]:
        """
        Makes a new secret, which is shown in this answer and never again. For `overlapSec` seconds the old one signs as
        well.
        """
        changed = backend.change(caller, ENDPOINTS, use_cases.rotate, company_id, endpoint_id, data.overlap_sec)
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
        company_id: FromPath[CompanyId],
        endpoint_id: FromPath[EndpointId],
    ) -> Response[Delivery]:
        """Sends the event `endpoint.tested` to the endpoint. The returned delivery will show its outcome."""
        changed = backend.change(caller, DELIVERIES, use_cases.test, company_id, endpoint_id)
        return changed.answer(lambda conn: delivery_history.one(conn, changed.result), 202)

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
        company_id: FromPath[CompanyId],
        endpoint_id: FromPath[EndpointId],
        status: FromQuery[str | None] = None,
    ) -> Response[list[Delivery]]:
        """
        Returns the deliveries to the endpoint, newest first, with every attempt. `status` is waiting, delivered or
        dead.
        """
        backend.authorize(caller, use_cases.may_see, company_id, endpoint_id)
        return _answer_page(backend, paging, company_id, endpoint_id, status)

    @get("/deliveries", operation_id="listDeliveries", refuses=(403,), response_headers=NEXT)
    def of_company(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[CompanyId],
        status: FromQuery[str | None] = None,
    ) -> Response[list[Delivery]]:
        """
        Returns all deliveries of the company, newest first: to endpoints, heartbeats of agents, and callbacks of
        trajectories.
        """
        backend.authorize(caller, use_cases.may_list, company_id)
        return _answer_page(backend, paging, company_id, None, status)

    @post("/deliveries/{delivery_id:str}/redeliver", operation_id="redeliver", refuses=(403,), status_code=202)
    def redeliver(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        delivery_id: FromPath[DeliveryId],
    ) -> Response[Delivery]:
        """
        Sends the message once more under the same id, whatever its outcome was before.

        An attempt that is under way does not count; requests that come before the next one begins are answered by it together.
        """
        backend.authorize(caller, use_cases.may_list, company_id)
        with backend.consistent_read(*DELIVERIES) as conn:
            if (delivery := delivery_history.one(conn, delivery_id)) is None:
                raise NotFound("Delivery not found")
        changed = backend.change(caller, DELIVERIES, use_cases.redeliver, company_id, _pending_delivery(delivery))
        return changed.answer(lambda conn: delivery_history.one(conn, delivery_id), 202)


def _with_secret(changed: Changed, status: int) -> Response[MadeEndpoint]:
    result: use_cases.EndpointResult = changed.result
    answer = changed.answer(lambda conn: endpoints.one(conn, result.endpoint_id), status)
    fields = {name: getattr(answer.content, name) for name in EndpointFields.__struct_fields__}
    return Response(MadeEndpoint(**fields, secret=result.secret), status_code=status, headers=answer.headers)


def _answer_page(
    backend: Backend, paging: Paging, company_id: UUID, target_id: UUID | None, status: str | None
) -> Response[list[Delivery]]:
    status_filter = None if status is None else _parse_status(status)
    limit = parse_whole_number(paging.limit, "limit", USUAL, 1, MOST)
    list_ = f"{LIST} {target_id or company_id}"
    after = place_of(paging.cursor, list_, tuple[int, UUID])
    with backend.consistent_read(*DELIVERIES) as conn:
        part = delivery_history.of_company(
            conn,
            company_id,
            limit,
            target_id=target_id,
            status=status_filter,
            after=after,
            max_bytes=backend.limits.max_page_bytes,
        )
    return make_page(paging, list_, part, lambda delivery: (delivery.event_position, delivery.id))


def _parse_status(text: str) -> Status:
    """Return the status that a query names. Raise Invalid."""
    for status in get_args(Status):
        if status == text:
            return status  # type: ignore[no-any-return]
    raise invalid(f"status must be one of {', '.join(get_args(Status))}", "status")


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
