"""The occurrences of a schedule: what became of them, and what is to come."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.api import Api
from tests.web.past import DAY, HOUR, MINUTE, Past

NOON = datetime(2024, 11, 20, 12, 0, 30, tzinfo=UTC)
THAT_DAY = {"from": "2024-11-20T00:00:00Z", "to": "2024-11-20T23:59:59Z"}


@pytest.fixture
def past_api(api: Api) -> Past:
    return Past(api, NOON)


@pytest.fixture
def present_api(api: Api) -> Past:
    return Past(api, api.system.clock() - timedelta(seconds=1))


def ledger(api: Api, trigger: UUID, **query: Any) -> Any:
    return api.get(f"/routine-triggers/{trigger}/occurrences", params=THAT_DAY | query)


def test_every_occurrence_has_its_outcome(api: Api, past_api: Past):
    routine = past_api.routine(concurrency_policy="skip_if_active")
    trigger = past_api.schedule(routine, cron_expression="0 * * * *")
    for hour in (13, 14, 18):
        past_api.at(hour)
        past_api.tick(trigger)

    page = ledger(api, trigger, to="2024-11-20T18:00:00Z")

    assert [
        ("2024-11-20T13:00:00.000Z", 1, "issue_created", None),
        ("2024-11-20T14:00:00.000Z", 1, "skipped", "live_execution_issue"),
        ("2024-11-20T15:00:00.000Z", 3, "missed", "skip_missed"),
        ("2024-11-20T18:00:00.000Z", 1, "skipped", "live_execution_issue"),
    ] == [(one["plannedAt"], one["count"], one["outcome"], one["reason"]) for one in page["occurrences"]]
    first, second, missed, _ = page["occurrences"]
    assert first["runId"] == second["blockingRunId"]
    assert first["issueId"] == second["issueId"]
    assert ("2024-11-20T17:00:00.000Z", None) == (missed["lastPlannedAt"], missed["runId"])
    assert {("skip_if_active", "skip_missed")} == {
        (one["concurrencyPolicy"], one["catchUpPolicy"]) for one in page["occurrences"]
    }
    positions = [one["position"] for one in page["occurrences"]]
    assert positions == sorted(set(positions))
    assert (str(trigger), str(routine), None, None) == (
        page["triggerId"],
        page["routineId"],
        page["noPlanBecause"],
        page["nextCursor"],
    )


def test_lateness_is_from_due_to_settled(api: Api, past_api: Past):
    trigger = past_api.schedule(past_api.routine(), cron_expression="0 * * * *")
    past_api.at(13, 0, 7)
    past_api.tick(trigger)

    (one,) = ledger(api, trigger, to="2024-11-20T13:30:00Z")["occurrences"]

    assert ("2024-11-20T13:00:00.000Z", 7000) == (one["dueAt"], one["latenessMs"])
    assert one["settledAt"] == "2024-11-20T13:00:07.000Z"


def test_a_missed_range_is_shown_wherever_the_period_meets_it(api: Api, past_api: Past):
    trigger = past_api.schedule(past_api.routine(), cron_expression="* * * * *")
    past_api.at(16, 0, 30)
    past_api.tick(trigger)

    within = ledger(api, trigger, **{"from": "2024-11-20T14:00:00Z", "to": "2024-11-20T14:01:00Z"})["occurrences"]
    after = ledger(api, trigger, **{"from": "2024-11-20T16:00:00Z", "to": "2024-11-20T16:00:00Z"})["occurrences"]

    assert [("missed", 239)] == [(one["outcome"], one["count"]) for one in within]
    assert ["issue_created"] == [one["outcome"] for one in after]


def test_both_ends_of_the_period_belong_to_it(api: Api, past_api: Past):
    trigger = past_api.schedule(past_api.routine(), cron_expression="0 * * * *")
    for hour in (13, 14, 15):
        past_api.at(hour)
        past_api.tick(trigger)

    page = ledger(api, trigger, **{"from": "2024-11-20T13:00:00Z", "to": "2024-11-20T14:00:00Z"})

    assert ["13", "14"] == [one["plannedAt"][11:13] for one in page["occurrences"]]


def test_what_is_to_come_is_planned(api: Api, present_api: Past):
    trigger = present_api.schedule(present_api.routine(), cron_expression="*/10 * * * *", timezone="Asia/Kolkata")

    occurrences = api.get(f"/routine-triggers/{trigger}/occurrences")["occurrences"]

    assert 100 == len(occurrences)
    assert {("planned", None, None)} == {(one["outcome"], one["runId"], one["settledAt"]) for one in occurrences}
    assert occurrences[0]["plannedAt"] == occurrences[0]["dueAt"]
    moments = [datetime.fromisoformat(one["plannedAt"]) for one in occurrences]
    assert {10 * MINUTE} == {later - earlier for earlier, later in pairwise(moments)}
    assert moments[0] - present_api.now <= 10 * MINUTE


def test_jitter_moves_when_a_planned_one_is_due(api: Api, present_api: Past):
    trigger = present_api.schedule(present_api.routine(), cron_expression="0 * * * *", jitter_sec=3000)

    occurrences = api.get(f"/routine-triggers/{trigger}/occurrences")["occurrences"]

    late = {datetime.fromisoformat(one["dueAt"]) - datetime.fromisoformat(one["plannedAt"]) for one in occurrences}
    assert len(late) > 1
    assert timedelta() <= min(late) <= max(late) <= timedelta(seconds=3000)


def test_lateness_with_jitter_is_from_the_due_moment(api: Api, past_api: Past):
    trigger = past_api.schedule(past_api.routine(), cron_expression="0 * * * *", jitter_sec=3000)
    planned = ledger(api, trigger, to="2024-11-20T13:30:00Z")["occurrences"][0]["dueAt"]
    past_api.now = datetime.fromisoformat(planned) + timedelta(seconds=2)
    past_api.tick(trigger)

    one = ledger(api, trigger, to="2024-11-20T13:30:00Z")["occurrences"][0]

    assert (planned, 2000) == (one["dueAt"], one["latenessMs"])


def test_limits_and_dates_that_are_left_out_are_not_planned(api: Api, present_api: Past):
    today = present_api.now.date()
    routine = present_api.routine()
    skipping = present_api.schedule(
        routine,
        cron_expression="0 0 * * *",
        excluded_dates=(today + DAY, date(2000, 1, 1)),
        ends_at=present_api.now + 3 * DAY,
    )
    params = {"to": (present_api.now + 10 * DAY).isoformat()}

    occurrences = api.get(f"/routine-triggers/{skipping}/occurrences", params=params)["occurrences"]

    assert [str(today + 2 * DAY), str(today + 3 * DAY)] == [one["plannedAt"][:10] for one in occurrences]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda past_api, _, trigger: past_api.edit(trigger, enabled=False), "disabled"),
        (lambda past_api, routine, _: past_api.change(routine, status="paused"), "routine_paused"),
        (lambda past_api, routine, _: past_api.change(routine, status="archived"), "routine_archived"),
        (lambda *_: None, None),
    ],
)
def test_why_nothing_is_planned_is_told(api: Api, present_api: Past, change: Any, why: str | None):
    routine = present_api.routine()
    trigger = present_api.schedule(routine, cron_expression="* * * * *")
    change(present_api, routine, trigger)

    page = api.get(f"/routine-triggers/{trigger}/occurrences")

    assert (why, why is None) == (page["noPlanBecause"], bool(page["occurrences"]))


def test_a_schedule_that_is_over_says_so_and_keeps_what_waits_for_its_outcome(api: Api, past_api: Past):
    trigger = past_api.schedule(past_api.routine(), run_at=NOON + HOUR)

    waiting = ledger(api, trigger)
    past_api.at(13, 0, 30)
    past_api.tick(trigger)
    settled = ledger(api, trigger)

    assert ("ended", "ended") == (waiting["noPlanBecause"], settled["noPlanBecause"])
    assert ["planned"] == [one["outcome"] for one in waiting["occurrences"]]
    assert ["issue_created"] == [one["outcome"] for one in settled["occurrences"]]


def test_a_trigger_that_is_no_schedule_has_no_occurrences(api: Api):
    company = api.company()
    routine = api.routine(company, api.agent(company)[0])
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]

    page = api.get(f"/routine-triggers/{trigger}/occurrences")

    assert ("not_a_schedule", []) == (page["noPlanBecause"], page["occurrences"])


def test_pages_give_everything_once_from_the_past_into_the_future(api: Api, past_api: Past):
    trigger = past_api.schedule(past_api.routine(), cron_expression="*/20 * * * *")
    for hour in (13, 14, 15):
        past_api.at(hour)
        past_api.tick(trigger)
    whole = ledger(api, trigger)["occurrences"]

    walked, query = [], {"limit": 4}
    while query is not None:
        answer = api.request("GET", f"/routine-triggers/{trigger}/occurrences", params=THAT_DAY | query)
        walked += answer.json()["occurrences"]
        cursor = answer.json()["nextCursor"]
        assert cursor == answer.headers.get("X-Next-Cursor")
        assert ("Link" in answer.headers) == (cursor is not None)
        query = cursor and {"limit": 4, "cursor": cursor}

    assert {"issue_created", "coalesced", "missed", "planned"} == {one["outcome"] for one in whole}
    assert whole == walked
    assert len(whole) > 12


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"from": "yesterday"}, ["from"]),
        ({"to": "2024-13-01T00:00:00Z"}, ["to"]),
        ({"to": "2024-11-20"}, ["to"]),
        ({"from": "0001-01-01T00:00:00Z"}, ["from"]),
        ({"to": "9999-12-31T23:59:59Z"}, ["to"]),
        ({"from": "2024-11-21T00:00:00Z", "to": "2024-11-20T00:00:00Z"}, ["to"]),
        ({"limit": "0"}, ["limit"]),
        ({"limit": "1001"}, ["limit"]),
        ({"cursor": "x"}, ["cursor"]),
    ],
)
def test_a_wrong_parameter_is_named(api: Api, query: Any, path: Any):
    answer = api.request("GET", f"/routine-triggers/{uuid4()}/occurrences", params=query)

    assert (400, path) == (answer.status_code, answer.json()["details"][0]["path"])


def test_an_offset_whose_plus_was_not_escaped_is_understood(api: Api, past_api: Past):
    trigger = past_api.schedule(past_api.routine(), cron_expression="0 * * * *")

    page = api.get(f"/routine-triggers/{trigger}/occurrences?from=2024-11-20T14:00:00+01:00&to=2024-11-20T14:00:00Z")

    assert ("2024-11-20T13:00:00.000Z", 2) == (page["from"], len(page["occurrences"]))


@pytest.mark.parametrize("id_", ["5f0c1f5e-0000-4000-8000-0000000000ff", "nonsense"])
def test_an_unknown_trigger_is_not_found(api: Api, id_: Any):
    answer = api.request("GET", f"/routine-triggers/{id_}/occurrences")

    assert (404, "Routine trigger not found") == (answer.status_code, answer.json()["error"])
