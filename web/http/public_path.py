"""
The path below which clients see this service.

A proxy that serves https://example.org/routines cuts /routines off before a request comes here. So every link in an
answer, and the description of an API, has to put it back.
"""

from typing import Any
from urllib.parse import urlsplit

from litestar import Request
from litestar.datastructures import State

KEY = "public_path"


def state_with(public_url: str, **values: object) -> State:
    """Return the state of an application that is reached at this URL."""
    return State({KEY: urlsplit(public_url).path.rstrip("/"), **values})


def public_path(request: Request[Any, Any, Any]) -> str:
    """Return what the paths of links begin with: empty, or like `/routines`."""
    return str(request.app.state[KEY])
