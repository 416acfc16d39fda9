"""The slot: which execution issues are live, read from its last count on (contract 5.2)."""

from functools import reduce
from itertools import pairwise
from uuid import UUID

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from domain.events import SlotCounted, SlotFreed, SlotTaken, stored_name
from domain.routines import slot
from domain.routines.slot import EMPTY, Slot
from domain.values import LiveWork
from tests.given import given

ROUTINE = UUID(int=1)


def live_work(number):
    return LiveWork(issue_id=UUID(int=100 + number), run_id=UUID(int=200 + number))


def slot_taken(number):
    return SlotTaken(routine_id=ROUTINE, live=live_work(number))


def slot_freed(number):
    return SlotFreed(routine_id=ROUTINE, issue_id=live_work(number).issue_id)


def fold(events, state=EMPTY):
    return reduce(slot.evolve, events, state)


def read(stream):
    """What a reader takes of a stream."""
    counts = [place for place, event in enumerate(stream) if stored_name(event) == slot.READ_FROM]
    return stream[counts[-1] :] if counts else stream


def take_and_free(actions):
    """The stream that taking and freeing in this order leaves, and the fold of all of it."""
    stream, state = [], EMPTY
    for number, takes in actions:
        events = (
            slot.take_slot(state, ROUTINE, live_work(number))
            if takes
            else slot.free_slot(state, ROUTINE, live_work(number).issue_id)
        )
        stream += events
        state = fold(events, state)
    return stream, state


def test_an_empty_slot_has_no_live_issue():
    assert EMPTY == Slot(live=(), since_count=0)


def test_taking_and_freeing_are_recorded():
    assert [slot_taken(1)] == slot.take_slot(EMPTY, ROUTINE, live_work(1))
    assert [slot_freed(1)] == slot.free_slot(given(slot.evolve, slot_taken(1)), ROUTINE, live_work(1).issue_id)


def test_taking_what_is_taken_already_is_nothing():
    assert [] == slot.take_slot(given(slot.evolve, slot_taken(1)), ROUTINE, live_work(1))


def test_freeing_what_is_free_is_nothing():
    assert [] == slot.free_slot(given(slot.evolve, slot_taken(1)), ROUTINE, live_work(2).issue_id)


def test_live_issues_stand_oldest_first():
    assert given(slot.evolve, slot_taken(1), slot_taken(2), slot_taken(3), slot_freed(2)).live == (
        live_work(1),
        live_work(3),
    )


def test_a_count_comes_before_the_change_that_made_it_due():
    busy = Slot(live=(live_work(1),), since_count=slot.COUNT_EVERY)

    assert [SlotCounted(routine_id=ROUTINE, live=(live_work(1),)), slot_taken(2)] == slot.take_slot(
        busy, ROUTINE, live_work(2)
    )
    assert [SlotCounted(routine_id=ROUTINE, live=(live_work(1),)), slot_freed(1)] == slot.free_slot(
        busy, ROUTINE, live_work(1).issue_id
    )


def test_a_count_says_all_there_is_whatever_was_read_before():
    event = SlotCounted(routine_id=ROUTINE, live=(live_work(7), live_work(8)))

    assert given(slot.evolve, slot_freed(3), slot_taken(4), event, slot_freed(7)) == Slot(
        live=(live_work(8),), since_count=1
    )


ACTIONS = st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=400)


@settings(max_examples=60)
@for_all(ACTIONS)
def test_what_is_read_of_a_stream_says_what_all_of_it_says(actions):
    stream, state = take_and_free(actions)

    assert fold(read(stream)) == state


@settings(max_examples=60)
@for_all(ACTIONS)
def test_live_are_those_taken_and_not_freed(actions):
    expected = {}
    for number, takes in actions:
        if takes:
            expected.setdefault(number, live_work(number))
        else:
            expected.pop(number, None)

    assert take_and_free(actions)[1].live == tuple(expected.values())


def test_of_a_thousand_firings_only_the_last_are_read():
    stream, state = take_and_free([(number // 2 % 50, not number % 2) for number in range(1000)] + [(51, True)])

    assert len(stream) > 1000
    assert len(read(stream)) <= slot.COUNT_EVERY + 1
    assert fold(read(stream)) == state == Slot(live=(live_work(51),), since_count=state.since_count)


def test_a_large_count_comes_seldom_but_never_too_late():
    stream, _ = take_and_free([(number, True) for number in range(300)])

    counts = [place for place, event in enumerate(stream) if isinstance(event, SlotCounted)]
    distances = [later - earlier - 1 for earlier, later in pairwise(counts)]

    assert distances == sorted(distances)
    assert {slot.COUNT_AT_LATEST} == set(distances[-3:])
