"""Pending probes: which are to be asked, before the occurrences that wait for them are settled."""

from collections.abc import Collection, Iterable
from typing import Any, get_args
from uuid import UUID

from domain.events import ProbeAnswered, ProbeEvent, ProbeRequested
from domain.recorded import Recorded
from domain.routines.probe import PendingProbe
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table


class PendingProbeRow(Row, frozen=True):
    """A probe that waits for its answer; its id is that of its stream."""

    version: int
    routine_id: UUID
    company_id: UUID
    position: int


PENDING_PROBE = Table("pending_probe", PendingProbeRow)

SCHEMA = """
CREATE TABLE pending_probe (
    id uuid PRIMARY KEY, version bigint NOT NULL, routine_id uuid NOT NULL, company_id uuid NOT NULL,
    position bigint NOT NULL);
"""
# Companies take turns, so that one with many probes does not keep the others waiting.
_DUE = """
    SELECT id, version, routine_id, company_id FROM (
        SELECT p.*, row_number() OVER (PARTITION BY company_id ORDER BY position) AS turn
        FROM pending_probe p WHERE id <> ALL (%s::uuid[])) waiting
    ORDER BY turn, position LIMIT %s"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event of a probe into its row, which is there while the probe waits for its answer."""
    match recorded.event:
        case ProbeRequested(routine_id=routine_id):
            row = PendingProbeRow(
                id=recorded.stream_id,
                version=recorded.version,
                routine_id=routine_id,
                company_id=recorded.known_company_id,
                position=recorded.position,
            )
            rows.put(PENDING_PROBE, row)
        case ProbeAnswered():
            rows.delete(PENDING_PROBE, recorded.stream_id)
        case _:
            pass


def keys_to_prefetch(_recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Return nothing: the rows are made and deleted, not changed."""
    return ()


pending_probes = ReadModel(
    name="pending_probes",
    tables=(PENDING_PROBE,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(get_args(ProbeEvent)),
    polled_by="delivery",
)


def due(conn: Connection, *, left_out: Collection[UUID], limit: int) -> list[PendingProbe]:
    """Return the probes that are to be asked, longest waiting first, the companies in turns; `left_out` leaves out some."""
    rows = conn.execute(_DUE, (list(left_out), limit), prepare=True)
    return [
        PendingProbe(id=id_, version=version, routine_id=routine_id, company_id=company_id)
        for id_, version, routine_id, company_id in rows
    ]
