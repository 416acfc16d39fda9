"""What the tests of the event store share."""

import psycopg
import pytest

from routines import bootstrap
from routines.settings import Settings
from tests.application.event_store.writers import WritersFixture
from tests.running import copied_database


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


@pytest.fixture(scope="module")
def writers_fixture(postgres, template):
    with copied_database(postgres, template) as name:
        with psycopg.connect(postgres.url("postgres", name), autocommit=True) as owner:
            owner.execute("UPDATE log.rules SET max_clock_difference = DEFAULT")
        with bootstrap.system(Settings(database_url=postgres.url("routines_service", name))) as system:
            yield WritersFixture(system, lambda login: postgres.url(login, name))
