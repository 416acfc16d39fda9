"""A revision is restored: what comes back, what stays, and when it is refused (contract 3.6)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.identity import revision_of
from tests.api import Api
from tests.web.hooks import hook, known_hook
from tests.web.paperclip.revisions.conftest import HOURLY, RevisionsFixture, without_addresses


def test_restoring_answers_with_routine_revision_and_where_it_came_from(revisions_fixture: RevisionsFixture):
    before = revisions_fixture.read_routine()
    revisions_fixture.edit(title="New", priority="high")

    answer = revisions_fixture.send_restore(1)

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
    assert revisions_fixture.list_revisions()[0] == revision
    assert (3, "Restored from revision 1", before["latestRevisionId"]) == tuple(
        revision[name] for name in ("revisionNumber", "changeSummary", "restoredFromRevisionId")
    )
    assert restored["routine"]["latestRevisionId"] == revision["id"]
    assert revisions_fixture.snapshot(1) == revision["snapshot"]


def test_triggers_that_came_later_are_deleted(revisions_fixture: RevisionsFixture):
    schedule, door = revisions_fixture.add_trigger(**HOURLY), hook(revisions_fixture.api, revisions_fixture.routine)

    revisions_fixture.restore(1)

    assert [] == revisions_fixture.read_routine()["triggers"]
    assert 404 == revisions_fixture.api.request("PATCH", f"/routine-triggers/{schedule}", {}).status_code
    assert 404 == door.call().status_code


def test_triggers_that_were_edited_are_set_back_and_keep_address_and_secret(revisions_fixture: RevisionsFixture):
    door = hook(revisions_fixture.api, revisions_fixture.routine, "hmac_sha256", label="old")
    (before,) = revisions_fixture.read_routine()["triggers"]
    revisions_fixture.change_trigger(door.trigger, label="new", enabled=False, replayWindowSec=30)

    restored = revisions_fixture.restore(2)

    (after,) = revisions_fixture.read_routine()["triggers"]
    assert [] == restored["secretMaterials"]
    assert before | {"updatedAt": after["updatedAt"]} == after
    assert 202 == door.call().status_code


def test_a_rotation_is_not_undone(revisions_fixture: RevisionsFixture):
    old = hook(revisions_fixture.api, revisions_fixture.routine)
    new = old.knowing(revisions_fixture.rotate_secret(old.trigger)["secretMaterial"]["webhookSecret"])

    restored = revisions_fixture.restore(2)

    assert [] == restored["secretMaterials"]
    assert [401, 202] == [old.call().status_code, new.call().status_code]


@pytest.mark.parametrize("mode", ["bearer", "hmac_sha256", "github_hmac", "none", "standard_webhooks"])
def test_a_webhook_that_was_deleted_comes_back_under_its_id_with_another_address_and_secret(
    revisions_fixture: RevisionsFixture, mode: str
):
    old = hook(revisions_fixture.api, revisions_fixture.routine, mode, label="Door", replayWindowSec=60)
    revisions_fixture.delete_trigger(old.trigger)

    restored = revisions_fixture.restore(2)

    (material,) = restored["secretMaterials"]
    (trigger,) = revisions_fixture.read_routine()["triggers"]
    assert {"triggerId", "webhookUrl", "webhookSecret"} == material.keys()
    assert (old.trigger, "Door", mode, 60, True) == tuple(
        trigger[name] for name in ("id", "label", "signingMode", "replayWindowSec", "enabled")
    )
    assert old.trigger == material["triggerId"]
    assert material["webhookUrl"].endswith(f"/public/{trigger['publicId']}/fire")
    assert old.public_id != trigger["publicId"]
    assert old.secret != material["webhookSecret"] or mode == "none"
    assert trigger["lastRotatedAt"] == trigger["createdAt"] == restored["revision"]["createdAt"]
    new = known_hook(revisions_fixture.api, trigger, material["webhookSecret"])
    assert [404, 404, 202] == [
        old.call().status_code,
        old.knowing(new.secret).call().status_code,
        new.call().status_code,
    ]
    assert trigger["publicId"] == restored["revision"]["snapshot"]["triggers"][0]["publicId"]


def test_a_mode_that_is_set_back_gets_a_new_secret_only_where_it_must(revisions_fixture: RevisionsFixture):
    """A secret that was turned into a bearer's cannot sign any more: `secretMaterials` has the new one."""
    door = hook(revisions_fixture.api, revisions_fixture.routine, "hmac_sha256")
    revisions_fixture.change_trigger(door.trigger, signingMode="bearer")

    signing = revisions_fixture.restore(2)
    (material,) = signing["secretMaterials"]
    shown = revisions_fixture.restore(3)

    assert (door.trigger, door.public_id) == (
        material["triggerId"],
        revisions_fixture.read_routine()["triggers"][0]["publicId"],
    )
    assert [] == shown["secretMaterials"]
    assert 202 == door.signing("bearer").knowing(material["webhookSecret"]).call().status_code


def test_other_triggers_that_were_deleted_come_back_without_a_secret(revisions_fixture: RevisionsFixture):
    schedule, code = (
        revisions_fixture.add_trigger(**HOURLY, timezone="Asia/Tokyo", enabled=False),
        revisions_fixture.add_trigger(kind="api", label="code"),
    )
    before = revisions_fixture.snapshot(3)
    for trigger in (schedule, code):
        revisions_fixture.delete_trigger(trigger)

    restored = revisions_fixture.restore(3)

    assert [] == restored["secretMaterials"]
    assert before == restored["revision"]["snapshot"]
    assert [schedule, code] == [trigger["id"] for trigger in revisions_fixture.read_routine()["triggers"]]


def test_schedules_go_on_from_now(revisions_fixture: RevisionsFixture):
    hourly, daily = (
        revisions_fixture.add_trigger(**HOURLY),
        revisions_fixture.add_trigger(kind="schedule", cronExpression="30 9 * * *"),
    )
    revisions_fixture.change_trigger(hourly, cronExpression="0 0 1 1 *")
    revisions_fixture.delete_trigger(daily)

    restored = revisions_fixture.restore(3)

    at = restored["revision"]["createdAt"]
    triggers = {trigger["id"]: trigger for trigger in revisions_fixture.read_routine()["triggers"]}
    assert "0 * * * *" == triggers[hourly]["cronExpression"]
    assert triggers[hourly]["nextRunAt"].endswith(":00:00.000Z")
    assert triggers[daily]["nextRunAt"].endswith("T09:30:00.000Z")
    assert all(trigger["nextRunAt"] > at for trigger in triggers.values())


def test_what_was_restored_can_be_restored_again_in_either_direction(revisions_fixture: RevisionsFixture):
    revisions_fixture.add_trigger(kind="webhook")
    revisions_fixture.add_trigger(**HOURLY)

    for number in (1, 3, 2, 1, 3):
        revisions_fixture.restore(number)

        assert without_addresses(revisions_fixture.snapshot(number)) == without_addresses(
            revisions_fixture.list_revisions()[0]["snapshot"]
        )


def test_the_latest_revision_is_not_restored(revisions_fixture: RevisionsFixture):
    answer = revisions_fixture.send_restore(1)

    assert (409, "Selected revision is already the latest revision") == (answer.status_code, answer.json()["error"])
    assert {"currentRevisionId": revisions_fixture.read_routine()["latestRevisionId"]} == answer.json()["details"]
    assert 1 == len(revisions_fixture.list_revisions())


@pytest.mark.parametrize("id_", ["5f0c1f5e-0000-4000-8000-0000000000ff", "nonsense", "another's"])
def test_an_unknown_revision_is_not_found(revisions_fixture: RevisionsFixture, id_: str):
    if id_ == "another's":
        id_ = str(
            revision_of(UUID(revisions_fixture.api.routine(revisions_fixture.company, revisions_fixture.agent)), 1)
        )

    assert (404, "Routine revision not found") == revisions_fixture.refusal(id_)


def test_an_archived_routine_is_not_restored(revisions_fixture: RevisionsFixture):
    """9 D1."""
    revisions_fixture.edit(status="archived")

    assert (409, "Routine is archived") == revisions_fixture.refusal(1)
    assert "archived" == revisions_fixture.read_routine()["status"]


def test_an_agent_restores_its_own_revisions_of_its_own_routine(revisions_fixture: RevisionsFixture):
    other, token = revisions_fixture.api.agent(revisions_fixture.company, "Other")
    revisions_fixture.edit(assigneeAgentId=other)
    revisions_fixture.edit(title="Theirs")

    assert (403, "Agents can only manage routines assigned to themselves") == revisions_fixture.refusal(
        2, token=revisions_fixture.token
    )
    assert (403, "Agents can only restore routine revisions assigned to themselves") == revisions_fixture.refusal(
        1, token=token
    )
    assert 200 == revisions_fixture.send_restore(2, token=token).status_code
    assert other == revisions_fixture.list_revisions()[0]["createdByAgentId"]


def test_the_agent_of_a_revision_must_still_be_assignable(revisions_fixture: RevisionsFixture):
    other, _ = revisions_fixture.api.agent(revisions_fixture.company, "Other")
    revisions_fixture.edit(assigneeAgentId=other)
    revisions_fixture.api.post(f"/agents/{revisions_fixture.agent}/terminate")

    answer = revisions_fixture.send_restore(1)

    assert (409, "Cannot assign routines to terminated agents") == (answer.status_code, answer.json()["error"])
    assert ("agent_not_assignable", "assignee_terminated") == (
        answer.json()["code"],
        answer.json()["details"]["reason"],
    )
    assert 2 == len(revisions_fixture.list_revisions())


def test_a_project_that_is_gone_does_not_come_back_with_a_revision(revisions_fixture: RevisionsFixture):
    project = revisions_fixture.api.post(f"/companies/{revisions_fixture.company}/projects", {"name": "x"})["id"]
    revisions_fixture.edit(projectId=project)
    revisions_fixture.edit(projectId=None)
    revisions_fixture.api.request("DELETE", f"/projects/{project}")

    assert (404, "Project not found") == revisions_fixture.refusal(2)


def test_of_two_who_restore_at_once_the_second_restores_too(revisions_fixture: RevisionsFixture):
    for title in ("a", "b", "c"):
        revisions_fixture.edit(title=title)

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(revisions_fixture.send_restore, (1, 2, 3) * 2))

    assert {200} == {answer.status_code for answer in answers}
    assert set(range(5, 11)) == {answer.json()["revision"]["revisionNumber"] for answer in answers}
    for answer in answers:
        number = answer.json()["restoredFromRevisionNumber"]
        assert revisions_fixture.snapshot(number) == answer.json()["revision"]["snapshot"]


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


def carry_out(revisions_fixture: RevisionsFixture, step: tuple[Any, ...]) -> None:
    """One change, as far as the routine allows it now."""
    of_triggers = step[0] in ("change", "delete", "rotate")
    triggers = [trigger["id"] for trigger in revisions_fixture.read_routine()["triggers"]] if of_triggers else []
    match step:
        case "edit", fields:
            revisions_fixture.api.request("PATCH", f"/routines/{revisions_fixture.routine}", fields)
        case "add", draft:
            revisions_fixture.api.request("POST", f"/routines/{revisions_fixture.routine}/triggers", draft)
        case "change", fields, which if triggers:
            revisions_fixture.api.request("PATCH", f"/routine-triggers/{triggers[which % len(triggers)]}", fields)
        case "delete", which if triggers:
            revisions_fixture.delete_trigger(triggers[which % len(triggers)])
        case "rotate", which if triggers:
            revisions_fixture.api.request("POST", f"/routine-triggers/{triggers[which % len(triggers)]}/rotate-secret")
        case "restore", number:
            revisions_fixture.send_restore(number)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@for_all(st.lists(STEPS, min_size=2, max_size=8), st.integers(0, 99))
def test_whatever_was_done_a_restored_routine_is_as_its_snapshot_was(api: Api, steps: list[Any], which: int):
    """But for the addresses of webhooks that had to be made anew."""
    company = api.company()
    agent, token = api.agent(company)
    revisions_fixture = RevisionsFixture(api, company, agent, token, api.routine(company, agent))
    for step in steps:
        carry_out(revisions_fixture, step)
    newest, *earlier = revisions_fixture.list_revisions()
    if not earlier:
        return
    chosen = earlier[which % len(earlier)]

    restored = revisions_fixture.restore(chosen["revisionNumber"])

    assert without_addresses(chosen["snapshot"]) == without_addresses(restored["revision"]["snapshot"])
    assert newest["revisionNumber"] + 1 == restored["revision"]["revisionNumber"]
    there = {trigger["id"]: trigger["publicId"] for trigger in newest["snapshot"]["triggers"]}
    trigger_ids = {one["triggerId"] for one in restored["secretMaterials"]}
    for trigger in restored["revision"]["snapshot"]["triggers"]:
        if trigger["kind"] == "webhook":
            assert (there.get(trigger["id"]) == trigger["publicId"]) or trigger["id"] in trigger_ids
    shown = revisions_fixture.read_routine()
    settings_now = {name: shown[name] for name in chosen["snapshot"]["routine"] if name in shown}
    assert settings_now == chosen["snapshot"]["routine"]
    triggers_now = {trigger["id"]: trigger for trigger in shown["triggers"]}
    for trigger in restored["revision"]["snapshot"]["triggers"]:
        assert trigger == {name: triggers_now[trigger["id"]][name] for name in trigger}
    assert len(triggers_now) == len(restored["revision"]["snapshot"]["triggers"])
