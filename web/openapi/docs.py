"""The served description of an API, and a page that shows it without loading anything from other servers."""

import base64
import hashlib
import re
from functools import partial
from importlib.resources import files
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Request, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import HTTPRoute

from web.http.errors import RESPONSES, Problem
from web.http.public_path import public_path
from web.monitoring.health import VERSION
from web.openapi import examples
from web.openapi.description import Dialect, describe_api, usual_refusals

PAGE = files("web.openapi").joinpath("docs.html").read_text()
ABOUT = """Recurring work for AI agents: every occurrence gets exactly one recorded outcome.

Bodies and answers are JSON. Fields of a body that are not named here are refused; the clients' page lists the few that
are ignored. No text may contain U+0000. HEAD is answered wherever GET is. An unknown path or method, and a malformed id in a path, is answered with 404."""


class DescriptionPlugin(JsonRenderPlugin):
    """Serves the completed description, which is made for the first request at a public path and kept."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(path="/")
        self._dialect = dialect
        self._documents: dict[str, bytes] = {}  # by the path below which clients see the API

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the description as JSON."""
        path = public_path(request)
        if path not in self._documents:
            document = describe_api(openapi_schema, handlers_of(request.app), self._dialect)
            self._documents[path] = msgspec.json.encode({**document, "servers": [{"url": path or "/"}]})
        return self._documents[path]


def handlers_of(app: Litestar) -> list[Any]:
    """Return the handlers of the routes that have an operation id, which are those that are described."""
    routes = [route for route in app.routes if isinstance(route, HTTPRoute)]
    handlers = [handler for route in routes for handler, _ in route.route_handler_map.values()]
    return [handler for handler in handlers if handler.operation_id is not None]


def description_of(title: str, description: str, path: str, dialect: Dialect) -> OpenAPIConfig:
    """Return the configuration by which an API serves its description at a path."""
    return OpenAPIConfig(
        title=title,
        version=VERSION,
        description=description,
        path=path,
        render_plugins=[DescriptionPlugin(dialect)],
        components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}),
        security=[{"bearer": []}],
        use_handler_docstrings=True,
    )


DIALECT = Dialect(
    error=Problem,
    texts={status: spec.description for status, spec in RESPONSES.items()},
    refusals=usual_refusals,
    examples=partial(examples.read, "web.paperclip"),
)
openapi = description_of("Routines", ABOUT, "/api/openapi.json", DIALECT)


def _hash_sources(element: str) -> str:
    """Return the hashes of the inline scripts or styles of the page, for a policy that allows no others."""
    texts = re.findall(f"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    return " ".join(f"'sha256-{digest}'" for digest in hashes)


PAGE_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hash_sources('script')}; style-src {_hash_sources('style')}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


@get("/docs", media_type=MediaType.HTML, response_headers=PAGE_HEADERS, include_in_schema=False, sync_to_thread=False)
def docs_page() -> str:
    """Return the page that shows the description of the API beside it."""
    return PAGE
