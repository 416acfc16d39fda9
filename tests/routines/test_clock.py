from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from routines.clock import MAX_AGE_S, DatabaseClock

READING = datetime(2026, 12, 1, 9, tzinfo=UTC)


class StoppedPool:
    """Connections to a Postgres whose time stands still, and how often it was asked."""

    def __init__(self):
        self.questions = 0

    @contextmanager
    def connection(self):
        self.questions += 1
        yield self

    def execute(self, _query):
        return self

    def fetchone(self):
        return (READING,)


@pytest.fixture
def monotonic_seconds(monkeypatch):
    """What the monotonic clock shows, to be moved."""
    shown = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: shown[0])
    return shown


def test_postgres_is_asked_once_a_second_and_its_time_goes_on_in_between(monotonic_seconds):
    pool: Any = StoppedPool()
    tell_time = DatabaseClock(pool)
    assert READING == tell_time()
    monotonic_seconds[0] += 0.5 * MAX_AGE_S

    assert (READING + timedelta(seconds=0.5 * MAX_AGE_S), 1) == (tell_time(), pool.questions)
    assert not tell_time.is_outdated
    monotonic_seconds[0] += MAX_AGE_S
    assert tell_time.is_outdated
    assert (READING, 2) == (tell_time(), pool.questions)


def test_time_that_is_carried_on_asks_nobody_however_old_the_reading_is(monotonic_seconds):
    pool: Any = StoppedPool()
    tell_time = DatabaseClock(pool)
    assert (READING, 1) == (tell_time.carry_on(), pool.questions)
    monotonic_seconds[0] += 3_600

    assert (READING + timedelta(hours=1), 1) == (tell_time.carry_on(), pool.questions)
