"""The two APIs that we speak, told apart by the path of a request: Jetty's, and Paperclip's everywhere else."""

from collections.abc import Mapping
from typing import Literal

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

ApiName = Literal["paperclip", "jetty"]
AT_ROOT = ("/health", "/openapi.json", "/docs")  # of Jetty's, beside /api/v1


def api_of(path: str) -> ApiName:
    """Which API a path belongs to."""
    path = "/" + "/".join(part for part in path.split("/") if part)  # routing takes repeated slashes for one
    return "jetty" if path in AT_ROOT or path == "/api/v1" or path.startswith("/api/v1/") else "paperclip"


def dispatch_by_api(apps: Mapping[ApiName, ASGIApp]) -> ASGIApp:
    """One application of two; the start and the end of the server are Paperclip's."""

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        api = api_of(scope["path"]) if scope["type"] == ScopeType.HTTP else "paperclip"
        await apps[api](scope, receive, send)

    return dispatch
