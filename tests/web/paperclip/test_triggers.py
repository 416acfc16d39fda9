"""Triggers (contract 4); the secrets of webhooks: test_secrets.py."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tests.api import Api
from tests.running import PUBLIC_URL

DAILY = {"kind": "schedule", "cronExpression": "30 9 * * *"}


@pytest.fixture
def routine(api: Api) -> str:
    company = api.company()
    return api.routine(company, api.agent(company)[0])


def create(api: Api, routine: str, body: Any) -> Any:
    return api.post(f"/routines/{routine}/triggers", body)["trigger"]


def refusal(api: Api, method: str, path: str, body: Any = ..., **kwargs: Any) -> tuple[int, str]:
    answer = api.request(method, path, body, **kwargs)
    return answer.status_code, answer.json()["error"]


def test_a_new_schedule_has_exactly_the_contracts_fields(api: Api, routine: str):
    answer = api.post(f"/routines/{routine}/triggers", {**DAILY, "label": " Morning ", "signingMode": 7})

    trigger = answer["trigger"]
    assert {"trigger", "secretMaterial", "revision"} == answer.keys()
    assert {
        "id": trigger["id"],
        "companyId": api.get(f"/routines/{routine}")["companyId"],
        "routineId": routine,
        "kind": "schedule",
        "label": "Morning",
        "enabled": True,
        "cronExpression": "30 9 * * *",
        "timezone": "UTC",
        "runAt": None,
        "startsAt": None,
        "endsAt": None,
        "excludedDates": [],
        "jitterSec": 0,
        "nextRunAt": trigger["nextRunAt"],
        "dueAt": trigger["nextRunAt"],
        "lastFiredAt": None,
        "publicId": None,
        "secretId": None,
        "signingMode": None,
        "replayWindowSec": None,
        "lastRotatedAt": None,
        "oldSecretUntil": None,
        "afterRoutineId": None,
        "afterOutcome": None,
        "lastResult": None,
        "createdByAgentId": None,
        "createdByUserId": api.get("/cli-auth/me")["userId"],
        "updatedByAgentId": None,
        "updatedByUserId": api.get("/cli-auth/me")["userId"],
        "createdAt": trigger["createdAt"],
        "updatedAt": trigger["createdAt"],
    } == trigger
    assert answer["secretMaterial"] is None
    assert 2 == answer["revision"]["revisionNumber"]
    assert routine == answer["revision"]["routineId"]
    assert answer["revision"]["id"] == api.get(f"/routines/{routine}")["latestRevisionId"]


def test_a_new_webhook_has_exactly_the_contracts_fields(api: Api, routine: str):
    body = {"kind": "webhook", "label": " Door ", "cronExpression": 7, "timezone": "Mars/Base"}

    answer = api.request("POST", f"/routines/{routine}/triggers", body)

    trigger_body = answer.json()
    trigger = trigger_body["trigger"]
    assert 201 == answer.status_code
    assert {"trigger", "secretMaterial", "revision"} == trigger_body.keys()
    assert {
        "id": trigger["id"],
        "companyId": api.get(f"/routines/{routine}")["companyId"],
        "routineId": routine,
        "kind": "webhook",
        "label": "Door",
        "enabled": True,
        "cronExpression": None,
        "timezone": None,
        "runAt": None,
        "startsAt": None,
        "endsAt": None,
        "excludedDates": [],
        "jitterSec": 0,
        "nextRunAt": None,
        "dueAt": None,
        "lastFiredAt": None,
        "publicId": trigger["publicId"],
        "secretId": trigger["secretId"],
        "signingMode": "bearer",
        "replayWindowSec": 300,
        "lastRotatedAt": trigger["createdAt"],
        "oldSecretUntil": None,
        "afterRoutineId": None,
        "afterOutcome": None,
        "lastResult": None,
        "createdByAgentId": None,
        "createdByUserId": api.get("/cli-auth/me")["userId"],
        "updatedByAgentId": None,
        "updatedByUserId": api.get("/cli-auth/me")["userId"],
        "createdAt": trigger["createdAt"],
        "updatedAt": trigger["createdAt"],
    } == trigger
    assert re.fullmatch("[0-9a-f]{24}", trigger["publicId"])
    assert UUID(trigger["secretId"])
    assert {"webhookUrl", "webhookSecret"} == trigger_body["secretMaterial"].keys()
    url = f"{PUBLIC_URL}/api/routine-triggers/public/{trigger['publicId']}/fire"
    assert url == trigger_body["secretMaterial"]["webhookUrl"]
    assert (2, "Created webhook trigger") == (
        trigger_body["revision"]["revisionNumber"],
        trigger_body["revision"]["changeSummary"],
    )
    assert [trigger] == api.get(f"/routines/{routine}")["triggers"]


def test_no_two_webhooks_share_an_address_or_a_secret(api: Api, routine: str):
    answers = [api.post(f"/routines/{routine}/triggers", {"kind": "webhook"}) for _ in range(5)]

    assert 5 == len({one["trigger"]["publicId"] for one in answers})
    assert 5 == len({one["trigger"]["secretId"] for one in answers})
    assert 5 == len({one["secretMaterial"]["webhookSecret"] for one in answers})


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({}, "invalid_union_discriminator", "kind"),
        ({"kind": "cron"}, "invalid_union_discriminator", "kind"),
        ({"kind": None}, "invalid_union_discriminator", "kind"),
        ({"kind": ["api"]}, "invalid_union_discriminator", "kind"),
        ({"kind": "schedule"}, "invalid_type", "cronExpression"),
        ({"kind": "schedule", "cronExpression": None}, "invalid_type", "cronExpression"),
        ({"kind": "schedule", "cronExpression": "  "}, "too_small", "cronExpression"),
        ({**DAILY, "timezone": None}, "invalid_type", "timezone"),
        ({**DAILY, "timezone": ""}, "too_small", "timezone"),
        ({**DAILY, "enabled": None}, "invalid_type", "enabled"),
        ({**DAILY, "label": "x" * 121}, "too_big", "label"),
        ({"kind": "api", "enabled": "yes"}, "invalid_type", "enabled"),
        ({"kind": "api", "label": 7}, "invalid_type", "label"),
        ({"kind": "webhook", "enabled": None}, "invalid_type", "enabled"),
        ({"kind": "webhook", "label": "x" * 121}, "too_big", "label"),
        ({"kind": "webhook", "signingMode": None}, "invalid_type", "signingMode"),
        ({"kind": "webhook", "signingMode": "hmac"}, "invalid_enum_value", "signingMode"),
        ({"kind": "webhook", "replayWindowSec": 29}, "too_small", "replayWindowSec"),
        ({"kind": "webhook", "replayWindowSec": 86_401}, "too_big", "replayWindowSec"),
        ({"kind": "webhook", "replayWindowSec": 30.5}, "invalid_type", "replayWindowSec"),
        ({"kind": "webhook", "replayWindowSec": None}, "invalid_type", "replayWindowSec"),
        ({"kind": "webhook", "replayWindowSec": "300"}, "invalid_type", "replayWindowSec"),
    ],
)
def test_a_field_of_a_new_trigger_that_is_wrong_is_named(
    api: Api, untouched_routine: str, body: Any, code: str, path: str
):
    answer = api.request("POST", f"/routines/{untouched_routine}/triggers", body)

    (issue,) = answer.json()["details"]
    assert (400, code, [path]) == (answer.status_code, issue["code"], issue["path"])
    assert 1 == api.get(f"/routines/{untouched_routine}")["latestRevisionNumber"]


def test_a_kind_that_is_none_is_told_the_kinds(api: Api, untouched_routine: str):
    answer = api.request("POST", f"/routines/{untouched_routine}/triggers", {"kind": "cron", "label": 7})

    assert {
        "code": "invalid_union_discriminator",
        "options": ["schedule", "webhook", "api", "chain"],
        "message": "Invalid discriminator value. Expected 'schedule' | 'webhook' | 'api' | 'chain'",
        "path": ["kind"],
    } == answer.json()["details"][0]


@pytest.mark.parametrize("window", [30, 86_400])
def test_a_replay_window_is_half_a_minute_to_a_day(api: Api, routine: str, window: int):
    assert window == create(api, routine, {"kind": "webhook", "replayWindowSec": window})["replayWindowSec"]


def test_triggers_made_at_once_each_tell_their_own_revision(api: Api, routine: str):
    with ThreadPoolExecutor(8) as threads:
        bodies = [{"kind": "api", "label": str(number)} for number in range(8)]
        answers = list(threads.map(lambda body: api.post(f"/routines/{routine}/triggers", body), bodies))

    revisions = {one["revision"]["revisionNumber"]: one for one in answers}
    assert set(range(2, 10)) == revisions.keys()
    for number, one in revisions.items():
        snapshot = one["revision"]["snapshot"]["triggers"]
        assert (number - 1, one["trigger"]["id"]) == (len(snapshot), snapshot[-1]["id"])


def test_an_api_trigger_takes_no_fields_of_a_schedule(api: Api, routine: str):
    trigger = create(api, routine, {"kind": "api", "cronExpression": "bogus", "timezone": "Mars/Base"})

    names = ("kind", "label", "cronExpression", "timezone", "nextRunAt", "enabled")
    assert ("api", None, None, None, None, True) == tuple(trigger[name] for name in names)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe"])
def test_the_next_run_is_the_next_wall_time_in_the_triggers_zone(api: Api, routine: str, zone: str):
    trigger = create(api, routine, {**DAILY, "timezone": zone})

    next_at, made_at = moment(trigger["nextRunAt"]), moment(trigger["createdAt"])
    there = next_at.astimezone(ZoneInfo(zone))
    assert (9, 30, 0, 0) == (there.hour, there.minute, there.second, there.microsecond)
    assert 0 < (next_at - made_at).total_seconds() <= 25 * 3600


def test_a_disabled_schedule_knows_its_next_run_too(api: Api, routine: str):
    trigger = create(api, routine, {**DAILY, "enabled": False})

    assert trigger["enabled"] is False
    assert trigger["nextRunAt"] is not None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"cronExpression": "bogus"}, 'Cron expression must have exactly 5 fields, got 1: "bogus"'),
        ({"cronExpression": "60 9 * * *"}, "Value 60 out of range [0\u201359] for cron minute field"),
        ({"cronExpression": "*/0 9 * * *"}, 'Invalid step "0" in cron minute field'),
        ({"cronExpression": "5-1 9 * * *"}, "Invalid range 5-1 in cron minute field (start > end)"),
        ({"cronExpression": "1,,2 9 * * *"}, "Empty element in cron minute field"),
        ({"timezone": "Mars/Base"}, "Invalid timezone: Mars/Base"),
        ({"timezone": "../etc/passwd"}, "Invalid timezone: ../etc/passwd"),
        ({"timezone": "/etc/localtime"}, "Invalid timezone: /etc/localtime"),
        ({"timezone": "Europe"}, "Invalid timezone: Europe"),
        ({"timezone": "ü"}, "Invalid timezone: ü"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_refused_with_the_reason(
    api: Api, untouched_routine: str, body: Any, text: str
):
    assert (422, text) == refusal(api, "POST", f"/routines/{untouched_routine}/triggers", DAILY | body)


@pytest.mark.parametrize(
    "expression", ["0 9 31 2 *", "@daily", "* * * * * *", "5x 9 * * *", "1.5 9 * * *", "? 9 * * *"]
)
def test_an_expression_that_never_comes_or_is_not_cron_is_refused(api: Api, untouched_routine: str, expression: str):
    status, text = refusal(
        api, "POST", f"/routines/{untouched_routine}/triggers", {**DAILY, "cronExpression": expression}
    )

    assert 422 == status
    assert text


@pytest.mark.parametrize("expression", ["0 0 29 2 *", "0 0 13 * 5", "0 9 * * MON-FRI", "0 9 * JAN 7", "  0 9 * * *  "])
def test_standard_cron_is_stored_as_written_but_trimmed(api: Api, routine: str, expression: str):
    assert expression.strip() == create(api, routine, {**DAILY, "cronExpression": expression})["cronExpression"]


def test_a_schedule_needs_an_expression(api: Api, untouched_routine: str):
    answer = api.request("POST", f"/routines/{untouched_routine}/triggers", {"kind": "schedule"})

    (issue,) = answer.json()["details"]
    assert (400, "Required", ["cronExpression"]) == (answer.status_code, issue["message"], issue["path"])


def test_a_schedule_needs_defaults_of_required_variables_unless_it_is_disabled(api: Api):
    """Contract 4: what cannot be enabled may still be made disabled."""
    company = api.company()
    routine = api.routine(company, None, variables=[{"name": "a"}])
    text = "Scheduled routines require defaults for required variables: a"

    assert (422, text) == refusal(api, "POST", f"/routines/{routine}/triggers", DAILY)
    disabled = create(api, routine, {**DAILY, "enabled": False})["id"]
    assert (422, text) == refusal(api, "PATCH", f"/routine-triggers/{disabled}", {"enabled": True})
    assert create(api, routine, {"kind": "api"})["enabled"]


def test_an_edit_answers_the_bare_trigger_and_starts_the_schedule_anew(api: Api, routine: str):
    trigger = create(api, routine, DAILY)

    edited = api.patch(
        f"/routine-triggers/{trigger['id']}", {"cronExpression": "0 10 * * *", "timezone": "Asia/Tokyo", "label": "x"}
    )

    changed = {name for name in trigger if trigger[name] != edited[name]}
    assert {"cronExpression", "timezone", "label", "nextRunAt", "dueAt", "updatedAt"} == changed
    assert trigger.keys() == edited.keys()
    assert "T01:00:00.000Z" in edited["nextRunAt"]


def test_an_edit_is_a_revision_of_the_routine_and_one_that_changes_nothing_is_none(api: Api, routine: str):
    trigger = create(api, routine, DAILY)

    unchanged = api.patch(f"/routine-triggers/{trigger['id']}", {"label": trigger["label"]})
    assert (trigger, 2) == (unchanged, api.get(f"/routines/{routine}")["latestRevisionNumber"])

    api.patch(f"/routine-triggers/{trigger['id']}", {"label": "other"})
    assert 3 == api.get(f"/routines/{routine}")["latestRevisionNumber"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"cronExpression": None}, "Scheduled triggers require cronExpression"),
        ({"timezone": None}, "Scheduled triggers require timezone"),
        ({"timezone": "Mars/Base"}, "Invalid timezone: Mars/Base"),
        ({"cronExpression": "1 2"}, 'Cron expression must have exactly 5 fields, got 2: "1 2"'),
    ],
)
def test_an_edit_that_breaks_a_schedule_changes_nothing(api: Api, routine: str, body: Any, text: str):
    trigger = create(api, routine, DAILY)

    assert (422, text) == refusal(api, "PATCH", f"/routine-triggers/{trigger['id']}", body)
    assert [trigger] == api.get(f"/routines/{routine}")["triggers"]


def test_the_schedule_fields_and_the_kind_of_an_api_trigger_cannot_be_edited(api: Api, routine: str):
    trigger = create(api, routine, {"kind": "api"})
    body = {"kind": "schedule", "cronExpression": "bogus", "timezone": None, "enabled": False}

    edited = api.patch(f"/routine-triggers/{trigger['id']}", body)

    assert trigger | {"enabled": False, "updatedAt": edited["updatedAt"]} == edited


def test_the_signing_of_a_webhook_can_be_edited_and_its_schedule_is_ignored(api: Api, routine: str):
    trigger = create(api, routine, {"kind": "webhook", "signingMode": "hmac_sha256"})
    body = {"signingMode": "github_hmac", "replayWindowSec": 30, "cronExpression": "bogus", "timezone": None}

    edited = api.patch(f"/routine-triggers/{trigger['id']}", body)

    changes = {"signingMode": "github_hmac", "replayWindowSec": 30, "updatedAt": edited["updatedAt"]}
    assert trigger | changes == edited


@pytest.mark.parametrize("draft", [DAILY, {"kind": "api"}])
def test_the_signing_fields_of_other_kinds_are_ignored(api: Api, routine: str, draft: Any):
    """9 D22."""
    trigger = create(api, routine, draft)

    edited = api.patch(f"/routine-triggers/{trigger['id']}", {"signingMode": "none", "replayWindowSec": 30})

    assert (None, None) == (edited["signingMode"], edited["replayWindowSec"])


@pytest.mark.parametrize("name", ["signingMode", "replayWindowSec", "enabled"])
def test_what_a_webhook_must_have_cannot_be_cleared(api: Api, routine: str, name: str):
    """9 D22."""
    trigger = create(api, routine, {"kind": "webhook"})

    answer = api.request("PATCH", f"/routine-triggers/{trigger['id']}", {name: None})

    assert (400, [[name]]) == (answer.status_code, [issue["path"] for issue in answer.json()["details"]])
    assert [trigger] == api.get(f"/routines/{routine}")["triggers"]


def test_a_deleted_trigger_is_gone_and_its_runs_stay(api: Api, routine: str):
    trigger = create(api, routine, {"kind": "api"})["id"]
    run = api.post(f"/routines/{routine}/run", {"triggerId": trigger})["id"]

    answer = api.request("DELETE", f"/routine-triggers/{trigger}")

    assert (204, b"") == (answer.status_code, answer.content)
    assert [] == api.get(f"/routines/{routine}")["triggers"]
    assert 3 == api.get(f"/routines/{routine}")["latestRevisionNumber"]
    (kept,) = api.get(f"/routines/{routine}/runs")
    assert (run, trigger, None) == (kept["id"], kept["triggerId"], kept["trigger"])
    for method, body in (("DELETE", ...), ("PATCH", {})):
        assert (404, "Routine trigger not found") == refusal(api, method, f"/routine-triggers/{trigger}", body)
    gone = refusal(api, "POST", f"/routines/{routine}/run", {"triggerId": trigger})
    assert (404, "Routine trigger not found") == gone


@pytest.mark.parametrize("id_", ["5f0c1f5e-0000-4000-8000-0000000000ff", "nonsense"])
def test_an_unknown_trigger_is_not_found(api: Api, id_: str):
    for method, body in (("DELETE", ...), ("PATCH", {})):
        assert (404, "Routine trigger not found") == refusal(api, method, f"/routine-triggers/{id_}", body)


def test_an_agent_works_on_the_triggers_of_its_own_routines(api: Api):
    company = api.company()
    agent, token = api.agent(company)
    routine = api.routine(company, agent)

    trigger = api.post(f"/routines/{routine}/triggers", DAILY, token=token)["trigger"]

    assert (agent, None) == (trigger["createdByAgentId"], trigger["createdByUserId"])
    assert 204 == api.request("DELETE", f"/routine-triggers/{trigger['id']}", token=token).status_code


def test_resuming_a_routine_lets_its_schedules_go_on_from_now(api: Api, routine: str):
    """Contract 3.4: what passed meanwhile is not made up for."""
    trigger = create(api, routine, {**DAILY, "cronExpression": "* * * * *"})["id"]
    api.patch(f"/routines/{routine}", {"status": "paused"})

    resumed = api.patch(f"/routines/{routine}", {"status": "active"})

    (shown,) = api.get(f"/routines/{routine}")["triggers"]
    assert trigger == shown["id"]
    assert 0 < (moment(shown["nextRunAt"]) - moment(resumed["updatedAt"])).total_seconds() <= 60


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


# Chains


@pytest.fixture
def fetch(api: Api, routine: str) -> str:
    company = api.get(f"/routines/{routine}")["companyId"]
    return api.routine(company, api.agent(company)[0], title="Fetch")


def test_a_chain_names_the_routine_that_it_runs_after_and_how_that_must_end(api: Api, routine: str, fetch: str):
    trigger = create(api, routine, {"kind": "chain", "afterRoutineId": fetch, "label": "After the fetch"})
    assert ("chain", fetch, "succeeded", None) == tuple(
        trigger[name] for name in ("kind", "afterRoutineId", "afterOutcome", "nextRunAt")
    )

    changed = api.patch(f"/routine-triggers/{trigger['id']}", {"afterOutcome": "any"})

    assert ("any", fetch) == (changed["afterOutcome"], changed["afterRoutineId"])
    snapshot = api.get(f"/routines/{routine}/revisions")[0]["snapshot"]["triggers"]
    assert [("chain", fetch, "any")] == [(one["kind"], one["afterRoutineId"], one["afterOutcome"]) for one in snapshot]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "afterRoutineId"),
        ({"afterRoutineId": None}, "afterRoutineId"),
        ({"afterRoutineId": "x"}, "afterRoutineId"),
        ({"afterOutcome": "completed"}, "afterOutcome"),
        ({"afterOutcome": None}, "afterOutcome"),
    ],
)
def test_a_chain_without_a_routine_or_with_another_outcome_is_refused_by_name(
    api: Api, routine: str, fetch: str, fields: Any, field: str
):
    body = {"kind": "chain", **({"afterRoutineId": fetch} if "afterOutcome" in fields else {}), **fields}

    answer = api.request("POST", f"/routines/{routine}/triggers", body)

    assert (400, [field]) == (answer.status_code, answer.json()["details"][0]["path"])


def test_a_chain_to_a_routine_of_another_company_is_refused_as_to_none(api: Api, routine: str):
    company = api.company()
    theirs = api.routine(company, api.agent(company)[0])

    answers = [
        api.request("POST", f"/routines/{routine}/triggers", {"kind": "chain", "afterRoutineId": after})
        for after in (theirs, "00000000-0000-4000-8000-000000000000")
    ]

    assert [(422, "afterRoutineId")] * 2 == [
        (answer.status_code, answer.json()["details"][0]["path"][0]) for answer in answers
    ]
    assert answers[0].json() == answers[1].json()


def test_a_cycle_is_refused(api: Api, routine: str, fetch: str):
    create(api, routine, {"kind": "chain", "afterRoutineId": fetch})

    for body in ({"kind": "chain", "afterRoutineId": routine}, {"kind": "chain", "afterRoutineId": fetch}):
        assert (422, "The chain would be a cycle: the routine would run, in the end, after itself") == refusal(
            api, "POST", f"/routines/{fetch}/triggers", body
        )


def test_a_schedule_takes_no_field_of_a_chain(api: Api, routine: str, fetch: str):
    trigger = create(api, routine, DAILY)

    assert (422, "Only chain triggers have afterRoutineId and afterOutcome") == refusal(
        api, "PATCH", f"/routine-triggers/{trigger['id']}", {"afterRoutineId": fetch}
    )
