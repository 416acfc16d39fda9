"""Rows that could not be settled rest for a while, by the database's clock, whatever that does."""

from datetime import timedelta
from uuid import uuid4

from processes.scheduler.quarantine import REST, Quarantine
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
