"""
What one look at the service's health finds in the database, by one statement: the clock, schedules, read models, checkpoints.

Threads send it over a connection of the pool, the event loop over one of its own.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from projections.engine import database_state, positions
from projections.engine.positions import ReadModelStatus
from projections.firing import backlog
from projections.proof import log_tree, witnessing
from projections.proof.log_tree import WHOLE_LOG
from projections.proof.witnessing import WitnessStatus


class HealthFindings(NamedTuple):
    """What was found. `latest` is the latest time of the newest events after a position; None if there are none."""

    now: datetime  # by the database's clock
    latest: datetime | None
    position: int  # of the head of the log
    overdue_schedules: int
    are_checkpoints_refused: bool
    read_models: Sequence[ReadModelStatus]
    witnesses: Sequence[WitnessStatus]


def _array(query: str, struct: type[msgspec.Struct]) -> str:
    """Return SQL for the JSON of the rows of a query, which are those of a type."""
    names = ", ".join(f'"{name}"' for name in struct.__struct_encode_fields__)
    return f"(SELECT coalesce(json_agg(s), '[]')::text FROM ({query}) s({names}))"


STATEMENT = f"""
    SELECT newest.*, {backlog.OVERDUE}, ({log_tree.REFUSAL}) IS NOT NULL,
        {_array(positions.STATUS, ReadModelStatus)}, {_array(witnessing.STATUS, WitnessStatus)}
    FROM ({database_state.NEWEST}) newest"""
_read_models = msgspec.json.Decoder(list[ReadModelStatus]).decode
_witnesses = msgspec.json.Decoder(list[WitnessStatus]).decode


def values(grace: timedelta, most: int, after: int) -> tuple[Any, ...]:
    """
    Return the values of the statement.

    Schedules are overdue after `grace`, and counted up to `most`. The times of events are looked at after a position.
    """
    return (grace, most, WHOLE_LOG, after, database_state.RECENT)


def look_of(row: Sequence[Any]) -> HealthFindings:
    """Return what the statement has found, given its row."""
    now, latest, position, overdue, are_refused, read_models, witnesses = row
    return HealthFindings(now, latest, position, overdue, are_refused, _read_models(read_models), _witnesses(witnesses))
