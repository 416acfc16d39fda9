"""Triggers and what is due of a schedule: contract 4 and 4.2."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain import trigger
from domain.errors import BadSchedule, ImpossibleHistory, Unacceptable
from domain.events import TriggerCreated, TriggerDeleted, TriggerMissed, TriggerRescheduled, TriggerUpdated
from domain.schedule import Cron
from domain.values import TriggerSettings
from tests.given import given

ROUTINE = UUID(int=1)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
INSTANT = timedelta(microseconds=1)
MINUTELY = Cron("* * * * *")
HOURLY = Cron("0 * * * *")
EVERY_HOUR = TriggerSettings(cron_expression="0 * * * *", timezone="UTC")
CREATED = TriggerCreated(routine_id=ROUTINE, kind="schedule", settings=EVERY_HOUR, next_at=NOON)


def hours(first, many):
    return tuple(first + n * HOUR for n in range(many))


# What is due


def test_nothing_is_due_before_its_time():
    assert trigger.due(HOURLY, NOON, NOON - INSTANT, "skip_missed") is None


@pytest.mark.parametrize("policy", ["skip_missed", "enqueue_missed_with_cap"])
@pytest.mark.parametrize("late", [timedelta(), INSTANT, timedelta(seconds=59), timedelta(seconds=60)])
def test_up_to_sixty_seconds_late_is_on_time(policy, late):
    assert trigger.due(HOURLY, NOON, NOON + late, policy) == trigger.Due(fire=(NOON,), missed=None, next_at=NOON + HOUR)


def test_later_than_the_grace_is_missed():
    due = trigger.due(HOURLY, NOON, NOON + MINUTE + INSTANT, "skip_missed")

    missed = TriggerMissed(first=NOON, last=NOON, count=1, reason="skip_missed", next_at=NOON + HOUR)
    assert due == trigger.Due(fire=(), missed=missed, next_at=NOON + HOUR)


def test_later_than_the_grace_is_made_up_for_where_the_policy_says_so():
    due = trigger.due(HOURLY, NOON, NOON + MINUTE + INSTANT, "enqueue_missed_with_cap")

    assert due == trigger.Due(fire=(NOON,), missed=None, next_at=NOON + HOUR)


def test_two_occurrences_within_the_grace_both_run():
    due = trigger.due(MINUTELY, NOON, NOON + MINUTE, "skip_missed")

    assert due == trigger.Due(fire=(NOON, NOON + MINUTE), missed=None, next_at=NOON + 2 * MINUTE)


def test_skip_missed_drops_all_that_is_late_and_runs_what_is_on_time():
    due = trigger.due(HOURLY, NOON, NOON + 40 * HOUR, "skip_missed")

    missed = TriggerMissed(first=NOON, last=NOON + 39 * HOUR, count=40, reason="skip_missed", next_at=NOON + 41 * HOUR)
    assert due == trigger.Due(fire=(NOON + 40 * HOUR,), missed=missed, next_at=NOON + 41 * HOUR)


def test_catching_up_runs_the_oldest_first():
    due = trigger.due(HOURLY, NOON, NOON + 3 * HOUR + 10 * MINUTE, "enqueue_missed_with_cap")

    assert due == trigger.Due(fire=hours(NOON, 4), missed=None, next_at=NOON + 4 * HOUR)


def test_exactly_twenty_five_missed_are_all_made_up_for():
    due = trigger.due(HOURLY, NOON, NOON + 24 * HOUR + 10 * MINUTE, "enqueue_missed_with_cap")

    assert due == trigger.Due(fire=hours(NOON, 25), missed=None, next_at=NOON + 25 * HOUR)


def test_the_twenty_sixth_is_dropped():
    due = trigger.due(HOURLY, NOON, NOON + 25 * HOUR + 10 * MINUTE, "enqueue_missed_with_cap")

    dropped = NOON + 25 * HOUR
    missed = TriggerMissed(first=dropped, last=dropped, count=1, reason="catch_up_cap", next_at=NOON + 26 * HOUR)
    assert due == trigger.Due(fire=hours(NOON, 25), missed=missed, next_at=NOON + 26 * HOUR)


def test_forty_missed_hours_give_twenty_five_runs_and_fifteen_dropped():
    due = trigger.due(HOURLY, NOON, NOON + 39 * HOUR + 10 * MINUTE, "enqueue_missed_with_cap")

    missed = TriggerMissed(
        first=NOON + 25 * HOUR,
        last=NOON + 39 * HOUR,
        count=15,
        reason="catch_up_cap",
        next_at=NOON + 40 * HOUR,
    )
    assert due == trigger.Due(fire=hours(NOON, 25), missed=missed, next_at=NOON + 40 * HOUR)


def test_a_schedule_denser_than_hourly_is_made_up_for_too():
    due = trigger.due(MINUTELY, NOON, NOON + 10 * MINUTE, "enqueue_missed_with_cap")

    assert due.fire == tuple(NOON + n * MINUTE for n in range(11))


def test_a_year_of_missed_minutes_is_counted_and_not_walked():
    due = trigger.due(MINUTELY, NOON, NOON + timedelta(days=365), "skip_missed")

    assert due.missed == TriggerMissed(
        first=NOON,
        last=NOON + timedelta(days=365) - 2 * MINUTE,
        count=365 * 24 * 60 - 1,
        reason="skip_missed",
        next_at=NOON + timedelta(days=365) + MINUTE,
    )


def test_a_missed_night_without_its_wall_time_counts_once():
    amsterdam = Cron("30 2 * * *", "Europe/Amsterdam")
    before = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)
    after_gap = datetime(2026, 3, 29, 1, tzinfo=UTC)

    due = trigger.due(amsterdam, before, datetime(2026, 3, 29, 12, tzinfo=UTC), "skip_missed")

    next_at = datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    missed = TriggerMissed(first=before, last=after_gap, count=2, reason="skip_missed", next_at=next_at)
    assert due == trigger.Due(fire=(), missed=missed, next_at=next_at)


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
    with pytest.raises(Unacceptable, match=message):
        trigger.create(ROUTINE, "schedule", settings, NOON)


@pytest.mark.parametrize("changes", [{"cron_expression": "0 9 31 2 *"}, {"timezone": "Europe/Atlantis"}])
def test_a_schedule_that_cannot_be_followed_is_refused(changes):
    with pytest.raises(BadSchedule):
        trigger.create(ROUTINE, "schedule", replace(EVERY_HOUR, **changes), NOON)


def test_an_edit_that_changes_nothing_still_starts_the_schedule_anew():
    found = given(trigger.evolve, CREATED)

    assert [TriggerUpdated(settings=EVERY_HOUR, next_at=NOON + HOUR)] == trigger.update(found, EVERY_HOUR, NOON)


def test_an_edit_keeps_the_kind():
    found = given(trigger.evolve, *trigger.create(ROUTINE, "api", TriggerSettings(), NOON))

    assert [TriggerUpdated(settings=TriggerSettings())] == trigger.update(found, EVERY_HOUR, NOON)


def test_resuming_goes_on_from_now():
    found = given(trigger.evolve, CREATED)

    assert [TriggerRescheduled(next_at=NOON + 6 * HOUR)] == trigger.reschedule(found, NOON + 5 * HOUR)


def test_resuming_means_nothing_to_an_api_trigger():
    found = given(trigger.evolve, *trigger.create(ROUTINE, "api", TriggerSettings(), NOON))

    assert [] == trigger.reschedule(found, NOON)
    assert trigger.schedule_of(found) is None


def test_the_schedule_of_a_trigger_is_its_newest():
    edited = TriggerUpdated(settings=replace(EVERY_HOUR, timezone="Asia/Kolkata"), next_at=NOON)

    assert trigger.schedule_of(given(trigger.evolve, CREATED, edited)) == Cron("0 * * * *", "Asia/Kolkata")


def test_deleting_twice_is_deleting_once():
    found = given(trigger.evolve, CREATED)

    assert [TriggerDeleted()] == trigger.delete(found)
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
