"""What a request is told when the database goes away in the midst of it."""

from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from projections.engine.positions import Lagging
from web.http.backend import Changed
from web.jetty import runs


class Away:
    def __init__(self, error):
        self._error = error

    def consistent_read(self, *_models, **_):
        raise self._error


@pytest.mark.parametrize(
    "error",
    [PoolTimeout(), psycopg.OperationalError(), psycopg.errors.ReadOnlySqlTransaction(), Lagging(["issues"], 3)],
)
def test_a_change_that_is_recorded_is_called_so_though_it_cannot_be_read_any_more(error):
    """ "Try again" would make it twice."""
    changed = Changed(Away(error), ("issues",), None, position=7)  # type: ignore[arg-type]

    with pytest.raises(Lagging) as lagging:
        changed.read(lambda _conn: None)

    assert 7 == lagging.value.recorded


@pytest.mark.parametrize("error", [PoolTimeout(), psycopg.OperationalError()])
def test_whoever_waits_for_a_run_goes_on_waiting_while_the_database_is_away(error):
    assert runs._show_trajectory(Away(error), uuid4()) is None  # type: ignore[arg-type]
