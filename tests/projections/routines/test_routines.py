"""The routine list and detail, as clients read them: contract 2, 3.1, 3.3, 4.2."""

import pytest

from application.request_bodies.triggers import TriggerPatch
from application.use_cases import triggers
from application.use_cases.board import projects
from domain.identity import FIRST_USER, revision_of
from projections.responses import time
from projections.routines import routine_list, routines
from tests.projections.story import DAY, HOUR, MINUTE, START

ONE = START.replace(hour=13, minute=0, second=0)


@pytest.fixture
def acme(story):
    return story.company()


@pytest.fixture
def scout(story, acme):
    return story.agent(acme)


def detail(story, routine_id):
    story.project_all()
    return routines.detail(story.conn, routine_id)


def test_a_new_routine_is_its_first_revision(story, acme, scout):
    id_ = story.routine(acme, scout, priority="high", description="d")

    shown_routine = detail(story, id_)

    assert (shown_routine.title, shown_routine.description, shown_routine.priority, shown_routine.status) == (
        "Check",
        "d",
        "high",
        "active",
    )
    assert (shown_routine.latest_revision_number, shown_routine.latest_revision_id) == (1, revision_of(id_, 1))
    assert (shown_routine.created_by_user_id, shown_routine.created_by_agent_id) == (str(FIRST_USER), None)
    assert (shown_routine.created_at, shown_routine.updated_at) == (time(START), time(START))
    assert (shown_routine.last_triggered_at, shown_routine.last_enqueued_at) == (None, None)
    assert (shown_routine.assignee.id, shown_routine.assignee.name, shown_routine.assignee.url_key) == (
        scout,
        "Scout",
        "scout",
    )
    assert (shown_routine.project, shown_routine.parent_issue, shown_routine.active_issue) == (None, None, None)
    assert (shown_routine.triggers, shown_routine.recent_runs) == ([], [])
    assert routines.routine(story.conn, scout) is None
    assert routines.detail(story.conn, scout) is None


def test_every_change_of_it_or_its_triggers_is_a_revision(story, acme, scout):
    id_ = story.routine(acme, scout)
    hourly = story.schedule(id_)
    story.ask(triggers.update, hourly, TriggerPatch(label="often"))
    story.ask(triggers.update, hourly, TriggerPatch(label="often"))
    story.change(id_, title="New")
    story.change(id_, title="New")
    story.ask(triggers.delete, hourly)

    shown_routine = detail(story, id_)

    assert (shown_routine.title, shown_routine.latest_revision_number, shown_routine.latest_revision_id) == (
        "New",
        5,
        revision_of(id_, 5),
    )


def test_firing_is_no_revision_and_leaves_the_update_time(story, acme, scout):
    id_ = story.routine(acme, scout)
    story.passes(MINUTE)
    story.fire(id_)

    shown_routine = detail(story, id_)

    assert (shown_routine.latest_revision_number, shown_routine.updated_at) == (1, time(START))
    assert (shown_routine.last_triggered_at, shown_routine.last_enqueued_at) == (
        time(START + MINUTE),
        time(START + MINUTE),
    )


def test_the_list_has_the_newest_change_first_then_the_title(story, conn, acme, scout):
    move = story.project(acme)
    old, a, b = (story.routine(acme, scout, title) for title in ("Old", "B", "A"))
    story.passes(MINUTE)
    story.change(a, project_id=move)
    story.routine(story.company("Other"), None)
    story.project_all()

    assert [one.id for one in routine_list.page(conn, acme)] == [a, b, old]
    assert [one.id for one in routine_list.page(conn, acme, routine_list.Filters(project_id=move))] == [a]
    assert routine_list.page(conn, scout) == []


def test_an_item_shows_its_triggers_last_run_and_active_issue(story, conn, acme, scout):
    id_ = story.routine(acme, scout)
    hourly, by_code = story.schedule(id_), story.by_code(id_, label="code")
    story.passes(HOUR)
    story.tick()
    story.passes(MINUTE)
    second = story.fire(id_)
    story.project_all()

    (item,) = routine_list.page(conn, acme)

    assert [(one.id, one.kind, one.label) for one in item.triggers] == [
        (hourly, "schedule", None),
        (by_code, "api", "code"),
    ]
    assert (item.last_run.id, item.last_run.status) == (second, "coalesced")
    assert item.last_run.linked_issue == item.active_issue
    assert (item.active_issue.identifier, item.active_issue.status) == ("ACM-1", "todo")
    assert detail(story, id_).active_issue.id == item.active_issue.id


def test_a_schedule_shows_when_it_runs_next_and_what_came_of_the_last_time(story, acme, scout):
    id_ = story.routine(acme, scout)
    hourly = story.schedule(id_)
    story.project_all()
    new = routines.trigger(story.conn, hourly)
    story.passes(HOUR)
    story.tick()
    story.project_all()

    fired = routines.trigger(story.conn, hourly)

    assert (new.next_run_at, new.last_fired_at, new.last_result) == (time(ONE), None, None)
    assert (fired.next_run_at, fired.last_fired_at) == (time(ONE + HOUR), time(START + HOUR))
    assert fired.last_result == f"Created execution issue {detail(story, id_).active_issue.id}"


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("coalesce_if_active", "Coalesced into an existing live execution issue"),
        ("skip_if_active", "Skipped because a live execution issue already exists"),
    ],
)
def test_the_last_result_is_told_in_words(story, acme, scout, policy, words):
    hourly = story.schedule(story.routine(acme, scout, concurrency_policy=policy))
    for _ in range(2):
        story.passes(HOUR)
        story.tick()
    story.project_all()

    assert routines.trigger(story.conn, hourly).last_result == words


def test_a_paused_project_is_told_as_the_reason_and_enqueues_nothing(story, acme, scout):
    move = story.project(acme)
    id_ = story.routine(acme, scout, project_id=move)
    hourly = story.schedule(id_)
    story.ask(projects.pause, move)
    story.passes(HOUR)
    story.tick()

    shown_routine = detail(story, id_)

    assert routines.trigger(story.conn, hourly).last_result == "Skipped because the project is paused"
    assert (shown_routine.last_triggered_at, shown_routine.last_enqueued_at) == (time(START + HOUR), None)
    assert shown_routine.project.paused_at == time(START)


def test_what_was_missed_moves_the_schedule_and_fires_nothing(story, acme, scout):
    id_ = story.routine(acme, scout)
    hourly = story.schedule(id_)
    story.passes(DAY + 10 * MINUTE)
    story.tick()

    shown_routine = detail(story, id_)

    assert shown_routine.recent_runs == []
    (shown,) = shown_routine.triggers
    assert (shown.id, shown.next_run_at, shown.last_fired_at) == (hourly, time(ONE + DAY), None)


def test_resuming_shows_the_next_time_from_now(story, acme, scout):
    id_ = story.routine(acme, scout)
    story.schedule(id_)
    story.change(id_, status="paused")
    story.passes(DAY)
    story.change(id_, status="active")

    assert [one.next_run_at for one in detail(story, id_).triggers] == [time(ONE + DAY)]


def test_an_edited_trigger_shows_the_edit_and_a_deleted_one_is_gone(story, acme, scout):
    id_ = story.routine(acme, scout)
    hourly, other = story.schedule(id_), story.schedule(id_, "30 2 * * *", timezone="Europe/Amsterdam")
    story.passes(MINUTE)
    story.ask(triggers.update, hourly, TriggerPatch(enabled=False, label="off"))
    story.ask(triggers.delete, other)

    (left,) = detail(story, id_).triggers

    assert (left.id, left.enabled, left.label, left.cron_expression) == (hourly, False, "off", "0 * * * *")
    assert (left.created_at, left.updated_at) == (time(START), time(START + MINUTE))
    assert routines.trigger(story.conn, other) is None


def test_a_detail_has_the_newest_twenty_five_runs(story, acme, scout):
    id_ = story.routine(acme, scout)
    fired = [story.fire(id_) for _ in range(27)]

    assert [one.id for one in detail(story, id_).recent_runs] == fired[:1:-1]


def test_a_webhook_shows_its_address_and_when_its_secret_was_made(story, acme, scout):
    id_ = story.routine(acme, scout)
    door = story.webhook(id_, label="door")
    (new,) = detail(story, id_).triggers
    story.passes(MINUTE)
    story.rotate(door.trigger_id)
    (rotated,) = detail(story, id_).triggers
    story.passes(MINUTE)
    story.ask(triggers.update, door.trigger_id, TriggerPatch(label="gate"))
    (edited,) = detail(story, id_).triggers

    assert (new.public_id, new.signing_mode, new.replay_window_sec) == (door.public_id, "bearer", 300)
    assert (new.last_rotated_at, rotated.last_rotated_at) == (time(START), time(START + MINUTE))
    assert (rotated.public_id, rotated.updated_at) == (new.public_id, time(START + MINUTE))
    assert new.secret_id != rotated.secret_id == edited.secret_id
    assert (edited.label, edited.last_rotated_at) == ("gate", time(START + MINUTE))


def test_a_webhook_shows_until_when_its_old_secret_is_accepted_until_there_is_another_one(story, acme, scout):
    id_ = story.routine(acme, scout)
    door = story.webhook(id_)
    story.ask(triggers.rotate_secret, door.trigger_id, 60)
    (rotated,) = detail(story, id_).triggers
    story.ask(triggers.update, door.trigger_id, TriggerPatch(label="gate"))
    (edited,) = detail(story, id_).triggers
    story.ask(triggers.update, door.trigger_id, TriggerPatch(signing_mode="hmac_sha256"))
    (remade,) = detail(story, id_).triggers

    assert rotated.old_secret_until == edited.old_secret_until == time(START + MINUTE)
    assert remade.old_secret_until is None


def test_a_call_of_a_webhook_is_told_on_trigger_and_routine(story, acme, scout):
    id_ = story.routine(acme, scout)
    door = story.webhook(id_)
    story.passes(MINUTE)
    story.call(door)

    shown_routine = detail(story, id_)

    (shown,) = shown_routine.triggers
    assert (shown.last_fired_at, shown.next_run_at) == (time(START + MINUTE), None)
    assert shown.last_result == f"Created execution issue {shown_routine.active_issue.id}"
    assert (shown_routine.last_triggered_at, shown_routine.last_enqueued_at) == (
        time(START + MINUTE),
        time(START + MINUTE),
    )


def test_a_restored_routine_shows_its_old_settings_and_triggers(story, acme, scout):
    id_ = story.routine(acme, scout)
    hourly, door = story.schedule(id_), story.webhook(id_)
    story.fire(id_, trigger_id=door.trigger_id)
    story.change(id_, title="New", status="paused")
    story.ask(triggers.delete, door.trigger_id)
    added = story.by_code(id_)
    story.passes(HOUR)
    (minted,) = story.restore(id_, 3).new_secrets

    shown_routine = detail(story, id_)

    assert (shown_routine.title, shown_routine.status, shown_routine.latest_revision_number) == ("Check", "active", 7)
    assert [one.id for one in shown_routine.triggers] == [hourly, door.trigger_id]
    assert routines.trigger(story.conn, added) is None
    kept, again = shown_routine.triggers
    assert (kept.created_at, kept.updated_at, kept.next_run_at) == (time(START), time(START), time(ONE + HOUR))
    assert (again.public_id, again.created_at) == (minted.public_id, time(START + HOUR))
    assert (again.last_fired_at, again.last_result) == (None, None)
