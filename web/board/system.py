"""The system: whether the service works, how far its read models are, and what to do when something is wrong."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency

from web.board.home import REASONS
from web.board.visit import Visit


@get("/board/companies/{company_id:str}/system", operation_id="boardSystem")
async def system(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the health of the service."""
    health = await visit.api.get("/health")
    return visit.show(
        "system.html", here="system", health=health, reasons=[REASONS.get(one, one) for one in health["reasons"]]
    )
