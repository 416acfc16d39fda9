"""The health of the service: the database, the lag of the read models, overdue schedules (contract 7.1)."""

from importlib.metadata import version

import psycopg
import structlog
from eventsourcing.persistence import PersistenceError
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from psycopg_pool import PoolTimeout

from application.use_cases import zone_data
from domain.routines.settlement import GRACE
from domain.schedule import zones
from projections.engine import positions
from projections.engine.positions import ReadModelStatus
from projections.firing import backlog
from projections.responses import ResponseBody
from web.http.backend import Backend

VERSION = version("routines")
STUCK_S = 10.0  # a read model that is behind for longer makes the service `degraded`
MOST_COUNTED = 1_000

log = structlog.get_logger(process="web")


class ZoneDataReport(ResponseBody, frozen=True, kw_only=True):
    """
    The zone data by which this process reads the clocks of time zones: version, and whether they are those that the
    release is pinned to or newer ones of the system. `adopted` is the version by which the scheduler plans; where a
    process goes by an older one, its zone data are to be updated.
    """

    version: str
    source: str
    adopted: str | None


class Health(ResponseBody, frozen=True, kw_only=True):
    """
    `status` is `degraded` in four cases: a read model has stopped or falls behind, so that reads of it answer 503; a
    read model is outdated; schedules are due for more than a minute, so that no scheduler seems to run; or this process
    goes by older zone data than the scheduler has planned by. `isolated`
    of a read model counts the events that it could not take and has passed over: `routines projections isolated` shows
    them. After an upgrade an `isOutdated` read model shows the rows of the older version until `rebuiltTo` has reached
    the head of the log.
    """

    status: str
    version: str = VERSION
    deployment_mode: str = "authenticated"
    deployment_exposure: str = "private"
    auth_ready: bool = True
    bootstrap_status: str = "ready"
    read_models: list[ReadModelStatus]
    overdue_schedules: int = 0  # counted up to 1,000
    zone_data: ZoneDataReport


class Unhealthy(ResponseBody, frozen=True, kw_only=True):
    """The answer while the database cannot be reached; `error` names the reason."""

    error: str
    status: str = "unhealthy"


ANSWERS = {
    200: ResponseSpec(Health, description="The database can be reached.", generate_examples=False),
    503: ResponseSpec(Unhealthy, description="The database cannot be reached.", generate_examples=False),
}


class HealthController(Controller):
    """The health of the service, which needs no credential."""

    tags = ("health",)

    @get("/health", operation_id="getHealth", sync_to_thread=True, responses=ANSWERS)
    def health(self, backend: NamedDependency[Backend]) -> Response[Health | Unhealthy]:
        """Says whether the service works, and how far each read model is behind the log."""
        try:
            long_ago = backend.executor.clock() - GRACE
            with backend.pool.connection() as conn:
                statuses = positions.status(conn)
                overdue = backlog.backlog(conn, long_ago, MOST_COUNTED).count
            adopted = backend.executor.query(zone_data.adopted)
        except (psycopg.Error, PersistenceError, PoolTimeout):
            log.warning("database_unreachable")
            return Response(Unhealthy(error="database_unreachable"), status_code=503)
        well = all(
            status.stopped is None and status.behind_s < STUCK_S and not status.is_outdated for status in statuses
        )
        own = zones.data()
        is_current = adopted is None or own.version >= adopted
        status = "ok" if well and not overdue and is_current else "degraded"
        report = ZoneDataReport(version=own.version, source=own.source, adopted=adopted)
        return Response(Health(status=status, read_models=statuses, overdue_schedules=overdue, zone_data=report))
