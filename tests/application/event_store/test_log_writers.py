"""The log says which login recorded an event, and when, whatever the writer says."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg

from domain.events import AgentPaused
from domain.recorded import Recorded
from routines import bootstrap
from routines.settings import Settings
from tests.application.event_store.writers import body_at, text


def test_the_log_says_which_login_recorded_an_event_and_when(writers_fixture, postgres):
    with psycopg.connect(writers_fixture.urls("postgres"), autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS web_of_acme")
        owner.execute("CREATE ROLE web_of_acme LOGIN IN ROLE routines_service")
    try:
        start = datetime.now(UTC)
        positions = [
            writers_fixture.append((uuid4(), "agent.paused", body_at(text(datetime.now(UTC)))), login=login)
            for login in ("routines_service", "web_of_acme", "postgres")
        ]
        rows = {row.position: row for row in writers_fixture.log()}
    finally:
        with psycopg.connect(writers_fixture.urls("postgres"), autocommit=True) as owner:
            owner.execute("DROP ROLE web_of_acme")

    assert [rows[at].recorded_by for at in positions] == ["routines_service", "web_of_acme", "postgres"]
    assert all(start - timedelta(seconds=1) <= rows[at].recorded_at for at in positions)


def test_the_service_acting_for_another_login_is_recorded_as_that_login(writers_fixture):
    """Whoever the settings log in as: `SET ROLE` hides nobody."""
    with bootstrap.system(Settings(database_url=writers_fixture.urls("postgres"))) as system:
        position = system.store.append(
            [Recorded(stream_id=uuid4(), version=1, at=system.clock(), actor="x", company_id=None, event=AgentPaused())]
        )

    assert writers_fixture.log()[position - 1].recorded_by == "postgres"
