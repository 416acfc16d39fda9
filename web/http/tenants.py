"""
Whose request it is, noted before anybody works on it, so that the threads are shared fairly (web/http/fair_threads.py).

A company's requests take turns with those of other companies, however many members, agents and keys it makes: a member's
count for the company in which they last did anything. Whose key or company is not known yet takes turns with all others
of the same address.
"""

from typing import Any
from uuid import UUID

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from application.access import Caller
from web.http.backend import Backend
from web.http.fair_threads import TENANT
from web.http.rate_limit import network_of
from web.http.requests import bearer_of


def by_tenant(app: ASGIApp, backend: Backend) -> ASGIApp:
    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            TENANT.set(str(company_of(scope, backend) or address_of(scope)))
        await app(scope, receive, send)

    return noted


def company_of(scope: Any, backend: Backend) -> UUID | None:
    """Whose key a request holds, as far as this process knows; it proves nothing."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
    return backend.executor.tenant_of(Caller(token=bearer_of(values)))


def address_of(scope: Any) -> str:
    """The network that a request comes from, as a tenant."""
    return f"address {network_of(scope['client'][0]) if scope.get('client') else ''}"
