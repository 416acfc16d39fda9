"""Whether we work: the database, and how far each read model is behind the log (contract 7.1)."""

from importlib.metadata import version

import psycopg
import structlog
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from psycopg_pool import PoolTimeout

from projections import positions
from projections.positions import Standing
from projections.shapes import Shape
from web.backend import Backend

VERSION = version("routines")
STUCK_S = 10.0  # a read model that has been behind for so long is not keeping up

log = structlog.get_logger(process="web")


class Health(Shape, frozen=True, kw_only=True):
    """`status` is `degraded` while a read model has stopped or falls behind: reads of it answer 503."""

    status: str
    version: str = VERSION
    deployment_mode: str = "authenticated"
    deployment_exposure: str = "private"
    auth_ready: bool = True
    bootstrap_status: str = "ready"
    read_models: list[Standing]


class Unhealthy(Shape, frozen=True, kw_only=True):
    error: str
    status: str = "unhealthy"


class HealthController(Controller):
    tags = ("health",)

    @get("/health", operation_id="getHealth", sync_to_thread=True)
    def health(self, backend: NamedDependency[Backend]) -> Response[Health | Unhealthy]:
        try:
            with backend.pool.connection() as conn:
                standings = positions.status(conn)
        except (psycopg.Error, PoolTimeout):
            log.warning("database_unreachable")
            return Response(Unhealthy(error="database_unreachable"), status_code=503)
        well = all(standing.stopped is None and standing.behind_s < STUCK_S for standing in standings)
        return Response(Health(status="ok" if well else "degraded", read_models=standings))
