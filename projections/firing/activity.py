"""
Activity: the last thing that people, agents, holders of keys and senders of webhooks did to each subject of a company.

Activity gates look at it. What the service itself decides is not in it, so a scheduled firing writes nothing here.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, get_args
from uuid import UUID

from domain.events import (
    AgentEvent,
    CommentAdded,
    GoalEvent,
    IssueEvent,
    ProjectEvent,
    RoutineEvent,
    TaskEvent,
    TrajectoryEvent,
)
from domain.recorded import Recorded
from domain.routines.activity_gate import Activity, Window
from projections.engine.read_model import Connection, ReadModel, Row, Rows, Table
from projections.responses import RunStatus

DOERS = ("user:", "agent:", "key:", "trigger:")  # how the names of actors outside of the service begin
HELD = ("skipped", "coalesced")  # runs that do not begin a new window


class ActivityRow(Row, frozen=True):
    """The last activity on a subject, such as an issue or a goal; its id is the subject's."""

    company_id: UUID
    position: int
    event: str
    at: datetime


KINDS = (AgentEvent, GoalEvent, IssueEvent, ProjectEvent, RoutineEvent, TaskEvent, TrajectoryEvent)
EVENTS = frozenset({CommentAdded, *(event for kind in KINDS for event in get_args(kind))})
ACTIVITY = Table("activity", ActivityRow)

SCHEMA = """
CREATE TABLE activity (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, position bigint NOT NULL, event text NOT NULL, at timestamptz NOT NULL);
CREATE INDEX ON activity (company_id, position);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Note an event that somebody outside of the service caused; a comment belongs to its issue."""
    if type(recorded.event) not in EVENTS or recorded.company_id is None or not recorded.actor.startswith(DOERS):
        return
    event = recorded.event
    row = ActivityRow(
        id=event.issue_id if isinstance(event, CommentAdded) else recorded.stream_id,
        company_id=recorded.company_id,
        position=recorded.position,
        event=recorded.name,
        at=recorded.at,
    )
    rows.put(ACTIVITY, row)


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:  # noqa: ARG001 every fold has it
    """Yield nothing: rows are replaced without being read."""
    return ()


activity = ReadModel(
    name="activity",
    tables=(ACTIVITY,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=EVENTS,
)

JOINED = ("activity", "issues", "routines", "run_history", "trajectories")  # the read models that `windows` asks
_WINDOWS = """
    SELECT r.id, l.triggered_at, a.id, a.event, a.at FROM routine r
    LEFT JOIN LATERAL (
        SELECT found.position, found.triggered_at
        FROM unnest(%(status)s::text[]) status, unnest(array['schedule', 'manual', 'api', 'webhook']) source, LATERAL (
            SELECT position, triggered_at FROM run
            WHERE routine_id = r.id AND doc->>'status' = status AND doc->>'source' = source
            ORDER BY position DESC NULLS LAST LIMIT 1) found
        ORDER BY found.position DESC LIMIT 1) l ON true
    LEFT JOIN LATERAL (
        SELECT a.id, a.event, a.at
        FROM activity a LEFT JOIN issue i ON i.id = a.id LEFT JOIN trajectory t ON t.id = a.id LEFT JOIN routine o ON o.id = a.id
        WHERE a.company_id = r.company_id AND a.position > l.position
        AND i.origin_id IS DISTINCT FROM r.id AND t.routine_id IS DISTINCT FROM r.id
        AND (r.doc->>'activityGateScope' = 'company' OR r.project_id IN (a.id, i.project_id, o.project_id))
        ORDER BY a.position DESC LIMIT 1) a ON true
    WHERE r.id = ANY(%(ids)s)"""


def windows(conn: Connection, routine_ids: Sequence[UUID]) -> dict[UUID, Window]:
    """
    Return what the gates of these routines look at, in the scope of each. Joins the read models JOINED.

    The routine's own issues and trajectories do not count, whoever worked on them.
    """
    statuses = [status for status in get_args(RunStatus) if status not in HELD]
    rows = conn.execute(_WINDOWS, {"ids": list(routine_ids), "status": statuses})
    return {
        routine_id: Window(since=since, activity=None if id_ is None else Activity(id=id_, event=event, at=at))
        for routine_id, since, id_, event, at in rows
    }
