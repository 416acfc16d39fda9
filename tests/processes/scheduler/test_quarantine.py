"""Rows that could not be settled rest for a while, by the database's clock, whatever that does."""

from datetime import timedelta
from uuid import uuid4

from processes.scheduler.quarantine import PATIENCE, REST, Quarantine
from tests.processes.due import NOON, Clock


def test_a_row_rests_and_is_tried_again():
    clock, row = Clock(NOON), uuid4()
    quarantine = Quarantine(clock)
    quarantine.rest([row])

    quarantine.release(NOON)
    assert quarantine.holds(row)
    quarantine.release(NOON + REST)
    assert not quarantine.holds(row)


def test_a_clock_that_is_set_back_by_hours_prolongs_no_rest():
    clock, row = Clock(NOON + timedelta(hours=3)), uuid4()
    quarantine = Quarantine(clock)
    quarantine.rest([row])

    quarantine.release(NOON)

    assert not quarantine.holds(row)


def test_only_failures_in_a_row_are_too_many():
    row, other = uuid4(), uuid4()
    quarantine = Quarantine(Clock(NOON))

    failures = [quarantine.fail(row) for _ in range(PATIENCE - 1)]
    quarantine.succeed([row])
    failures += [quarantine.fail(row) for _ in range(PATIENCE)]

    assert [False] * (2 * PATIENCE - 2) + [True] == failures
    assert not quarantine.fail(other)
    assert quarantine.holds(row)
