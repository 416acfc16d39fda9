"""The one clock. Time is the database's, so that machines need not agree."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

MAX_AGE_S = 1.0


class DatabaseClock:
    """
    Postgres's time, asked at most once a second and carried on by the monotonic clock in between.

    It is never early: the time between Postgres's reading and our receipt of it is left out.
    """

    def __init__(self, pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]]) -> None:
        self._pool = pool
        self._sample = (float("-inf"), datetime.min.replace(tzinfo=UTC))

    def __call__(self) -> datetime:
        """Now, in UTC."""
        taken_at, reading = self._sample
        age_s = time.monotonic() - taken_at
        if not 0 <= age_s < MAX_AGE_S:
            reading, age_s = self._read(), 0.0
        return reading + timedelta(seconds=age_s)

    def _read(self) -> datetime:
        with self._pool.connection() as conn:
            row = conn.execute("SELECT clock_timestamp()").fetchone()
        reading: datetime = row[0].astimezone(UTC) if row else datetime.min.replace(tzinfo=UTC)
        self._sample = (time.monotonic(), reading)
        return reading
