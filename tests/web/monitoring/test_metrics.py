"""What monitoring reads at /metrics: totals of the log, the state of the work, this process; nothing about anybody."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from click.testing import CliRunner
from eventsourcing.persistence import OperationalError
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from psycopg_pool import PoolTimeout

from domain.events import EndpointCreated, EndpointTested
from domain.values import EndpointSettings
from projections import catalogue, health, open_work
from projections.engine import database_state
from routines import bootstrap
from routines.bootstrap import System
from routines.cli import main
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings
from tests import waiting
from tests.api import Api
from tests.processes.due import CompanyFixture
from tests.running import copied_database, projecting, serving
from web.monitoring import checkup
from web.monitoring.checkup import Checkup, Findings, KeptFinding

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OF_PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}")


class Scraped:
    """The samples of one answer, by name and labels."""

    def __init__(self, answer: httpx.Response, parse: Any = plain) -> None:
        self.families = list(parse(answer.text))
        self._samples = [sample for family in self.families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        return sum(s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items())

    def labels(self, name: str, label: str) -> set[str]:
        return {sample.labels[label] for sample in self._samples if sample.name == name}

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self._samples}


def scrape(api: Api, **kwargs: Any) -> Scraped:
    answer = httpx.get(f"{api.url}/metrics", **kwargs)
    assert 200 == answer.status_code
    return Scraped(answer)


@pytest.fixture
def api_without_scheduler(system: System) -> Iterator[Api]:
    """An API without a scheduler, on a database of its own."""
    with projecting(system), serving(system) as url:
        api = Api(url, bootstrap.first_board_token(system.settings) or "", system)
        yield api
        api.close()


@pytest.fixture(scope="module")
def api_without_work(postgres: LocalPostgres, template: str) -> Iterator[Api]:
    """An API on a database of its own, in which nothing is recorded."""
    with copied_database(postgres, template) as name:
        settings = Settings(database_url=postgres.url("routines_service", name))
        with bootstrap.system(settings) as system, projecting(system), serving(system) as url:
            api = Api(url, bootstrap.first_board_token(settings) or "", system)
            yield api
            api.close()


# The format


def test_it_needs_no_token_and_is_not_part_of_the_api(api: Api):
    answer = httpx.get(f"{api.url}/metrics")

    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    assert 404 == api.request("GET", "/metrics").status_code
    assert "/metrics" not in api.get("/openapi.json")["paths"]


def test_a_scraper_that_knows_openmetrics_gets_it(api: Api):
    api.get("/health")  # one operation at least has been counted
    answer = httpx.get(f"{api.url}/metrics", headers={"Accept": OF_PROMETHEUS})

    assert "application/openmetrics-text; version=1.0.0; charset=utf-8" == answer.headers["content-type"]
    assert Scraped(answer, openmetrics).names == Scraped(httpx.get(f"{api.url}/metrics")).names


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "text/plain;version=nonsense", "application/json", ",;=,"])
def test_any_other_gets_plain_text(api: Api, accept: str):
    answer = httpx.get(f"{api.url}/metrics", headers={"Accept": accept})

    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    assert "\nroutines_database_up 1.0\n" in answer.text


def test_every_family_says_what_it_is(api: Api):
    for family in scrape(api).families:
        assert family.documentation, family.name
        assert family.type != "unknown", family.name


def test_no_label_holds_an_id_or_a_name(api: Api):
    company = api.company("Hush and Sons")
    agent, _ = api.agent(company, "Whisper")
    routine = api.routine(company, agent, title="Keep quiet")
    api.post(f"/routines/{routine}/run", {})
    api.get(f"/routines/{routine}")

    text = httpx.get(f"{api.url}/metrics").text

    assert not UUID.search(text)
    assert not re.search("hush|whisper|quiet|/api/", text, re.IGNORECASE)


# What it shows


def test_firings_are_counted_by_what_became_of_them(api_without_scheduler: Api):
    company = api_without_scheduler.company()
    routine = api_without_scheduler.routine(company, api_without_scheduler.agent(company)[0])
    api_without_scheduler.post(f"/routines/{routine}/run", {})
    api_without_scheduler.post(f"/routines/{routine}/run", {})

    metrics = waiting.wait_for(lambda: (s := scrape(api_without_scheduler))("routines_runs_total") == 2 and s)

    assert 1 == metrics("routines_runs_total", source="manual", outcome="issue_created")
    assert 1 == metrics("routines_runs_total", source="manual", outcome="coalesced")
    assert {"schedule", "manual", "api", "webhook", "chain"} == metrics.labels("routines_runs_total", "source")
    assert 0 == metrics("routines_missed_occurrences_total") == metrics("routines_run_ends_total")
    assert 0 == metrics("routines_firing_lateness_seconds_count")
    assert 0 == metrics("routines_schedules_due") == metrics("routines_schedules_longest_overdue_seconds")
    assert {"on_time", "caught_up"} == metrics.labels("routines_firing_lateness_seconds_bucket", "timing")


def test_deliveries_that_wait_are_counted_by_their_kind(api_without_scheduler: Api, system: System):
    settings = EndpointSettings(url="https://example.com/hook", events=("goal.*",))
    events = [EndpointCreated(settings=settings, secret_id=uuid4()), EndpointTested()]
    CompanyFixture(system.executor).record((uuid4(), events))

    metrics = waiting.wait_for(lambda: (s := scrape(api_without_scheduler))("routines_deliveries_waiting") == 1 and s)

    assert 1 == metrics("routines_deliveries_waiting", kind="webhook")
    assert {"webhook", "heartbeat", "callback"} == metrics.labels("routines_deliveries_waiting", "kind")
    assert 0 < metrics("routines_deliveries_longest_overdue_seconds", kind="webhook") < 60
    assert {"delivered", "failed", "dead"} == metrics.labels("routines_delivery_attempts_total", "outcome")


def test_a_schedule_that_nobody_fires_is_the_backlog_and_health_says_so(api_without_scheduler: Api, system: System):
    now = system.clock()
    company_fixture = CompanyFixture(system.executor)
    company_fixture.routines(2, next_at=now - HOUR)
    company_fixture.routines(3, next_at=now + HOUR)

    def scrape_all():  # a scrape asks several questions, and what is made may be projected between two of them
        metrics = scrape(api_without_scheduler)
        return (metrics("routines_schedules_enabled"), metrics("routines_schedules_due")) == (5, 2) and metrics

    metrics = waiting.wait_for(scrape_all)
    health = api_without_scheduler.get("/health", token=None)

    assert HOUR.total_seconds() <= metrics("routines_schedules_longest_overdue_seconds") < 2 * HOUR.total_seconds()
    assert ("degraded", ["schedules_overdue"], 2) == (health["status"], health["reasons"], health["overdueSchedules"])
    assert {"status": "degraded"} == httpx.get(f"{api_without_scheduler.url}/health").json()
    assert 1 == scrape(api_without_scheduler)("routines_degraded")


def test_a_schedule_that_has_been_due_for_less_than_a_minute_is_no_trouble(api_without_scheduler: Api, system: System):
    CompanyFixture(system.executor).routines(next_at=system.clock() - MINUTE / 6)

    metrics = waiting.wait_for(lambda: (s := scrape(api_without_scheduler))("routines_schedules_due") == 1 and s)
    health = api_without_scheduler.get("/health", token=None)

    assert 1 == metrics("routines_schedules_enabled")
    assert ("ok", [], 0) == (health["status"], health["reasons"], health["overdueSchedules"])
    assert {"status": "healthy"} == httpx.get(f"{api_without_scheduler.url}/health").json()


def test_work_that_nobody_takes_is_counted_and_the_oldest_open_issue_has_an_age(
    api_without_scheduler: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checkup, "KEPT_S", 0.0)
    company = api_without_scheduler.company()
    (busy, _), (idle, _) = api_without_scheduler.agent(company), api_without_scheduler.agent(company)
    for agent in (busy, busy, idle, idle):
        routine = api_without_scheduler.routine(company, agent)
        api_without_scheduler.post(f"/routines/{routine}/run", {})
    for issue in api_without_scheduler.get(f"/companies/{company}/issues?assigneeAgentId={busy}"):
        api_without_scheduler.patch(f"/issues/{issue['id']}", {"status": "in_progress"})
    api_without_scheduler.company()  # of whom nobody has work
    before = api_without_scheduler.get("/health", token=None)

    monkeypatch.setattr(open_work, "UNTAKEN_AFTER", timedelta(0))
    waiting.wait_for(lambda: api_without_scheduler.get("/health", token=None)["agentsWithUntakenWork"] == 1)
    metrics = scrape(api_without_scheduler)
    env = {"ROUTINES_DATABASE_URL": settings.database_url}
    said = CliRunner().invoke(main, ["untaken", "--json"], env=env, prog_name="routines")

    assert (0, "ok") == (before["agentsWithUntakenWork"], before["status"])
    assert 0 < metrics("routines_issues_oldest_open_seconds") < 60
    assert (1, 0) == tuple(metrics("routines_untaken_work", holder=holder) for holder in ("agent", "collection"))
    assert [("agent", idle)] == [(row["kind"], row["id"]) for row in map(json.loads, said.stdout.splitlines())]


@pytest.mark.usefixtures("nothing_kept")
def test_a_database_that_takes_no_changes_is_no_healthy_one(api_without_work: Api, monkeypatch: pytest.MonkeyPatch):
    assert api_without_work.get("/health", token=None)["canWrite"]

    for name, error, reason in (
        ("_IS_READ_ONLY", "SELECT true", "read_only"),
        ("_FILL", "DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$", "disk_full"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(database_state, name, error)
            health, metrics = api_without_work.get("/health", token=None), scrape(api_without_work)
        assert ("degraded", False, [reason]) == (health["status"], health["canWrite"], health["reasons"])
        assert 0 == metrics("routines_database_writable")


def test_a_clock_that_was_ahead_and_has_been_set_back_is_said(api_without_work: Api, monkeypatch: pytest.MonkeyPatch):
    now = api_without_work.system.clock()
    set_back = health.STATEMENT.replace("clock_timestamp()", f"timestamptz '{now - HOUR}'")
    monkeypatch.setattr(health, "STATEMENT", set_back)
    ahead = api_without_work.get("/health", token=None)
    still = api_without_work.get("/health", token=None)  # though nothing has come since

    assert ("degraded", ["clock_behind_log"]) == tuple(still[name] for name in ("status", "reasons"))
    assert 3_500 < still["clockBehindLogS"] <= 3_600
    assert (
        still["clockBehindLogS"]
        == ahead["clockBehindLogS"]
        == scrape(api_without_work)("routines_database_clock_behind_log_seconds")
    )


def test_the_times_of_the_log_are_looked_for_after_a_position_also_when_the_log_was_set_back(
    api_without_work: Api,
):
    with api_without_work.system.pool.connection() as conn:
        now, latest, head = database_state.times(conn)
        assert database_state.times(conn, head - 1)[1:] == (latest, head)
        assert {(datetime.min.replace(tzinfo=UTC), head)} == {
            database_state.times(conn, position)[1:] for position in (head, head + 1_000)
        }
    assert latest <= now


def test_it_says_how_far_each_read_model_is_behind_without_waiting_for_it(system: System):
    with serving(system) as url:
        api = Api(url, bootstrap.first_board_token(system.settings) or "", system)
        metrics = scrape(api)
        api.close()

    head = system.store.head()
    assert head == metrics("routines_log_position") > 0
    for model in catalogue.ALL:
        assert head == metrics("routines_read_model_lag_events", read_model=model.name)
        assert 0 < metrics("routines_read_model_lag_seconds", read_model=model.name)
        assert 0 == metrics("routines_read_model_stopped", read_model=model.name)


def test_requests_are_counted_by_operation_and_status(api: Api):
    before = scrape(api)
    api.get("/companies")
    api.get("/companies")
    api.request("GET", "/companies", token=None)
    api.request("GET", "/nothing/of/the/kind")
    after = scrape(api)

    def more(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    assert 2 == more("routines_http_requests_total", operation="listCompanies", status="200")
    assert 1 == more("routines_http_requests_total", operation="listCompanies", status="401")
    assert 1 == more("routines_http_requests_total", operation="other", status="404")
    assert 3 == more("routines_http_request_duration_seconds_count", operation="listCompanies")
    assert 0 < more("routines_http_request_duration_seconds_sum", operation="listCompanies")
    assert 0 < after("process_resident_memory_bytes")


@pytest.mark.parametrize("is_current", [True, False])
def test_a_change_of_the_current_copy_alone_is_one_request(api: Api, *, is_current: bool):
    company = api.company()
    tag = api.request("GET", f"/companies/{company}").headers["ETag"] if is_current else '"old"'
    before = scrape(api)
    status = api.request("PATCH", f"/companies/{company}", {"name": "x"}, headers={"If-Match": tag}).status_code
    after = scrape(api)

    def more(**labels: str) -> float:
        name = "routines_http_requests_total"
        return after(name, **labels) - before(name, **labels)

    assert (200 if is_current else 412) == status
    assert 1 == more(operation="updateCompany", status=str(status))
    assert 0 == more(operation="getCompany", status="200")


def test_without_the_database_it_says_what_it_knows(settings: Settings):
    with bootstrap.system(settings) as system, serving(system) as url:
        system.pool.close()
        answer, health, jetty = (httpx.get(url + path) for path in ("/metrics", "/api/health", "/health"))

    metrics = Scraped(answer)
    assert [503, 503, 503] == [each.status_code for each in (answer, health, jetty)]
    assert {"status": "unhealthy", "error": "database_unreachable"} == health.json()
    assert {"detail": "The database cannot be reached"} == jetty.json()
    assert 0 == metrics("routines_database_up")
    assert "routines_runs_total" not in metrics.names
    assert 0 < metrics("process_resident_memory_bytes")


@pytest.mark.parametrize(
    "error", [psycopg.OperationalError("away"), PoolTimeout("none free"), OperationalError("away")]
)
def test_a_database_that_goes_away_in_the_middle_of_a_look_is_said_to_be_away(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def look(_: Checkup) -> Findings:
        raise error

    monkeypatch.setattr(Checkup, "__call__", look)
    monkeypatch.setattr(KeptFinding, "is_outdated", True)  # else the event loop looks, over a connection of its own

    answers = [httpx.get(api.url + path) for path in ("/metrics", "/api/health", "/health")]

    assert [503, 503, 503] == [answer.status_code for answer in answers]
    assert 0 == Scraped(answers[0])("routines_database_up")
