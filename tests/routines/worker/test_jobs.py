"""Jobs at once, each in a thread: one that fails stops the others, and its error is raised in the end."""

from threading import Event

import pytest

from routines.worker.jobs import Jobs


def test_a_job_that_fails_stops_all_others_and_its_error_is_raised():
    stop, told = Event(), []
    jobs = Jobs(2, stop, told.append)

    def fail():
        raise ValueError("no room")

    assert 1 == jobs.start(iter([fail]))

    with pytest.raises(ValueError, match="no room"):
        jobs.finish()
    assert stop.is_set()
    assert [] == told
