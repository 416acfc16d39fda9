"""What a schedule would do that is not saved."""

from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.api import Api

JANUARY = "2027-01-01T00:00:00Z"
NIGHTLY = {"cronExpression": "30 2 * * *", "timezone": "Europe/Amsterdam", "from": JANUARY}


def preview(api: Api, body: Any) -> Any:
    return api.post("/schedule/preview", body)


def test_the_next_times_are_given_in_utc_and_in_the_zone(api: Api):
    shown = preview(api, {**NIGHTLY, "count": 2})

    assert (True, None) == (shown["valid"], shown["reason"])
    assert shown["description"] == "At 02:30 every day, Europe/Amsterdam time"
    first, second = shown["times"]
    time = "2027-01-01T01:30:00.000Z"
    assert {"at": time, "local": "2027-01-01T02:30:00+01:00", "dueAt": time} == first
    assert "2027-01-02T01:30:00.000Z" == second["at"]


def test_ten_times_from_now_are_given_unless_others_are_asked_for(api: Api):
    now = api.system.clock()

    times = [datetime.fromisoformat(one["at"]) for one in preview(api, {"cronExpression": "* * * * *"})["times"]]

    assert 10 == len(times)
    assert times == sorted(set(times))
    assert now < times[0]
    assert 1000 == len(preview(api, {"cronExpression": "* * * * *", "count": 1000})["times"])


def test_a_moment_from_which_is_asked_may_be_one_of_the_times(api: Api):
    shown = preview(api, {"cronExpression": "0 0 * * *", "from": JANUARY, "count": 1})

    assert "2027-01-01T00:00:00.000Z" == shown["times"][0]["at"]


def test_the_clock_changes_that_touch_it_are_told(api: Api):
    shown = preview(api, {**NIGHTLY, "count": 1})

    spring, autumn = shown["clockChanges"]
    assert ("moved", ["2027-03-28T02:30:00"], 60) == (spring["effect"], spring["walls"], spring["shiftMinutes"])
    assert ["2027-03-28T03:00:00+02:00"] == [one["local"] for one in spring["times"]]
    assert "02:30 does not exist, and the schedule runs at 03:00 (01:00 UTC) instead." in spring["text"]
    assert ("once", -60) == (autumn["effect"], autumn["shiftMinutes"])
    assert "2028-02-05T00:00:00.000Z" == shown["clockChangesUntil"]


def test_clock_changes_are_looked_for_until_the_last_of_the_times(api: Api):
    shown = preview(api, {**NIGHTLY, "count": 1000})

    assert 5 == len(shown["clockChanges"])
    assert shown["times"][-1]["at"] == shown["clockChangesUntil"]


def test_limits_are_kept_and_said(api: Api):
    shown = preview(
        api,
        {
            **NIGHTLY,
            "startsAt": "2027-02-01T00:00:00Z",
            "endsAt": "2027-02-04T00:00:00Z",
            "excludedDates": ["2027-02-02"],
        },
    )

    assert ["2027-02-01", "2027-02-03"] == [one["local"][:10] for one in shown["times"]]
    assert "but not on Tue 2 Feb 2027" in shown["description"]
    assert [] == shown["clockChanges"]


def test_with_jitter_the_due_moments_are_those_of_the_routine(api: Api):
    body = {**NIGHTLY, "jitterSec": 600, "count": 20}
    mine, other = str(uuid4()), str(uuid4())

    (one, again, another), unknown = (
        (preview(api, {**body, "routineId": id_}) for id_ in (mine, mine, other)),
        preview(api, body),
    )

    assert one == again
    assert one["times"] != another["times"]
    for time in one["times"]:
        late = datetime.fromisoformat(time["dueAt"]) - datetime.fromisoformat(time["at"])
        assert 0 <= late.total_seconds() <= 600
    assert {None} == {time["dueAt"] for time in unknown["times"]}
    assert unknown["description"].endswith("up to 10 min later")


def test_a_step_that_is_longer_than_its_field_is_warned_of(api: Api):
    shown = preview(api, {"cronExpression": "*/90 * * * *"})

    assert (True, []) == (shown["valid"], preview(api, {"cronExpression": "*/30 * * * *"})["warnings"])
    assert [
        (
            'The step of "*/90" in the cron minute field is longer than what it steps through, which ends at 59: '
            "it means 0 alone, and not every 90"
        )
    ] == shown["warnings"]


def test_a_schedule_says_by_which_rule_it_runs_where_the_clocks_change(api: Api):
    words = [
        preview(api, {"cronExpression": f"0 {hours} * * *", "timezone": zone})["description"]
        for hours in ("*/12", "0,12")
        for zone in ("europe/amsterdam", "utc")
    ]

    assert [
        (
            "At 00:00 and 12:00 every day, left out where the clocks skip a time and run twice where they repeat it, "
            "Europe/Amsterdam time"
        ),
        "At 00:00 and 12:00 every day, UTC time",
        "At 00:00 and 12:00 every day, Europe/Amsterdam time",
        "At 00:00 and 12:00 every day, UTC time",
    ] == words


def test_a_single_moment_is_previewed(api: Api):
    shown = preview(api, {"runAt": "2099-05-01T08:00:30Z", "timezone": "Europe/Amsterdam"})

    assert "Once, on Fri 1 May 2099 10:00:30 (Europe/Amsterdam; 08:00:30 UTC)" == shown["description"]
    assert ["2099-05-01T08:00:30.000Z"] == [one["at"] for one in shown["times"]]
    assert [] == shown["clockChanges"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"cronExpression": "61 * * * *"}, "Value 61 out of range [0\u201359] for cron minute field"),
        ({"cronExpression": "0 0 30 2 *"}, 'Cron expression never matches a date: "0 0 30 2 *"'),
        ({"cronExpression": "0 0 * * *", "timezone": "Mars/Base"}, "Invalid timezone: Mars/Base"),
        ({"runAt": "2099-05-01T08:00:30Z", "timezone": "Mars/Base"}, "Invalid timezone: Mars/Base"),
        ({"cronExpression": "0 0 * * *", "runAt": JANUARY}, "A schedule has a cronExpression or a runAt, not both"),
        (
            {"runAt": "2001-01-01T00:00:00Z"},
            "The schedule has no occurrence left: look at its time, its end and its excluded dates",
        ),
    ],
)
def test_what_a_trigger_would_be_refused_for_is_an_answer_and_no_error(api: Api, body: Any, reason: str):
    shown = preview(api, body)

    assert {
        "valid": False,
        "reason": reason,
        "description": None,
        "warnings": [],
        "times": [],
        "clockChanges": [],
        "clockChangesUntil": None,
    } == shown


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, ["cronExpression"]),
        ({"cronExpression": 5}, ["cronExpression"]),
        ({"cronExpression": "* * * * *", "count": 0}, ["count"]),
        ({"cronExpression": "* * * * *", "count": 1001}, ["count"]),
        ({"cronExpression": "* * * * *", "from": "soon"}, ["from"]),
        ({"cronExpression": "* * * * *", "from": "0001-01-01T00:00:00Z"}, ["from"]),
        ({"cronExpression": "* * * * *", "excludedDates": ["2027-02-30"]}, ["excludedDates", 0]),
        ({"cronExpression": "* * * * *", "jitterSec": 3601}, ["jitterSec"]),
    ],
)
def test_what_is_malformed_is_named(api: Api, body: Any, path: Any):
    answer = api.request("POST", "/schedule/preview", body)

    assert (400, path) == (answer.status_code, answer.json()["details"][0]["path"])


@pytest.mark.parametrize(
    "body",
    [
        {"startsAt": "0001-01-01T00:00:00Z"},
        {"endsAt": "9999-12-31T00:00:00Z"},
        {"startsAt": "9999-12-30T00:00:00Z"},
        {"excludedDates": ["0001-01-01", "9999-12-31"]},
        {"from": "2199-12-31T00:00:00Z"},
        {"from": "1970-01-01T00:00:00Z"},
    ],
)
@pytest.mark.parametrize("expression", ["* * * * *", "0 0 29 2 *", "30 2 * * 1"])
def test_no_moment_is_too_far_away_for_an_answer(api: Api, body: Any, expression: str):
    zone = {"timezone": "Pacific/Auckland", "count": 1000}

    assert 200 == api.request("POST", "/schedule/preview", {"cronExpression": expression, **zone, **body}).status_code


def test_it_is_previewed_as_a_trigger_then_does_it(api: Api):
    company = api.company()
    routine = api.routine(company, api.agent(company)[0])
    fields = {"cronExpression": "17 */5 * * 1,3", "timezone": "Australia/Lord_Howe", "jitterSec": 100}

    previewed = preview(api, {**fields, "routineId": routine})["times"][0]["at"]

    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "schedule", **fields})["trigger"]
    assert previewed == trigger["nextRunAt"]
