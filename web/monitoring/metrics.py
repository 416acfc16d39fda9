"""
Metrics in the format of Prometheus: totals of the log, the work that waits, the state of this process.

Totals come from the log: every web process shows the same ones, so they must not be added up over processes.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import get_args

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from application.outage import CONNECTIONS
from application.quotas.quotas import Quotas
from application.quotas.rates import NEAR
from domain.bounds.limits import Limits
from domain.values import DeliveryKind
from projections import usage
from projections.delivery import pending_deliveries
from projections.engine import positions
from projections.engine.positions import ReadModelStatus
from projections.engine.table import Connection
from projections.firing import backlog, firing_metrics
from projections.firing.firing_metrics import BOUNDS, Lateness
from web.http.backend import Backend
from web.http.reading import Source
from web.http.requests import JsonRequest
from web.monitoring.checkup import UNREACHABLE, Checkup, Findings
from web.monitoring.traffic import Traffic

MOST_COUNTED = 100_000  # schedules; it limits the cost of a scrape
GROWING = (  # the quotas of the things whose number grows fastest
    "max_company_routines",
    "max_company_open_issues",
    "max_company_live_trajectories",
    "max_company_log_bytes",
)
COUNT_AGAIN_S = 60.0  # how long the number of companies near those quotas is kept
OPENMETRICS, PLAIN = "application/openmetrics-text", "text/plain; version=0.0.4"  # the framework adds the charset


class Scrape(Collector):
    """The metrics of one scrape: those that it has read, and the traffic of this process."""

    def __init__(self, *families: Metric, traffic: Traffic) -> None:
        self._families = families
        self._traffic = traffic

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics, for the Prometheus client."""
        yield from self._families
        yield from self._traffic.registry.collect()


class NearCounts:
    """The number of companies near each quota in GROWING. It is kept for COUNT_AGAIN_S, since all rows are counted."""

    def __init__(self) -> None:
        self._counts: Mapping[str, int] = {}
        self._again_at = -math.inf

    def __call__(self, conn: Connection, limits: Limits) -> Mapping[str, int]:
        """Return the number of companies near each quota, by the quota's name."""
        if time.monotonic() >= self._again_at:
            least = {name: int(getattr(limits, name) * NEAR) for name in GROWING}
            self._counts = {name: len(usage.counts(conn, name, many)) if many else 0 for name, many in least.items()}
            self._again_at = time.monotonic() + COUNT_AGAIN_S
        return self._counts


def metrics(backend: Backend, traffic: Traffic, checkup: Checkup) -> HTTPRouteHandler:
    """Return the route. It needs no token, since no label names anybody but witnesses of the log, who are public."""
    count_near = NearCounts()

    @get("/metrics", operation_id="getMetrics", include_in_schema=False, sync_to_thread=True)
    def scrape(request: JsonRequest) -> Response[bytes]:
        try:
            families = [
                _database_up(reached=True),
                _documents_counter(backend.many_read),
                *_state_metrics(backend, count_near),
                *_findings_metrics(checkup()),
            ]
            status = HTTPStatus.OK
            backend.outage.note_success(CONNECTIONS)
        except UNREACHABLE as error:
            backend.outage.note_failure(CONNECTIONS, error)
            families, status = [_database_up(reached=False)], HTTPStatus.SERVICE_UNAVAILABLE
        collector = Scrape(*families, traffic=traffic)
        if OPENMETRICS in request.headers.get("accept", ""):
            body = openmetrics.generate_latest(collector)  # type: ignore[no-untyped-call]
            kind = openmetrics.CONTENT_TYPE_LATEST
        else:
            body, kind = generate_latest(collector), PLAIN
        return Response(body, status_code=status, media_type=kind)

    return scrape


def _database_up(*, reached: bool) -> Metric:
    return _make_gauge("routines_database_up", "Whether the database could be reached.", reached)


def _documents_counter(many_read: Mapping[Source, int]) -> Metric:
    text = (
        "Documents, or lists of them, that the event loop of this web process has found; memory: they had not changed."
    )
    totals: dict[tuple[str, ...], int] = {(source,): many_read.get(source, 0) for source in get_args(Source)}
    return _make_counter("routines_documents_read", text, ["source"], totals)


def _state_metrics(backend: Backend, count_near: NearCounts) -> list[Metric]:
    now = backend.executor.clock()
    with backend.pool.connection() as conn:
        statuses = positions.status(conn)
        firings = firing_metrics.firings(conn)
        due = backlog.backlog(conn, now, MOST_COUNTED)
        enabled = backlog.backlog(conn, backlog.ANY_TIME, MOST_COUNTED)
        waiting = pending_deliveries.tallies(conn)
        near_counts = count_near(conn, backend.limits)
    overdue_s = (now - due.first_at).total_seconds() if due.first_at else 0.0
    return [
        _make_counter(
            "routines_runs", "Firings, by what became of them.", ("source", "outcome", "reason"), firings.runs
        ),
        _make_counter(
            "routines_missed_occurrences", "Occurrences that were too late to run.", ("reason",), firings.missed
        ),
        _make_counter(
            "routines_run_ends", "Ends of execution issues, and so of their runs.", ("status",), firings.ended
        ),
        _lateness_histogram(firings.lateness),
        _make_counter(
            "routines_delivery_attempts", "Attempts to deliver, by what came of them.", ("outcome",), firings.attempts
        ),
        *_pending_deliveries(waiting, now),
        _make_gauge(
            "routines_schedules_enabled", f"Enabled schedules of active routines, to {MOST_COUNTED}.", enabled.count
        ),
        _make_gauge("routines_schedules_due", f"Those of them whose time has come, to {MOST_COUNTED}.", due.count),
        _make_gauge("routines_schedules_longest_overdue_seconds", "How long the first of those has waited.", overdue_s),
        _make_gauge(
            "routines_log_position", "The newest event of the log.", max(map(_head_position, statuses), default=0)
        ),
        *_read_models(statuses),
        *_quota_metrics(backend.executor.quotas, near_counts),
    ]


def _findings_metrics(findings: Findings) -> list[Metric]:
    """Return the metrics of what health says beside the read models and the schedules."""
    return [
        _make_gauge("routines_degraded", "Whether health says that the service is degraded.", bool(findings.reasons())),
        _make_gauge("routines_database_writable", "Whether the database takes changes.", findings.cannot_write is None),
        _make_gauge(
            "routines_database_clock_seconds",
            "The time of the database's clock, since 1970: compare it with time().",
            findings.now.timestamp(),
        ),
        _make_gauge(
            "routines_database_clock_behind_log_seconds",
            "By how much the database's clock has been set back, to before events of the log.",
            findings.clock_behind_log_s,
        ),
        _make_gauge(
            "routines_secret_keys_missing",
            "Keys that encrypt secrets and are not in the key file.",
            len(findings.missing_secret_keys),
        ),
        _make_gauge("routines_key_file_usable", "Whether the key file can be read.", findings.is_key_file_usable),
        _labelled_gauge(
            "routines_witness_position",
            "Up to which event of the log a witness has cosigned it.",
            "witness",
            {one.name: one.size for one in findings.witnesses},
        ),
        _labelled_gauge(
            "routines_witness_behind_seconds",
            "For how long a witness has failed to cosign; 0 while it keeps up.",
            "witness",
            {
                one.name: max((findings.now - one.behind_since).total_seconds(), 0.0) if one.behind_since else 0.0
                for one in findings.witnesses
            },
        ),
        _make_gauge(
            "routines_issues_oldest_open_seconds",
            "The age of the oldest issue that is open; 0 without one.",
            findings.oldest_open_issue_s or 0.0,
        ),
        _labelled_gauge(
            "routines_untaken_work",
            "Agents with an issue that has been todo, and collections with a run that has been pending, for an hour.",
            "holder",
            {"agent": findings.agents_with_untaken_work, "collection": findings.collections_with_untaken_work},
        ),
    ]


def _quota_metrics(quotas: Quotas | None, near_counts: Mapping[str, int]) -> list[Metric]:
    """Return the metrics of quotas: of this process, except for `near_counts`, which count over the whole service."""
    if quotas is None:
        return []
    refusals: dict[tuple[str, ...], int] = {(name,): total for name, total in quotas.refusals_by_quota().items()}
    shares = quotas.count_near_limit()
    return [
        _make_counter(
            "routines_quota_refusals", "Requests that this web process refused by a quota.", ("quota",), refusals
        ),
        *(
            _labelled_gauge(
                f"routines_quota_near_{whom}",
                f"How many {whom} use 80 % of a quota or more; of a minute's, in this web process.",
                "quota",
                {name: many for name, many in {**near_counts, **shares}.items() if whose in name},
            )
            for whom, whose in (("companies", "company"), ("keys", "key"))
        ),
    ]


def _labelled_gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, many in values.items():
        family.add_metric([value], many)
    return family


def _pending_deliveries(tallies: Mapping[str, tuple[int, datetime]], now: datetime) -> list[Metric]:
    waiting, overdue = (
        GaugeMetricFamily(f"routines_deliveries_{name}", text, labels=["kind"])
        for name, text in (
            ("waiting", "Deliveries that are not made and not given up, those between two attempts included."),
            ("longest_overdue_seconds", "How long ago the first of those could have been sent."),
        )
    )
    for kind in get_args(DeliveryKind):
        many, first_at = tallies.get(kind, (0, now))
        waiting.add_metric([kind], many)
        overdue.add_metric([kind], max((now - first_at).total_seconds(), 0.0))
    return [waiting, overdue]


def _head_position(status: ReadModelStatus) -> int:
    return status.position + status.behind


def _read_models(statuses: Sequence[ReadModelStatus]) -> list[Metric]:
    events, age, stopped_models, isolated_streams, outdated_models = (
        GaugeMetricFamily(f"routines_read_model_{name}", text, labels=["read_model"])
        for name, text in (
            ("lag_events", "How many events a read model is behind the log."),
            ("lag_seconds", "How long the next of these has waited."),
            ("stopped", "Whether the read model has stopped at an event."),
            ("isolated_events", "How many events the read model could not take and has passed over."),
            ("outdated", "Whether the rows are those of an older version until the read model is rebuilt."),
        )
    )
    for status in statuses:
        events.add_metric([status.name], status.behind)
        age.add_metric([status.name], status.behind_s)
        stopped_models.add_metric([status.name], status.stopped is not None)
        isolated_streams.add_metric([status.name], status.isolated)
        outdated_models.add_metric([status.name], status.is_outdated)
    return [events, age, stopped_models, isolated_streams, outdated_models]


def _lateness_histogram(lateness: Mapping[str, Lateness]) -> Metric:
    text = "From the planned moment of a scheduled firing to the decision on it; caught_up: it was late on purpose."
    family = HistogramMetricFamily("routines_firing_lateness_seconds", text, labels=["timing"])
    for timing, distribution in lateness.items():
        family.add_metric([timing], list(zip(BOUNDS, distribution.up_to, strict=True)), distribution.sum_s)
    return family


def _make_counter(name: str, text: str, labels: Sequence[str], totals: Mapping[tuple[str, ...], int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, total in totals.items():
        family.add_metric(values, total)
    return family


def _make_gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)
