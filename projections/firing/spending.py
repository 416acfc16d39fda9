"""Spending: what each run, and each call of a task by hand, has cost, as it was reported, by routine, agent and company."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.sql import SQL, Identifier

from domain.events import RunReported, TrajectoryUsageReported
from domain.recorded import Recorded
from domain.routines.budget import Owner, WindowSpending
from domain.values import Budget
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table


class SpendingRow(Row, frozen=True):
    """The cost of a run or a call by hand, and when it was last reported; its id is that of the run or the trajectory."""

    routine_id: UUID | None
    agent_id: UUID | None
    company_id: UUID
    reported_at: datetime
    cost_micros: int


SPENDING = Table("spending", SpendingRow)

SCHEMA = """
CREATE TABLE spending (
    id uuid PRIMARY KEY, routine_id uuid, agent_id uuid, company_id uuid NOT NULL,
    reported_at timestamptz NOT NULL, cost_micros bigint NOT NULL);
CREATE INDEX ON spending (routine_id, reported_at DESC, id DESC) INCLUDE (cost_micros);
CREATE INDEX ON spending (agent_id, reported_at DESC, id DESC) INCLUDE (cost_micros);
CREATE INDEX ON spending (company_id, reported_at DESC, id DESC) INCLUDE (cost_micros);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event into the costs: a later report replaces the earlier one."""
    match recorded.event:
        case RunReported(cost_micros=int() as cost, routine_id=UUID() as routine_id, agent_id=agent_id):
            _put(recorded, rows, cost, routine_id, agent_id)
        case TrajectoryUsageReported(cost_micros=int() as cost, run_id=None):  # what belongs to a run is reported by it
            _put(recorded, rows, cost, None, None)
        case _:
            pass


def _put(recorded: Recorded, rows: Rows, cost: int, routine_id: UUID | None, agent_id: UUID | None) -> None:
    row = SpendingRow(
        id=recorded.stream_id,
        routine_id=routine_id,
        agent_id=agent_id,
        company_id=recorded.known_company_id,
        reported_at=recorded.at,
        cost_micros=cost,
    )
    rows.put(SPENDING, row)


def keys_to_prefetch(_recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Return no keys: rows are put whole, so `fold` never reads one."""
    return ()


spending = ReadModel(
    name="spending",
    version=2,  # since 2 it has calls of tasks by hand
    tables=(SPENDING,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset({RunReported, TrajectoryUsageReported}),
)

_COLUMNS: dict[Owner, str] = {"routine": "routine_id", "agent": "agent_id", "company": "company_id"}
_SPENT = {
    owner: SQL(
        """
        WITH spent AS (
            SELECT reported_at, sum(cost_micros) OVER (ORDER BY reported_at DESC, id DESC) AS total
            FROM spending WHERE {column} = %(id)s AND reported_at > %(since)s)
        SELECT coalesce(max(total), 0), max(reported_at) FILTER (WHERE total >= %(most)s) FROM spent"""
    ).format(column=Identifier(column))
    for owner, column in _COLUMNS.items()
}


def sum_spending(conn: Connection, owner: Owner, owner_id: UUID, budget: Budget, now: datetime) -> WindowSpending:
    """Return what the runs of a routine, an agent or a company have cost within the window that ends now."""
    since = now - timedelta(seconds=budget.window_sec)
    values = {"id": owner_id, "since": since, "most": budget.max_cost_micros}
    row = conn.execute(_SPENT[owner], values, prepare=True).fetchone()
    return WindowSpending() if row is None else WindowSpending(micros=int(row[0]), reached_at=row[1])
