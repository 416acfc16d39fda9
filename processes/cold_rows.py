"""Moving rows of what has been over for long into cold tables, beside the projector's work."""

import math
import time
from collections.abc import Sequence
from datetime import timedelta

import psycopg
import structlog

from processes.wakeup import Connection
from projections.engine import cold, isolation
from projections.engine.read_model import ReadModel

COLD_CHECK_S = 10.0  # between two looks for rows that have become old
COLD_REST = 9  # times what a move of such rows took, until the next one: a tenth of the time at most

log = structlog.get_logger(process="projector")


class ColdRowMover:
    """
    Moves the rows of what has been over for `age` into the cold tables, a few at a time; never, if it is None.

    That takes a tenth of the time at most. A model whose rows cannot move is left as it is until all others are done, and
    the log says so.
    """

    def __init__(self, age: timedelta | None) -> None:
        self._age = age
        self._next_at = 0.0
        self._left_names = set[str]()

    def step(self, conn: Connection, models: Sequence[ReadModel]) -> float:
        """Move some rows if it is time for that; return for how many seconds there is nothing to do then."""
        if self._age is None:
            return math.inf
        if (began := time.monotonic()) >= self._next_at:
            until = cold.last_position_before(conn, self._age)
            # Each has its turn, whatever the others have to move.
            moved = [self._has_moved(conn, model, until) for model in models]
            ended = time.monotonic()
            self._next_at = ended + ((ended - began) * COLD_REST if any(moved) else COLD_CHECK_S)
            if not any(moved):
                self._left_names.clear()
        return self._next_at - began

    def _has_moved(self, conn: Connection, model: ReadModel, until: int) -> bool:
        if model.name in self._left_names:
            return False
        try:
            return cold.move(conn, model, until)
        except psycopg.errors.LockNotAvailable:  # somebody vacuums the table that is to have a cold one
            self._left_names.add(model.name)
        except psycopg.Error as error:
            if conn.closed or isolation.is_away(error):
                raise
            self._left_names.add(model.name)
            log.exception("old_rows_not_moved", read_model=model.name)
        return False
