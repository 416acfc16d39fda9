"""
Activity: the last thing that people, agents, holders of keys and senders of webhooks did to each subject of a company,
apart for the work on each issue in the course of which it was done.

Activity gates look at it. What the service itself decides is not in it, so a scheduled firing writes nothing here.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, get_args
from uuid import UUID, uuid5

from domain.events import (
    AgentEvent,
    CommentAdded,
    GoalEvent,
    IssueCheckedOut,
    IssueEvent,
    IssueLeaseRenewed,
    ProjectEvent,
    RoutineEvent,
    TaskEvent,
    TrajectoryEvent,
    TrajectoryLeaseExtended,
    TrajectoryUsageReported,
)
from domain.recorded import Recorded
from domain.routines.activity_gate import Activity, Window
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.responses import RunStatus

DOERS = ("user:", "agent:", "key:", "trigger:")  # how the names of actors outside of the service begin
HELD = ("skipped", "coalesced")  # runs that do not begin a new window


class ActivityRow(Row, frozen=True):
    """
    The last activity on a subject, such as an issue or a goal, in the course of the work on one issue, or of none.

    Its id follows from both.
    """

    company_id: UUID
    subject_id: UUID
    work_issue_id: UUID | None
    position: int
    event: str
    at: datetime


class SessionRow(Row, frozen=True):
    """A work session of an agent, and the issue that it has checked out last; its id is the session's."""

    issue_id: UUID


KINDS = (AgentEvent, GoalEvent, IssueEvent, ProjectEvent, RoutineEvent, TaskEvent, TrajectoryEvent)
SILENT = {  # a worker that does nothing else renews its lease, and what work has cost changes nothing
    IssueLeaseRenewed,
    TrajectoryLeaseExtended,
    TrajectoryUsageReported,
}
EVENTS = frozenset({CommentAdded, *(event for kind in KINDS for event in get_args(kind))}) - SILENT
ACTIVITY = Table("activity", ActivityRow)
SESSION = Table("activity_session", SessionRow)

SCHEMA = """
CREATE TABLE activity (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, subject_id uuid NOT NULL, work_issue_id uuid, position bigint NOT NULL,
    event text NOT NULL, at timestamptz NOT NULL);
CREATE INDEX ON activity (company_id, position);
CREATE TABLE activity_session (id uuid PRIMARY KEY, issue_id uuid NOT NULL);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Note an event that somebody outside of the service caused; a comment belongs to its issue."""
    if type(recorded.event) not in EVENTS or recorded.company_id is None or not recorded.actor.startswith(DOERS):
        return
    event = recorded.event
    if isinstance(event, IssueCheckedOut) and event.run_id is not None:
        rows.put(SESSION, SessionRow(id=event.run_id, issue_id=recorded.stream_id))
    session_id = _session_of(recorded)
    session = None if session_id is None else rows.get(SESSION, session_id)
    subject_id = event.issue_id if isinstance(event, CommentAdded) else recorded.stream_id
    work_issue_id = session.issue_id if session else None
    row = ActivityRow(
        id=uuid5(subject_id, str(work_issue_id)),
        company_id=recorded.company_id,
        subject_id=subject_id,
        work_issue_id=work_issue_id,
        position=recorded.position,
        event=recorded.name,
        at=recorded.at,
    )
    rows.put(ACTIVITY, row)


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the key of the work session in which the event was recorded."""
    if (session_id := _session_of(recorded)) is not None:
        yield SESSION, session_id


def _session_of(recorded: Recorded) -> UUID | None:
    try:
        return None if recorded.cause is None else UUID(recorded.cause)
    except ValueError:
        return None


activity = ReadModel(
    name="activity",
    tables=(ACTIVITY, SESSION),
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
        FROM unnest(%(status)s::text[]) one_status,
            unnest(array['schedule', 'manual', 'api', 'webhook', 'chain']) one_source, LATERAL (
            SELECT position, triggered_at FROM run
            WHERE routine_id = r.id AND status = one_status AND source = one_source
            ORDER BY position DESC NULLS LAST LIMIT 1) found
        ORDER BY found.position DESC LIMIT 1) l ON true
    LEFT JOIN LATERAL (
        SELECT a.subject_id AS id, a.event, a.at
        FROM activity a LEFT JOIN issue i ON i.id = a.subject_id LEFT JOIN issue w ON w.id = a.work_issue_id
        LEFT JOIN trajectory t ON t.id = a.subject_id LEFT JOIN routine o ON o.id = a.subject_id
        WHERE a.company_id = r.company_id AND a.position > l.position AND i.origin_id IS DISTINCT FROM r.id
        AND w.origin_id IS DISTINCT FROM r.id AND t.routine_id IS DISTINCT FROM r.id
        AND (r.doc->>'activityGateScope' = 'company' OR r.project_id IN (a.subject_id, i.project_id, o.project_id))
        ORDER BY a.position DESC LIMIT 1) a ON true
    WHERE r.id = ANY(%(ids)s)"""


def windows(conn: Connection, routine_ids: Sequence[UUID]) -> dict[UUID, Window]:
    """
    Return what the gates of these routines look at, in the scope of each. Joins the read models JOINED.

    The routine's own issues and trajectories do not count, whoever worked on them, nor does what an agent did in the
    work session that had checked one of them out.
    """
    statuses = [status for status in get_args(RunStatus) if status not in HELD]
    rows = conn.execute(_WINDOWS, {"ids": list(routine_ids), "status": statuses})
    return {
        routine_id: Window(since=since, activity=None if id_ is None else Activity(id=id_, event=event, at=moment))
        for routine_id, since, id_, event, moment in rows
    }
