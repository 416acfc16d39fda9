"""A search through time that finds nothing, or would cost too much, is refused at once."""

import pytest

from domain.schedule import cron_schedule
from tests.api import Api

NEVER = {"cronExpression": "* 2 */31 10 0", "timezone": "Australia/Sydney"}  # always within the spring gap
NO_DAY = {"cronExpression": "0 0 30 2 *", "timezone": "UTC"}
LEAP_SUNDAY = {"cronExpression": "0 0 29 2 */7", "timezone": "Asia/Kolkata"}
NEVER_COMES = (
    "Cron expression never comes in Australia/Sydney, where the clocks always leave out its times: "
    f'"{NEVER["cronExpression"]}"'
)
NO_DATE = 'Cron expression never matches a date: "0 0 30 2 *"'


@pytest.fixture
def routine(api: Api) -> str:
    company = api.company()
    return api.routine(company, api.agent(company)[0])


@pytest.fixture
def look_ups(monkeypatch):
    """The offsets of zones that searches look up."""
    statuses: list[object] = []
    look_up = cron_schedule._offset_at
    monkeypatch.setattr(cron_schedule, "_offset_at", lambda *args: (statuses.append(args), look_up(*args))[1])
    return statuses


@pytest.mark.parametrize(("fields", "text"), [(NEVER, NEVER_COMES), (NO_DAY, NO_DATE)])
def test_a_schedule_that_never_comes_is_refused_in_a_few_thousand_steps(api, routine, look_ups, fields, text):
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "schedule", **LEAP_SUNDAY})["trigger"]["id"]

    answer = api.request("POST", f"/routines/{routine}/triggers", {"kind": "schedule", **fields})
    updated = api.request("PATCH", f"/routine-triggers/{trigger}", fields)
    previewed = api.post("/schedule/preview", fields)

    assert [(answer.status_code, answer.json()["error"]), (updated.status_code, updated.json()["error"])] == [
        (422, text)
    ] * 2
    assert (previewed["valid"], previewed["reason"]) == (False, text)
    assert len(look_ups) < 10_000


def test_a_schedule_that_comes_every_28_or_40_years_is_followed(api, routine):
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "schedule", **LEAP_SUNDAY})["trigger"]

    seen = api.get(
        f"/routine-triggers/{trigger['id']}/occurrences",
        params={"from": "2026-01-01T00:00:00Z", "to": "2200-01-01T00:00:00Z"},
    )

    assert [one["plannedAt"][:10] for one in seen["occurrences"]] == [
        "2032-02-28",
        "2060-02-28",
        "2088-02-28",
        "2128-02-28",
        "2156-02-28",
        "2184-02-28",
    ]
    assert api.get(f"/routines/{routine}/explain", params={"at": "2032-02-28T18:30:00Z"})["triggers"][0]["occurrence"]


@pytest.mark.parametrize("limits", [{"max_explained_events": 15}, {"max_explained_schedules": 3}])
def test_an_explanation_that_would_go_through_too_much_asks_for_one_trigger(api, set_limits, routine, limits):
    ids = [
        api.post(f"/routines/{routine}/triggers", {"kind": "schedule", **LEAP_SUNDAY})["trigger"]["id"]
        for _ in range(4)
    ]
    at = {"at": "2026-01-01T00:00:00Z"}
    set_limits(**limits)

    refusal = api.request("GET", f"/routines/{routine}/explain", params=at)
    one = api.get(f"/routines/{routine}/explain", params={**at, "triggerId": ids[0]})

    assert refusal.status_code == 422
    assert refusal.json()["details"][0]["path"] == ["triggerId"]
    assert [found["triggerId"] for found in one["triggers"]] == ids[:1]


def test_an_explanation_counts_what_happened_to_the_schedules_too(api, set_limits, routine):
    id_ = api.post(f"/routines/{routine}/triggers", {"kind": "schedule", **LEAP_SUNDAY})["trigger"]["id"]
    for minute in range(10):
        api.patch(f"/routine-triggers/{id_}", {"cronExpression": f"{minute} 12 * * *"})
    at = {"at": "2026-01-01T00:00:00Z"}
    set_limits(max_explained_events=20)

    refusal = api.request("GET", f"/routines/{routine}/explain", params=at)

    assert 422 == refusal.status_code
    assert "its schedules 11" in refusal.text
