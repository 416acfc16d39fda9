"""
How several projectors share the read models between them: each holds a place, and takes the models of its place.

A place is an advisory lock of Postgres, so it ends with the connection of whoever holds it. All see the same places, so they
divide in the same way without speaking to each other. For a moment after one has come or gone they may see different ones:
then two move the same model in turns, since each batch holds the lock of its position, or a model waits.

Processes of two versions, as there are while an installation is upgraded, may move different models, and would divide them in
different ways. So each version has places of its own, and divides all models by these.
"""

import time
from binascii import crc32
from collections.abc import Sequence
from typing import NamedTuple

from projections.engine.read_model import ReadModel
from projections.engine.table import Connection

# What the models cost beside each other: tenths of a microsecond an event, of the process and of Postgres together, in a log of
# routines that are made and fired; others cost OTHERS.
COSTS = {
    "event_index": 180,
    "routines": 120,
    "troubles": 70,
    "triggers_due": 50,
    "occurrences": 45,
    "issues": 45,
    "routine_versions": 40,
    "run_history": 40,
    "firing_metrics": 20,
    "deliveries": 10,
    "stored_bytes": 10,
    "deadlines": 10,
}
OTHERS = 3
PLACES = 64
# A place whose holder has sent nothing for so long counts as free, unless Postgres is still at work for it; a living projector
# sends something every LOOK_S.
SILENT_S = 10.0
LOOK_S = 1.0  # how often a projector looks for the others; the models of one that is gone wait at most so long
# Places are advisory locks with two numbers: the first is equal for projectors that divide the same models, the
# second is the place.
TAKE = "SELECT place FROM generate_series(1, %s) place WHERE pg_try_advisory_lock(%s, place) LIMIT 1"
# A connection that was silent for too long is left out: its process may be dead without Postgres having noticed, or frozen.
TAKEN = """
    SELECT objid::int FROM pg_locks JOIN pg_stat_activity a USING (pid)
    WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (a.wait_event_type IS DISTINCT FROM 'Client' OR a.state_change > clock_timestamp() - make_interval(secs => %s))
    ORDER BY objid"""


class Share(NamedTuple):
    """One of `many` shares of the read models, by its number, from 0."""

    number: int
    many: int

    def of(self, models: Sequence[ReadModel]) -> list[ReadModel]:
        """
        Return the models of this share: together the shares are all models, and each costs about as much.

        The models that one process polls stay together, since it moves them together.
        """
        groups = dict[str, list[ReadModel]]()
        for model in models:
            groups.setdefault(model.polled_by or f"model {model.name}", []).append(model)
        costs, own = [0] * self.many, list[ReadModel]()
        for group in sorted(groups.values(), key=_cost_of, reverse=True):
            least = costs.index(min(costs))
            costs[least] += _cost_of(group)
            if least == self.number:
                own += group
        return own


ALL = Share(0, 1)


def _cost_of(models: Sequence[ReadModel]) -> int:
    return sum(COSTS.get(model.name, OTHERS) for model in models)


def _who_divides_alike(models: Sequence[ReadModel]) -> int:
    """Return a number of the processes that may move the same of these models, and divide them in the same way."""
    dividing = [(model.name, model.schema_hash, model.polled_by) for model in models]
    return crc32(repr((dividing, sorted(COSTS.items()))).encode()) >> 1


class ProjectorPlace:
    """The place of a process among the projectors of its version, held by its connection."""

    def __init__(self, conn: Connection, models: Sequence[ReadModel]) -> None:
        """Take the first place that is free."""
        self._conn = conn
        self._class = _who_divides_alike(models)
        self._place = self._take_place()
        self._look_at = 0.0
        self._share: Share | None = None

    def share(self) -> Share | None:
        """Return the share of this place, as it was at most LOOK_S ago; None while there is no free place."""
        if time.monotonic() >= self._look_at:
            self._place = self._place or self._take_place()
            self._share = self._find_share() if self._place else None
            self._look_at = time.monotonic() + LOOK_S
        return self._share

    def _take_place(self) -> int | None:
        row: tuple[int] | None = self._conn.execute(TAKE, (PLACES, self._class)).fetchone()
        return row[0] if row else None

    def _find_share(self) -> Share:
        taken_places = [place for (place,) in self._conn.execute(TAKEN, (self._class, SILENT_S), prepare=True)]
        return Share(taken_places.index(self._place), len(taken_places))
