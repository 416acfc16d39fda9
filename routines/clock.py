"""The clock of all processes. Its time is the database's, so the clocks of the machines need not agree."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

MAX_AGE_S = 1.0  # after which the database is asked again


class DatabaseClock:
    """
    Returns Postgres's time: read at most once a second, and carried on by the monotonic clock in between.

    It is never ahead of Postgres, because the time between Postgres's reading and its arrival here is not added.
    """

    def __init__(self, pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]]) -> None:
        self._pool = pool
        self._sample = (float("-inf"), datetime.min.replace(tzinfo=UTC))

    def __call__(self) -> datetime:
        """Return the present time, in UTC."""
        sampled_at, reading = self._sample
        age_s = time.monotonic() - sampled_at
        if not 0 <= age_s < MAX_AGE_S:
            reading, age_s = self._read(), 0.0
        return reading + timedelta(seconds=age_s)

    def carry_on(self) -> datetime:
        """Return the present time without asking Postgres, however old the last reading is; an event loop is not held up."""
        sampled_at, reading = self._sample
        return self() if sampled_at == float("-inf") else reading + timedelta(seconds=time.monotonic() - sampled_at)

    @property
    def is_outdated(self) -> bool:
        """Whether the next call asks Postgres."""
        return not 0 <= time.monotonic() - self._sample[0] < MAX_AGE_S

    def _read(self) -> datetime:
        with self._pool.connection() as conn:
            row = conn.execute("SELECT clock_timestamp()").fetchone()
        reading: datetime = row[0].astimezone(UTC) if row else datetime.min.replace(tzinfo=UTC)
        self._sample = (time.monotonic(), reading)
        return reading
