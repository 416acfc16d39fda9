"""The two APIs of the service, and its board. The path of a request says which it is for; Paperclip's, unless another's."""

import re
from collections.abc import Awaitable, Mapping
from typing import Any, Literal

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

ApiName = Literal["paperclip", "jetty", "board"]
API = "routines.api"  # the key of the API's name in the state of a request
BOARD = "/board"  # the path below which the pages for people are; `/` leads there
REPEATED_SLASHES = re.compile("//+")
AT_ROOT = ("/health", "/openapi.json", "/docs")  # the paths of the Jetty API that are not below /api/v1


def api_of(scope: Any) -> ApiName:
    """Return what a request is for. It is decided once per request and kept in the request's state."""
    state = scope.setdefault("state", {})
    api: ApiName | None = state.get(API)
    if api is None:
        state[API] = api = _api_at(scope["path"])
    return api


def _api_at(path: str) -> ApiName:
    path = "/" + REPEATED_SLASHES.sub("/", path).strip("/")  # routing treats repeated slashes as one
    if path in AT_ROOT or path == "/api/v1" or path.startswith("/api/v1/"):
        return "jetty"
    return "board" if path in ("/", BOARD) or path.startswith(f"{BOARD}/") else "paperclip"


def dispatch_by_api(apps: Mapping[Literal["paperclip", "jetty"], ASGIApp]) -> ASGIApp:
    """Return an application that hands each request to the API it is for; lifespan events go to Paperclip's."""

    def dispatch(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        is_jetty = scope["type"] == ScopeType.HTTP and api_of(scope) == "jetty"
        return apps["jetty" if is_jetty else "paperclip"](scope, receive, send)

    return dispatch


def beside_apis(apis: ASGIApp, board: ASGIApp) -> ASGIApp:
    """Return an application that hands requests for pages to the board, and everything else to the APIs."""

    def dispatch(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        is_page = scope["type"] == ScopeType.HTTP and api_of(scope) == "board"
        return (board if is_page else apis)(scope, receive, send)

    return dispatch
