"""The API's own description, and a page that shows it without any other server."""

from importlib.resources import files

from litestar import MediaType, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from web.health import VERSION

PAGE = files("web").joinpath("docs.html").read_text()

openapi = OpenAPIConfig(
    title="Routines",
    version=VERSION,
    description="Recurring work for AI agents: every occurrence gets exactly one recorded outcome.",
    path="/api/openapi.json",
    render_plugins=[JsonRenderPlugin(path="/")],
    components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}),
    security=[{"bearer": []}],
)


@get("/docs", media_type=MediaType.HTML, include_in_schema=False, sync_to_thread=False)
def docs_page() -> str:
    return PAGE
