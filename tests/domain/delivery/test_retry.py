"""When the next attempt of a delivery is made."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given as with_any
from hypothesis import strategies as st

from domain.delivery import retry

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
ID = UUID(int=7)


def test_all_attempts_take_three_days():
    assert timedelta(days=2, hours=22) <= timedelta(seconds=sum(retry.PAUSES_S)) <= timedelta(days=3)


@with_any(st.uuids(), st.integers(1, retry.MOST_ATTEMPTS - 1))
def test_a_pause_is_that_of_the_table_and_a_fifth_more_at_most_the_same_each_time(id_, attempt):
    pause = retry.next_at(id_, attempt, NOW) - NOW

    least = timedelta(seconds=retry.PAUSES_S[attempt - 1])
    assert least <= pause <= least * 1.2
    assert retry.next_at(id_, attempt, NOW) == NOW + pause


def test_what_failed_together_is_tried_again_at_different_moments():
    pauses = sorted((retry.next_at(UUID(int=number), 1, NOW) - NOW).total_seconds() for number in range(100))

    assert len(set(pauses)) == 100
    assert (pauses[0] < 5.1, pauses[-1] > 5.9) == (True, True)


@pytest.mark.parametrize(
    ("wish", "pause"),
    [(timedelta(seconds=1), 5), (timedelta(minutes=10), 600), (timedelta(days=9), 86_400)],
)
def test_retry_after_counts_where_it_is_longer_up_to_a_day(wish, pause):
    wait = retry.next_at(ID, 1, NOW, wish) - NOW

    assert timedelta(seconds=pause) <= wait <= max(timedelta(seconds=pause), timedelta(seconds=6))
