"""Whose request it is, noted before anybody works on it, so that the threads are shared fairly (web/fair_threads.py)."""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from application.access import Caller
from web.backend import Backend
from web.fair_threads import TENANT
from web.requests import bearer_of
from web.turnstile import network_of


def by_tenant(app: ASGIApp, backend: Backend) -> ASGIApp:
    """The company or the user whose key a request holds; of a key that is not known yet, and of none, its address."""

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
            tenant = backend.executor.tenant_of(Caller(token=bearer_of(given)))
            address = network_of(scope["client"][0]) if scope["client"] else ""
            TENANT.set(str(tenant or f"address {address}"))
        await app(scope, receive, send)

    return noted
