"""Triggers due: which schedules are to be looked at, and when the next one is."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from application.commands import TriggerPatch
from application.use_cases import triggers
from domain.trigger import DueTrigger
from projections import triggers_due
from tests.projections.story import BEGINNING, DAY, HOUR, MINUTE, START

ZERO = START - DAY
ONE = START.replace(hour=13, minute=0, second=0)
LATER = START + DAY


@pytest.fixture
def routine(story):
    acme = story.company()
    return story.routine(acme, story.agent(acme))


def due(story, now=LATER, **options):
    story.project_all()
    return triggers_due.due(story.conn, now, **({"after": BEGINNING, "limit": 100} | options))


def test_a_schedule_is_due_at_its_time_and_not_before(story, routine):
    hourly = story.schedule(routine)

    assert due(story, ONE.replace(hour=12, minute=59, second=59, microsecond=999_999)) == []
    assert due(story, ONE) == [DueTrigger(trigger_id=hourly, trigger_version=1, routine_id=routine, next_at=ONE)]
    assert triggers_due.next_due(story.conn, ZERO) == ONE


def test_nothing_is_due_where_there_is_no_schedule(story, routine):
    story.by_code(routine)
    story.webhook(routine)

    assert due(story) == []
    assert triggers_due.next_due(story.conn, ZERO) is None


def test_a_disabled_schedule_is_not_due_until_it_is_enabled(story, routine):
    hourly = story.schedule(routine, enabled=False)

    assert due(story) == []
    story.passes(HOUR)
    story.ask(triggers.update, hourly, TriggerPatch(enabled=True))

    assert due(story) == [DueTrigger(trigger_id=hourly, trigger_version=2, routine_id=routine, next_at=ONE + HOUR)]


def test_a_deleted_schedule_is_never_due(story, routine):
    story.ask(triggers.delete, story.schedule(routine))

    assert due(story) == []


@pytest.mark.parametrize("status", ["paused", "archived"])
def test_only_the_schedules_of_active_routines_are_due(story, routine, status):
    story.schedule(routine)
    story.project_all()
    story.change(routine, status=status)
    story.schedule(routine)

    assert due(story) == []
    assert triggers_due.next_due(story.conn, ZERO) is None


def test_a_resumed_routine_is_due_from_then_on(story, routine):
    hourly = story.schedule(routine)
    story.change(routine, status="paused")
    story.project_all()
    story.passes(3 * HOUR)
    story.change(routine, status="active")

    assert due(story) == [DueTrigger(trigger_id=hourly, trigger_version=2, routine_id=routine, next_at=ONE + 3 * HOUR)]


def test_pausing_and_resuming_within_one_batch_gives_the_same(story, routine):
    hourly = story.schedule(routine)
    for status in ("paused", "active", "paused", "active"):
        story.change(routine, status=status)

    assert due(story) == [DueTrigger(trigger_id=hourly, trigger_version=3, routine_id=routine, next_at=ONE)]


def test_a_firing_moves_the_schedule_on_and_keeps_its_version(story, routine):
    hourly = story.schedule(routine)
    story.passes(HOUR)
    story.tick()

    assert due(story) == [DueTrigger(trigger_id=hourly, trigger_version=1, routine_id=routine, next_at=ONE + HOUR)]


def test_what_was_missed_moves_the_schedule_on_with_a_new_version(story, routine):
    hourly = story.schedule(routine)
    story.passes(DAY + 5 * MINUTE)
    story.tick()

    assert due(story, LATER + DAY) == [
        DueTrigger(trigger_id=hourly, trigger_version=2, routine_id=routine, next_at=ONE + DAY)
    ]


def test_a_run_by_hand_that_names_the_schedule_does_not_move_it(story, routine):
    hourly = story.schedule(routine)
    story.fire(routine, trigger_id=hourly)

    assert [one.next_at for one in due(story)] == [ONE]


def test_the_longest_waiting_stand_first_page_by_page(story, routine):
    story.schedule(routine, "30 12 * * *")
    for _ in range(4):
        story.schedule(routine)
    whole = due(story)

    pages, after = [], BEGINNING
    while page := due(story, after=after, limit=2):
        pages.append(page)
        after = (page[-1].next_at, page[-1].trigger_id)

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [row for page in pages for row in page] == whole
    assert whole == sorted(whole, key=lambda row: (row.next_at, row.trigger_id))
    assert whole[0].next_at == START.replace(minute=30, second=0)
    assert due(story, after=(datetime.max.replace(tzinfo=UTC), UUID(int=0))) == []


def test_a_webhook_is_never_due(story, routine):
    door = story.webhook(routine)
    story.rotate(door.trigger_id)

    assert due(story) == []


def test_a_restored_schedule_is_due_from_then_on(story, routine):
    kept, gone = story.schedule(routine), story.schedule(routine)
    story.change(routine, status="paused")
    story.ask(triggers.delete, gone)
    added = story.schedule(routine, "* * * * *")
    story.project_all()
    story.passes(3 * HOUR)
    story.restore(routine, 3)

    found = {one.trigger_id: one for one in due(story)}

    later = ONE + 3 * HOUR
    assert added not in found
    assert found[kept] == DueTrigger(trigger_id=kept, trigger_version=2, routine_id=routine, next_at=later)
    assert found[gone] == DueTrigger(trigger_id=gone, trigger_version=3, routine_id=routine, next_at=later)


def test_restoring_a_paused_routine_stops_its_schedules(story, routine):
    story.schedule(routine)
    story.change(routine, status="paused")
    story.change(routine, status="active")
    story.project_all()
    story.restore(routine, 3)

    assert due(story) == []
