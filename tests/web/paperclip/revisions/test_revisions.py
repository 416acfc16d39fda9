"""Which changes are revisions of a routine, what they keep, and how they are listed (contract 3.6)."""

from uuid import UUID, uuid4

import pytest

from application.access import Principal
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.triggers import TriggerPatch
from application.use_cases import triggers
from tests.api import Api
from tests.web.paperclip.revisions.conftest import HOURLY, RevisionsFixture

REVISION = {
    *("id", "companyId", "routineId", "revisionNumber", "title", "description", "snapshot", "changeSummary"),
    *("restoredFromRevisionId", "createdByAgentId", "createdByUserId", "createdByRunId", "responsibleUserId"),
    "createdAt",
}


def test_a_revision_has_exactly_the_contracts_fields(revisions_fixture: RevisionsFixture):
    user = revisions_fixture.api.get("/cli-auth/me")["userId"]
    trigger = revisions_fixture.add_trigger(kind="webhook", label="Door", signingMode="hmac_sha256", replayWindowSec=60)

    newest, oldest = revisions_fixture.list_revisions()

    shown, (webhook,) = revisions_fixture.read_routine(), revisions_fixture.read_routine()["triggers"]
    assert REVISION == newest.keys() == oldest.keys()
    assert {
        "id": shown["latestRevisionId"],
        "companyId": revisions_fixture.company,
        "routineId": revisions_fixture.routine,
        "revisionNumber": 2,
        "title": shown["title"],
        "description": None,
        "snapshot": {
            "version": 1,
            "routine": {
                "id": revisions_fixture.routine,
                "companyId": revisions_fixture.company,
                "projectId": None,
                "goalId": None,
                "parentIssueId": None,
                "title": shown["title"],
                "description": None,
                "assigneeAgentId": revisions_fixture.agent,
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


def test_every_change_is_a_revision_and_says_what_was_done(revisions_fixture: RevisionsFixture):
    schedule, code, door = (
        revisions_fixture.add_trigger(**HOURLY),
        revisions_fixture.add_trigger(kind="api"),
        revisions_fixture.add_trigger(kind="webhook"),
    )
    revisions_fixture.edit(title="New")
    for trigger in (schedule, code, door):
        revisions_fixture.change_trigger(trigger, label="other")
    revisions_fixture.rotate_secret(door)
    for trigger in (schedule, code, door):
        revisions_fixture.delete_trigger(trigger)
    revisions_fixture.restore(3)

    assert [
        "Created routine",
        *(f"Created {kind} trigger" for kind in ("schedule", "api", "webhook")),
        "Updated routine",
        *(f"Updated {kind} trigger" for kind in ("schedule", "api", "webhook")),
        "Rotated webhook trigger secret",
        *(f"Deleted {kind} trigger" for kind in ("schedule", "api", "webhook")),
        "Restored from revision 3",
    ] == [one["changeSummary"] for one in reversed(revisions_fixture.list_revisions())]
    assert list(range(13, 0, -1)) == [one["revisionNumber"] for one in revisions_fixture.list_revisions()]


def test_what_changes_nothing_of_a_routine_or_fires_it_is_no_revision(revisions_fixture: RevisionsFixture):
    before = revisions_fixture.list_revisions()

    revisions_fixture.edit(title=revisions_fixture.read_routine()["title"], priority="medium")
    revisions_fixture.api.post(f"/routines/{revisions_fixture.routine}/run", {})

    assert before == revisions_fixture.list_revisions()


def test_a_revision_keeps_what_was_then(revisions_fixture: RevisionsFixture):
    trigger = revisions_fixture.add_trigger(**HOURLY, label="old")
    revisions_fixture.edit(title="{{who}}", description="d", variables=[{"name": "who", "defaultValue": "all"}])
    revisions_fixture.change_trigger(trigger, label="new")
    revisions_fixture.delete_trigger(trigger)

    assert [[], ["old"], ["old"], ["new"], []] == [
        [trigger["label"] for trigger in revisions_fixture.snapshot(number)["triggers"]] for number in range(1, 6)
    ]
    third = revisions_fixture.list_revisions()[2]
    assert ("{{who}}", "d", ["who"]) == (
        third["title"],
        third["description"],
        [one["name"] for one in third["snapshot"]["routine"]["variables"]],
    )
    assert ("{{who}}", "d") == tuple(third["snapshot"]["routine"][name] for name in ("title", "description"))


def test_a_revision_says_which_agent_made_it_in_which_session(revisions_fixture: RevisionsFixture):
    session = str(uuid4())
    headers = {"X-Paperclip-Run-Id": session}

    revisions_fixture.api.patch(
        f"/routines/{revisions_fixture.routine}", {"title": "Mine"}, token=revisions_fixture.token, headers=headers
    )

    newest = revisions_fixture.api.get(
        f"/routines/{revisions_fixture.routine}/revisions", token=revisions_fixture.token
    )[0]
    assert (revisions_fixture.agent, None, session) == tuple(
        newest[name] for name in ("createdByAgentId", "createdByUserId", "createdByRunId")
    )


def test_the_newest_hundred_are_listed(revisions_fixture: RevisionsFixture):
    trigger = UUID(revisions_fixture.add_trigger(kind="api"))

    def change_often(work: UnitOfWork, by: Principal) -> None:
        for number in range(100):
            triggers.update(work, by, trigger, TriggerPatch(label=f"{number}"))

    revisions_fixture.api.ask(change_often)

    assert list(range(102, 2, -1)) == [one["revisionNumber"] for one in revisions_fixture.list_revisions()]
    assert 103 == revisions_fixture.restore(1)["revision"]["revisionNumber"]  # also one that is listed no more


@pytest.mark.parametrize("id_", ["5f0c1f5e-0000-4000-8000-0000000000ff", "nonsense"])
def test_an_unknown_routine_has_no_revisions(api: Api, id_: str):
    for method, path in (("GET", "revisions"), ("POST", f"revisions/{uuid4()}/restore")):
        answer = api.request(method, f"/routines/{id_}/{path}")
        assert (404, "Routine not found") == (answer.status_code, answer.json()["error"])
