"""What a backfill may ask for, and how it goes through its range."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from domain.errors import Conflict, ImpossibleHistory, InvalidField
from domain.events import BackfillAdvanced, BackfillCancelled, BackfillCompleted, BackfillRequested
from domain.routines import backfill
from domain.routines.backfill import Backfill
from domain.schedule.cron_schedule import parse_cron
from domain.schedule.plan import INSTANT, Plan

ID = UUID(int=1)
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)
HOURLY = Plan(seed=ID, cron=parse_cron("0 * * * *"))
REQUESTED = BackfillRequested(
    trigger_id=ID, routine_id=ID, since=MONDAY, until=MONDAY + DAY, count=25, overlap="one_at_a_time"
)


def fold_events(*events):
    state = None
    for event in events:
        state = backfill.evolve(state, event)
    return state


def test_a_range_has_the_occurrences_from_its_begin_to_its_end_both_included():
    assert 25 == backfill.count(HOURLY, MONDAY, MONDAY + DAY)
    assert 1 == backfill.count(HOURLY, MONDAY, MONDAY)
    assert 24 == backfill.count(HOURLY, MONDAY + INSTANT, MONDAY + DAY)


@pytest.mark.parametrize("until", [MONDAY + timedelta(minutes=30), MONDAY - DAY])
def test_a_range_without_an_occurrence_is_a_misfit(until):
    with pytest.raises(InvalidField) as refusal:
        backfill.count(HOURLY, MONDAY + INSTANT, until)

    assert "from" == refusal.value.field


def test_a_range_with_too_many_occurrences_says_how_many_it_has():
    assert backfill.MOST == backfill.count(HOURLY, MONDAY, MONDAY + timedelta(hours=backfill.MOST - 1))

    with pytest.raises(InvalidField, match="5,001 occurrences, and a backfill at most 5,000") as refusal:
        backfill.count(HOURLY, MONDAY, MONDAY + timedelta(hours=backfill.MOST))

    assert "to" == refusal.value.field


def test_it_begins_with_the_first_moment_of_its_range_and_goes_on_from_where_it_came_to():
    begun = fold_events(REQUESTED)
    advanced = fold_events(REQUESTED, BackfillAdvanced(reached=MONDAY, fired=1, left_out=0, waits=True))

    assert isinstance(begun, Backfill)
    assert MONDAY - INSTANT == begun.reached
    assert MONDAY == advanced.reached
    assert not advanced.ended


@pytest.mark.parametrize("end", [BackfillCompleted(), BackfillCancelled(reason="cancelled")])
def test_one_that_is_over_can_neither_be_cancelled_nor_go_on(end):
    over = fold_events(REQUESTED, end)

    with pytest.raises(Conflict, match="The backfill is over"):
        backfill.cancel(over, "cancelled")
    with pytest.raises(ImpossibleHistory):
        backfill.evolve(over, BackfillAdvanced(reached=MONDAY, fired=1, left_out=0))


def test_one_that_goes_on_can_be_cancelled():
    assert [BackfillCancelled(reason="cancelled")] == backfill.cancel(fold_events(REQUESTED), "cancelled")
