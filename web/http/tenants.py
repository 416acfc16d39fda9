"""
The tenant of each request. It is set before the request is handled, for the fairness of web/http/fair_threads.py.

The requests of a company take turns with those of other companies, however many members, agents and keys it has. A
member's requests count for the company in which they last did anything. A request whose key or company this process
does not know yet takes turns with all others of the same address.
"""

from collections.abc import Awaitable
from typing import Any
from uuid import UUID

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from application.access import Caller
from web.http.backend import Backend
from web.http.fair_queue import TENANT
from web.http.rate_limit import network_of
from web.http.requests import bearer_token_of


def by_tenant(app: ASGIApp, backend: Backend) -> ASGIApp:
    """Return the application behind a middleware that sets the tenant of each request."""

    def handle(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == ScopeType.HTTP:
            TENANT.set(str(company_of(scope, backend) or address_of(scope)))
        return app(scope, receive, send)

    return handle


def company_of(scope: Any, backend: Backend) -> UUID | None:
    """Return the company of a request's key, or None if this process does not know it yet. It proves nothing."""
    return backend.executor.tenant_of(Caller(token=bearer_token_of(scope)))


def address_of(scope: Any) -> str:
    """Return the tenant of requests without a known company: the network that they come from."""
    return f"address {network_of(scope['client'][0]) if scope.get('client') else ''}"
