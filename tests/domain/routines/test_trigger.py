"""Triggers, the secrets of webhooks, and what is due of a schedule: contract 3.6, 4, 4.2 and 6."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.errors import BadSchedule, Conflict, ImpossibleHistory, RuleViolation
from domain.events import (
    TriggerCreated,
    TriggerDeleted,
    TriggerMissed,
    TriggerRescheduled,
    TriggerRestored,
    TriggerSecretRotated,
    TriggerUpdated,
)
from domain.routines import trigger
from domain.schedule import plan as plans
from domain.schedule.cron_schedule import Cron
from domain.schedule.plan import Plan
from domain.values import TriggerSettings, TriggerState, Webhook
from tests.given import given

ROUTINE = UUID(int=1)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
INSTANT = timedelta(microseconds=1)
EVERY_HOUR = TriggerSettings(cron_expression="0 * * * *", timezone="UTC")
CREATED = TriggerCreated(routine_id=ROUTINE, kind="schedule", settings=EVERY_HOUR, next_at=NOON)
SIGNED = TriggerSettings(signing_mode="hmac_sha256", replay_window_sec=300)
DOOR = Webhook(public_id="ab" * 12, secret_id=UUID(int=10))
OPENED = TriggerCreated(routine_id=ROUTINE, kind="webhook", settings=SIGNED, webhook=DOOR)


# Its configuration


def test_a_schedule_begins_strictly_after_now():
    events = trigger.create(ROUTINE, "schedule", EVERY_HOUR, NOON)

    assert [replace(CREATED, next_at=NOON + HOUR)] == events


def test_a_disabled_schedule_has_a_next_time_too():
    (created,) = trigger.create(ROUTINE, "schedule", replace(EVERY_HOUR, enabled=False), NOON)

    assert created.next_at == NOON + HOUR


def test_the_expression_is_stored_trimmed_and_otherwise_verbatim():
    spaced = replace(EVERY_HOUR, cron_expression="  0  */2 * * MON ", timezone=" Europe/Amsterdam ")

    (created,) = trigger.create(ROUTINE, "schedule", spaced, NOON)

    assert (created.settings.cron_expression, created.settings.timezone) == ("0  */2 * * MON", "Europe/Amsterdam")


def test_an_api_trigger_has_no_schedule():
    events = trigger.create(ROUTINE, "api", EVERY_HOUR, NOON)

    assert [TriggerCreated(routine_id=ROUTINE, kind="api", settings=TriggerSettings())] == events


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TriggerSettings(timezone="UTC"), "Scheduled triggers require cronExpression"),
        (TriggerSettings(cron_expression="0 * * * *"), "Scheduled triggers require timezone"),
    ],
)
def test_a_schedule_needs_both_its_fields(settings, message):
    with pytest.raises(RuleViolation, match=message):
        trigger.create(ROUTINE, "schedule", settings, NOON)


@pytest.mark.parametrize("changes", [{"cron_expression": "0 9 31 2 *"}, {"timezone": "Europe/Atlantis"}])
def test_a_schedule_that_cannot_be_followed_is_refused(changes):
    with pytest.raises(BadSchedule):
        trigger.create(ROUTINE, "schedule", replace(EVERY_HOUR, **changes), NOON)


ONCE = TriggerSettings(run_at=NOON + HOUR, timezone="UTC")
BEGIN_OF_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(EVERY_HOUR, starts_at=NOON, ends_at=NOON - INSTANT), "endsAt must not be before startsAt"),
        (replace(EVERY_HOUR, run_at=NOON), "a cronExpression or a runAt, not both"),
        (replace(ONCE, starts_at=NOON), "has no startsAt, endsAt or excludedDates"),
        (replace(ONCE, ends_at=NOON + 2 * HOUR), "has no startsAt, endsAt or excludedDates"),
        (replace(ONCE, excluded_dates=(date(2026, 11, 23),)), "has no startsAt, endsAt or excludedDates"),
        (replace(EVERY_HOUR, starts_at=BEGIN_OF_TIME - INSTANT), "before the year 1970 or after 8999"),
        (replace(EVERY_HOUR, ends_at=datetime(9000, 1, 1, tzinfo=UTC)), "before the year 1970 or after 8999"),
        (replace(ONCE, run_at=BEGIN_OF_TIME - INSTANT), "before the year 1970 or after 8999"),
    ],
)
def test_limits_of_a_schedule_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(RuleViolation, match=message):
        trigger.create(ROUTINE, "schedule", settings, NOON)


def test_a_schedule_is_followed_within_all_its_limits():
    days = [date(2026, 11, 24), date(2026, 11, 23), date(2026, 11, 24)]
    limits = {"starts_at": NOON, "ends_at": NOON, "jitter_sec": 60}

    (created,) = trigger.create(
        ROUTINE, "schedule", replace(EVERY_HOUR, **limits, excluded_dates=tuple(days)), NOON - HOUR
    )

    assert trigger.plan_of(given(trigger.evolve, created)) == Plan(
        seed=ROUTINE,
        cron=Cron("0 * * * *"),
        starts_at=NOON,
        ends_at=NOON,
        excluded=(date(2026, 11, 23), date(2026, 11, 24)),
        jitter_s=60,
    )


def test_an_edit_may_leave_nothing_to_do_only_where_that_was_so_before():
    over = replace(EVERY_HOUR, ends_at=NOON, jitter_sec=60)
    current = given(trigger.evolve, replace(CREATED, settings=over, next_at=None))
    renamed = replace(over, label="over")

    assert [TriggerUpdated(settings=renamed)] == trigger.update(current, renamed, NOON + HOUR)
    with pytest.raises(BadSchedule, match="no occurrence left"):
        trigger.update(current, replace(over, ends_at=NOON + HOUR), NOON + HOUR)
    with pytest.raises(BadSchedule, match="no occurrence left"):
        trigger.update(given(trigger.evolve, CREATED), over, NOON + HOUR)


def test_a_schedule_rests_on_while_it_goes_on_with_the_same_occurrence():
    rest = TriggerMissed(
        first=NOON, last=NOON, count=1, reason="over_quota", next_at=NOON + HOUR, rests_until=NOON + 2 * HOUR
    )
    renamed = TriggerUpdated(settings=replace(EVERY_HOUR, label="hourly"), next_at=NOON + HOUR)
    moved = TriggerUpdated(settings=EVERY_HOUR, next_at=NOON + 3 * HOUR)

    assert given(trigger.evolve, CREATED, rest, renamed).rests_until == NOON + 2 * HOUR
    assert given(trigger.evolve, CREATED, rest, moved).rests_until is None


def test_an_edit_that_changes_nothing_records_nothing():
    current = given(trigger.evolve, CREATED)

    assert [] == trigger.update(current, EVERY_HOUR, NOON)


def test_an_edit_keeps_the_kind():
    current = given(trigger.evolve, *trigger.create(ROUTINE, "api", TriggerSettings(), NOON))
    labelled = TriggerSettings(label="nightly")

    assert [TriggerUpdated(settings=labelled)] == trigger.update(current, replace(EVERY_HOUR, label="nightly"), NOON)


def test_resuming_goes_on_with_an_occurrence_and_says_when_it_is_due():
    late = replace(CREATED, settings=replace(EVERY_HOUR, jitter_sec=600))

    (rescheduled,) = trigger.reschedule(given(trigger.evolve, late), NOON + 6 * HOUR)

    assert NOON + 6 * HOUR == rescheduled.next_at
    assert trigger.plan_of(given(trigger.evolve, late)) is not None
    assert rescheduled.next_at <= rescheduled.due_at <= rescheduled.next_at + timedelta(minutes=10)


def test_resuming_means_nothing_to_an_api_trigger():
    current = given(trigger.evolve, *trigger.create(ROUTINE, "api", TriggerSettings(), NOON))

    assert [] == trigger.reschedule(current, NOON)
    assert trigger.plan_of(current) is None


def test_the_schedule_of_a_trigger_is_its_newest():
    event = TriggerUpdated(settings=replace(EVERY_HOUR, timezone="Asia/Kolkata"), next_at=NOON)

    assert trigger.plan_of(given(trigger.evolve, CREATED, event)).cron == Cron("0 * * * *", "Asia/Kolkata")


def test_deleting_twice_is_deleting_once():
    current = given(trigger.evolve, CREATED)

    assert [TriggerDeleted()] == trigger.delete(current)
    assert [] == trigger.delete(given(trigger.evolve, CREATED, TriggerDeleted()))


@pytest.mark.parametrize(
    "facts",
    [
        [TriggerDeleted()],
        [CREATED, CREATED],
        [CREATED, TriggerDeleted(), TriggerUpdated(settings=EVERY_HOUR)],
        [CREATED, TriggerDeleted(), TriggerRescheduled(next_at=NOON)],
        [CREATED, TriggerDeleted(), TriggerDeleted()],
    ],
)
def test_a_contradiction_in_the_log_stops_loudly(facts):
    with pytest.raises(ImpossibleHistory):
        given(trigger.evolve, *facts)


def test_a_deleted_trigger_comes_back_only_by_being_restored():
    event = TriggerRestored(routine_id=ROUTINE, kind="schedule", settings=EVERY_HOUR, next_at=NOON)

    assert given(trigger.evolve, CREATED, TriggerDeleted(), event) == given(trigger.evolve, CREATED)
    for facts in ([CREATED, event], [event]):
        with pytest.raises(ImpossibleHistory):
            given(trigger.evolve, *facts)


# Webhooks and their secrets


@pytest.mark.parametrize("kind", ["schedule", "api"])
def test_only_a_webhook_has_a_signing_mode(kind):
    (created,) = trigger.create(ROUTINE, kind, replace(EVERY_HOUR, signing_mode="bearer", replay_window_sec=30), NOON)

    assert (created.settings.signing_mode, created.settings.replay_window_sec) == (None, None)


def test_a_webhook_has_no_schedule():
    settings = replace(SIGNED, cron_expression="bogus", timezone="Mars/Base")

    assert [OPENED] == trigger.create(ROUTINE, "webhook", settings, NOON, DOOR)


def secret_rotated(secret, old, until):
    return TriggerSecretRotated(
        webhook=replace(DOOR, secret_id=UUID(int=secret)), old_secret_id=UUID(int=old), old_until=until
    )


def test_a_rotation_changes_the_secret_and_keeps_the_address():
    current = given(trigger.evolve, OPENED)

    events = trigger.rotate(current, replace(DOOR, secret_id=UUID(int=11)), None)

    assert [secret_rotated(11, 10, None)] == events
    assert trigger.webhook_of(given(trigger.evolve, OPENED, *events)).public_id == DOOR.public_id


@pytest.mark.parametrize("kind", ["schedule", "api"])
def test_only_webhooks_can_rotate_secrets(kind):
    current = given(trigger.evolve, *trigger.create(ROUTINE, kind, EVERY_HOUR, NOON))

    with pytest.raises(RuleViolation, match="Only webhook triggers can rotate secrets"):
        trigger.rotate(current, DOOR, None)


@pytest.mark.parametrize(
    ("facts", "now", "expected"),
    [
        ([], NOON, [10]),
        ([secret_rotated(11, 10, None)], NOON, [11]),
        ([secret_rotated(11, 10, NOON)], NOON - INSTANT, [11, 10]),
        ([secret_rotated(11, 10, NOON)], NOON, [11]),
        ([secret_rotated(11, 10, NOON), secret_rotated(12, 11, NOON)], NOON - INSTANT, [12, 11]),
        ([secret_rotated(11, 10, NOON), secret_rotated(12, 11, None)], NOON - INSTANT, [12]),
        ([secret_rotated(11, 10, NOON), TriggerUpdated(settings=SIGNED)], NOON - INSTANT, [11, 10]),
        (
            [
                secret_rotated(11, 10, NOON),
                TriggerUpdated(settings=SIGNED, webhook=replace(DOOR, secret_id=UUID(int=12))),
            ],
            NOON - INSTANT,
            [12],
        ),
    ],
    ids=["new", "rotated", "overlapping", "over", "again", "again for good", "edited", "moved"],
)
def test_the_secret_opens_a_webhook_and_the_one_before_while_it_is_good(facts, now, expected):
    current = given(trigger.evolve, OPENED, *facts)

    assert trigger.good_secrets_of(current, now) == [UUID(int=number) for number in expected]


def test_a_secret_that_was_given_time_is_one_of_its_secrets_until_the_next_rotation():
    overlapping, again = secret_rotated(11, 10, NOON), secret_rotated(12, 11, NOON)

    assert trigger.secrets_of(given(trigger.evolve, OPENED, overlapping)) == [UUID(int=11), UUID(int=10)]
    assert trigger.secrets_of(given(trigger.evolve, OPENED, overlapping, again)) == [UUID(int=12), UUID(int=11)]
    assert trigger.secrets_of(given(trigger.evolve, OPENED, overlapping, secret_rotated(12, 11, None))) == [
        UUID(int=12)
    ]


def test_a_revision_shows_the_address_of_a_webhook_and_nothing_of_its_secret():
    state = trigger.state_of(given(trigger.evolve, OPENED))

    assert state == TriggerState(kind="webhook", settings=SIGNED, public_id=DOOR.public_id)


def test_what_was_deleted_is_restored_with_the_webhook_it_gets():
    deleted = given(trigger.evolve, OPENED, TriggerDeleted())
    new = Webhook(public_id="cd" * 12, secret_id=UUID(int=11))

    events = trigger.restore(
        deleted, TriggerState(kind="webhook", settings=SIGNED, public_id=DOOR.public_id), NOON, new
    )

    assert [TriggerRestored(routine_id=ROUTINE, kind="webhook", settings=SIGNED, webhook=new)] == events
    assert given(trigger.evolve, OPENED, TriggerDeleted(), *events).webhook == new


def test_a_schedule_is_restored_with_its_next_occurrence_and_one_that_is_over_without():
    deleted = given(trigger.evolve, CREATED, TriggerDeleted())
    late = replace(EVERY_HOUR, jitter_sec=600, ends_at=NOON + HOUR)

    (restored,) = trigger.restore(deleted, TriggerState(kind="schedule", settings=late), NOON)
    (over,) = trigger.restore(deleted, TriggerState(kind="schedule", settings=late), NOON + HOUR)

    plan = trigger.plan_of(given(trigger.evolve, CREATED, TriggerDeleted(), restored))
    assert (restored.next_at, restored.due_at) == (NOON + HOUR, plans.due_at(plan, NOON + HOUR))
    assert (over.next_at, over.due_at) == (None, None)


@pytest.mark.parametrize(
    ("enabled", "status", "fires"),
    [(True, "active", True), (False, "active", False), (True, "paused", False), (True, "archived", False)],
)
def test_a_webhook_fires_only_while_it_is_enabled_and_its_routine_active(enabled, status, fires):
    """Contract 3.5, 6."""
    current = given(trigger.evolve, replace(OPENED, settings=replace(SIGNED, enabled=enabled)))

    if fires:
        trigger.must_be_active(current, status)
    else:
        with pytest.raises(Conflict, match="Routine trigger is not active"):
            trigger.must_be_active(current, status)
