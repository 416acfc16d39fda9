"""The two APIs that we speak, told apart by the path of a request: Jetty's, and Paperclip's everywhere else."""

from collections.abc import Mapping
from typing import Literal

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

Face = Literal["paperclip", "jetty"]
AT_ROOT = ("/health", "/openapi.json", "/docs")  # of Jetty's, beside /api/v1


def face_of(path: str) -> Face:
    """Which API a path belongs to."""
    path = "/" + "/".join(part for part in path.split("/") if part)  # routing takes repeated slashes for one
    return "jetty" if path in AT_ROOT or path == "/api/v1" or path.startswith("/api/v1/") else "paperclip"


def by_face(apps: Mapping[Face, ASGIApp]) -> ASGIApp:
    """One application of two; the start and the end of the server are Paperclip's."""

    async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
        face = face_of(scope["path"]) if scope["type"] == ScopeType.HTTP else "paperclip"
        await apps[face](scope, receive, send)

    return chosen
