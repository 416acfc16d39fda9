"""Health (contract 7.1) and addresses that do not exist (contract 1)."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from litestar import concurrency

from application.event_store.at_hand import NeedsThread
from application.event_store.loop_recorder import LoopQueries
from application.outage import Outage
from application.use_cases import zone_data
from domain.schedule import zones
from projections import catalogue
from tests.api import Api
from tests.web.served import serve_further
from web.http.backend import Backend
from web.http.fair_threads import FairThreads
from web.monitoring.checkup import Checkup, Findings, KeptFinding


def test_health_needs_no_token_and_lists_every_read_model(api: Api):
    health = api.get("/health", token=None)

    models = health.pop("readModels")
    version = health.pop("version")
    assert health.pop("status") in ("ok", "degraded")  # other tests leave schedules that nobody fires
    assert set(health.pop("reasons")) <= {"schedules_overdue", "clock_behind_log"}
    health.pop("oldestOpenIssueS")
    health.pop("clockBehindLogS")
    assert health.pop("canWrite")
    assert [] == health.pop("missingSecretKeys")
    assert (0, 0) == (health.pop("agentsWithUntakenWork"), health.pop("collectionsWithUntakenWork"))
    assert 0 <= health.pop("overdueSchedules") <= 1_000
    assert [] == health.pop("witnesses")
    assert {"version": zones.data().version, "source": "pinned", "adopted": None} == health.pop("zoneData")
    assert {
        "deploymentMode": "authenticated",
        "deploymentExposure": "private",
        "authReady": True,
        "bootstrapStatus": "ready",
    } == health
    assert version
    assert {model.name for model in catalogue.ALL} == {model["name"] for model in models}
    assert all(
        {"name", "position", "behind", "behindS", "stopped", "movedAt", "isolated", "isOutdated", "rebuiltTo"}
        == model.keys()
        for model in models
    )
    assert [None] * len(models) == [model["stopped"] for model in models]


@pytest.mark.usefixtures("nothing_kept")
def test_a_process_that_goes_by_older_zone_data_than_it_is_planned_by_is_degraded(api: Api, monkeypatch):
    monkeypatch.setattr(zone_data, "adopted_version", lambda _work: "2999a")

    health = api.get("/health", token=None)

    assert "degraded" == health["status"]
    assert (zones.data().version, "2999a") == (health["zoneData"]["version"], health["zoneData"]["adopted"])


def test_however_often_health_is_asked_for_the_zone_data_are_read_from_the_log_once_in_a_while(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    readings = []
    monkeypatch.setattr(zone_data, "adopted_version", readings.append)  # None: as long as none are adopted

    with serve_further(api) as here:
        for _ in range(3):
            here.get("/health", token=None)

    assert 1 == len(readings)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", ""),
        ("POST", "/health"),
        ("PUT", "/companies"),
        ("DELETE", "/routines/11111111-1111-4111-8111-111111111111"),
        ("PATCH", "/routines/11111111-1111-4111-8111-111111111111/run"),
        ("GET", "/companies/11111111-1111-4111-8111-111111111111/nothing"),
        ("TRACE", "/companies"),
        ("OPTIONS", "/companies"),
        ("GET", "/openapi.json/nothing"),
        ("GET", "/../api/health/.."),
    ],
)
def test_an_unknown_path_or_method_is_404_in_json(api: Api, method: str, path: str):
    answer = api.request(method, path)

    assert (404, "application/json") == (answer.status_code, answer.headers["content-type"])
    assert "API route not found" == answer.json()["error"]


def test_an_error_is_one_object_with_a_text_and_the_same_as_problem_details(api: Api):
    assert {
        "error": "Routine not found",
        "type": "/problems/not-found",
        "title": "Not Found",
        "status": 404,
        "detail": "Routine not found",
    } == api.request("GET", "/routines/11111111-1111-4111-8111-111111111111").json()


def test_a_look_at_the_health_takes_no_thread_while_what_is_kept_is_new_and_finds_the_same(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    by_thread = _lasting_values(api.get("/health", token=None))
    monkeypatch.setattr(KeptFinding, "is_outdated", False)
    monkeypatch.setattr(Checkup, "_look", lambda _: None)  # what a thread would do

    assert by_thread == _lasting_values(api.get("/health", token=None))


def test_a_look_that_the_event_loop_cannot_take_is_taken_by_a_thread(api: Api, monkeypatch: pytest.MonkeyPatch):
    async def refuse(*_: Any) -> list[Any]:
        raise NeedsThread

    api.get("/health", token=None)
    monkeypatch.setattr(KeptFinding, "is_outdated", False)
    monkeypatch.setattr(LoopQueries, "query", refuse)

    assert api.get("/health", token=None)["readModels"]


def test_what_keeps_a_look_at_the_health_waiting_keeps_no_request_waiting(api: Api, monkeypatch: pytest.MonkeyPatch):
    api.get("/health", token=None)
    monkeypatch.setattr(KeptFinding, "is_outdated", False)
    waiting = """
        SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.relation = 'read_models.schedule'::regclass AND NOT l.granted AND d.datname = current_database()"""

    with ThreadPoolExecutor(1) as threads, api.system.pool.connection() as conn:
        with conn.transaction():
            conn.execute("LOCK TABLE read_models.schedule IN ACCESS EXCLUSIVE MODE")  # as the swap of a rebuild does
            look = threads.submit(api.get, "/health", token=None)
            while (0,) == conn.execute(waiting).fetchone():
                time.sleep(0.01)
            assert 404 == api.request("GET", "/routines/11111111-1111-4111-8111-111111111111").status_code
            assert not look.done()
        assert look.result()["readModels"]


def _lasting_values(health: dict[str, Any]) -> dict[str, Any]:
    """What two looks one after the other both find, and the types of what moves on."""
    models = [_types_of(one, "position", "behind", "behindS", "movedAt") for one in health["readModels"]]
    moving = ("status", "reasons", "overdueSchedules", "clockBehindLogS", "oldestOpenIssueS")
    return {**_types_of(health, *moving), "readModels": models}


def _types_of(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**values, **{name: type(values[name]) for name in names}}


def test_a_look_at_the_health_waits_behind_no_tenant(monkeypatch):
    threads, may_end = FairThreads(1, 1), Event()
    monkeypatch.setattr(concurrency._State, "EXECUTOR", threads)
    threads.submit(may_end.wait)
    found = cast("Findings", object())
    monkeypatch.setattr(Checkup, "__call__", lambda _: found)
    checkup = Checkup(cast("Backend", SimpleNamespace(outage=Outage())))
    try:
        assert found is asyncio.run(asyncio.wait_for(checkup.together(), 60))
    finally:
        may_end.set()
        threads.shutdown()
