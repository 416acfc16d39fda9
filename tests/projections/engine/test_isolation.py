import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, OperationalError

from application.event_store.postgres_errors import ClockDiffers
from projections.engine import isolation


@pytest.mark.parametrize("refusal", [IntegrityError("taken"), ClockDiffers("six minutes")])
def test_a_database_that_refuses_what_was_to_be_recorded_is_not_away(refusal):
    assert not isolation.is_away(refusal)


@pytest.mark.parametrize("error", [psycopg.OperationalError("gone"), OperationalError("gone")])
def test_a_database_that_gives_no_answer_is_away(error):
    assert isolation.is_away(error)
