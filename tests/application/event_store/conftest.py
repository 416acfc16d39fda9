"""What the tests of the event store share."""

import pytest


@pytest.fixture
def log(system):
    """Everything in the log as it is stored."""

    def rows():
        with system.pool.connection() as conn:
            events = conn.execute(
                "SELECT position, stream_id, version, name, body, recorded_at, hash, recorded_by FROM log.events ORDER BY position"
            ).fetchall()
            head = conn.execute("SELECT position, hash FROM log.head").fetchone()
        return events, head

    return rows
