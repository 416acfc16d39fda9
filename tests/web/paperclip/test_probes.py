"""The probe of a routine: a condition that must hold before an occurrence of its schedules fires (our addition)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from application.request_bodies.routines import JsonConditionDraft, ProbeDraft
from application.use_cases import probes
from domain.identity import probe_of_occurrence, run_of_occurrence
from domain.routines.probe import PendingProbe
from domain.values import ProbeFinding
from tests.api import Api
from tests.web.past import MINUTE, Past

NOON = datetime(2024, 11, 20, 12, 0, 30, tzinfo=UTC)
PROBE = {
    "url": "https://example.com/queue",
    "status": 200,
    "json": {"path": "queue.waiting", "equals": True},
    "ifUnanswered": "fire",
}
DRAFT = ProbeDraft(
    url="https://example.com/queue",
    status=200,
    json=JsonConditionDraft(path="queue.waiting", equals=True),
    if_unanswered="fire",
)
FAILED = ProbeFinding(
    verdict="failed", status=200, found="false", reason="queue.waiting is false, and should be true", took_ms=12
)


@pytest.fixture
def past_api(api: Api) -> Past:
    return Past(api, NOON)


def new_probed_routine(api: Api) -> str:
    company = api.company()
    return api.routine(company, api.agent(company)[0], probe=PROBE)


@pytest.fixture
def routine(api: Api) -> str:
    return new_probed_routine(api)


@pytest.fixture(scope="module")
def probed_routine(api: Api) -> str:
    """A routine for tests that change nothing of it."""
    return new_probed_routine(api)


def settle(past_api: Past, routine: UUID, trigger: UUID, finding: ProbeFinding) -> None:
    """The next occurrence comes due, its probe finds this, and the scheduler settles it."""
    occurrence = past_api.now.replace(second=0) + MINUTE
    past_api.now += MINUTE
    past_api.tick(trigger)
    pending = PendingProbe(
        id=probe_of_occurrence(trigger, occurrence), version=1, routine_id=routine, company_id=past_api.company
    )
    assert past_api.executor.attempt(lambda work: probes.record(work, pending, finding), actor="delivery").result
    past_api.tick(trigger)


def test_a_probe_is_shown_changed_and_removed(api: Api, routine: str):
    path = f"/routines/{routine}"
    assert PROBE == api.get(path)["probe"]

    plain = {"url": "https://example.com/health"}
    assert plain | {"status": None, "json": None, "ifUnanswered": "skip"} == api.patch(path, {"probe": plain})["probe"]
    assert None is api.patch(path, {"probe": None})["probe"]


def test_a_revision_has_it_and_brings_it_back(api: Api, routine: str):
    path = f"/routines/{routine}"
    first = api.get(path)["latestRevisionId"]
    api.patch(path, {"probe": None})
    newest, oldest = api.get(f"{path}/revisions")

    assert [None, PROBE] == [one["snapshot"]["routine"]["probe"] for one in (newest, oldest)]
    assert PROBE == api.post(f"{path}/revisions/{first}/restore")["routine"]["probe"]


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"url": "ftp://example.com"}, 422, ["probe", "url"]),
        ({"url": "http://[::1]/"}, 422, ["probe", "url"]),
        ({"url": "https://a:b@example.com"}, 422, ["probe", "url"]),
        ({"url": ""}, 400, ["probe", "url"]),
        ({"url": 7}, 400, ["probe", "url"]),
        ({"status": 100}, 400, ["probe", "status"]),
        ({"status": "200"}, 400, ["probe", "status"]),
        ({"json": {"path": "", "equals": 1}}, 400, ["probe", "json", "path"]),
        ({"json": {"path": "a..b", "equals": 1}}, 400, ["probe", "json", "path"]),
        ({"json": {"path": "a"}}, 400, ["probe", "json", "equals"]),
        ({"json": {"path": "a", "equals": []}}, 400, ["probe", "json", "equals"]),
        ({"ifUnanswered": "wait"}, 400, ["probe", "ifUnanswered"]),
        ({"method": "POST"}, 400, ["probe", "method"]),
    ],
)
def test_a_wrong_probe_is_refused_and_the_field_is_named(
    api: Api, probed_routine: str, change: Any, status: int, field: list[str]
):
    answer = api.request("PATCH", f"/routines/{probed_routine}", {"probe": PROBE | change})

    assert status == answer.status_code
    assert field == answer.json()["details"][0]["path"]
    assert PROBE == api.get(f"/routines/{probed_routine}")["probe"]


def test_a_run_that_its_probe_holds_back_is_skipped_with_the_evidence(api: Api, past_api: Past):
    routine = past_api.routine(probe=DRAFT)
    trigger = past_api.schedule(routine, cron_expression="* * * * *")

    settle(past_api, routine, trigger, FAILED)

    (run,) = api.get(f"/routines/{routine}/runs")
    evidence = {
        "verdict": "failed",
        "status": 200,
        "found": "false",
        "reason": "queue.waiting is false, and should be true",
        "tookMs": 12,
    }
    assert ("skipped", "probe_failed", None) == (run["status"], run["failureReason"], run["linkedIssueId"])
    assert evidence == run["probe"] == api.get(f"/routine-runs/{run['id']}")["probe"]
    assert str(run_of_occurrence(trigger, NOON.replace(second=0) + MINUTE)) == run["id"]
    (shown,) = api.get(f"/routines/{routine}")["triggers"]
    assert "Skipped because the probe did not pass" == shown["lastResult"]


def test_a_held_occurrence_is_in_the_ledger_and_explained(api: Api, past_api: Past):
    routine = past_api.routine(probe=DRAFT)
    trigger = past_api.schedule(routine, cron_expression="* * * * *")
    settle(past_api, routine, trigger, FAILED)

    (held,) = api.get(f"/routine-triggers/{trigger}/occurrences?from=2024-11-20T12:01:00Z&to=2024-11-20T12:01:30Z")[
        "occurrences"
    ]
    (explained,) = api.get(f"/routines/{routine}/explain?at=2024-11-20T12:01:00Z")["triggers"]

    assert ("skipped", "probe_failed") == (held["outcome"], held["reason"])
    assert ("skipped", "probe_failed") == (explained["verdict"], explained["reason"])
    assert (
        "The occurrence of Wed 20 Nov 2024 12:01 UTC was skipped: its probe did not pass (after 12 ms): queue.waiting is "
        "false, and should be true." == explained["answer"]
    )


def test_explain_and_preview_say_what_must_hold(api: Api, routine: str):
    api.post(f"/routines/{routine}/triggers", {"kind": "schedule", "cronExpression": "* * * * *"})
    moment = (api.system.clock() + timedelta(minutes=10)).isoformat()

    answer = api.get(f"/routines/{routine}/explain", params={"at": moment})["answer"]
    preview = api.post("/schedule/preview", {"cronExpression": "* * * * *", "routineId": routine})

    assert "and runs only if its probe passes then" in answer
    (condition,) = preview["conditions"]
    assert (
        "An occurrence is skipped unless the routine's probe answers with the status 200 and true at queue.waiting; "
        "if nobody answers, it fires all the same."
    ) == condition


def test_a_run_by_hand_is_not_probed(api: Api, routine: str):
    run = api.post(f"/routines/{routine}/run", {})

    assert "issue_created" == run["status"]
    assert "probe" not in run
