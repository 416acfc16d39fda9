"""Triggers due: which schedules are to be looked at, and when the next one is."""

from datetime import timedelta

import pytest

from application.request_bodies.triggers import ScheduleDraft, TriggerPatch
from application.use_cases import triggers
from domain.routines.trigger import DueTrigger
from projections.firing import triggers_due
from tests.projections.story import DAY, HOUR, MINUTE, START

ZERO = START - DAY
ONE = START.replace(hour=13, minute=0, second=0)
LATER = START + DAY
INSTANT = timedelta(microseconds=1)


@pytest.fixture
def routine(story):
    acme = story.company()
    return story.routine(acme, story.agent(acme))


def due_triggers(story, now=LATER, **options):
    story.project_all()
    return triggers_due.due(story.conn, now, **({"limit": 100} | options))


def row(story, trigger_id, version, next_at):
    """The row of a schedule of the routine's company."""
    (created, *_) = story.store.load([trigger_id])[trigger_id]
    return DueTrigger(
        trigger_id=trigger_id,
        trigger_version=version,
        routine_id=created.event.routine_id,
        company_id=created.company_id,
        next_at=next_at,
    )


def test_a_schedule_is_due_at_its_time_and_not_before(story, routine):
    hourly = story.schedule(routine)

    assert due_triggers(story, ONE.replace(hour=12, minute=59, second=59, microsecond=999_999)) == []
    assert due_triggers(story, ONE) == [row(story, hourly, 1, ONE)]
    assert triggers_due.next_due(story.conn, ZERO) == ONE


def test_nothing_is_due_where_there_is_no_schedule(story, routine):
    story.by_code(routine)
    story.webhook(routine)

    assert due_triggers(story) == []
    assert triggers_due.next_due(story.conn, ZERO) is None


def test_a_disabled_schedule_is_not_due_until_it_is_enabled(story, routine):
    hourly = story.schedule(routine, enabled=False)

    assert due_triggers(story) == []
    story.passes(HOUR)
    story.ask(triggers.update, hourly, TriggerPatch(enabled=True))

    assert due_triggers(story) == [row(story, hourly, 2, ONE + HOUR)]


def test_a_deleted_schedule_is_never_due(story, routine):
    story.ask(triggers.delete, story.schedule(routine))

    assert due_triggers(story) == []


@pytest.mark.parametrize("status", ["paused", "archived"])
def test_only_the_schedules_of_active_routines_are_due(story, routine, status):
    story.schedule(routine)
    story.project_all()
    story.change(routine, status=status)
    story.schedule(routine)

    assert due_triggers(story) == []
    assert triggers_due.next_due(story.conn, ZERO) is None


def test_a_resumed_routine_is_due_from_then_on(story, routine):
    hourly = story.schedule(routine)
    story.change(routine, status="paused")
    story.project_all()
    story.passes(3 * HOUR)
    story.change(routine, status="active")

    assert due_triggers(story) == [row(story, hourly, 2, ONE + 3 * HOUR)]


def test_pausing_and_resuming_within_one_batch_gives_the_same(story, routine):
    hourly = story.schedule(routine)
    for status in ("paused", "active", "paused", "active"):
        story.change(routine, status=status)

    assert due_triggers(story) == [row(story, hourly, 3, ONE)]


def test_a_firing_moves_the_schedule_on_and_keeps_its_version(story, routine):
    hourly = story.schedule(routine)
    story.passes(HOUR)
    story.tick()

    assert due_triggers(story) == [row(story, hourly, 1, ONE + HOUR)]


def test_what_was_missed_moves_the_schedule_on_with_a_new_version(story, routine):
    hourly = story.schedule(routine)
    story.passes(DAY + 5 * MINUTE)
    story.tick()

    assert due_triggers(story, LATER + DAY) == [row(story, hourly, 2, ONE + DAY)]


def test_a_run_by_hand_that_names_the_schedule_does_not_move_it(story, routine):
    hourly = story.schedule(routine)
    story.fire(routine, trigger_id=hourly)

    assert [one.next_at for one in due_triggers(story)] == [ONE]


def test_the_longest_waiting_stand_first(story, routine):
    story.schedule(routine, "30 12 * * *")
    for _ in range(4):
        story.schedule(routine)

    whole = due_triggers(story)

    assert whole == sorted(whole, key=lambda row: (row.next_at, row.trigger_id))
    assert whole[0].next_at == START.replace(minute=30, second=0)
    assert whole[:2] == due_triggers(story, limit=2)


def test_jitter_makes_a_schedule_due_a_little_later_and_keeps_its_occurrence(story, routine):
    hourly = story.schedule(routine, jitter_sec=3000)
    at = triggers_due.next_due(story.conn, ZERO) if due_triggers(story) else None

    assert ONE < at < ONE + HOUR
    assert due_triggers(story, at - INSTANT) == []
    assert [(hourly, ONE)] == [(due_row.trigger_id, due_row.next_at) for due_row in due_triggers(story, at)]


def test_what_has_happened_once_is_never_due_again(story, routine):
    once = story.ask(triggers.create, routine, ScheduleDraft(run_at=START + MINUTE)).trigger_id
    assert [once] == [due_row.trigger_id for due_row in due_triggers(story)]
    story.passes(MINUTE)
    story.tick()

    assert due_triggers(story) == []
    assert triggers_due.next_due(story.conn, ZERO) is None


def test_a_webhook_is_never_due(story, routine):
    door = story.webhook(routine)
    story.rotate(door.trigger_id)

    assert due_triggers(story) == []


def test_a_restored_schedule_is_due_from_then_on(story, routine):
    kept, gone = story.schedule(routine), story.schedule(routine)
    story.change(routine, status="paused")
    story.ask(triggers.delete, gone)
    added = story.schedule(routine, "* * * * *")
    story.project_all()
    story.passes(3 * HOUR)
    story.restore(routine, 3)

    row_by_trigger = {one.trigger_id: one for one in due_triggers(story)}

    later = ONE + 3 * HOUR
    assert added not in row_by_trigger
    assert row_by_trigger[kept] == row(story, kept, 2, later)
    assert row_by_trigger[gone] == row(story, gone, 3, later)


def test_restoring_a_paused_routine_stops_its_schedules(story, routine):
    story.schedule(routine)
    story.change(routine, status="paused")
    story.change(routine, status="active")
    story.project_all()
    story.restore(routine, 3)

    assert due_triggers(story) == []
