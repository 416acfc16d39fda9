"""What schedules and routines can do beyond the contract: once, within dates, spread, with an end to runs and pauses."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api import Api

HOURLY = {"kind": "schedule", "cronExpression": "0 * * * *"}
LATER = (datetime.now(UTC) + timedelta(days=40)).replace(microsecond=0)


@pytest.fixture
def routine(api: Api) -> str:
    company = api.company()
    return api.routine(company, api.agent(company)[0])


def text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def create(api: Api, routine: str, body: Any) -> Any:
    return api.post(f"/routines/{routine}/triggers", body)["trigger"]


def refusal(api: Api, method: str, path: str, body: Any) -> tuple[int, Any]:
    answer = api.request(method, path, body)
    run_body = answer.json()
    return answer.status_code, [issue["path"] for issue in run_body["details"]] if "details" in run_body else run_body[
        "error"
    ]


def test_a_schedule_may_run_once(api: Api, routine: str):
    trigger = create(api, routine, {"kind": "schedule", "runAt": text(LATER)})

    assert (text(LATER), text(LATER), None) == (trigger["runAt"], trigger["nextRunAt"], trigger["cronExpression"])


def test_a_schedule_may_begin_and_end_and_rest_on_dates(api: Api, routine: str):
    day = LATER.date()
    limits = {"startsAt": text(LATER), "endsAt": text(LATER + timedelta(days=3)), "jitterSec": 60}

    trigger = create(api, routine, {**HOURLY, **limits, "excludedDates": [str(day), str(day)]})

    assert limits == {name: trigger[name] for name in limits}
    assert [str(day)] == trigger["excludedDates"]
    assert trigger["nextRunAt"] == text(datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=1))
    snapshot = api.get(f"/routines/{routine}/revisions")[0]["snapshot"]["triggers"][0]
    assert limits == {name: snapshot[name] for name in limits}


def test_what_is_cleared_is_gone_and_a_revision_brings_it_back(api: Api, routine: str):
    trigger = create(api, routine, {**HOURLY, "startsAt": text(LATER)})
    revision = api.get(f"/routines/{routine}/revisions")[0]["id"]

    cleared = api.patch(f"/routine-triggers/{trigger['id']}", {"startsAt": None})
    api.post(f"/routines/{routine}/revisions/{revision}/restore")

    assert cleared["startsAt"] is None
    assert cleared["nextRunAt"] < text(LATER)
    assert text(LATER) == api.get(f"/routines/{routine}")["triggers"][0]["startsAt"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({**HOURLY, "runAt": text(LATER)}, "A schedule has a cronExpression or a runAt, not both"),
        ({"kind": "schedule", "runAt": text(LATER), "endsAt": text(LATER)}, "A schedule with runAt has no startsAt"),
        (
            {**HOURLY, "startsAt": text(LATER), "endsAt": text(LATER - timedelta(1))},
            "endsAt must not be before startsAt",
        ),
        ({"kind": "schedule", "runAt": "2020-01-01T00:00:00Z"}, "The schedule has no occurrence left"),
        ({**HOURLY, "endsAt": "2020-01-01T00:00:00Z"}, "The schedule has no occurrence left"),
    ],
)
def test_a_schedule_that_contradicts_itself_or_has_nothing_to_do_is_refused(
    api: Api, untouched_routine: str, body: Any, expected: str
):
    status, said = refusal(api, "POST", f"/routines/{untouched_routine}/triggers", body)

    assert 422 == status
    assert said.startswith(expected)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"kind": "schedule"}, ["cronExpression"]),
        ({**HOURLY, "excludedDates": ["2026-02-30"]}, ["excludedDates", 0]),
        ({**HOURLY, "excludedDates": ["2026-11-22", 7]}, ["excludedDates", 1]),
        ({**HOURLY, "jitterSec": 3601}, ["jitterSec"]),
        ({**HOURLY, "startsAt": "tomorrow"}, ["startsAt"]),
        ({**HOURLY, "startsAt": "2026-11-22T10:00:00"}, ["startsAt"]),
    ],
)
def test_a_malformed_limit_is_named(api: Api, untouched_routine: str, body: Any, path: list[Any]):
    assert (400, [path]) == refusal(api, "POST", f"/routines/{untouched_routine}/triggers", body)


@pytest.mark.parametrize("far", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Auckland"])
def test_no_moment_is_too_far_away_to_be_answered(api: Api, routine: str, *, far: str, zone: str):
    for name in ("runAt", "startsAt", "endsAt"):
        body = {**({"kind": "schedule"} if name == "runAt" else HOURLY), name: far, "timezone": zone}
        assert api.post("/schedule/preview", {key: value for key, value in body.items() if key != "kind"})["reason"]
        assert api.request("POST", f"/routines/{routine}/triggers", body).status_code == 422
    days = create(api, routine, {**HOURLY, "excludedDates": ["0001-01-01", "9999-12-31"]})
    assert api.patch(f"/routine-triggers/{days['id']}", {"label": "x"})["nextRunAt"]


def test_a_pause_has_a_note_and_an_end_until_the_routine_is_active_again(api: Api, routine: str):
    paused = api.patch(f"/routines/{routine}", {"status": "paused", "pauseNote": "holiday", "resumeAt": text(LATER)})
    assert ("holiday", text(LATER)) == (paused["pauseNote"], paused["resumeAt"])

    active = api.patch(f"/routines/{routine}", {"status": "active"})

    assert (None, None) == (active["pauseNote"], active["resumeAt"])


@pytest.mark.parametrize("change", [{"pauseNote": "holiday"}, {"resumeAt": text(LATER)}])
def test_what_belongs_to_a_pause_is_refused_where_there_is_none(api: Api, routine: str, change: Any):
    current = api.get(f"/routines/{routine}")
    path, [field] = f"/routines/{routine}", change
    new = {"title": "x", "assigneeAgentId": current["assigneeAgentId"]}
    for status in ({}, {"status": "active"}, {"status": "archived"}):
        assert (422, [[field]]) == refusal(api, "PATCH", path, {**change, **status})
        assert (422, [[field]]) == refusal(api, "POST", f"/companies/{current['companyId']}/routines", new | change)

    assert current == api.get(path)
    assert "paused" == api.post(f"/companies/{current['companyId']}/routines", {"title": "x", **change})["status"]


def test_a_copy_of_a_paused_routine_may_be_sent_back_to_resume_it(api: Api, routine: str):
    paused = api.patch(f"/routines/{routine}", {"status": "paused", "pauseNote": "holiday", "resumeAt": text(LATER)})
    copied = {name: paused[name] for name in ("title", "pauseNote", "resumeAt")}

    active = api.patch(f"/routines/{routine}", copied | {"status": "active"})

    assert ("active", None, None) == (active["status"], active["pauseNote"], active["resumeAt"])


@pytest.mark.parametrize(
    "over", ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2020-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"]
)
def test_a_pause_that_would_be_over_at_once_or_never_is_refused(api: Api, untouched_routine: str, over: str):
    company = api.get(f"/routines/{untouched_routine}")["companyId"]
    pause = {"status": "paused", "resumeAt": over}
    ways: tuple[tuple[str, str, Any], ...] = (
        ("PATCH", f"/routines/{untouched_routine}", pause),
        ("POST", f"/companies/{company}/routines", {"title": "x", **pause}),
        ("POST", f"/companies/{company}/routines/pause", {"all": True, "resumeAt": over}),
    )

    for method, path, body in ways:
        assert (400, [["resumeAt"]]) == refusal(api, method, path, body)
    assert "active" == api.get(f"/routines/{untouched_routine}")["status"]


def test_a_trigger_says_when_it_is_due_and_not_only_when_it_is_planned(api: Api, routine: str):
    without, spread = (create(api, routine, {**HOURLY, "jitterSec": jitter}) for jitter in (0, 3_000))

    preview = api.post("/schedule/preview", {"cronExpression": "0 * * * *", "jitterSec": 3_000, "routineId": routine})

    assert without["nextRunAt"] == without["dueAt"]
    assert (preview["times"][0]["at"], preview["times"][0]["dueAt"]) == (spread["nextRunAt"], spread["dueAt"])
    shown = api.get(f"/routines/{routine}")["triggers"]
    assert [without["dueAt"], spread["dueAt"]] == [one["dueAt"] for one in shown]
    (listed,) = api.get(f"/companies/{without['companyId']}/routines")
    assert [without["dueAt"], spread["dueAt"]] == [one["dueAt"] for one in listed["triggers"]]


@pytest.mark.parametrize("draft", [{"runAt": text(LATER)}, {"cronExpression": "0 9 * * *"}])
def test_a_zone_that_is_none_is_refused_whatever_the_schedule(api: Api, routine: str, draft: Any):
    body = {"kind": "schedule", "timezone": "Mars/Olympus", **draft}

    assert (422, "Invalid timezone: Mars/Olympus") == refusal(api, "POST", f"/routines/{routine}/triggers", body)
    assert "Europe/Berlin" == create(api, routine, {**body, "timezone": "europe/berlin"})["timezone"]


def test_a_routine_may_have_a_retry_policy_and_its_runs_show_their_attempts(api: Api, routine: str):
    policy = {"maxAttempts": 3, "backoffSeconds": 60}
    whole = {**policy, "backoffFactor": 2.0, "maxBackoffSeconds": 3_600, "retryOn": ["failure", "timed_out"]}
    assert whole == api.patch(f"/routines/{routine}", {"retryPolicy": policy})["retryPolicy"]
    run = api.get(f"/routine-runs/{api.post(f'/routines/{routine}/run', {})['id']}")

    api.patch(f"/issues/{run['linkedIssueId']}", {"status": "cancelled"})

    assert (1, 3, None, ["live"]) == (
        run["attempt"],
        run["maxAttempts"],
        run["nextAttemptAt"],
        [attempt["outcome"] for attempt in run["attempts"]],
    )
    ended = api.get(f"/routine-runs/{run['id']}")
    assert [("failed", "Execution issue moved to cancelled")] == [
        (attempt["outcome"], attempt["reason"]) for attempt in ended["attempts"]
    ]
    assert api.patch(f"/routines/{routine}", {"retryPolicy": None})["retryPolicy"] is None
    [item] = api.get(f"/companies/{run['companyId']}/routines")
    assert (1, 3) == (item["lastRun"]["attempt"], item["lastRun"]["maxAttempts"])
    assert "attempt" not in api.post(f"/routines/{routine}/run", {})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("maxAttempts", 1),
        ("maxAttempts", 11),
        ("backoffSeconds", 0),
        ("backoffFactor", 0.5),
        ("maxBackoffSeconds", 86_401),
        ("retryOn", []),
        ("retryOn", ["bad luck"]),
        ("jitter", 1),
    ],
)
def test_a_retry_policy_that_is_none_is_refused_by_the_name_of_its_field(
    api: Api, untouched_routine: str, field: str, value: object
):
    policy = {"maxAttempts": 3, "backoffSeconds": 60, field: value}

    answer = api.request("PATCH", f"/routines/{untouched_routine}", {"retryPolicy": policy})

    assert 400 == answer.status_code
    assert field in answer.text


def test_a_run_may_have_a_longest_duration(api: Api, routine: str):
    assert 60 == api.patch(f"/routines/{routine}", {"maxRunDurationSec": 60})["maxRunDurationSec"]
    assert (400, [["maxRunDurationSec"]]) == refusal(api, "PATCH", f"/routines/{routine}", {"maxRunDurationSec": 0})
    run = api.get(f"/routine-runs/{api.post(f'/routines/{routine}/run', {})['id']}")
    lasts = datetime.fromisoformat(run["deadline"]) - datetime.fromisoformat(run["triggeredAt"])
    assert timedelta(seconds=60) == lasts
    assert api.patch(f"/routines/{routine}", {"maxRunDurationSec": None})["maxRunDurationSec"] is None
