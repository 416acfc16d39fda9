"""The health of the service, for both APIs (contract 7.1)."""

from datetime import datetime
from importlib.metadata import version
from typing import Literal

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from projections.engine.positions import ReadModelStatus
from projections.responses import ResponseBody
from web.http.answers import Answer
from web.http.routing import get
from web.monitoring.checkup import Checkup, Findings, Reason

VERSION = version("routines")


class ZoneDataReport(ResponseBody, frozen=True, kw_only=True):
    """
    The zone data by which this process reads the clocks of time zones: version, and whether they are those that the
    release is pinned to or newer ones of the system. `adopted` is the version by which the scheduler plans; where a
    process goes by an older one, its zone data are to be updated.
    """

    version: str
    source: str
    adopted: str | None


class WitnessReport(ResponseBody, frozen=True, kw_only=True):
    """
    A witness that cosigns checkpoints of the log: the number of events that it has seen. Where its attempts fail, since
    when, and why the last one did.
    """

    name: str
    size: int
    behind_since: datetime | None
    reason: str | None


class Health(ResponseBody, frozen=True, kw_only=True):
    """
    How well the service works. `status` is `degraded` while there are `reasons`.

    * `disk_full`, `read_only`: the database takes no changes, or only small ones (`canWrite` is false).
    * `read_model_stopped`, `read_model_behind`: reads of that model answer 503.
    * `read_model_outdated`: after an upgrade, a model shows the rows of the older version until its `rebuiltTo` has
      reached the head of the log.
    * `schedules_overdue`: schedules are due for more than a minute, so no scheduler seems to run.
    * `clock_behind_log`: the database's clock was ahead and has been set back, by `clockBehindLogS` seconds. What came
      due meanwhile was fired then, and is not fired again when its time comes.
    * `secret_keys_missing`: secrets are encrypted under the keys `missingSecretKeys`, which are not in the key file;
      `key_file_unusable`: the key file is not there or cannot be read. The operator has to put it back.
    * `zone_data_outdated`: this process goes by older zone data than the scheduler has planned by.
    * `checkpoints_refused`: the log is not the one of which a checkpoint was signed before (it was set back, or changed), or
      the key cannot be used. Nothing is signed; the log of the projector says what to do.
    * `witness_behind`: one of the `witnesses` has not cosigned a checkpoint for five minutes, and says or shows why.

    `isolated` of a read model counts the events that it could not take and has passed over: `routines projections
    isolated` shows them. An agent's work counts as untaken when an issue of it has been `todo` for an hour, a
    collection's when a trajectory has been `pending` for an hour: `routines untaken` shows whose. That does not change
    the status, since their workers are not part of the service.
    """

    status: Literal["ok", "degraded"]
    version: str = VERSION
    deployment_mode: str = "authenticated"
    deployment_exposure: str = "private"
    auth_ready: bool = True
    bootstrap_status: str = "ready"
    reasons: list[Reason]
    can_write: bool
    read_models: list[ReadModelStatus]
    overdue_schedules: int = 0  # counted up to 1,000
    clock_behind_log_s: float
    missing_secret_keys: list[str]
    oldest_open_issue_s: float | None
    agents_with_untaken_work: int
    collections_with_untaken_work: int
    zone_data: ZoneDataReport
    witnesses: list[WitnessReport]


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

    @get("/health", operation_id="getHealth", answers=ANSWERS)
    async def health(self, checkup: NamedDependency[Checkup]) -> Response[Health | Unhealthy]:
        """Says whether the service works, and if not, why: the database, the read models, schedules, keys."""
        if (findings := await checkup.together()) is None:
            return Answer(Unhealthy(error="database_unreachable"), status_code=503)
        return Answer(_health_of(findings))


def _health_of(findings: Findings) -> Health:
    reasons = findings.reasons()
    return Health(
        status="degraded" if reasons else "ok",
        reasons=reasons,
        can_write=findings.cannot_write is None,
        read_models=list(findings.read_models),
        overdue_schedules=findings.overdue_schedules,
        clock_behind_log_s=findings.clock_behind_log_s,
        missing_secret_keys=list(findings.missing_secret_keys),
        oldest_open_issue_s=findings.oldest_open_issue_s,
        agents_with_untaken_work=findings.agents_with_untaken_work,
        collections_with_untaken_work=findings.collections_with_untaken_work,
        zone_data=ZoneDataReport(
            version=findings.zone_data.version,
            source=findings.zone_data.source,
            adopted=findings.adopted_zone_data,
        ),
        witnesses=[
            WitnessReport(name=one.name, size=one.size, behind_since=one.behind_since, reason=one.reason)
            for one in findings.witnesses
        ],
    )
