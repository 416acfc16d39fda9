"""Backfills over HTTP: asked for, previewed, listed, followed, cancelled; and told apart in the ledger."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from application.use_cases import backfills as use_cases
from projections.firing import backfills
from tests.api import Api
from tests.web.past import HOUR, Past

NOON = datetime(2024, 11, 20, 12, 0, 30, tzinfo=UTC)
MORNING = {"from": "2024-11-20T09:00:00Z", "to": "2024-11-20T11:00:00Z"}


def hourly(past_api: Past, routine: UUID) -> UUID:
    return past_api.schedule(routine, cron_expression="0 * * * *", timezone="Europe/Amsterdam")


@pytest.fixture
def past_api(api: Api) -> Past:
    return Past(api, NOON)


@pytest.fixture
def trigger(past_api: Past) -> UUID:
    """Hourly, in Amsterdam, and nothing has run yet."""
    routine = past_api.routine(concurrency_policy="always_enqueue")
    return hourly(past_api, routine)


@pytest.fixture(scope="module")
def untouched_trigger(api: Api) -> UUID:
    """One like `trigger`, for tests that change nothing of it."""
    past_api = Past(api, NOON)
    return hourly(past_api, past_api.routine(concurrency_policy="always_enqueue"))


def backfill(api: Api, trigger: UUID, **fields: Any) -> Any:
    return api.post(f"/routine-triggers/{trigger}/backfills", MORNING | fields)


def carried_on(api: Api, past_api: Past, backfill_shown: Any) -> None:
    """What the scheduler does, until nothing is left to do."""
    waiting = [backfill_shown]
    while waiting:
        api.get(f"/routine-backfills/{backfill_shown['id']}")  # the read model is at the head of the log
        with api.system.pool.connection() as conn:
            waiting = [row for row in backfills.waiting(conn, limit=100) if str(row.id) == backfill_shown["id"]]
        past_api.executor.attempt(lambda work, rows=waiting: use_cases.carry_on(work, rows), actor="scheduler")


def test_a_preview_names_what_would_run_and_begins_nothing(api: Api, trigger: UUID):
    preview = api.post(f"/routine-triggers/{trigger}/backfills/preview", MORNING)

    assert (3, 3, 0, None) == (preview["count"], preview["toRun"], preview["leftOut"], preview["refusedBecause"])
    assert ("2024-11-20T09:00:00.000Z", "2024-11-20T11:00:00.000Z") == (preview["from"], preview["to"])
    assert {
        "at": "2024-11-20T09:00:00.000Z",
        "local": "2024-11-20T10:00:00+01:00",
        "action": "run",
        "runId": None,
    } == preview["occurrences"][0]
    assert [] == api.get(f"/routine-triggers/{trigger}/backfills")


def test_it_can_be_followed_from_begin_to_end(api: Api, past_api: Past, trigger: UUID):
    begun = backfill(api, trigger, overlap="policy")
    carried_on(api, past_api, begun)

    ended = api.get(f"/routine-backfills/{begun['id']}")

    assert ("running", 0, None, "policy") == (begun["status"], begun["fired"], begun["reachedAt"], begun["overlap"])
    assert ("completed", 3, 3, 0, "2024-11-20T11:00:00.000Z") == (
        *(ended[name] for name in ("status", "count", "fired", "leftOut", "reachedAt")),
    )
    assert (begun["createdByUserId"], None) == (api.get("/cli-auth/me")["userId"], begun["createdByAgentId"])


def test_its_runs_are_marked_everywhere_and_do_not_move_the_schedule(api: Api, past_api: Past, trigger: UUID):
    routine = api.post(f"/routine-triggers/{trigger}/backfills/preview", MORNING)["routineId"]
    before = api.get(f"/routines/{routine}")["triggers"][0]["nextRunAt"]
    begun = backfill(api, trigger, overlap="policy")
    carried_on(api, past_api, begun)

    runs = api.get(f"/routines/{routine}/runs")
    ledger = api.get(f"/routine-triggers/{trigger}/occurrences", params=MORNING)["occurrences"]

    assert [begun["id"]] * 3 == [run["backfillId"] for run in runs] == [one["backfillId"] for one in ledger]
    assert [("issue_created", None)] * 3 == [(one["outcome"], one["latenessMs"]) for one in ledger]
    assert before == api.get(f"/routines/{routine}")["triggers"][0]["nextRunAt"]
    planned = [one["plannedAt"] for one in ledger]
    assert planned == [run["plannedAt"] for run in reversed(runs)]
    assert planned == [api.get(f"/issues/{run['linkedIssueId']}")["originPlannedAt"] for run in reversed(runs)]


def test_what_was_missed_stays_on_record_beside_what_made_up_for_it(api: Api, past_api: Past, trigger: UUID):
    past_api.at(16)
    past_api.tick(trigger)
    period = {"from": "2024-11-20T13:00:00Z", "to": "2024-11-20T15:00:00Z"}
    begun = backfill(api, trigger, **period, overlap="policy")
    carried_on(api, past_api, begun)

    ledger = api.get(f"/routine-triggers/{trigger}/occurrences", params=period | {"to": "2024-11-20T16:00:00Z"})
    later = api.get(f"/routine-triggers/{trigger}/occurrences", params=period | {"from": "2024-11-20T14:30:00Z"})
    why = api.get(f"/routines/{begun['routineId']}/explain", params={"at": "2024-11-20T14:00:00Z"})

    scheduled = [one for one in ledger["occurrences"] if one["backfillId"] is None]
    assert [("missed", 3), ("issue_created", 1)] == [(one["outcome"], one["count"]) for one in scheduled]
    assert 3 == sum(one["backfillId"] == begun["id"] for one in ledger["occurrences"])
    assert ["missed", "issue_created"] == [one["outcome"] for one in later["occurrences"]]
    assert "ran" == why["triggers"][0]["verdict"]
    assert "ran after all: a backfill made up for it on Wed 20 Nov 2024" in why["answer"]


def test_backfills_are_listed_newest_first_page_by_page(api: Api, trigger: UUID):
    backfill_ids = [backfill(api, trigger)["id"] for _ in range(3)]

    first = api.request("GET", f"/routine-triggers/{trigger}/backfills?limit=2")
    rest = api.get(f"/routine-triggers/{trigger}/backfills", params={"cursor": first.headers["X-Next-Cursor"]})

    assert backfill_ids[::-1] == [one["id"] for one in [*first.json(), *rest]]


def test_one_that_is_cancelled_says_so_and_cannot_be_cancelled_again(api: Api, trigger: UUID):
    id_ = backfill(api, trigger)["id"]

    cancelled = api.post(f"/routine-backfills/{id_}/cancel")
    again = api.request("POST", f"/routine-backfills/{id_}/cancel")

    assert ("cancelled", "cancelled") == (cancelled["status"], cancelled["reason"])
    assert (409, "The backfill is over") == (again.status_code, again.json()["error"])


@pytest.mark.parametrize(
    ("fields", "status", "path", "text"),
    [
        ({"from": "2024-11-20T09:00:01Z", "to": "2024-11-20T09:30:00Z"}, 422, "from", "no occurrence in this range"),
        ({"from": "2024-11-20T11:00:00Z", "to": "2024-11-20T09:00:00Z"}, 422, "from", "no occurrence in this range"),
        ({"from": "2020-01-01T00:00:00Z"}, 422, "to", "at most 5,000: ask for parts of it"),
        ({"from": "1815-01-01T00:00:00Z"}, 400, "from", "must lie between the years"),
        ({"from": "2024-11-20"}, 400, "from", ""),
        ({"overlap": "never"}, 400, "overlap", ""),
    ],
    ids=["between two", "end before begin", "too many", "another century", "a day", "another overlap"],
)
@pytest.mark.parametrize("what", ["backfills", "backfills/preview"])
def test_a_range_that_makes_no_sense_is_refused_with_the_field(  # noqa: PLR0917 case by case
    api: Api, untouched_trigger: UUID, what: str, fields: dict[str, Any], status: int, path: str, text: str
):
    answer = api.request("POST", f"/routine-triggers/{untouched_trigger}/{what}", MORNING | fields)

    assert (status, [path]) == (answer.status_code, answer.json()["details"][0]["path"])
    assert text in answer.text


def test_only_schedules_have_a_past_to_make_up_for(api: Api, past_api: Past):
    routine = past_api.routine()
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]

    answer = api.request("POST", f"/routine-triggers/{trigger}/backfills", MORNING)

    assert (422, "Only schedules can be backfilled") == (answer.status_code, answer.json()["error"])


def test_a_routine_that_is_paused_is_backfilled_when_it_works_again(api: Api, past_api: Past):
    routine = past_api.routine()
    trigger = past_api.schedule(routine, cron_expression="0 * * * *")
    past_api.change(routine, status="paused")

    previewed = api.post(f"/routine-triggers/{trigger}/backfills/preview", MORNING)
    refusal = api.request("POST", f"/routine-triggers/{trigger}/backfills", MORNING)

    assert "Routine is paused" == previewed["refusedBecause"]
    assert (409, "Routine is paused") == (refusal.status_code, refusal.json()["error"])
    past_api.now += HOUR
    past_api.change(routine, status="active")
    assert "running" == backfill(api, trigger)["status"]


def test_the_same_key_gives_the_same_backfill_and_is_refused_for_another_request(api: Api, trigger: UUID):
    path, key = f"/routine-triggers/{trigger}/backfills", {"Idempotency-Key": "morning"}

    first, again = (api.request("POST", path, MORNING, headers=key) for _ in range(2))
    other = api.request("POST", path, MORNING | {"overlap": "policy"}, headers=key)

    assert (201, 201, first.json()["id"]) == (first.status_code, again.status_code, again.json()["id"])
    assert (409, "The idempotency key was used for another request") == (other.status_code, other.json()["error"])
    assert 1 == len(api.get(path))
    assert first.json()["id"] != backfill(api, trigger)["id"]
