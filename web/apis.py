"""The two APIs that we speak, told apart by the path of a request: Jetty's, and Paperclip's everywhere else."""

from collections.abc import Mapping
from typing import Any, Literal

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

ApiName = Literal["paperclip", "jetty"]
API = "routines.api"  # in the state of a request
AT_ROOT = ("/health", "/openapi.json", "/docs")  # of Jetty's, beside /api/v1


def api_of(scope: Any) -> ApiName:
    """Which API a request is for. Decided once, and kept in its state."""
    state = scope.setdefault("state", {})
    if API not in state:
        path = "/" + "/".join(
            part for part in scope["path"].split("/") if part
        )  # routing takes repeated slashes for one
        is_jetty = path in AT_ROOT or path == "/api/v1" or path.startswith("/api/v1/")
        state[API] = "jetty" if is_jetty else "paperclip"
    api: ApiName = state[API]
    return api


def dispatch_by_api(apps: Mapping[ApiName, ASGIApp]) -> ASGIApp:
    """One application of two; the start and the end of the server are Paperclip's."""

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        api = api_of(scope) if scope["type"] == ScopeType.HTTP else "paperclip"
        await apps[api](scope, receive, send)

    return dispatch
