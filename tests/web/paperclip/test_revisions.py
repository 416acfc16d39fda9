"""Revisions of a routine: listed, restored (contract 3.6)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.identity import revision_of
from tests.api import Api
from tests.web.hooks import hook, known

HOURLY = {"kind": "schedule", "cronExpression": "0 * * * *"}
REVISION = {
    *("id", "companyId", "routineId", "revisionNumber", "title", "description", "snapshot", "changeSummary"),
    *("restoredFromRevisionId", "createdByAgentId", "createdByUserId", "createdByRunId", "responsibleUserId"),
    "createdAt",
}


class Desk(msgspec.Struct):
    """A routine of an agent, and short ways to change it."""

    api: Api
    company: str
    agent: str
    token: str
    routine: str

    def edit(self, **fields: Any) -> Any:
        return self.api.patch(f"/routines/{self.routine}", fields)

    def add(self, **draft: Any) -> str:
        return str(self.api.post(f"/routines/{self.routine}/triggers", draft)["trigger"]["id"])

    def change(self, trigger: str, **fields: Any) -> Any:
        return self.api.patch(f"/routine-triggers/{trigger}", fields)

    def delete(self, trigger: str) -> None:
        assert 204 == self.api.request("DELETE", f"/routine-triggers/{trigger}").status_code

    def rotate(self, trigger: str) -> Any:
        return self.api.post(f"/routine-triggers/{trigger}/rotate-secret")

    def revisions(self) -> list[Any]:
        revisions: list[Any] = self.api.get(f"/routines/{self.routine}/revisions")
        return revisions

    def snapshot(self, number: int) -> Any:
        return next(one["snapshot"] for one in self.revisions() if one["revisionNumber"] == number)

    def send(self, number: int | str, **kwargs: Any) -> Any:
        """The answer to the restoring of a revision, by number or id."""
        id_ = revision_of(UUID(self.routine), number) if isinstance(number, int) else number
        return self.api.request("POST", f"/routines/{self.routine}/revisions/{id_}/restore", **kwargs)

    def restore(self, number: int) -> Any:
        answer = self.send(number)
        assert 200 == answer.status_code, answer.text
        return answer.json()

    def refusal(self, number: int | str, **kwargs: Any) -> tuple[int, str]:
        answer = self.send(number, **kwargs)
        return answer.status_code, answer.json()["error"]

    def shown(self) -> Any:
        return self.api.get(f"/routines/{self.routine}")


@pytest.fixture
def desk(api: Api) -> Desk:
    company = api.company()
    agent, token = api.agent(company)
    return Desk(api, company, agent, token, api.routine(company, agent))


def without_addresses(snapshot: Any) -> Any:
    return snapshot | {"triggers": [trigger | {"publicId": None} for trigger in snapshot["triggers"]]}


# What is listed


def test_a_revision_has_exactly_the_contracts_fields(desk: Desk):
    user = desk.api.get("/cli-auth/me")["userId"]
    trigger = desk.add(kind="webhook", label="Door", signingMode="hmac_sha256", replayWindowSec=60)

    newest, oldest = desk.revisions()

    shown, (webhook,) = desk.shown(), desk.shown()["triggers"]
    assert REVISION == newest.keys() == oldest.keys()
    assert {
        "id": shown["latestRevisionId"],
        "companyId": desk.company,
        "routineId": desk.routine,
        "revisionNumber": 2,
        "title": shown["title"],
        "description": None,
        "snapshot": {
            "version": 1,
            "routine": {
                "id": desk.routine,
                "companyId": desk.company,
                "projectId": None,
                "goalId": None,
                "parentIssueId": None,
                "title": shown["title"],
                "description": None,
                "assigneeAgentId": desk.agent,
                "priority": "medium",
                "status": "active",
                "concurrencyPolicy": "coalesce_if_active",
                "catchUpPolicy": "skip_missed",
                "maxRunDurationSec": None,
                "retryPolicy": None,
                "alertBounds": {
                    "untakenAfterSec": 3_600,
                    "stuckAfterSec": 21_600,
                    "overdueAfterSec": None,
                    "missedInARow": 3,
                },
                "budget": None,
                "probe": None,
                "pauseNote": None,
                "resumeAt": None,
                "activityGatePolicy": "always",
                "activityGateScope": "company",
                "folderId": None,
                "variables": [],
                "env": None,
                "responsibleUserId": shown["responsibleUserId"],
            },
            "triggers": [
                {
                    "id": trigger,
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
                    "publicId": webhook["publicId"],
                    "signingMode": "hmac_sha256",
                    "replayWindowSec": 60,
                    "afterRoutineId": None,
                    "afterOutcome": None,
                }
            ],
        },
        "changeSummary": "Created webhook trigger",
        "restoredFromRevisionId": None,
        "createdByAgentId": None,
        "createdByUserId": user,
        "createdByRunId": None,
        "responsibleUserId": shown["responsibleUserId"],
        "createdAt": newest["createdAt"],
    } == newest
    assert (1, "Created routine", []) == (
        oldest["revisionNumber"],
        oldest["changeSummary"],
        oldest["snapshot"]["triggers"],
    )


def test_every_change_is_a_revision_and_says_what_was_done(desk: Desk):
    schedule, code, door = desk.add(**HOURLY), desk.add(kind="api"), desk.add(kind="webhook")
    desk.edit(title="New")
    for trigger in (schedule, code, door):
        desk.change(trigger, label="other")
    desk.rotate(door)
    for trigger in (schedule, code, door):
        desk.delete(trigger)
    desk.restore(3)

    assert [
        "Created routine",
        *(f"Created {kind} trigger" for kind in ("schedule", "api", "webhook")),
        "Updated routine",
        *(f"Updated {kind} trigger" for kind in ("schedule", "api", "webhook")),
        "Rotated webhook trigger secret",
        *(f"Deleted {kind} trigger" for kind in ("schedule", "api", "webhook")),
        "Restored from revision 3",
    ] == [one["changeSummary"] for one in reversed(desk.revisions())]
    assert list(range(13, 0, -1)) == [one["revisionNumber"] for one in desk.revisions()]


def test_what_changes_nothing_of_a_routine_or_fires_it_is_no_revision(desk: Desk):
    before = desk.revisions()

    desk.edit(title=desk.shown()["title"], priority="medium")
    desk.api.post(f"/routines/{desk.routine}/run", {})

    assert before == desk.revisions()


def test_a_revision_keeps_what_was_then(desk: Desk):
    trigger = desk.add(**HOURLY, label="old")
    desk.edit(title="{{who}}", description="d", variables=[{"name": "who", "defaultValue": "all"}])
    desk.change(trigger, label="new")
    desk.delete(trigger)

    assert [[], ["old"], ["old"], ["new"], []] == [
        [trigger["label"] for trigger in desk.snapshot(number)["triggers"]] for number in range(1, 6)
    ]
    third = desk.revisions()[2]
    assert ("{{who}}", "d", ["who"]) == (
        third["title"],
        third["description"],
        [one["name"] for one in third["snapshot"]["routine"]["variables"]],
    )
    assert ("{{who}}", "d") == tuple(third["snapshot"]["routine"][name] for name in ("title", "description"))


def test_a_revision_says_which_agent_made_it_in_which_session(desk: Desk):
    session = str(uuid4())
    headers = {"X-Paperclip-Run-Id": session}

    desk.api.patch(f"/routines/{desk.routine}", {"title": "Mine"}, token=desk.token, headers=headers)

    newest = desk.api.get(f"/routines/{desk.routine}/revisions", token=desk.token)[0]
    assert (desk.agent, None, session) == tuple(
        newest[name] for name in ("createdByAgentId", "createdByUserId", "createdByRunId")
    )


def test_the_newest_hundred_are_listed(desk: Desk):
    trigger = desk.add(kind="api")
    for number in range(100):
        desk.change(trigger, label=f"{number}")

    assert list(range(102, 2, -1)) == [one["revisionNumber"] for one in desk.revisions()]
    assert 103 == desk.restore(1)["revision"]["revisionNumber"]  # also one that is listed no more


@pytest.mark.parametrize("id_", ["5f0c1f5e-0000-4000-8000-0000000000ff", "nonsense"])
def test_an_unknown_routine_has_no_revisions(api: Api, id_: str):
    for method, path in (("GET", "revisions"), ("POST", f"revisions/{uuid4()}/restore")):
        answer = api.request(method, f"/routines/{id_}/{path}")
        assert (404, "Routine not found") == (answer.status_code, answer.json()["error"])


# What is restored


def test_restoring_answers_with_routine_revision_and_where_it_came_from(desk: Desk):
    before = desk.shown()
    desk.edit(title="New", priority="high")

    answer = desk.send(1)

    restored = answer.json()
    assert 200 == answer.status_code
    assert int(answer.headers["X-Routines-Position"]) > 0
    assert {
        *("routine", "revision", "restoredFromRevisionId", "restoredFromRevisionNumber", "secretMaterials")
    } == restored.keys()
    assert (before["latestRevisionId"], 1, []) == (
        restored["restoredFromRevisionId"],
        restored["restoredFromRevisionNumber"],
        restored["secretMaterials"],
    )
    assert ("Check the inbox", "medium", 3) == tuple(
        restored["routine"][name] for name in ("title", "priority", "latestRevisionNumber")
    )
    revision = restored["revision"]
    assert desk.revisions()[0] == revision
    assert (3, "Restored from revision 1", before["latestRevisionId"]) == tuple(
        revision[name] for name in ("revisionNumber", "changeSummary", "restoredFromRevisionId")
    )
    assert restored["routine"]["latestRevisionId"] == revision["id"]
    assert desk.snapshot(1) == revision["snapshot"]


def test_triggers_that_came_later_are_deleted(desk: Desk):
    schedule, door = desk.add(**HOURLY), hook(desk.api, desk.routine)

    desk.restore(1)

    assert [] == desk.shown()["triggers"]
    assert 404 == desk.api.request("PATCH", f"/routine-triggers/{schedule}", {}).status_code
    assert 404 == door.call().status_code


def test_triggers_that_were_edited_are_set_back_and_keep_address_and_secret(desk: Desk):
    door = hook(desk.api, desk.routine, "hmac_sha256", label="old")
    (before,) = desk.shown()["triggers"]
    desk.change(door.trigger, label="new", enabled=False, replayWindowSec=30)

    restored = desk.restore(2)

    (after,) = desk.shown()["triggers"]
    assert [] == restored["secretMaterials"]
    assert before | {"updatedAt": after["updatedAt"]} == after
    assert 202 == door.call().status_code


def test_a_rotation_is_not_undone(desk: Desk):
    old = hook(desk.api, desk.routine)
    new = old.knowing(desk.rotate(old.trigger)["secretMaterial"]["webhookSecret"])

    restored = desk.restore(2)

    assert [] == restored["secretMaterials"]
    assert [401, 202] == [old.call().status_code, new.call().status_code]


@pytest.mark.parametrize("mode", ["bearer", "hmac_sha256", "github_hmac", "none", "standard_webhooks"])
def test_a_webhook_that_was_deleted_comes_back_under_its_id_with_another_address_and_secret(desk: Desk, mode: str):
    old = hook(desk.api, desk.routine, mode, label="Door", replayWindowSec=60)
    desk.delete(old.trigger)

    restored = desk.restore(2)

    (material,) = restored["secretMaterials"]
    (trigger,) = desk.shown()["triggers"]
    assert {"triggerId", "webhookUrl", "webhookSecret"} == material.keys()
    assert (old.trigger, "Door", mode, 60, True) == tuple(
        trigger[name] for name in ("id", "label", "signingMode", "replayWindowSec", "enabled")
    )
    assert old.trigger == material["triggerId"]
    assert material["webhookUrl"].endswith(f"/public/{trigger['publicId']}/fire")
    assert old.public_id != trigger["publicId"]
    assert old.secret != material["webhookSecret"] or mode == "none"
    assert trigger["lastRotatedAt"] == trigger["createdAt"] == restored["revision"]["createdAt"]
    new = known(desk.api, trigger, material["webhookSecret"])
    assert [404, 404, 202] == [
        old.call().status_code,
        old.knowing(new.secret).call().status_code,
        new.call().status_code,
    ]
    assert trigger["publicId"] == restored["revision"]["snapshot"]["triggers"][0]["publicId"]


def test_a_mode_that_is_set_back_gets_a_new_secret_only_where_it_must(desk: Desk):
    """A secret that was turned into a bearer's cannot sign any more: `secretMaterials` has the new one."""
    door = hook(desk.api, desk.routine, "hmac_sha256")
    desk.change(door.trigger, signingMode="bearer")

    signing = desk.restore(2)
    (material,) = signing["secretMaterials"]
    shown = desk.restore(3)

    assert (door.trigger, door.public_id) == (material["triggerId"], desk.shown()["triggers"][0]["publicId"])
    assert [] == shown["secretMaterials"]
    assert 202 == door.signing("bearer").knowing(material["webhookSecret"]).call().status_code


def test_other_triggers_that_were_deleted_come_back_without_a_secret(desk: Desk):
    schedule, code = desk.add(**HOURLY, timezone="Asia/Tokyo", enabled=False), desk.add(kind="api", label="code")
    before = desk.snapshot(3)
    for trigger in (schedule, code):
        desk.delete(trigger)

    restored = desk.restore(3)

    assert [] == restored["secretMaterials"]
    assert before == restored["revision"]["snapshot"]
    assert [schedule, code] == [trigger["id"] for trigger in desk.shown()["triggers"]]


def test_schedules_go_on_from_now(desk: Desk):
    hourly, daily = desk.add(**HOURLY), desk.add(kind="schedule", cronExpression="30 9 * * *")
    desk.change(hourly, cronExpression="0 0 1 1 *")
    desk.delete(daily)

    restored = desk.restore(3)

    at = restored["revision"]["createdAt"]
    triggers = {trigger["id"]: trigger for trigger in desk.shown()["triggers"]}
    assert "0 * * * *" == triggers[hourly]["cronExpression"]
    assert triggers[hourly]["nextRunAt"].endswith(":00:00.000Z")
    assert triggers[daily]["nextRunAt"].endswith("T09:30:00.000Z")
    assert all(trigger["nextRunAt"] > at for trigger in triggers.values())


def test_what_was_restored_can_be_restored_again_in_either_direction(desk: Desk):
    desk.add(kind="webhook")
    desk.add(**HOURLY)

    for number in (1, 3, 2, 1, 3):
        desk.restore(number)

        assert without_addresses(desk.snapshot(number)) == without_addresses(desk.revisions()[0]["snapshot"])


# What is refused


def test_the_latest_revision_is_not_restored(desk: Desk):
    answer = desk.send(1)

    assert (409, "Selected revision is already the latest revision") == (answer.status_code, answer.json()["error"])
    assert {"currentRevisionId": desk.shown()["latestRevisionId"]} == answer.json()["details"]
    assert 1 == len(desk.revisions())


@pytest.mark.parametrize("id_", ["5f0c1f5e-0000-4000-8000-0000000000ff", "nonsense", "another's"])
def test_an_unknown_revision_is_not_found(desk: Desk, id_: str):
    if id_ == "another's":
        id_ = str(revision_of(UUID(desk.api.routine(desk.company, desk.agent)), 1))

    assert (404, "Routine revision not found") == desk.refusal(id_)


def test_an_archived_routine_is_not_restored(desk: Desk):
    """9 D1."""
    desk.edit(status="archived")

    assert (409, "Routine is archived") == desk.refusal(1)
    assert "archived" == desk.shown()["status"]


def test_an_agent_restores_its_own_revisions_of_its_own_routine(desk: Desk):
    other, token = desk.api.agent(desk.company, "Other")
    desk.edit(assigneeAgentId=other)
    desk.edit(title="Theirs")

    assert (403, "Agents can only manage routines assigned to themselves") == desk.refusal(2, token=desk.token)
    assert (403, "Agents can only restore routine revisions assigned to themselves") == desk.refusal(1, token=token)
    assert 200 == desk.send(2, token=token).status_code
    assert other == desk.revisions()[0]["createdByAgentId"]


def test_the_agent_of_a_revision_must_still_be_assignable(desk: Desk):
    other, _ = desk.api.agent(desk.company, "Other")
    desk.edit(assigneeAgentId=other)
    desk.api.post(f"/agents/{desk.agent}/terminate")

    answer = desk.send(1)

    assert (409, "Cannot assign routines to terminated agents") == (answer.status_code, answer.json()["error"])
    assert ("agent_not_assignable", "assignee_terminated") == (
        answer.json()["code"],
        answer.json()["details"]["reason"],
    )
    assert 2 == len(desk.revisions())


def test_a_project_that_is_gone_does_not_come_back_with_a_revision(desk: Desk):
    project = desk.api.post(f"/companies/{desk.company}/projects", {"name": "x"})["id"]
    desk.edit(projectId=project)
    desk.edit(projectId=None)
    desk.api.request("DELETE", f"/projects/{project}")

    assert (404, "Project not found") == desk.refusal(2)


def test_of_two_who_restore_at_once_the_second_restores_too(desk: Desk):
    for title in ("a", "b", "c"):
        desk.edit(title=title)

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(desk.send, (1, 2, 3) * 2))

    assert {200} == {answer.status_code for answer in answers}
    assert set(range(5, 11)) == {answer.json()["revision"]["revisionNumber"] for answer in answers}
    for answer in answers:
        number = answer.json()["restoredFromRevisionNumber"]
        assert desk.snapshot(number) == answer.json()["revision"]["snapshot"]


# Whatever was done


TRIGGERS = st.sampled_from(
    [
        HOURLY,
        HOURLY | {"enabled": False, "timezone": "Europe/Amsterdam"},
        {"kind": "api", "label": "code"},
        {"kind": "webhook"},
        {"kind": "webhook", "signingMode": "hmac_sha256", "replayWindowSec": 30},
        {"kind": "webhook", "signingMode": "none", "enabled": False},
    ]
)
EDITS = st.sampled_from(
    [
        {"title": "{{a}}", "variables": [{"name": "a", "defaultValue": 1}]},
        {"title": "plain", "description": "{{date}}"},
        {"description": None, "variables": []},
        {"priority": "high", "catchUpPolicy": "enqueue_missed_with_cap"},
        {"concurrencyPolicy": "skip_if_active"},
        {"status": "paused"},
        {"status": "active"},
        {"assigneeAgentId": None},
    ]
)
PATCHES = st.sampled_from(
    [
        {},
        {"label": "new"},
        {"enabled": False},
        {"enabled": True, "signingMode": "github_hmac"},
        {"signingMode": "bearer", "cronExpression": "*/5 * * * *"},
    ]
)
STEPS = st.one_of(
    st.tuples(st.just("edit"), EDITS),
    st.tuples(st.just("add"), TRIGGERS),
    st.tuples(st.just("change"), PATCHES, st.integers(0, 9)),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("rotate"), st.integers(0, 9)),
    st.tuples(st.just("restore"), st.integers(1, 9)),
)


def carry_out(desk: Desk, step: tuple[Any, ...]) -> None:
    """One change, as far as the routine allows it now."""
    triggers = [trigger["id"] for trigger in desk.snapshot(desk.shown()["latestRevisionNumber"])["triggers"]]
    match step:
        case "edit", fields:
            desk.api.request("PATCH", f"/routines/{desk.routine}", fields)
        case "add", draft:
            desk.api.request("POST", f"/routines/{desk.routine}/triggers", draft)
        case "change", fields, which if triggers:
            desk.api.request("PATCH", f"/routine-triggers/{triggers[which % len(triggers)]}", fields)
        case "delete", which if triggers:
            desk.delete(triggers[which % len(triggers)])
        case "rotate", which if triggers:
            desk.api.request("POST", f"/routine-triggers/{triggers[which % len(triggers)]}/rotate-secret")
        case "restore", number:
            desk.send(number)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@for_all(st.lists(STEPS, min_size=2, max_size=8), st.integers(0, 99))
def test_whatever_was_done_a_restored_routine_is_as_its_snapshot_was(api: Api, steps: list[Any], which: int):
    """But for the addresses of webhooks that had to be made anew."""
    company = api.company()
    agent, token = api.agent(company)
    desk = Desk(api, company, agent, token, api.routine(company, agent))
    for step in steps:
        carry_out(desk, step)
    newest, *earlier = desk.revisions()
    if not earlier:
        return
    chosen = earlier[which % len(earlier)]

    restored = desk.restore(chosen["revisionNumber"])

    assert without_addresses(chosen["snapshot"]) == without_addresses(restored["revision"]["snapshot"])
    assert newest["revisionNumber"] + 1 == restored["revision"]["revisionNumber"]
    there = {trigger["id"]: trigger["publicId"] for trigger in newest["snapshot"]["triggers"]}
    trigger_ids = {one["triggerId"] for one in restored["secretMaterials"]}
    for trigger in restored["revision"]["snapshot"]["triggers"]:
        if trigger["kind"] == "webhook":
            assert (there.get(trigger["id"]) == trigger["publicId"]) or trigger["id"] in trigger_ids
    shown = desk.shown()
    settings_now = {name: shown[name] for name in chosen["snapshot"]["routine"] if name in shown}
    assert settings_now == chosen["snapshot"]["routine"]
    triggers_now = {trigger["id"]: trigger for trigger in shown["triggers"]}
    for trigger in restored["revision"]["snapshot"]["triggers"]:
        assert trigger == {name: triggers_now[trigger["id"]][name] for name in trigger}
    assert len(triggers_now) == len(restored["revision"]["snapshot"]["triggers"])
