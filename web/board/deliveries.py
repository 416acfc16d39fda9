"""Deliveries to webhook endpoints, heartbeats and callbacks with their attempts; and the endpoints themselves."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from web.board.api import ApiRefusal
from web.board.confirmations import Confirmation, pending_question
from web.board.visit import Visit

PAGE = 50
STATUSES = {"": "All", "waiting": "waiting", "delivered": "delivered", "dead": "dead"}
BASE = "/board/companies/{company_id:str}/deliveries"
Json = Mapping[str, Any]


@get(BASE, operation_id="boardDeliveries")
async def deliveries(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the deliveries that match, newest first, and the endpoints."""
    return await _show_page(visit, {}, {})


async def _show_page(visit: Visit, values: Mapping[str, str], errors: Mapping[str, str]) -> Response[Any]:
    live = await visit.live()
    parameters = visit.parameters(("status", "endpoint"))
    where = ("webhook-endpoints", parameters["endpoint"], "deliveries") if "endpoint" in parameters else ("deliveries",)
    query = {"status": parameters.get("status"), "cursor": visit.parameter("cursor"), "limit": PAGE}
    answer = await visit.api.page(visit.api_path(*where), query)
    endpoints = await visit.api.get(visit.api_path("webhook-endpoints"))
    following = (
        visit.path("deliveries", query={**parameters, "cursor": answer.next_cursor}) if answer.next_cursor else None
    )
    return visit.show(
        "deliveries.html",
        status=422 if errors else 200,
        here="deliveries",
        live=live,
        deliveries=answer.value,
        endpoints=endpoints,
        names={endpoint["id"]: endpoint["url"] for endpoint in endpoints},
        parameters=parameters,
        statuses=STATUSES,
        following=following,
        values=values,
        errors=errors,
    )


@post(f"{BASE}/{{delivery_id:str}}/redeliver", operation_id="boardRedeliver")
async def redeliver(visit: NamedDependency[Visit], delivery_id: FromPath[str]) -> Response[Any]:
    """Send a delivery once more."""
    form = visit.form
    await visit.api.post(visit.api_path("deliveries", delivery_id, "redeliver"))
    return visit.go("deliveries", done="redelivered", status=form.given("status"))


@post(f"{BASE}/endpoints", operation_id="boardCreateEndpoint")
async def create_endpoint(visit: NamedDependency[Visit]) -> Response[Any]:
    """Create an endpoint and show its secret, once."""
    form = visit.form
    body = {"url": form.text("url").strip(), "events": form.text("events").replace(",", " ").split()}
    try:
        endpoint = await visit.api.post(visit.api_path("webhook-endpoints"), body)
    except ApiRefusal as refusal:
        errors = {field.partition(".")[0]: message for field, message in refusal.by_field().items()}
        return await _show_page(visit, {"url": form.text("url"), "events": form.text("events")}, errors)
    return visit.show("endpoint_secret.html", here="deliveries", endpoint=endpoint)


@post(f"{BASE}/endpoints/{{endpoint_id:str}}", operation_id="boardChangeEndpoint")
async def change_endpoint(visit: NamedDependency[Visit], endpoint_id: FromPath[str]) -> Response[Any]:
    """Send a test to an endpoint, enable or disable it, delete it, or make a new secret and show it, once."""
    form = visit.form
    path = visit.api_path("webhook-endpoints", endpoint_id)
    match form.one_of("action", ("test", "enable", "disable", "delete", "rotate")):
        case "test":
            await visit.api.post(f"{path}/test")
            return visit.go("deliveries", done="redelivered", endpoint=endpoint_id)
        case "enable" | "disable" as action:
            await visit.api.patch(path, {"enabled": action == "enable"})
        case "delete":
            endpoint = await visit.api.get(path)
            consequence = "Nothing is sent to it any more; what waits for it is given up. It cannot be brought back."
            title = f"Delete the endpoint {endpoint['url']}?"
            confirmation = Confirmation(title, consequence, "Delete it", visit.path("deliveries"))
            if (question := pending_question(visit, confirmation)) is not None:
                return question
            await visit.api.delete(path)
            return visit.go("deliveries", done="removed")
        case "rotate":
            endpoint = await visit.api.post(f"{path}/rotate-secret", {"overlapSec": 3600})
            return visit.show("endpoint_secret.html", here="deliveries", endpoint=endpoint)
    return visit.go("deliveries", done="saved_endpoint")
